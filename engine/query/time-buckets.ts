import {
  DAY_MS,
  HOUR_MS,
  ISO_WEEK_START,
  QUARTER_MS,
  buckets,
  formatInstant,
  type Grain,
  type Zone,
} from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import { MAX_TIME_BUCKETS } from "../limits.js";

/** Auto grain: the longest range, in ms, that is shown by this grain. Local days are up to two hours longer. */
const AUTO: readonly (readonly [Grain, number])[] = [
  ["quarter", 3 * HOUR_MS],
  ["hour", 2 * DAY_MS + 2 * HOUR_MS],
  ["day", 92 * DAY_MS + 2 * HOUR_MS],
  ["month", 5 * 366 * DAY_MS],
];

/** The grain of `time` where none is named: some 12 to 92 rows for every range. */
export function autoGrain(fromMs: number, toMs: number): Grain {
  return AUTO.find(([, upTo]) => toMs - fromMs <= upTo)?.[0] ?? "year";
}

/**
 * The borders of the time buckets of `[fromMs, toMs)`: n buckets are n + 1 numbers, the first and the last cut to
 * the range. Throws `range-too-wide`, and `range-not-aligned` where a border lies within a quarter-hour, as it
 * does when a zone changed its clocks at 00:01 (Canada's east, until 2011), unless `anyInstant` allows for that.
 */
export function timeEdges(
  zone: Zone,
  grain: Grain,
  fromMs: number,
  toMs: number,
  anyInstant = false,
): Float64Array {
  const edges = buckets(zone, grain, fromMs, toMs, ISO_WEEK_START, MAX_TIME_BUCKETS);
  edges[0] = fromMs;
  edges[edges.length - 1] = toMs;
  if (anyInstant) return edges;
  for (const edge of edges) if (edge % QUARTER_MS !== 0) throw notAligned(zone, grain, edge);
  return edges;
}

function notAligned(zone: Zone, grain: Grain, edge: number): TidemarkError {
  return new TidemarkError(
    "range-not-aligned",
    `In ${zone.name} the clocks changed at ${formatInstant(edge, zone)}, within a quarter-hour, so that no stored ` +
      `bucket ends there: ask by day or by quarter instead of by ${grain}, or leave that hour out.`,
    { pointer: "/dimensions", extra: { nearest: ["time:day", "time:quarter"] } },
  );
}

/** Index of the bucket that holds `ms`, which lies in the range. */
export function edgeIndex(edges: Float64Array, ms: number): number {
  let low = 0;
  let high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ms >= edges[middle]!) low = middle;
    else high = middle - 1;
  }
  return low;
}
