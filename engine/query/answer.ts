import type {
  CompareInput,
  CoverPart,
  Explanation,
  Metric,
  QueryMeta,
  QueryResult,
  QueryRow,
  RowValues,
} from "../api.js";
import { utcIso, utcIsoOrNull } from "../calendar/index.js";
import type { Schema } from "../schema.js";
import { TIERS } from "./aggregation.js";
import type { Run } from "./cover.js";
import type { Explain, Plans } from "./execute.js";
import { MISSING_WARNING, type MissingRange } from "./incomplete.js";
import type { Plan } from "./plan.js";
import type { Compare, Filter, Moment, ParsedQuery } from "./types.js";

export interface Findings {
  readonly schema: Schema;
  readonly query: ParsedQuery;
  readonly plans: Plans;
  readonly rows: readonly QueryRow[];
  readonly leftOff: number;
  readonly total: QueryRow | undefined;
  readonly other: RowValues | undefined;
  readonly warnings: readonly string[];
  readonly missing: readonly MissingRange[];
  /** Blocks read, by tier. */
  readonly sources: ReadonlyMap<string, number>;
  readonly rollup: string;
  readonly moment: Moment;
  readonly position: number;
  readonly nextCursor: string | null | undefined;
  readonly explain: Explain | undefined;
}

/** The answer as it goes over the wire. */
export function answer(found: Findings): QueryResult {
  const { rows, total, other } = found;
  return {
    results: rows,
    ...(total === undefined ? {} : { total: withoutDimensions(total) }),
    ...(other === undefined ? {} : { other }),
    meta: metaOf(found),
    query: echo(found),
  };
}

function metaOf(found: Findings): QueryMeta {
  const { query, plans, moment } = found;
  const { main, other } = plans;
  const byTime = main.grain !== null;
  const { time_labels: labels, explain } = query.include;
  return {
    range: main.range,
    granularity: main.grain,
    ...(labels && byTime ? { time_labels: main.labels() } : {}),
    ...(other === undefined ? {} : { compare_range: other.plan.range }),
    ...(other !== undefined && labels && byTime ? { compare_labels: compareLabels(other) } : {}),
    watermark: utcIsoOrNull(moment.watermarkMs),
    as_of: utcIso(moment.now),
    seq: found.position,
    non_additive: query.metrics.filter((metric) => isNonAdditive(metric, byTime)),
    rows_left_off: found.leftOff,
    ...(found.nextCursor === undefined ? {} : { next_cursor: found.nextCursor }),
    ...(explain ? { sources: listSources(found.sources) } : {}),
    ...(explain && found.explain !== undefined ? { explain: explanation(found, found.explain()) } : {}),
    ...(found.missing.length === 0 ? {} : { incomplete: found.missing }),
    warnings: found.missing.length === 0 ? found.warnings : [...found.warnings, MISSING_WARNING],
  };
}

function compareLabels({ plan, counterparts }: NonNullable<Plans["other"]>): (string | null)[] {
  return Array.from(counterparts, (time) => (time < 0 ? null : plan.label(time)));
}

function withoutDimensions({
  metrics,
  error,
  exact,
  state,
  compare,
}: QueryRow): Omit<QueryRow, "dimensions"> {
  return { metrics, error, exact, state, ...(compare === undefined ? {} : { compare }) };
}

/** A viewer may be in many rows; a blog that exists today existed yesterday too; of functions nothing adds up. */
function isNonAdditive(metric: Metric, byTime: boolean): boolean {
  switch (metric) {
    case "views":
    case "views_anonymous":
    case "blogs_created":
      return false;
    case "blogs_total":
      return byTime;
    default:
      return true;
  }
}

function listSources(sources: Findings["sources"]): { tier: string; buckets: number }[] {
  return [...TIERS, "raw"].flatMap((tier) => {
    const buckets = sources.get(tier);
    return buckets === undefined ? [] : [{ tier, buckets }];
  });
}

function explanation({ rollup, plans }: Findings, given: Pick<Explanation, "cache" | "ms">): Explanation {
  const runs = [plans.main, plans.other?.plan].flatMap((plan: Plan | undefined) => plan?.covered() ?? []);
  return { rollup, cover: runs.map(coverPart), ...given };
}

function coverPart({ calendar, grain, fromMs, toMs, count }: Run): CoverPart {
  return { calendar, grain, from: utcIso(fromMs), to: utcIso(toMs), buckets: count };
}

/** The query with its defaults filled in and its dates resolved: itself a query, with the same answer. */
function echo({ query, plans, schema }: Findings): Record<string, unknown> {
  const names = query.columns.map((column) =>
    column === "time" ? `time:${plans.main.grain}` : schema.dimensions[column]!,
  );
  const { other } = plans;
  return {
    date_range: plans.main.range,
    timezone: query.zone.name,
    metrics: query.metrics,
    dimensions: names,
    filters: query.filters.map((filter) => filterInput(filter, schema)),
    ...(query.compare === undefined ? {} : { compare: compareInput(query.compare, other) }),
    order_by: query.order.map(({ by, descending }) => [
      "metric" in by ? query.metrics[by.metric]! : names[by.column],
      descending ? "desc" : "asc",
    ]),
    limit: query.limit,
    fill: query.fill,
    source: query.source,
    include: query.include,
  };
}

function compareInput({ mode, matchWeekday, whole }: Compare, other: Plans["other"]): CompareInput {
  if (mode === "custom") return { mode, date_range: other!.whole, whole };
  return { mode, match_day_of_week: matchWeekday, whole };
}

export function filterInput(filter: Filter, schema: Schema): unknown[] {
  switch (filter.kind) {
    case "is":
    case "contains":
      return [filter.kind, schema.dimensions[filter.dimension], filter.values];
    case "not":
      return ["not", filterInput(filter.filter, schema)];
    default:
      return [filter.kind, filter.filters.map((each) => filterInput(each, schema))];
  }
}
