import fc from "fast-check";
import t from "tap";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  GRAINS,
  QUARTER_MS,
  getZone,
  supportedZones,
  type Grain,
  type Zone,
} from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import type { QueryResult, QueryRow } from "../../../engine/api.js";
import { naiveRows, toQuery, type NaiveRow, type Question } from "./naive.js";
import { World, type Happening } from "./world.js";

const long = process.env["TIDEMARK_LONG"] === "1";
const zones = supportedZones();
const WORLDS = long ? 1000 : 80;
const QUERIES = 40;

const BLOGS = Array.from({ length: 12 }, (_, i) => `blog-${i}`);
const AUTHORS = ["ann", "bob", "…", "\u{1F600}", "\uFFFD", "é"];
const COUNTRIES = ["IN", "US", "NP", "AU", "CL", "LB", "EG", "PT"];
const VIEWERS = Array.from({ length: 40 }, (_, i) => `v${i}`);
const METRICS = ["views", "viewers", "views_anonymous", "blogs_created", "blogs_total", "views_per_viewer"];

/** Of all dimensions, so that many of a filter's values match nothing. */
const VALUES = [null, "nobody", "(other)", ...BLOGS, ...AUTHORS, ...COUNTRIES];

const SCHEMAS = [
  undefined,
  { rollups: [["blog", "author", "country"]] },
  { rollups: [[], ["blog"], ["country", "author"], ["country"]] },
];

const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...values) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );

/** Where in its span an event lies, from 0 to 1. */
const unit = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

const happening = fc.record({
  at: unit,
  blog: fc.constantFrom(...BLOGS),
  author: maybe(AUTHORS),
  country: maybe(COUNTRIES),
  viewer: maybe(VIEWERS),
  created: fc.nat(5).map((n) => n === 0),
});

const worldPlan = fc.record({
  homes: fc.uniqueArray(fc.constantFrom(...zones.filter((name) => name !== "UTC")), { maxLength: 2 }),
  schema: fc.constantFrom(...SCHEMAS),
  maxValues: fc.constantFrom(1_000_000, 1_000_000, 4),
  // 1991 to 2036, for as long as two days to five years.
  startMs: fc.integer({ min: 662_688_000_000, max: 1_900_000_000_000 }),
  days: fc.constantFrom(2, 5, 30, 120, 500, 1800),
  batches: fc.array(fc.array(happening, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 }),
  /** After which batches something is sealed, how far, and whether open quarters are written too. */
  commits: fc.array(fc.record({ after: fc.nat(8), until: unit, all: fc.boolean() }), { maxLength: 4 }),
});
type WorldPlan = typeof worldPlan extends fc.Arbitrary<infer T> ? T : never;

const questionPlan = fc.record({
  zone: fc.nat(1_000_000),
  align: fc.constantFrom(...GRAINS),
  at: fc.double({ min: -0.1, max: 1.1, noNaN: true }),
  length: fc.integer({ min: 1, max: 60 }),
  grain: fc.constantFrom(null, ...GRAINS),
  timeLast: fc.boolean(),
  dims: fc.constantFrom<readonly string[]>(
    [],
    [],
    ["blog"],
    ["author"],
    ["country"],
    ["blog", "country"],
    ["country", "author"],
  ),
  filters: fc.array(
    fc.tuple(
      fc.constantFrom("blog", "author", "country"),
      fc.oneof(
        fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 3 }),
        fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 20 }),
        fc.constant(VALUES),
      ),
    ),
    { maxLength: 2 },
  ),
  metrics: fc.uniqueArray(fc.constantFrom(...METRICS), { minLength: 1, maxLength: 6 }),
  order: fc.array(fc.tuple(fc.nat(20), fc.constantFrom("asc" as const, "desc" as const)), { maxLength: 2 }),
  limit: fc.constantFrom(1, 3, 10, 100_000, 100_000),
  fill: fc.boolean(),
});
type QuestionPlan = typeof questionPlan extends fc.Arbitrary<infer T> ? T : never;

async function buildWorld(plan: WorldPlan): Promise<World> {
  const world = new World({
    homeZones: plan.homes,
    maxValues: plan.maxValues,
    ...(plan.schema && { schema: plan.schema }),
  });
  const spanMs = plan.days * 86_400_000;
  const timeOf = (at: number): number => plan.startMs + Math.floor(at * spanMs);
  for (const [i, batch] of plan.batches.entries()) {
    world.add(...batch.map(({ at, ...rest }): Happening => ({ ts: timeOf(at), ...rest })));
    for (const { after, until, all } of plan.commits) if (after === i) await world.commit(timeOf(until), all);
  }
  return world;
}

function makeQuestion(plan: QuestionPlan, startMs: number, days: number): Question {
  // A third of the questions is asked in one of few zones, so that home zones are met.
  const zone = getZone(zones[plan.zone % zones.length]!);
  const anchor = startMs + Math.floor(plan.at * days * 86_400_000);
  const fromMs = zone.startOf(plan.align, anchor);
  let toMs = fromMs;
  const length = plan.align === "year" || plan.align === "month" ? (plan.length % 4) + 1 : plan.length;
  for (let i = 0; i < length; i++) toMs = zone.endOf(plan.align, toMs);
  const grain = coarseEnough(zone, plan.grain, fromMs, toMs);
  const columns = [...(grain === null ? [] : ["time"]), ...plan.dims];
  if (plan.timeLast) columns.reverse();
  const names = [...columns, ...plan.metrics];
  const order = plan.order.map(([n, direction]) => [names[n % names.length]!, direction] as const);
  const { metrics, limit } = plan;
  return {
    zone,
    fromMs,
    toMs,
    grain,
    columns,
    filters: plan.filters,
    metrics,
    order: order.filter(([name], i) => order.findIndex(([other]) => other === name) === i),
    limit,
    fill: plan.fill && columns.length === 1 && grain !== null,
  };
}

/** So that the naive answer, which goes through all buckets, stays affordable. */
function coarseEnough(zone: Zone, grain: Grain | null, fromMs: number, toMs: number): Grain | null {
  if (grain === null) return null;
  let chosen = grain;
  while ((toMs - fromMs) / (zone.endOf(chosen, fromMs) - zone.startOf(chosen, fromMs)) > 300) {
    chosen = GRAINS[GRAINS.indexOf(chosen) + 1]!;
  }
  return chosen;
}

/** Why the engine must refuse the question, if it must. */
function refusal(world: World, question: Question): string | undefined {
  const { zone, grain, fromMs, toMs, columns, filters } = question;
  if (fromMs % QUARTER_MS !== 0 || toMs % QUARTER_MS !== 0) return "range-not-aligned";
  // Days that touch the calendar at either end may stretch beyond it.
  if (fromMs < CALENDAR_START_MS - DAY_MS || toMs > CALENDAR_END_MS + DAY_MS) return "invalid-range";
  const dims = new Set([...columns.filter((name) => name !== "time"), ...filters.map(([name]) => name)]);
  const covered = world.schema.rollups.some((rollup) =>
    [...dims].every((name) => rollup.dims.includes(world.schema.dimensions.indexOf(name))),
  );
  if (!covered) return "dimension-set-not-materialised";
  if (grain !== "hour") return undefined;
  for (let at = fromMs; at < toMs; at = zone.endOf(grain, at))
    if (at % QUARTER_MS !== 0) return "range-not-aligned";
  return undefined;
}

function checkAnswer(world: World, question: Question, result: QueryResult): void {
  const expected = naiveRows(world, question);
  const rows = expected.slice(0, question.limit);
  same(
    result.results.map(({ dimensions, metrics }) => ({ dimensions, metrics })),
    rows.map(({ dimensions, metrics }) => ({ dimensions, metrics })),
  );
  same(result.meta.rows_left_off, expected.length - rows.length);
  result.results.forEach((row, i) => checkRow(world, question, row, rows[i]!));
  const [total] = naiveRows(world, { ...question, columns: [], grain: null, fill: false });
  same(result.total!.metrics, total!.metrics);
  checkState(world, question, result.total!.state, { fromMs: question.fromMs, endMs: question.toMs });
}

function checkRow(world: World, question: Question, row: QueryRow, naive: NaiveRow): void {
  // Fewer than 1,024 viewers are counted exactly.
  same(row.error.every((error) => error === 0) && row.exact.every(Boolean), true);
  const bucket = question.grain === null ? question.fromMs : naive.time;
  checkState(world, question, row.state, { fromMs: bucket, endMs: naive.endMs });
}

function checkState(
  world: World,
  _question: Question,
  state: string,
  { fromMs, endMs }: { fromMs: number; endMs: number },
): void {
  if (endMs > world.now || endMs > world.watermarkMs) same(state, "partial");
  else if (endMs > world.sealedUntil) same(state, "provisional");
  else {
    const isLate = world.late.some(({ ts }) => ts >= fromMs && ts < endMs);
    // A bucket of a coarse grain may have been made after the quarter was changed: then it is as it was sealed.
    if (!isLate) same(state, "final");
    else same(["final", "revised"].includes(state), true);
    const waits = [...world.buckets.deltas(fromMs, endMs)].some(
      ([quarterMs]) => quarterMs < world.sealedUntil,
    );
    if (waits) same(state, "revised");
  }
}

function same(found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) === JSON.stringify(wanted)) return;
  throw new Error(
    `found ${JSON.stringify(found)?.slice(0, 2000)}, wanted ${JSON.stringify(wanted)?.slice(0, 2000)}`,
  );
}

function check(world: World, question: Question, tiers: Set<string>): void {
  const code = refusal(world, question);
  if (code !== undefined) {
    same(
      codeOf(() => world.query(toQuery(question))),
      code,
    );
    return;
  }
  const result = world.query(toQuery(question));
  checkAnswer(world, question, result);
  same(world.query(result.query).results, result.results);
  for (const { tier } of result.meta.sources!) tiers.add(tier);
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "answered";
  } catch (error) {
    return error instanceof TidemarkError ? error.code : String(error);
  }
}

t.test("any query over any state gives what going through all events one by one gives", async (t) => {
  const tiers = new Set<string>();
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(
      worldPlan,
      fc.array(questionPlan, { minLength: QUERIES, maxLength: QUERIES }),
      async (plan, asks) => {
        const world = await buildWorld(plan);
        const questions = asks.map((each) => makeQuestion(each, plan.startMs, plan.days));
        // A part is asked while a commit is under way, whose deltas are neither in the store nor open.
        const split = plan.days % 4 === 0 ? QUERIES / 2 : QUERIES;
        for (const question of questions.slice(0, split)) check(world, question, tiers);
        const sealing = world.commit(plan.startMs + plan.days * 43_200_000, true);
        for (const question of questions.slice(split)) check(world, question, tiers);
        await sealing;
        for (const question of questions.slice(split, split + 5)) check(world, question, tiers);
        answered += questions.filter((question) => refusal(world, question) === undefined).length;
      },
    ),
    { numRuns: WORLDS },
  );
  t.ok(answered >= 2000 * (WORLDS / 80), `${answered} queries were answered`);
  t.strictSame([...tiers].sort(), [...GRAINS, "hot"].sort(), "cells came from every grain and from memory");
});
