/** Random worlds, and questions to ask of them. */
import fc from "fast-check";
import { BASE_METRICS, RATE_UNITS, type FilterInput, type Metric } from "../../../engine/api.js";
import {
  DAY_MS,
  GRAINS,
  HOUR_MS,
  getZone,
  supportedZones,
  type Grain,
  type Zone,
} from "../../../engine/calendar/index.js";
import type { AskedCompare, Question } from "./naive.js";
import { World, type Happening } from "./world.js";

const zones = supportedZones();
const BLOGS = Array.from({ length: 12 }, (_, i) => `blog-${i}`);
const AUTHORS = ["ann", "bob", "…", "\u{1F600}", "\uFFFD", "é"];
const COUNTRIES = ["IN", "US", "NP", "AU", "CL", "LB", "EG", "PT"];
const VIEWERS = Array.from({ length: 30 }, (_, i) => `v${i}`);

/** Of all dimensions, so that many of a filter's values match nothing. */
const VALUES = [null, "nobody", "(other)", ...BLOGS, ...AUTHORS, ...COUNTRIES];
const PARTS = ["b", "log-1", "1", "nn", "é", "N", "\u{1F600}", "(other)", "zzz"];

const SCHEMAS = [
  undefined,
  { rollups: [["blog", "author", "country"]] },
  { rollups: [["blog", "author", "country"], ["country"]] },
  { rollups: [["country", "author", "blog"]] },
  { rollups: [[], ["blog"], ["country", "author"], ["country"]] },
];

const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> =>
  fc.nat(values.length * 5).map((n) => values[n % 5 === 4 ? values.length : n % values.length]);

/** Where in its span an event lies, from 0 to 1. */
const unit = fc.nat(999_999_999).map((n) => n / 1e9);

const happening = fc.record({
  at: unit,
  blog: fc.constantFrom(...BLOGS),
  author: maybe(AUTHORS),
  country: maybe(COUNTRIES),
  viewer: maybe(VIEWERS),
  created: fc.nat(5).map((n) => n === 0),
});

export const worldPlan = fc.record({
  homes: fc.uniqueArray(fc.constantFrom(...zones.filter((name) => name !== "UTC")), { maxLength: 2 }),
  schema: fc.constantFrom(...SCHEMAS),
  maxValues: fc.constantFrom(1_000_000, 1_000_000, 4),
  // 1991 to 2036, for as long as two days to five years.
  startMs: fc.integer({ min: 662_688_000_000, max: 1_900_000_000_000 }),
  days: fc.constantFrom(2, 5, 30, 120, 500, 1800),
  batches: fc.array(fc.array(happening, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 6 }),
  /** After which batches something is sealed, how far, and whether open quarters are written too. */
  commits: fc.array(fc.record({ after: fc.nat(5), until: unit, all: fc.boolean() }), { maxLength: 3 }),
});
type WorldPlan = typeof worldPlan extends fc.Arbitrary<infer T> ? T : never;

const length = fc.nat(9).map((n) => (n === 9 ? 40 : n + 1));
const windowed = fc.constantFrom("views", "viewers", "views_anonymous", "blogs_created");
const base = fc.constantFrom<Metric>(...BASE_METRICS);
const { metric } = fc.letrec<{ inner: Metric; metric: Metric }>((tie) => ({
  inner: fc.oneof({ maxDepth: 1, withCrossShrink: true }, base, tie("metric")),
  metric: fc.oneof(
    base,
    fc.tuple(fc.constant("rolling"), windowed, length),
    fc.tuple(fc.constant("cumulative"), windowed),
    fc.tuple(fc.constant("rate"), tie("inner"), fc.constantFrom(...RATE_UNITS)),
    fc.tuple(fc.constant("moving_average"), tie("inner"), fc.integer({ min: 1, max: 5 })),
    fc.tuple(fc.constant("change"), tie("inner")),
    fc.tuple(fc.constant("ratio"), tie("inner"), tie("inner")),
  ),
}));

const DIMENSIONS = ["blog", "author", "country"];
/** Dimensions by number, of those that the question may filter by. */
type NumberedFilter = readonly ["is" | "contains", string, number, readonly (string | null)[]];
type FilterPlan =
  | NumberedFilter
  | readonly ["and" | "or", readonly FilterPlan[]]
  | readonly ["not", FilterPlan];
const { tree } = fc.letrec<{ tree: FilterPlan }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    fc.tuple(
      fc.constant("is" as const),
      fc.constantFrom("is", "in", "is_not", "not_in"),
      fc.nat(2),
      fc.oneof(
        fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 4 }),
        fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 8, maxLength: 20 }),
        fc.constant(VALUES),
      ),
    ),
    fc.tuple(
      fc.constant("contains" as const),
      fc.constantFrom("contains", "contains_not"),
      fc.nat(2),
      fc.uniqueArray(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 3 }),
    ),
    fc.tuple(
      fc.constantFrom("and" as const, "or" as const),
      fc.array(tie("tree"), { minLength: 1, maxLength: 3 }),
    ),
    fc.tuple(fc.constant("not" as const), tie("tree")),
  ),
}));

const PRESETS = [
  "current_hour today day yesterday week last_week month last_month year last_year all 1h 24h 37h 1d 7d 28d 91d 1w 2w",
  "5w 1mo 6mo 12mo 1y 2y",
]
  .join(" ")
  .split(" ");

export const questionPlan = fc.record({
  zone: fc.nat(1_000_000),
  preset: fc.option(fc.constantFrom(...PRESETS), { freq: 2 }),
  includeToday: fc.nat(5).map((n) => n > 0),
  align: fc.constantFrom(...GRAINS),
  at: fc.integer({ min: -100, max: 1100 }).map((n) => n / 1000),
  length: fc.nat(39).map((n) => (n < 36 ? (n % 12) + 1 : n)),
  grain: fc.constantFrom(null, null, ...GRAINS),
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
  filterDims: fc.constantFrom<readonly string[]>(["blog"], ["country"], ["blog", "country"], DIMENSIONS),
  filters: fc.array(tree, { maxLength: 2 }),
  metrics: fc.array(metric, { minLength: 1, maxLength: 4 }),
  compare: fc.option(
    fc.record({
      mode: fc.constantFrom("previous_period" as const, "year_over_year" as const, "custom" as const),
      matchWeekday: fc.boolean(),
      whole: fc.boolean(),
      at: fc.integer({ min: -100, max: 1100 }).map((n) => n / 1000),
      length: fc.integer({ min: 1, max: 10 }),
    }),
    { freq: 2 },
  ),
  order: fc.array(fc.tuple(fc.nat(20), fc.constantFrom("asc" as const, "desc" as const)), { maxLength: 2 }),
  limit: fc.constantFrom(1, 3, 5, 100_000, 100_000),
  fill: fc.boolean(),
  total: fc.boolean(),
  other: fc.boolean(),
  /** What the clock shows when it is asked; null: the time of the last event. */
  now: fc.option(
    fc.integer({ min: -50, max: 1050 }).map((n) => n / 1000),
    { freq: 3 },
  ),
});
type QuestionPlan = typeof questionPlan extends fc.Arbitrary<infer T> ? T : never;

export async function buildWorld(plan: WorldPlan): Promise<World> {
  const world = new World({
    homeZones: plan.homes,
    maxValues: plan.maxValues,
    ...(plan.schema && { schema: plan.schema }),
  });
  for (const [i, batch] of plan.batches.entries()) {
    world.add(...batch.map(({ at, ...rest }): Happening => ({ ts: timeIn(plan, at), ...rest })));
    for (const { after, until, all } of plan.commits)
      if (after === i) await world.commit(timeIn(plan, until), all);
  }
  return world;
}

export function timeIn({ startMs, days }: WorldPlan, at: number): number {
  return startMs + Math.floor(at * days * DAY_MS);
}

export function makeQuestion(
  plan: QuestionPlan,
  world: WorldPlan,
  firstMs: number,
  lastMs: number,
): Question {
  // A quarter of the questions is asked in a home zone.
  const names = plan.zone % 4 === 0 ? ["UTC", ...world.homes] : zones;
  const zone = getZone(names[Math.floor(plan.zone / 4) % names.length]!);
  const now = plan.now === null ? lastMs : timeIn(world, plan.now);
  const range =
    plan.preset === null
      ? alignedRange(zone, plan, timeIn(world, plan.at))
      : presetRange(plan.preset, zone, now, plan.includeToday, firstMs);
  const isMoving = plan.metrics.some((each) => typeof each !== "string" && each[0] !== "ratio");
  const compare =
    plan.compare === null ? undefined : comparison(plan.compare, zone, plan, timeIn(world, plan.compare.at));
  const most = isMoving ? 16 : 48;
  // What looks back needs a whole first bucket.
  const isCut = isMoving && plan.grain !== null && zone.startOf(plan.grain, range.fromMs) !== range.fromMs;
  const fitting = coarseEnough(zone, isCut ? plan.align : plan.grain, range, most);
  const grain = compare?.range ? coarseEnough(zone, fitting, compare.range, most) : fitting;
  const columns = [...(grain === null ? [] : ["time"]), ...plan.dims];
  if (plan.timeLast) columns.reverse();
  const metrics = metricsOf(plan, grain);
  const keys = [...columns, ...metrics];
  const order = plan.order.map(([n, direction]) => [keys[n % keys.length]!, direction] as const);
  return {
    zone,
    ...range,
    preset: plan.preset ?? undefined,
    includeToday: plan.preset === null || plan.includeToday,
    grain,
    columns,
    filters: plan.filters.map((filter) => named(filter, plan.filterDims)),
    metrics,
    compare,
    order: order.filter(([name], i) => order.findIndex(([other]) => other === name) === i),
    limit: plan.limit,
    fill: plan.fill && columns.length === 1 && grain !== null,
    total: plan.total,
    other: plan.other && grain === null,
    now,
  };
}

function alignedRange(
  zone: Zone,
  { align, length }: Pick<QuestionPlan, "align" | "length">,
  anchorMs: number,
): { fromMs: number; toMs: number } {
  const fromMs = zone.startOf(align, anchorMs);
  let toMs = fromMs;
  const count = align === "year" || align === "month" ? (length % 4) + 1 : length;
  for (let i = 0; i < count; i++) toMs = zone.endOf(align, toMs);
  return { fromMs, toMs };
}

/** Where a preset begins and ends, by steps from one day, week or month to the next. */
function presetRange(
  preset: string,
  zone: Zone,
  nowMs: number,
  includeToday: boolean,
  firstMs: number,
): { fromMs: number; toMs: number } {
  const at = includeToday ? nowMs : zone.startOf("day", nowMs) - 1;
  const [, digits, unit] = /^(?:(\d+)(\w+))?/.exec(preset)!;
  if (unit === "h") {
    const toMs = zone.endOf("hour", at);
    return { fromMs: zone.startOf("hour", toMs - Number(digits) * HOUR_MS), toMs };
  }
  if (preset === "current_hour") return { fromMs: zone.startOf("hour", at), toMs: zone.endOf("hour", at) };
  const toMs = zone.endOf("day", at);
  if (preset === "all") return { fromMs: zone.startOf("day", Math.min(firstMs, at)), toMs };
  if (preset === "yesterday" || preset.startsWith("last_")) {
    const grain = preset === "yesterday" ? "day" : (preset.slice("last_".length) as Grain);
    const endMs = zone.startOf(grain, at);
    return { fromMs: zone.startOf(grain, endMs - 1), toMs: endMs };
  }
  const word = preset === "today" ? "day" : (preset as Grain);
  const grain = unit === undefined ? word : ({ d: "day", w: "week", mo: "month", y: "year" } as const)[unit]!;
  let fromMs = zone.startOf(grain, at);
  for (let i = 1; i < Number(digits ?? 1); i++) fromMs = zone.startOf(grain, fromMs - 1);
  return { fromMs, toMs };
}

/** So that the naive answer, which goes through all buckets, stays affordable. */
function coarseEnough(
  zone: Zone,
  grain: Grain | null,
  { fromMs, toMs }: { fromMs: number; toMs: number },
  most: number,
): Grain | null {
  if (grain === null) return null;
  let chosen = grain;
  while (
    (toMs - fromMs) / (zone.endOf(chosen, fromMs) - zone.startOf(chosen, fromMs)) > most &&
    chosen !== "year"
  ) {
    chosen = GRAINS[GRAINS.indexOf(chosen) + 1]!;
  }
  return chosen;
}

/** Functions along time need time; each metric is asked for once. */
function metricsOf({ metrics }: QuestionPlan, grain: Grain | null): Metric[] {
  const needsTime = (each: Metric): boolean =>
    typeof each !== "string" && (each[0] !== "ratio" || needsTime(each[1]) || needsTime(each[2]));
  const known = new Map(metrics.map((each) => [JSON.stringify(each), each]));
  const chosen = [...known.values()].filter((each) => grain !== null || !needsTime(each));
  return chosen.length === 0 ? ["views"] : chosen;
}

function named(plan: FilterPlan, dimensions: readonly string[]): FilterInput {
  switch (plan[0]) {
    case "and":
    case "or":
      return [plan[0], plan[1].map((each) => named(each, dimensions))];
    case "not":
      return ["not", named(plan[1], dimensions)];
    default:
      return [plan[1], dimensions[plan[2] % dimensions.length]!, plan[3]] as unknown as FilterInput;
  }
}

function comparison(
  { mode, matchWeekday, whole, length }: NonNullable<QuestionPlan["compare"]>,
  zone: Zone,
  { align }: QuestionPlan,
  atMs: number,
): AskedCompare {
  const isCustom = mode === "custom";
  const range = isCustom ? alignedRange(zone, { align, length }, atMs) : undefined;
  return { mode, range, matchWeekday: matchWeekday && !isCustom, whole };
}
