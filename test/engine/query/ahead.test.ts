import fc from "fast-check";
import t from "tap";
import type { QueryResult } from "../../../engine/api.js";
import { HOUR_MS, QUARTER_MS } from "../../../engine/calendar/index.js";
import type { Questions } from "../../../engine/query/index.js";
import { World, at } from "./world.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 5);
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 100);
const DAY_MS = 24 * HOUR_MS;
const START_MS = at("2026-11-23T18:10:00Z");

const WINDOWS: readonly Readonly<Record<string, unknown>>[] = [
  { date_range: "24h", dimensions: ["time:hour"] },
  { date_range: "24h", filters: [["is", "blog", ["b1"]]], metrics: ["views", "new_viewers"] },
  { date_range: "7d", include: { total: true, explain: true } },
  { date_range: "30d", dimensions: ["country"], include: { total: true } },
  { date_range: "30d", dimensions: ["time:day", "blog"], metrics: ["viewers"], timezone: "America/St_Johns" },
  { date_range: "12mo", dimensions: ["time:month"], metrics: [["rolling", "viewers", 2], "blogs_total"] },
  { date_range: "30d", dimensions: ["blog"], compare: { mode: "previous_period" } },
];

/** A stopwatch that goes on by itself, and rests that last until they are ended. */
class Time {
  #ms = 0;
  readonly #rests: (() => void)[] = [];
  readonly stopwatch = (): number => (this.#ms += 1.5);
  readonly rest = (): Promise<void> => new Promise((resolve) => this.#rests.push(resolve));

  /** Goes on far enough for another round to begin. */
  pass(): void {
    this.#ms += 1e6;
  }

  get isResting(): boolean {
    return this.#rests.length > 0;
  }

  /** Ends so many rests, one after the other; what was waiting for each then works until the next. */
  async endRests(count: number): Promise<void> {
    for (let i = 0; i < count && this.isResting; i++) {
      this.#rests.shift()!();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function makeAhead(questions: Questions, time: Time): Promise<void> {
  time.pass();
  const done = questions.ahead.run();
  await time.endRests(Infinity);
  await done;
}

/** What an answer says of the data, and what it was read from. */
function tellingOf({ results, total, meta }: QueryResult): string {
  const { explain: _1, ...rest } = meta;
  return JSON.stringify({ results, total, rest });
}

function worldOf(days: number): World {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  for (let day = days; day >= 0; day--) {
    for (let i = 0; i < 4; i++) {
      const ts = START_MS - day * DAY_MS - i * 5 * HOUR_MS;
      world.add({
        ts,
        blog: `b${(day + i) % 3}`,
        viewer: `v${(day * i) % 7}`,
        country: `c${i % 3}`,
        created: i === 0,
      });
    }
  }
  world.now = START_MS;
  return world;
}

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("ask" as const), which: fc.nat(WINDOWS.length - 1) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ahead" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("slices" as const), count: fc.integer({ min: 1, max: 30 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      ageMs: fc.constantFrom(0, QUARTER_MS, 3 * HOUR_MS, 2 * DAY_MS, 25 * DAY_MS, 200 * DAY_MS),
      blog: fc.nat(2),
      viewer: fc.nat(9),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      latenessMs: fc.constantFrom(0, QUARTER_MS, 3 * HOUR_MS),
      all: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("pass" as const),
      ms: fc.constantFrom(6000, QUARTER_MS, HOUR_MS, DAY_MS),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(world: World, questions: Questions, time: Time, each: Step): Promise<void> {
  switch (each.kind) {
    case "ask": {
      const query = WINDOWS[each.which]!;
      // Neither answers may be old here: what was kept of them is the parts.
      world.now += 6000;
      world.watermarkMs = Math.max(world.watermarkMs, world.now - 60_000);
      const [kept, fresh] = [questions.queryNow(query), world.query(query)].map(tellingOf);
      if (kept !== fresh) throw new Error(`${JSON.stringify(query)}: ${kept}, afresh ${fresh}`);
      return;
    }
    case "ahead":
      time.pass();
      void questions.ahead.run();
      return;
    case "slices":
      await time.endRests(each.count);
      return;
    case "add":
      world.add({ ts: world.now - each.ageMs, blog: `b${each.blog}`, viewer: `v${each.viewer}` });
      return;
    case "commit":
      await world.commit(Math.min(world.now, world.watermarkMs) - each.latenessMs, each.all);
      return;
    case "pass":
      world.now += each.ms;
  }
}

t.test("with windows made ahead at any moment, answers are those that are worked out afresh", async (t) => {
  t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_RUNS=${RUNS}`);
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60, size: "max" }), async (steps) => {
      const world = worldOf(40);
      await world.commit(START_MS - 3 * HOUR_MS);
      const time = new Time();
      const questions = world.questions(1 << 24, time);
      for (const window of WINDOWS) questions.queryNow(window);
      for (const each of steps) await take(world, questions, time, each);
      questions.ahead.close();
      await time.endRests(Infinity);
      made += questions.ahead.made;
    }),
    { numRuns: RUNS, seed: SEED },
  );
  t.comment(`${made} parts were made ahead`);
  t.ok(made > RUNS);
});

t.test(
  "after a seal the windows in use are made before they are asked for, in slices, and once",
  async (t) => {
    const world = worldOf(40);
    await world.commit(START_MS - 3 * HOUR_MS);
    const time = new Time();
    const questions = world.questions(1 << 24, time);
    for (const window of WINDOWS) questions.queryNow(window);
    await makeAhead(questions, time);
    t.equal(questions.ahead.made, 0, "what was asked is there");
    await world.commit(START_MS - HOUR_MS);
    time.pass();
    const done = questions.ahead.run();
    t.ok(time.isResting, "more than a slice");
    t.equal(questions.ahead.made, 0);
    await time.endRests(Infinity);
    await done;
    const { made } = questions.ahead;
    t.ok(made >= WINDOWS.length, `${made} parts`);
    for (const window of WINDOWS) questions.queryNow(window);
    await makeAhead(questions, time);
    t.equal(questions.ahead.made, made, "nothing was missing");
  },
);

t.test(
  "a question that nobody asks any more has nothing made for it, nor has a closed engine's",
  async (t) => {
    const world = worldOf(40);
    await world.commit(START_MS - 3 * HOUR_MS);
    const time = new Time();
    const questions = world.questions(1 << 24, time);
    for (const window of WINDOWS) questions.queryNow(window);
    world.now += 7 * HOUR_MS;
    await world.commit(START_MS - HOUR_MS);
    await makeAhead(questions, time);
    t.equal(questions.ahead.made, 0, "seven hours later");
    for (const window of WINDOWS) questions.queryNow(window);
    await world.commit(START_MS);
    time.pass();
    const done = questions.ahead.run();
    questions.ahead.close();
    await time.endRests(Infinity);
    await done;
    t.equal(questions.ahead.made, 0, "closed in the first slice");
    await makeAhead(questions, time);
    t.equal(questions.ahead.made, 0, "closed");
  },
);
