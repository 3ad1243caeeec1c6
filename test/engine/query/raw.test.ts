import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { TidemarkError, type Metric, type QueryInput, type QueryResult } from "../../../engine/index.js";
import { QUARTER_MS, getZone, type Grain } from "../../../engine/calendar/index.js";
import { openLmdb } from "../../../storage/lmdb.js";
import { createMemoryDisk, openMemory } from "../../../storage/memory.js";
import { World, type Disk } from "../../simulation/world.js";
import type { PlainEvent } from "../../support/oracle.js";
import { naiveAnswer, periodsOf, toQuery, type NaiveRow, type Question, type Seen } from "./naive.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 7);
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 16);
const HOUR_MS = 4 * QUARTER_MS;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.parse("2026-11-23T18:10:07.123Z");
const SETTINGS = {
  homeZones: ["Asia/Kathmandu"],
  reconcileEveryMs: 0,
  retention: { raw: null, quarter: null, hour: null, day: null },
};
const ZONES = ["UTC", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"];

function memory(): Disk {
  const disk = createMemoryDisk();
  return { open: () => openMemory(disk), diesAlone: true };
}

async function lmdb(teardown: (clean: () => Promise<void>) => void): Promise<Disk> {
  const directory = await mkdtemp(join(tmpdir(), "tidemark-raw-"));
  teardown(async () => await rm(directory, { recursive: true }));
  return { open: async () => await openLmdb(directory), diesAlone: false };
}

const event = fc.record({
  age: fc.constantFrom(
    0,
    1,
    59_999,
    14 * 60_000,
    HOUR_MS,
    7 * HOUR_MS,
    DAY_MS,
    3 * DAY_MS,
    20 * DAY_MS,
    200 * DAY_MS,
  ),
  blog: fc.nat(4),
  author: fc.nat(3),
  country: fc.nat(3),
  viewer: fc.nat(6),
  created: fc.nat(4),
});
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ events: fc.array(event, { minLength: 1, maxLength: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ pass: fc.constantFrom(777, 61_000, 3 * HOUR_MS, 2 * DAY_MS) }) },
  { weight: 1, arbitrary: fc.record({ checkpoint: fc.constant(true) }) },
);

const BASE: readonly Metric[] = [
  "views",
  "viewers",
  "views_anonymous",
  "blogs_created",
  "blogs_total",
  "views_per_viewer",
  "new_viewers",
  "returning_viewers",
];
const ALONG: readonly Metric[] = [
  ["rolling", "viewers", 3],
  ["cumulative", "views"],
  ["rate", "views", "hour"],
  ["change", "views"],
];
const FILTERS = [
  ["is", "blog", ["b1", "b2", "nobody"]],
  ["not_in", "author", ["a1", null]],
  ["contains", "country", ["2", "3"]],
  [
    "or",
    [
      ["is", "author", ["a2"]],
      ["not", ["is", "country", [null]]],
    ],
  ],
  [
    "not",
    [
      "and",
      [
        ["is", "blog", ["b1"]],
        ["is", "author", ["a1"]],
      ],
    ],
  ],
] as unknown as Question["filters"];

const ask = fc.record({
  zone: fc.constantFrom(...ZONES),
  grain: fc.constantFrom<Grain | null>(null, null, "quarter", "hour", "day", "month"),
  /** Before now, ms; not on quarter-hours, unless it is rounded. */
  from: fc.constantFrom(60_000, HOUR_MS + 1, 5 * HOUR_MS, DAY_MS + 777, 9 * DAY_MS, 201 * DAY_MS),
  length: fc.constantFrom(1, 1000, 17 * 60_000, 2 * HOUR_MS, 5 * DAY_MS, 300 * DAY_MS),
  isAligned: fc.boolean(),
  dims: fc.subarray(["blog", "author", "country"]),
  filters: fc.subarray([...FILTERS], { maxLength: 2 }),
  metrics: fc.subarray([...BASE], { minLength: 1, maxLength: 4 }),
  along: fc.subarray([...ALONG], { maxLength: 2 }),
  compare: fc.boolean(),
  limit: fc.constantFrom(2, 100_000),
});
type Ask = typeof ask extends fc.Arbitrary<infer T> ? T : never;

function toQuestion(plan: Ask, now: number): Question {
  const zone = getZone(plan.zone);
  const grain = plan.grain === "quarter" && plan.length > DAY_MS ? "day" : plan.grain;
  const looksBack = grain !== null && plan.along.length > 0;
  let fromMs = now - plan.from;
  let toMs = fromMs + plan.length;
  if (plan.isAligned) [fromMs, toMs] = [floor(fromMs), floor(toMs) + QUARTER_MS];
  if (looksBack) [fromMs, toMs] = [zone.startOf(grain, fromMs), zone.endOf(grain, toMs)];
  return {
    zone,
    fromMs,
    toMs,
    preset: undefined,
    includeToday: true,
    grain,
    columns: [...(grain === null ? [] : ["time"]), ...plan.dims],
    filters: plan.filters,
    metrics: [...plan.metrics, ...(looksBack ? plan.along : [])],
    compare:
      plan.compare && !looksBack
        ? { mode: "previous_period", range: undefined, matchWeekday: false, whole: true }
        : undefined,
    order: [],
    limit: plan.limit,
    fill: false,
    total: true,
    other: grain === null,
    now,
  };
}

function floor(ms: number): number {
  return Math.floor(ms / QUARTER_MS) * QUARTER_MS;
}

function seenOf(events: readonly PlainEvent[]): Seen[] {
  return events.map(({ type, ts, viewer, blog, author = null, country = null }) => ({
    ts,
    created: type === "created",
    viewer,
    values: { blog, author, country },
  }));
}

/** What rows say, without their errors, and without their states: something may be sealed between two questions. */
function plain(rows: readonly (QueryResult["results"][number] | NaiveRow)[]): unknown {
  return rows.map(({ dimensions, metrics, compare }) => [
    dimensions,
    metrics,
    compare && [compare.metrics, compare.change],
  ]);
}

function same(found: unknown, wanted: unknown, about: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b)
    throw new Error(`found ${a?.slice(0, 1500)}, wanted ${b?.slice(0, 1500)}, of ${JSON.stringify(about)}`);
}

async function codeOf(asked: () => unknown): Promise<string> {
  try {
    await asked();
    return "answered";
  } catch (error) {
    if (error instanceof TidemarkError) return error.code;
    throw error;
  }
}

async function take(
  world: World,
  each: typeof step extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  if ("pass" in each) await world.clock.jump(each.pass);
  else if ("checkpoint" in each) await world.engine.checkpoint();
  else {
    const events = each.events.map(({ age, blog, author, country, viewer, created }): PlainEvent => ({
      type: created === 0 ? "created" : "view",
      ts: world.now - age,
      blog: `b${blog}`,
      ...(author > 0 && { author: `a${author}` }),
      ...(country > 0 && { country: `c${country}` }),
      ...(viewer > 0 && { viewer: `v${viewer}` }),
    }));
    await world.send(events, { backfill: true });
  }
}

interface Met {
  answered: number;
  /** Of which buckets said the same. */
  both: number;
  onlyRaw: number;
}

async function checkRaw(world: World, plan: Ask, met: Met): Promise<void> {
  const question = toQuestion(plan, world.now);
  const query = toQuery(question) as unknown as QueryInput;
  const found = await world.engine.query({ ...query, source: "raw" });
  const wanted = naiveAnswer(seenOf(world.oracle.accepted), question, periodsOf(question));
  same(plain(found.results), plain(wanted.rows.slice(0, question.limit)), query);
  same(found.total!.metrics, wanted.total.metrics, query);
  same(found.other?.metrics, question.other ? wanted.other : undefined, query);
  same(found.meta.rows_left_off, wanted.rows.length - found.results.length, query);
  same(
    found.meta.sources!.map(({ tier }) => tier),
    ["raw"],
    query,
  );
  met.answered++;
  const buckets = await codeOf(() => world.engine.queryNow({ ...query, source: "buckets" }));
  if (buckets !== "answered") {
    same(["dimension-set-not-materialised", "range-not-aligned"].includes(buckets), true, [buckets, query]);
    const auto = await world.engine.query(query);
    same([plain(auto.results), auto.total!.metrics], [plain(found.results), found.total!.metrics], query);
    met.onlyRaw++;
  } else {
    const stored = world.engine.queryNow({ ...query, source: "buckets" });
    same(
      [plain(stored.results), stored.total!.metrics, stored.other],
      [plain(found.results), found.total!.metrics, found.other],
      query,
    );
    met.both++;
  }
  const again = await world.engine.query(found.query as unknown as QueryInput);
  same([plain(again.results), again.query], [plain(found.results), found.query], query);
}

for (const storage of ["memory", "LMDB"] as const) {
  t.test(
    `${storage}: answers from raw events are those of all events one by one, and of the buckets`,
    async (t) => {
      const runs = storage === "memory" ? RUNS : Math.ceil(RUNS / 8);
      t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_RUNS=${RUNS}`);
      const met: Met = { answered: 0, both: 0, onlyRaw: 0 };
      const property = fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 16 }),
        fc.array(ask, { minLength: 12, maxLength: 12 }),
        async (steps, asks) => {
          const disk = storage === "memory" ? memory() : await lmdb((clean) => t.teardown(clean));
          const world = await World.open(disk, START_MS, SETTINGS);
          for (const each of steps) await take(world, each);
          for (const each of asks) await checkRaw(world, each, met);
          await world.engine.close();
        },
      );
      await fc.assert(property, { numRuns: runs, seed: SEED, endOnFailure: storage === "LMDB" });
      t.comment(JSON.stringify(met));
      t.ok(met.both > met.answered / 10 && met.onlyRaw > met.answered / 10);
    },
  );
}

/** A thousand views of the last ten days, in a hundred batches. */
async function busy(disk: Disk, settings: Parameters<typeof World.open>[2] = SETTINGS): Promise<World> {
  const world = await World.open(disk, START_MS, settings);
  for (let batch = 0; batch < 100; batch++) {
    await world.send(
      Array.from({ length: 10 }, (_, i): PlainEvent => ({
        type: i === 9 ? "created" : "view",
        ts: START_MS - ((batch * 10 + i) * 10 * DAY_MS) / 1000,
        blog: `b${i % 4}`,
        author: `a${batch % 3}`,
        country: `c${batch % 5}`,
        viewer: `v${(batch + i) % 40}`,
      })),
    );
  }
  return world;
}

/** Gives the engine the turns that it asks for; no time passes. */
async function turning<T>({ clock }: World, work: Promise<T>): Promise<T> {
  const state = { isDone: false };
  void work.finally(() => (state.isDone = true)).catch(() => undefined);
  while (!state.isDone) await clock.advance(0);
  return await work;
}

const UNDECLARED: QueryInput = {
  date_range: "91d",
  dimensions: ["blog", "author", "country"],
  metrics: ["views", "viewers", "blogs_created"],
  include: { total: true },
};

for (const storage of ["memory", "LMDB"] as const) {
  t.test(
    `${storage}: what comes in, is sealed and is given up meanwhile changes nothing in an answer`,
    async (t) => {
      const world = await busy(storage === "memory" ? memory() : await lmdb((clean) => t.teardown(clean)));
      const { engine } = world;
      const before = await engine.query(UNDECLARED);
      t.equal(before.total!.metrics[0], 900);
      const asked = [
        engine.query(UNDECLARED),
        engine.query({ ...UNDECLARED, filters: [["is", "author", ["a7", "a1"]]] }),
      ];
      const sent = world.send([
        { type: "view", ts: START_MS - DAY_MS, blog: "b1", author: "a1", country: "c1", viewer: "new" },
        { type: "view", ts: START_MS - DAY_MS, blog: "new", author: "a7", country: "c1", viewer: "new" },
      ]);
      const [during, filtered] = await Promise.all(asked);
      await sent;
      t.strictSame(during!.results, before.results);
      t.strictSame(during!.total, before.total);
      t.strictSame(
        filtered!.results,
        before.results.filter(({ dimensions }) => dimensions[1] === "a1"),
      );
      t.equal((await engine.query(UNDECLARED)).total!.metrics[0], 902);
      await engine.close();
    },
  );

  t.test(`${storage}: all answers of a batch are of one state, from raw events too`, async (t) => {
    const world = await busy(storage === "memory" ? memory() : await lmdb((clean) => t.teardown(clean)));
    const { engine } = world;
    const { dimensions: _, ...declared } = UNDECLARED;
    const batch = engine.batch([
      { query: UNDECLARED },
      { query: declared },
      { query: { ...declared, source: "raw" } },
      { peak: { date_range: "91d" } },
      { overlap: { date_range: "91d", a: { filters: [["is", "blog", ["b1"]]] }, b: {} } },
      { query: { date_range: "91d", dimensions: ["page"] } },
    ]);
    const sent = world.send([
      { type: "view", ts: START_MS - DAY_MS, blog: "b1", author: "a1", viewer: "new" },
    ]);
    const { answers, seq } = await batch;
    await sent;
    await engine.checkpoint();
    const totals = answers.slice(0, 3).map((each) => (each as QueryResult).total!.metrics);
    t.strictSame(totals, [totals[0], totals[0], totals[0]]);
    for (const each of answers.slice(0, 5)) t.equal((each as QueryResult).meta.seq, seq);
    t.match(answers[5], { error: { code: "invalid-query", pointer: "/dimensions/0" } });
    await engine.close();
  });
}

for (const storage of ["memory", "LMDB"] as const) {
  t.test(
    `${storage}: states of an answer from raw events are those of the moment of the question`,
    async (t) => {
      const world = await busy(storage === "memory" ? memory() : await lmdb((clean) => t.teardown(clean)), {
        ...SETTINGS,
        allowedLatenessMs: 6 * HOUR_MS,
      });
      const query: QueryInput = {
        ...UNDECLARED,
        dimensions: ["time:hour", "blog", "author"],
        date_range: "24h",
      };
      const before = await world.engine.query(query);
      t.ok(before.results.some(({ state }) => state === "provisional"));
      const asked = world.engine.query(query);
      const passed = world.clock.jump(3 * HOUR_MS).then(async () => await world.engine.checkpoint());
      t.strictSame((await asked).results, before.results);
      await passed;
      await world.engine.close();
    },
  );
}

t.test("what the log no longer has is refused, with where it begins; never answered in part", async (t) => {
  const retention = { raw: 31 * DAY_MS, quarter: 35 * DAY_MS, hour: 60 * DAY_MS, day: 150 * DAY_MS };
  const world = await busy(memory(), { ...SETTINGS, retention });
  const { engine } = world;
  await world.clock.jump(40 * DAY_MS);
  await world.send([{ type: "view", ts: world.now, blog: "b1", author: "a1", viewer: "v1" }]);
  const old: QueryInput = { date_range: ["2026-11-13", "2026-11-14"], metrics: ["views"] };
  const before = (await engine.query({ ...old, source: "raw" })).results[0]!.metrics[0]!;
  t.ok(before > 50, `${before} before it is given up`);
  const racing = codeOf(async () => {
    const { results } = await engine.query({ ...old, dimensions: ["blog", "author"] });
    t.equal(
      results.reduce((sum, { metrics }) => sum + metrics[0]!, 0),
      before,
      "the answer is whole",
    );
  });
  await engine.checkpoint();
  await engine.retain();
  t.ok(["answered", "raw-expired", "dimension-set-not-materialised"].includes(await racing));
  await t.rejects(engine.query({ ...old, source: "raw" }), {
    code: "raw-expired",
    pointer: "/date_range",
    extra: { kept_from: /^2026-11/ },
  });
  t.equal(
    await codeOf(() => engine.query({ ...old, dimensions: ["blog", "author"] })),
    "dimension-set-not-materialised",
  );
  const narrow: QueryInput = { date_range: ["2026-11-13T00:07:00Z", "2026-11-13T00:08:00Z"] };
  t.equal(await codeOf(() => engine.query(narrow)), "range-not-aligned");
  t.equal(await codeOf(() => engine.query({ ...narrow, source: "raw" })), "raw-expired");
  t.match(await engine.query({ date_range: "today", dimensions: ["blog", "author"] }), {
    results: [{ dimensions: ["b1", "a1"], metrics: [1, 1] }],
  });
  await engine.close();
});

t.test(
  "who asks for raw events is told what was read; many wait, too many are sent away, and may come again",
  async (t) => {
    const world = await busy(memory());
    const { engine } = world;
    const told = await engine.query({ ...UNDECLARED, include: { explain: true } });
    t.strictSame(told.meta.sources, [{ tier: "raw", buckets: 1000 }]);
    t.throws(() => engine.queryNow({ date_range: "7d", source: "raw" }), {
      code: "invalid-query",
      pointer: "/source",
    });
    await t.rejects(engine.query({ ...UNDECLARED, cursor: null }), {
      code: "invalid-query",
      pointer: "/cursor",
    });
    const asked = Array.from({ length: 21 }, async () => await codeOf(() => engine.query(UNDECLARED)));
    const codes = await turning(world, Promise.all(asked));
    const taken = Array.from(codes, (_, i) => (i < 18 ? "answered" : "overloaded"));
    t.strictSame(codes, taken, "two at once, sixteen that wait");
    const again = codeOf(() => engine.query(UNDECLARED));
    t.equal(await turning(world, again), "answered");
    t.equal(
      await codeOf(() => engine.query({ ...UNDECLARED, source: "buckets" })),
      "dimension-set-not-materialised",
    );
    await engine.close();
  },
);

t.test("an answer from raw events is explained, too", async (t) => {
  const world = await busy(memory());
  const { meta } = await world.engine.query({ ...UNDECLARED, include: { explain: true } });
  t.match(meta.explain, { rollup: "raw", cache: "miss" });
  await world.engine.close();
});

t.test(
  "a batch may go through the raw events 18 times, and all of it tells the state of its seq",
  async (t) => {
    const world = await busy(memory());
    const { engine } = world;
    const query: QueryInput = { date_range: "all", dimensions: ["blog", "author"], metrics: ["views"] };
    const before = (await engine.query({ ...query, dimensions: [] })).results[0]!.metrics[0]!;
    const batch = engine.batch(Array.from({ length: 20 }, () => ({ query })));
    // These come while all but two still wait.
    await world.send([{ type: "view", ts: world.now, blog: "b1", author: "a1", viewer: "new" }]);
    const { answers, seq } = await turning(world, batch);
    const totals = answers.map((answer) => {
      if ("error" in answer) return answer.error.code;
      const { results, meta } = answer as QueryResult;
      t.equal(meta.seq, seq);
      return results.reduce((sum, { metrics }) => sum + metrics[0]!, 0);
    });
    t.strictSame(
      totals,
      Array.from({ length: 20 }, (_, i) => (i < 18 ? before : "overloaded")),
    );
    const after = (await engine.query({ ...query, dimensions: [] })).results[0]!.metrics[0]!;
    t.equal(after, before + 1);
    await engine.close();
  },
);
