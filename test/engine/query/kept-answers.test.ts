/** Answers about peak times and overlaps that were kept, and pages of what is held. */
import fc from "fast-check";
import t from "tap";
import type { OverlapResult, PeakResult } from "../../../engine/api.js";
import { HOUR_MS } from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import type { Questions } from "../../../engine/query/index.js";
import { START_MS, fortyDays, stepOf, take } from "./cache-steps.js";
import { MAX_LATENESS_MS, at, type World } from "./world.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 6);
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 60);
const OPEN_TTL_MS = 5000;
const OCTOBER = ["2026-10-01", "2026-10-31"];
const B1 = { filters: [["is", "blog", ["b1"]]] };
const B2 = { filters: [["is", "blog", ["b2", "b9"]]] };

type Asked = readonly ["peak" | "overlap", Readonly<Record<string, unknown>>];

const ASKED: readonly Asked[] = [
  ["peak", { date_range: "today" }],
  ["peak", { date_range: "7d", timezone: "Australia/Lord_Howe", limit: 10 }],
  ["peak", { date_range: "28d", filters: [["is", "blog", ["b1"]]] }],
  ["peak", { date_range: OCTOBER }],
  ["peak", { date_range: ["2026-11-20T00:00:00Z", "2026-11-23T18:15:00Z"], timezone: "Asia/Kathmandu" }],
  ["overlap", { date_range: "7d", a: B1, b: B2 }],
  ["overlap", { date_range: "yesterday", a: B1, b: B2, timezone: "UTC" }],
  ["overlap", { date_range: OCTOBER, a: B1, b: {} }],
  ["overlap", { a: { date_range: "today" }, b: { date_range: "last_month" } }],
  ["overlap", { a: { date_range: OCTOBER }, b: { date_range: "today" } }],
  ["overlap", { a: { date_range: OCTOBER }, b: { date_range: ["2026-11-20", "2026-11-22"], ...B2 } }],
];

type Answered = PeakResult | OverlapResult;

function answerOf(questions: Questions, [kind, input]: Asked): Answered | string {
  try {
    return questions[kind](input);
  } catch (error) {
    if (error instanceof TidemarkError) return `${error.code} ${error.pointer}`;
    throw error;
  }
}

/** What it says, but for what may be old in one that was kept. */
function tellingOf(answer: Answered | string): string {
  if (typeof answer === "string") return answer;
  const { as_of: _1, watermark: _2, seq: _3, sources: _4, ...meta } = answer.meta;
  return JSON.stringify({ ...answer, meta });
}

function endOf(answer: Answered): number {
  const ranges = "matrix" in answer ? [answer.meta.range] : [answer.meta.ranges.a, answer.meta.ranges.b];
  return Math.max(...ranges.map(([, to]) => at(to)));
}

function check(world: World, questions: Questions, asked: Asked, versions: Map<string, string>): void {
  const kept = answerOf(questions, asked);
  const told = tellingOf(kept);
  const wanted = tellingOf(answerOf(world.questions(0), asked));
  if (told !== wanted) throw new Error(`${JSON.stringify(asked)}: kept ${told}, fresh ${wanted}`);
  if (typeof kept === "string") return;
  const { version, state } = questions.freshness(kept)!;
  if ((versions.get(version) ?? told) !== told) throw new Error(`one version of two answers: ${told}`);
  versions.set(version, told);
  const toMs = endOf(kept);
  const isSealed = toMs <= Math.min(world.now, world.watermarkMs, world.sealedUntil);
  if (state !== "open" && !isSealed) throw new Error(`${JSON.stringify(asked)} is called ${state}`);
  if (state === "settled" && (asked[0] === "peak" || toMs > world.now - MAX_LATENESS_MS))
    throw new Error(`${JSON.stringify(asked)} is called ${state}`);
  if (!isSealed && world.now - at(kept.meta.as_of) > OPEN_TTL_MS) throw new Error(`of ${kept.meta.as_of}`);
}

t.test("peak times and overlaps that were kept are those that would be worked out now", async (t) => {
  t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_RUNS=${RUNS}`);
  let hits = 0;
  let all = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepOf(ASKED.length), { minLength: 10, maxLength: 60, size: "max" }),
      async (steps) => {
        const world = await fortyDays();
        const questions = world.questions();
        const versions = new Map<string, string>();
        for (const each of steps) {
          if (each.kind !== "ask") await take(world, each);
          else for (const n of each.which) check(world, questions, ASKED[n]!, versions);
        }
        hits += questions.cache.hits;
        all += questions.cache.hits + questions.cache.misses;
      },
    ),
    { numRuns: RUNS, seed: SEED },
  );
  t.comment(`${hits} of ${all} answers were kept ones`);
  t.ok(hits > 0.2 * all);
});

t.test(
  "the busiest hours of a sealed month are kept for the hour that it is, and never called settled",
  async (t) => {
    const world = await fortyDays();
    const questions = world.questions();
    const ask = (): PeakResult => questions.peak({ date_range: OCTOBER, timezone: "UTC" });
    world.now = world.watermarkMs = START_MS + 60 * 24 * HOUR_MS;
    await world.commit(world.now - HOUR_MS, true);
    const first = ask();
    t.equal(questions.freshness(first)!.state, "sealed");
    world.now += 40 * 60_000;
    t.equal(ask(), first, "at 18:50 it is what it was at 18:10");
    world.now += 10 * 60_000;
    const next = ask();
    t.not(next, first);
    t.strictSame([first.now.hour, next.now.hour], [18, 19]);
    t.strictSame(next.matrix, first.matrix);
    const sets = { date_range: OCTOBER, a: B1, b: B2 };
    t.equal(questions.freshness(questions.overlap(sets))!.state, "settled");
    t.equal(questions.overlap(sets), questions.overlap(sets));
    t.equal(questions.overlap({ ...sets, b: B1 }).only_b.value, 0, "another question is another one");
  },
);

t.test(
  "AT-65: a further page is of its snapshot's range, though nothing finer is kept of it since",
  async (t) => {
    const world = await fortyDays();
    const questions = world.questions();
    const query = {
      date_range: ["2026-10-20T00:15:00Z", "2026-10-24T00:00:00Z"],
      dimensions: ["time:day"],
      metrics: ["views"],
      timezone: "UTC",
      limit: 1,
    };
    const first = questions.queryNow({ ...query, cursor: null });
    t.ok(first.meta.rows_left_off > 0);
    world.now = world.watermarkMs = START_MS + 60 * 24 * HOUR_MS;
    await world.commit(world.now - HOUR_MS, true);
    const cutMs = at("2026-11-01T00:00Z");
    await world.retain({ "UTC quarter": cutMs, "UTC hour": cutMs });
    t.throws(() => questions.queryNow(query), { code: "range-not-aligned" }, "asked anew it cannot be told");
    world.now = START_MS;
    const second = questions.queryNow({ ...query, cursor: first.meta.next_cursor! });
    t.strictSame(second.meta.range, first.meta.range);
    t.equal(second.meta.seq, first.meta.seq);
    t.equal(second.results.length, 1);
  },
);

t.test(
  "AT-65: a further page is not planned anew, wherever the clock has moved its preset since",
  async (t) => {
    const world = await fortyDays();
    const questions = world.questions();
    const query = { date_range: "7d", dimensions: ["time:day"], metrics: ["views"], limit: 3 };
    const first = questions.queryNow({ ...query, cursor: null });
    // Beyond the last year of the calendar.
    world.now = at("2039-01-01T00:00Z");
    t.throws(() => questions.queryNow(query), { code: "invalid-range" }, "asked anew it cannot be told");
    const second = questions.queryNow({ ...query, cursor: first.meta.next_cursor! });
    t.strictSame(second.meta.range, first.meta.range);
    t.equal(second.results.length, 3);
  },
);
