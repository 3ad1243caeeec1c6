import type { Metric, QueryResult, QueryRow } from "../api.js";
import { utcIso, utcIsoOrNull } from "../calendar/index.js";
import { TIERS } from "./aggregation.js";
import { MISSING_WARNING, type MissingRange } from "./incomplete.js";
import type { Page } from "./rows.js";
import type { Plan } from "./plan.js";
import type { Schema } from "../schema.js";
import type { Moment, ParsedQuery } from "./types.js";

export interface Findings {
  readonly schema: Schema;
  readonly query: ParsedQuery;
  readonly plan: Plan;
  readonly page: Page;
  readonly total: QueryRow | undefined;
  readonly warnings: readonly string[];
  readonly missing: readonly MissingRange[];
  /** Blocks read, by tier. */
  readonly sources: ReadonlyMap<string, number>;
  readonly moment: Moment;
  readonly position: number;
}

/** The answer as it goes over the wire. */
export function answer(found: Findings): QueryResult {
  const { query, plan, page, total, moment } = found;
  return {
    results: page.rows,
    ...(total === undefined ? {} : { total: withoutDimensions(total) }),
    meta: {
      range: plan.range,
      granularity: plan.grain,
      ...(query.include.time_labels && plan.grain !== null ? { time_labels: plan.labels() } : {}),
      watermark: utcIsoOrNull(moment.watermarkMs),
      as_of: utcIso(moment.now),
      seq: found.position,
      non_additive: query.metrics.filter((metric) => isNonAdditive(metric, plan.grain !== null)),
      rows_left_off: page.leftOff,
      ...(query.include.explain ? { sources: listSources(found.sources) } : {}),
      ...(found.missing.length === 0 ? {} : { incomplete: found.missing }),
      warnings: found.missing.length === 0 ? found.warnings : [...found.warnings, MISSING_WARNING],
    },
    query: echo(found),
  };
}

function withoutDimensions({ metrics, error, exact, state }: QueryRow): Omit<QueryRow, "dimensions"> {
  return { metrics, error, exact, state };
}

/** A viewer may be in many rows; a blog that exists today existed yesterday too. */
function isNonAdditive(metric: Metric, byTime: boolean): boolean {
  return metric === "viewers" || metric === "views_per_viewer" || (metric === "blogs_total" && byTime);
}

function listSources(sources: Findings["sources"]): { tier: string; buckets: number }[] {
  return TIERS.flatMap((tier) => {
    const buckets = sources.get(tier);
    return buckets === undefined ? [] : [{ tier, buckets }];
  });
}

/** The query with its defaults filled in and its dates resolved: itself a query, with the same answer. */
function echo({ query, plan, schema }: Findings): Record<string, unknown> {
  const names = query.columns.map((column) =>
    column === "time" ? `time:${plan.grain}` : schema.dimensions[column]!,
  );
  return {
    date_range: plan.range,
    timezone: query.zone.name,
    metrics: query.metrics,
    dimensions: names,
    filters: query.filters.map(({ dimension, values }) => ["is", schema.dimensions[dimension], values]),
    order_by: query.order.map(({ by, descending }) => [
      "metric" in by ? by.metric : names[by.column],
      descending ? "desc" : "asc",
    ]),
    limit: query.limit,
    fill: query.fill,
    include: query.include,
  };
}
