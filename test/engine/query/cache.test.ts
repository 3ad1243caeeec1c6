import fc from "fast-check";
import t from "tap";
import type { QueryResult } from "../../../engine/api.js";
import { HOUR_MS } from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import type { Questions } from "../../../engine/query/index.js";
import { START_MS, fortyDays, stepOf, take } from "./cache-steps.js";
import { at, MAX_LATENESS_MS, World } from "./world.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 4);
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 100);
const DAY_MS = 24 * HOUR_MS;
/** An open range's answer may be so old, ms. */
const OPEN_TTL_MS = 5000;

const QUERIES: readonly Readonly<Record<string, unknown>>[] = [
  { date_range: "today" },
  { date_range: "today", dimensions: ["time:quarter"], metrics: ["views"], fill: "zero" },
  { date_range: "current_hour", filters: [["is", "blog", ["b1", "b9"]]] },
  { date_range: "24h", dimensions: ["time"], include: { total: true } },
  { date_range: "7d", dimensions: ["time:day"], include: { time_labels: true, explain: true } },
  { date_range: "7d", dimensions: ["time:day", "blog"], metrics: ["blogs_total", "new_viewers"] },
  { date_range: "yesterday" },
  { date_range: "yesterday", compare: { mode: "previous_period" }, dimensions: ["time:hour"] },
  { date_range: "last_week", dimensions: ["blog"], limit: 1, include: { other: true } },
  {
    date_range: "4w",
    dimensions: ["time:week"],
    metrics: [["rolling", "viewers", 2], "views"],
    timezone: "UTC",
  },
  { date_range: "30d", dimensions: ["country"], include: { total: true }, timezone: "America/St_Johns" },
  { date_range: "30d", compare: { mode: "year_over_year" }, metrics: ["views"] },
  { date_range: "all", filters: [["not", ["contains", "blog", ["b1"]]]], dimensions: ["blog"] },
  {
    date_range: "12mo",
    dimensions: ["time:month"],
    metrics: [
      ["cumulative", "viewers"],
      ["change", "views"],
    ],
  },
  { date_range: "24h", dimensions: ["time:hour"], metrics: [["rate", "views", "minute"]] },
  { date_range: "yesterday", dimensions: ["time:hour"], metrics: [["rate", "views", "minute"]] },
  { date_range: ["2026-11-20", "2026-11-20"], dimensions: ["blog"], timezone: "Asia/Kathmandu" },
  { date_range: ["2026-10-01", "2026-10-31"], metrics: ["views", "returning_viewers"] },
  {
    date_range: ["2026-11-01", "2026-11-30"],
    dimensions: ["time:day"],
    metrics: ["views"],
    compare: { mode: "custom", date_range: "7d", whole: true },
  },
  // The range grows from day to day, what it is compared with stays.
  {
    date_range: "month",
    dimensions: ["time:day"],
    metrics: ["views"],
    fill: "zero",
    compare: { mode: "custom", date_range: ["2026-10-15", "2026-11-14"], whole: true },
  },
  { date_range: ["2026-11-20T00:00:00Z", "2026-11-20T05:15:00Z"], dimensions: ["time:hour"] },
  { date_range: ["2026-12-01", "2026-12-31"], metrics: ["views", "blogs_total"] },
  {
    date_range: ["2026-11-10", "2026-11-12"],
    metrics: ["views"],
    compare: { mode: "custom", date_range: "today" },
  },
];

type Told =
  | (Pick<QueryResult, "results" | "total" | "other"> & { readonly meta: unknown })
  | { readonly code: string };

/** What an answer says, but for what may be old in one that was kept. */
function tellingOf(run: () => QueryResult): Told {
  try {
    const { results, total, other, meta } = run();
    const { as_of: _1, watermark: _2, seq: _3, explain: _4, sources: _5, ...rest } = meta;
    return { results, ...(total && { total }), ...(other && { other }), meta: rest };
  } catch (error) {
    if (error instanceof TidemarkError) return { code: error.code };
    throw error;
  }
}

/** Everything that was answered so far, by the token of its freshness. */
interface Met {
  readonly versions: Map<string, string>;
  readonly states: Set<string>;
  asked: number;
  refused: number;
}

function checkAsk(
  world: World,
  questions: Questions,
  query: Readonly<Record<string, unknown>>,
  met: Met,
): void {
  const { misses } = questions.cache;
  let answer: QueryResult | undefined;
  const kept = tellingOf(() => (answer = questions.queryNow(query)));
  const fresh = tellingOf(() => world.query(query));
  const told = JSON.stringify(kept);
  const wanted = JSON.stringify(fresh);
  met.asked++;
  if (told !== wanted) throw new Error(`${JSON.stringify(query)}: kept ${told}, fresh ${wanted}`);
  if (answer === undefined) met.refused++;
  else checkFreshness(world, questions, answer, { told, isMiss: questions.cache.misses > misses }, met);
}

function checkFreshness(
  world: World,
  questions: Questions,
  answer: QueryResult,
  { told, isMiss }: { readonly told: string; readonly isMiss: boolean },
  met: Met,
): void {
  const { range, compare_range: compared, as_of } = answer.meta;
  const toMs = Math.max(...[range, ...(compared === undefined ? [] : [compared])].map(([, to]) => at(to)));
  const reached = Math.min(world.now, world.watermarkMs, world.sealedUntil);
  const state = toMs > reached ? "open" : toMs <= world.now - MAX_LATENESS_MS ? "settled" : "sealed";
  const freshness = questions.freshness(answer);
  if (freshness === undefined) {
    if (state !== "open")
      throw new Error(`no freshness of what is ${state}: ${JSON.stringify(answer.query)}`);
    return;
  }
  const known = met.versions.get(freshness.version) ?? told;
  if (known !== told) throw new Error(`one version of two answers: ${known} and ${told}`);
  met.versions.set(freshness.version, told);
  met.states.add(freshness.state);
  if (isMiss && freshness.state !== state) throw new Error(`called ${freshness.state}, is ${state}`);
  // It may have become firmer since, never looser.
  const order = ["open", "sealed", "settled"];
  if (order.indexOf(freshness.state) > order.indexOf(state))
    throw new Error(`called ${freshness.state}, is ${state}`);
  const isOld = world.now - at(as_of) > OPEN_TTL_MS;
  if (at(range[1]) > reached && isOld) throw new Error(`an open range's answer of ${as_of}`);
}

t.test("an answer that was kept is what would be worked out now, at any moment", async (t) => {
  t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_RUNS=${RUNS}`);
  const states = new Set<string>();
  let hits = 0;
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepOf(QUERIES.length), { minLength: 10, maxLength: 60, size: "max" }),
      async (steps) => {
        const world = await fortyDays();
        const questions = world.questions();
        const met: Met = { versions: new Map(), states, asked: 0, refused: 0 };
        for (const each of steps) {
          if (each.kind !== "ask") await take(world, each);
          else for (const n of each.which) checkAsk(world, questions, QUERIES[n]!, met);
        }
        hits += questions.cache.hits;
        asked += met.asked;
      },
    ),
    { numRuns: RUNS, seed: SEED },
  );
  t.comment(`${hits} of ${asked} answers were kept ones`);
  t.ok(hits > 0.2 * asked);
  if (RUNS >= 40) t.strictSame([...states].sort(), ["open", "sealed", "settled"]);
});

/** A world at rest. */
async function quiet(): Promise<World> {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  for (let day = 40; day >= 0; day--) {
    world.add({
      ts: START_MS - day * DAY_MS,
      blog: `b${day % 3}`,
      viewer: `v${day % 7}`,
      created: day % 10 === 0,
    });
  }
  await world.commit(START_MS - 3 * HOUR_MS);
  return world;
}

t.test(
  "while nothing happens every answer but that of an open rate is given again, the same object",
  async (t) => {
    const world = await quiet();
    const questions = world.questions();
    const first = QUERIES.map((query) => questions.queryNow(query));
    t.equal(questions.cache.hits, 0);
    const second = QUERIES.map((query) => questions.queryNow(query));
    const rates = QUERIES.filter(
      ({ date_range, metrics }) => date_range === "24h" && metrics !== undefined,
    ).length;
    t.equal(questions.cache.hits, QUERIES.length - rates);
    for (const [i, answer] of second.entries()) {
      t.strictSame(answer.results, first[i]!.results);
      if (questions.freshness(answer) === undefined) continue;
      t.strictSame(questions.freshness(answer), questions.freshness(first[i]!));
    }
    t.equal(second[0], first[0]);
    t.equal(second[4]!.meta.explain!.cache, "hit");
    t.equal(first[4]!.meta.explain!.cache, "miss");
  },
);

t.test("a late event takes back the answers of its time, and no others", async (t) => {
  const world = await quiet();
  const questions = world.questions();
  const days = Array.from({ length: 20 }, (_, i) => `2026-11-${String(i + 1).padStart(2, "0")}`);
  const ask = (): QueryResult[] =>
    days.map((day) => questions.queryNow({ date_range: [day, day], timezone: "Asia/Kolkata" }));
  const before = ask();
  // 12 November in India, 11 November in UTC.
  world.add({ ts: at("2026-11-11T18:31:00Z"), blog: "b1", viewer: "late" });
  const after = ask();
  t.equal(questions.cache.hits, 19);
  t.strictSame(
    days.filter((_, i) => before[i] !== after[i]),
    ["2026-11-12"],
  );
  t.equal(after[11]!.results[0]!.metrics[0], before[11]!.results[0]!.metrics[0]! + 1);
  t.equal(after[11]!.results[0]!.state, "revised");
  t.not(questions.freshness(after[11]!)!.version, questions.freshness(before[11]!)!.version);
});

t.test(
  "no more is kept than may be; what was asked for last stays, and without room nothing does",
  async (t) => {
    const world = await quiet();
    const questions = world.questions(200_000);
    const ask = (limit: number): QueryResult =>
      questions.queryNow({ date_range: ["2026-10-01", "2026-11-20"], limit });
    for (let limit = 1; limit <= 300; limit++) {
      ask(limit);
      ask(1);
      if (questions.cache.sizeBytes > 200_000) t.fail(`${questions.cache.sizeBytes} bytes`);
    }
    t.equal(questions.cache.hits, 300, "the first is asked for again and again");
    t.ok(
      questions.cache.entries > 10 && questions.cache.entries < 100,
      `${questions.cache.entries} are kept`,
    );
    const none = world.questions(0);
    for (let i = 0; i < 3; i++) none.queryNow({ date_range: "7d" });
    t.strictSame([none.cache.hits, none.cache.entries, none.cache.sizeBytes], [0, 0, 0]);
  },
);

t.test("what is no JSON, or says more than JSON can, is never taken for what was asked before", (t) => {
  const world = new World().add({ ts: START_MS, blog: "b" }, { ts: START_MS, blog: "c", country: "PT" });
  const questions = world.questions();
  const codeOf = (input: unknown): string => {
    try {
      questions.queryNow(input);
      return "answered";
    } catch (error) {
      return error instanceof TidemarkError ? error.code : String(error);
    }
  };
  t.equal(codeOf({ date_range: "all", filters: [["is", "country", [null]]] }), "answered");
  t.equal(codeOf({ date_range: "all", filters: [["is", "country", [undefined]]] }), "invalid-query");
  t.equal(codeOf({ date_range: "all", filters: [["is", "country", [Number.NaN]]] }), "invalid-query");
  t.equal(codeOf({ date_range: ["2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"] }), "answered");
  t.equal(codeOf({ date_range: [new Date("2026-11-20"), new Date("2026-11-21")] }), "invalid-range");
  t.equal(codeOf({ date_range: "all", limit: 5n }), "invalid-query");
  const ring: Record<string, unknown> = { date_range: "all" };
  ring["filters"] = ring;
  t.equal(codeOf(ring), "invalid-query");
  t.end();
});
