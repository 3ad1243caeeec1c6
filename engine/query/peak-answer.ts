import type { PeakResult } from "../api.js";
import type { Buckets } from "../hot/buckets.js";
import { compute, prepareQuery, type Computed, type Plans, type PreparedQuery } from "./execute.js";
import { HOURS, WEEKDAYS, peak } from "./peak.js";
import { checkMembers, parseLimit, type ParseContext } from "./parse.js";
import type { Moment } from "./types.js";

const MEMBERS = ["date_range", "timezone", "filters", "limit"] as const;
const DEFAULT_TOP = 3;

/** A question for peak times that was read. */
export interface PreparedPeak {
  /** Views by hour. */
  readonly prepared: PreparedQuery;
  readonly top: number;
}

/** Throws what a query by hour throws. */
export function preparePeak(input: unknown, context: ParseContext): PreparedPeak {
  checkMembers(input, MEMBERS, "", "A question for peak times");
  const { limit, ...rest }: Partial<Record<(typeof MEMBERS)[number], unknown>> = input;
  const top = parseLimit(limit, DEFAULT_TOP, WEEKDAYS * HOURS);
  return { prepared: prepareQuery({ ...rest, dimensions: ["time:hour"], metrics: ["views"] }, context), top };
}

/** Views by weekday and hour of the zone's clock. Throws what a query by hour throws. */
export function peakOf(
  { prepared, top }: PreparedPeak,
  buckets: Buckets,
  moment: Moment,
  plans: Plans,
): PeakResult {
  const computed = compute(prepared, buckets, moment, plans);
  const { meta, query } = computed.page(0, 1);
  const { zone } = prepared.query;
  const found = peak(zone, computed.frame.edges, viewsByTime(computed), moment.now, top);
  const { date_range, timezone, filters } = query;
  return {
    matrix: found.matrix,
    hours_counted: found.daysCounted,
    top: found.top.map(({ weekday, hour, mean, share }) => ({ weekday, hour, views: mean, share })),
    now: found.now,
    meta: { ...meta, rows_left_off: 0 },
    query: { date_range, timezone, filters, limit: top },
  };
}

function viewsByTime({ frame }: Computed): Float64Array {
  const views = new Float64Array(frame.times);
  for (let cell = 0; cell < frame.table.count; cell++) views[frame.timeOf(cell)]! += frame.table.views[cell]!;
  return views;
}
