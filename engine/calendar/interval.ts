import { TidemarkError } from "../errors.js";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  GRAINS,
  HOUR_MS,
  ISO_WEEK_START,
  QUARTER_MS,
  type Grain,
} from "./grain.js";
import { utcIso } from "./label.js";
import type { Zone } from "./zone.js";

/** A year of quarters and a bit: what one answer may reasonably hold. */
export const MAX_BUCKETS = 40_000;

/** Local days of the calendar stretch beyond it in UTC by their offset: by a day, generously. */
const FIRST_MS = CALENDAR_START_MS - DAY_MS;
const LAST_MS = CALENDAR_END_MS + DAY_MS;

/** The usual lengths, which guess how much room is needed. */
const USUAL_MS: Readonly<Record<Grain, number>> = {
  quarter: QUARTER_MS,
  hour: HOUR_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 30 * DAY_MS,
  year: 365 * DAY_MS,
};

/**
 * Starts of the consecutive buckets that cover `[fromMs, toMs)`, with the end of the last appended: n buckets are
 * n + 1 numbers, ascending, the first ≤ `fromMs`, the last ≥ `toMs`. An empty range has no bucket (one number).
 * Throws "invalid-range" for an inverted range or one outside the calendar, "range-too-wide" beyond `limit`.
 */
export function buckets(
  zone: Zone,
  grain: Grain,
  fromMs: number,
  toMs: number,
  weekStart: number = ISO_WEEK_START,
  limit: number = MAX_BUCKETS,
): Float64Array {
  checkRange(fromMs, toMs);
  const expected = Math.ceil((toMs - fromMs) / USUAL_MS[grain]) + 16;
  let starts = new Float64Array(Math.min(expected, limit) + 1);
  let count = 0;
  let start = zone.startOf(grain, fromMs, weekStart);
  const untilMs = fromMs < toMs ? toMs : start;
  while (start < untilMs) {
    if (count === limit) throw tooWide(grain, limit);
    if (count + 1 === starts.length) starts = grown(starts);
    starts[count++] = start;
    start = zone.endOf(grain, start, weekStart);
  }
  starts[count] = start;
  return starts.slice(0, count + 1);
}

function checkRange(fromMs: number, toMs: number): void {
  if (!(fromMs <= toMs))
    throw new TidemarkError("invalid-range", "The range ends before it begins: give from ≤ to.");
  if (fromMs < FIRST_MS || toMs > LAST_MS)
    throw new TidemarkError(
      "invalid-range",
      `Times are served from ${utcIso(CALENDAR_START_MS)} to ${utcIso(CALENDAR_END_MS)}.`,
    );
}

function tooWide(grain: Grain, limit: number): TidemarkError {
  const coarser = GRAINS[GRAINS.indexOf(grain) + 1];
  const advice =
    coarser === undefined ? "ask for a shorter range" : `ask for a shorter range or by ${coarser}`;
  return new TidemarkError(
    "range-too-wide",
    `The range has more than ${limit} rows by ${grain}: ${advice}.`,
    {
      extra: coarser === undefined ? { limit } : { limit, nearest: coarser },
    },
  );
}

/** Zones that cut many hours in two have more buckets than usual. */
function grown(starts: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(starts.length * 2);
  larger.set(starts);
  return larger;
}
