/**
 * With which range a range is compared, and bucket by bucket with what. A comparison is a *shift* of the asked range:
 * by calendar months, by local days, or by elapsed time. All ranges are half-open, in UTC ms, on quarter-hours.
 */
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  HOUR_MS,
  QUARTER_MS,
  addMonths,
  civilFromDays,
  daysFromCivil,
  utcIso,
  type Grain,
  type Zone,
} from "../calendar/index.js";
import { invalidRange } from "./problem.js";
import { isServed } from "./range.js";
import { edgeIndex } from "./time-buckets.js";

export interface Range {
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

/** `custom` names the other range; the other two modes work it out. */
export type CompareMode =
  | { readonly mode: "previous_period" | "year_over_year"; readonly matchWeekday: boolean }
  | { readonly mode: "custom"; readonly range: Range };

/** From the asked range to its comparison; counts are negative where that lies before it. */
type Shift =
  | { readonly by: "months"; readonly count: number }
  | { readonly by: "days"; readonly count: number }
  | { readonly by: "elapsed"; readonly ms: number };

/** The other range. It is empty (`fromMs === toMs`) where nothing corresponds: the asked one has not begun. */
export interface Comparison extends Range {
  /** Where it would end if the asked range were over, ms. */
  readonly wholeToMs: number;
  readonly shift: Shift;
  /** Local day on which the asked range begins, as its wall clock shows it. */
  readonly firstDay: number;
  /** Buckets correspond by their place, not by their dates. */
  readonly byIndex: boolean;
}

const DAYS_PER_WEEK = 7;
/** 52 weeks. */
const YEAR_OF_WEEKDAYS = 364;

/**
 * The range to compare `asked` with:
 * - `previous_period` is what lies directly before: as many calendar months of the zone where the range is whole
 *   months, as many local days where it is whole days, otherwise as much elapsed time.
 * - `year_over_year` has the same dates: the same months where the range is whole months (all 29 days of February 2024
 *   for February 2025), the same first and last day where it is whole days, otherwise the same wall time at both ends.
 *   29 February becomes the 28th in years that have none.
 * - `matchWeekday` moves by local days only, so that Mondays meet Mondays: `year_over_year` by 364, `previous_period`
 *   by the least multiple of 7 with which the two do not overlap.
 *
 * Wall times that a zone's clocks skipped stand for the first instant after them, those that came twice for the first.
 * A range that is under way at `now` is compared with the same part of the other, up to the same wall time (elapsed
 * time where the shift is elapsed) of `now`'s last full quarter-hour, unless `whole`. Throws `invalid-range` where the calendar
 * does not reach.
 */
export function comparisonOf(
  zone: Zone,
  asked: Range,
  mode: CompareMode,
  now: number,
  whole = false,
): Comparison {
  const comparison = wholeComparison(zone, asked, mode);
  checkServed(comparison);
  if (whole || now >= asked.toMs) return comparison;
  const reachedMs = Math.floor(now / QUARTER_MS) * QUARTER_MS;
  if (reachedMs <= asked.fromMs) return { ...comparison, toMs: comparison.fromMs };
  const untilMs = Math.max(
    carry(zone, comparison, reachedMs),
    repeatedUntil(zone, comparison, asked.fromMs, reachedMs),
    comparison.fromMs,
  );
  return { ...comparison, toMs: Math.min(untilMs, comparison.toMs) };
}

/**
 * For each bucket of the asked range the index of its counterpart among the comparison's, or −1. `edges` and
 * `otherEdges` are the borders of the time buckets (`timeEdges`) of the asked range and of the comparison, by one grain.
 *
 * Where every bucket's start, moved by the shift, is the start of a bucket, they correspond by date and wall time: what
 * has no counterpart has −1 (29 February in another year, the 31st, an hour that the clocks skipped, what the other
 * range has not reached), and both hours that autumn makes of one meet the one. Otherwise (weeks a year apart, custom
 * ranges) the n-th meets the n-th. The first always meets the first: ranges correspond by their beginnings.
 */
export function counterparts(
  zone: Zone,
  grain: Grain,
  edges: Float64Array,
  comparison: Comparison,
  otherEdges: Float64Array,
): Int32Array {
  const others = otherEdges.length - 1;
  if (others > 0 && !comparison.byIndex) {
    const shifted = byShift(zone, grain, edges, comparison, otherEdges);
    if (shifted !== undefined) return shifted;
  }
  return Int32Array.from({ length: edges.length - 1 }, (_, time) => (time < others ? time : -1));
}

function byShift(
  zone: Zone,
  grain: Grain,
  edges: Float64Array,
  comparison: Comparison,
  otherEdges: Float64Array,
): Int32Array | undefined {
  const found = new Int32Array(edges.length - 1).fill(-1);
  found[0] = 0;
  for (let time = 1; time < found.length; time++) {
    const at = bucketStart(zone, grain, comparison, edges[time]!);
    if (at === undefined) continue;
    if (zone.startOf(grain, at) !== at) return undefined;
    // The comparison's first bucket may begin within one of the grain.
    if (at >= comparison.toMs || zone.endOf(grain, at) <= comparison.fromMs) continue;
    found[time] = edgeIndex(otherEdges, at);
  }
  return found;
}

/** Where the counterpart of a bucket that begins at `startMs` begins; undefined where there is none. */
function bucketStart(zone: Zone, grain: Grain, comparison: Comparison, startMs: number): number | undefined {
  if (comparison.shift.by === "elapsed") return startMs + comparison.shift.ms;
  if (grain !== "hour" && grain !== "quarter") {
    const day = shiftDay(comparison, zone.dayNumberAt(startMs));
    return day !== undefined && hasDay(zone, day) ? zone.dayStart(day) : undefined;
  }
  // By the hour on the clock: changes of half an hour make hours that begin at half past.
  const clockMs = floorTo(localTime(zone, startMs), grain === "hour" ? HOUR_MS : QUARTER_MS);
  const wantedMs = shiftLocal(comparison, clockMs);
  if (wantedMs === undefined) return undefined;
  const at = firstInstantAt(zone, wantedMs);
  const shownMs = grain === "hour" ? floorTo(localTime(zone, at), HOUR_MS) : localTime(zone, at);
  return shownMs === wantedMs ? at : undefined;
}

function wholeComparison(zone: Zone, asked: Range, mode: CompareMode): Comparison {
  if (mode.mode === "custom") return custom(zone, asked, mode.range);
  const days = wholeDays(zone, asked);
  if (mode.matchWeekday) {
    return mode.mode === "year_over_year"
      ? shifted(zone, asked, days, { by: "days", count: -YEAR_OF_WEEKDAYS })
      : weeksBefore(zone, asked, days);
  }
  const months = wholeMonths(zone, asked);
  if (mode.mode === "previous_period") return periodBefore(zone, asked, days, months);
  const year: Shift = { by: "months", count: -12 };
  if (months === 0) return shifted(zone, asked, days, year);
  return comparison(
    zone,
    asked,
    year,
    monthsLater(zone, asked.fromMs, -12),
    monthsLater(zone, asked.toMs, -12),
  );
}

function comparison(zone: Zone, asked: Range, shift: Shift, fromMs: number, toMs: number): Comparison {
  const firstDay = Math.floor(localTime(zone, asked.fromMs) / DAY_MS);
  return { fromMs, toMs, wholeToMs: toMs, shift, firstDay, byIndex: false };
}

/** Corresponds by days and wall time where both begin with a local day, otherwise by the time since they began. */
function custom(zone: Zone, asked: Range, other: Range): Comparison {
  const beginWithDays = isDayStart(zone, asked.fromMs) && isDayStart(zone, other.fromMs);
  const days = zone.dayNumberAt(other.fromMs) - zone.dayNumberAt(asked.fromMs);
  const shift: Shift = beginWithDays
    ? { by: "days", count: days }
    : { by: "elapsed", ms: other.fromMs - asked.fromMs };
  return { ...comparison(zone, asked, shift, other.fromMs, other.toMs), byIndex: true };
}

function periodBefore(zone: Zone, asked: Range, days: Days | undefined, months: number): Comparison {
  const { fromMs, toMs } = asked;
  if (months > 0) {
    const shift: Shift = { by: "months", count: -months };
    return comparison(zone, asked, shift, monthsLater(zone, fromMs, -months), fromMs);
  }
  if (days === undefined) {
    const ms = fromMs - toMs;
    return comparison(zone, asked, { by: "elapsed", ms }, fromMs + ms, fromMs);
  }
  const first = daysBefore(zone, days);
  const shift: Shift = { by: "days", count: first - days.first };
  // Where a zone skipped a date, the days are as many, but not at one distance.
  const byIndex = days.first - first !== days.last - days.first + 1;
  return { ...comparison(zone, asked, shift, zone.dayStart(first), fromMs), byIndex };
}

function weeksBefore(zone: Zone, asked: Range, days: Days | undefined): Comparison {
  const lengthMs = asked.toMs - asked.fromMs;
  let count = Math.max(1, Math.floor(lengthMs / (DAYS_PER_WEEK * DAY_MS))) * DAYS_PER_WEEK;
  for (;;) {
    const moved = shifted(zone, asked, days, { by: "days", count: -count });
    if (moved.toMs <= asked.fromMs) return moved;
    // A change of clocks makes the range up to some hours longer than its days.
    count += DAYS_PER_WEEK;
  }
}

/** Both ends moved on their own: first and last day of whole days, otherwise first and last quarter-hour. */
function shifted(zone: Zone, asked: Range, days: Days | undefined, shift: Shift): Comparison {
  if (days !== undefined) {
    const fromMs = zone.dayStart(clampedDay(shift, days.first));
    return comparison(zone, asked, shift, fromMs, zone.dayStart(clampedDay(shift, days.last) + 1));
  }
  const moved = comparison(zone, asked, shift, 0, 0);
  const fromMs = carry(zone, moved, asked.fromMs);
  const endMs = carryEnd(zone, moved, asked.toMs);
  const toMs = Math.max(endMs, repeatedUntil(zone, moved, asked.fromMs, asked.toMs));
  return { ...moved, fromMs, toMs, wholeToMs: toMs };
}

/** Where an instant of the asked range is in the comparison; where that has no such time, the first instant after. */
function carry(zone: Zone, comparison: Comparison, utcMs: number): number {
  const { shift } = comparison;
  if (shift.by === "elapsed") return utcMs + shift.ms;
  const localMs = localTime(zone, utcMs);
  const wantedMs = shiftLocal(comparison, localMs);
  if (wantedMs === undefined) return zone.dayStart(clampedDay(shift, Math.floor(localMs / DAY_MS)) + 1);
  return ceilQuarter(firstInstantAt(zone, wantedMs));
}

/** Where a range ends in an hour that comes a second time, it had got further the first time: up to here. */
function repeatedUntil(zone: Zone, comparison: Comparison, fromMs: number, toMs: number): number {
  let untilMs = -Infinity;
  if (comparison.shift.by === "elapsed") return untilMs;
  let at = zone.nextChange(Math.max(fromMs, toMs - DAY_MS));
  for (; at <= toMs; at = zone.nextChange(at)) {
    untilMs = Math.max(untilMs, carryEnd(zone, comparison, at));
  }
  return untilMs;
}

/** The end of what the last quarter-hour before `endMs` corresponds to. */
function carryEnd(zone: Zone, comparison: Comparison, endMs: number): number {
  const lastMs = floorTo(endMs - 1, QUARTER_MS);
  const wantedMs = shiftLocal(comparison, localTime(zone, lastMs));
  const at = carry(zone, comparison, lastMs);
  return wantedMs !== undefined && localTime(zone, at) === wantedMs ? at + QUARTER_MS : at;
}

/** The date of a day in the comparison; undefined where the calendar has no such date, but for the first day. */
function shiftDay({ shift, firstDay }: Comparison, day: number): number | undefined {
  const moved = clampedDay(shift, day);
  const isClamped = shift.by === "months" && civilFromDays(moved).day !== civilFromDays(day).day;
  return isClamped && day !== firstDay ? undefined : moved;
}

function shiftLocal(comparison: Comparison, localMs: number): number | undefined {
  const day = Math.floor(localMs / DAY_MS);
  const moved = shiftDay(comparison, day);
  return moved === undefined ? undefined : localMs + (moved - day) * DAY_MS;
}

/** The date of a day in the comparison; a day that the month has not becomes its last. */
function clampedDay(shift: Shift, day: number): number {
  if (shift.by === "elapsed") throw new Error("BUG: elapsed time moves no days");
  if (shift.by === "days") return day + shift.count;
  const moved = addMonths(civilFromDays(day), shift.count);
  return daysFromCivil(moved.year, moved.month, moved.day);
}

/** First and last day, as days since 1970-01-01. */
interface Days {
  readonly first: number;
  readonly last: number;
}

function wholeDays(zone: Zone, { fromMs, toMs }: Range): Days | undefined {
  if (!isDayStart(zone, fromMs) || !isDayStart(zone, toMs)) return undefined;
  return { first: zone.dayNumberAt(fromMs), last: zone.dayNumberAt(toMs - 1) };
}

function isDayStart(zone: Zone, utcMs: number): boolean {
  return zone.startOf("day", utcMs) === utcMs;
}

/** How many calendar months the range is; 0 where it is not whole ones. */
function wholeMonths(zone: Zone, { fromMs, toMs }: Range): number {
  const isWhole = zone.startOf("month", fromMs) === fromMs && zone.startOf("month", toMs) === toMs;
  return isWhole ? monthIndex(zone, toMs) - monthIndex(zone, fromMs) : 0;
}

function monthIndex(zone: Zone, utcMs: number): number {
  const { year, month } = civilFromDays(zone.dayNumberAt(utcMs));
  return year * 12 + month - 1;
}

/** From the start of a month to that of another. */
function monthsLater(zone: Zone, monthStartMs: number, months: number): number {
  const { year, month, day } = addMonths(civilFromDays(zone.dayNumberAt(monthStartMs)), months);
  return zone.dayStart(daysFromCivil(year, month, day));
}

/** The first of as many days directly before; dates that a zone skipped are no days. */
function daysBefore(zone: Zone, { first, last }: Days): number {
  let left = 0;
  for (let day = first; day <= last; day++) if (hasDay(zone, day)) left++;
  let day = first;
  while (left > 0) if (hasDay(zone, --day)) left--;
  return day;
}

/** False for the few dates that a zone skipped: 2011-12-30 in Apia. */
function hasDay(zone: Zone, day: number): boolean {
  return zone.dayStart(day) < zone.dayStart(day + 1);
}

/** What a wall clock shows, as ms. */
function localTime(zone: Zone, utcMs: number): number {
  return utcMs + zone.offsetAt(utcMs);
}

/** The first instant at which a wall clock shows `localMs` or later. */
function firstInstantAt(zone: Zone, localMs: number): number {
  // No offset is a day or more, so no clock shows it yet.
  let at = localMs - DAY_MS;
  for (;;) {
    const candidate = Math.max(localMs - zone.offsetAt(at), at);
    const changeMs = zone.nextChange(at);
    if (candidate < changeMs) return candidate;
    at = changeMs;
  }
}

/** Until 2011 some clocks changed within a quarter-hour. */
function ceilQuarter(ms: number): number {
  return Math.ceil(ms / QUARTER_MS) * QUARTER_MS;
}

function floorTo(ms: number, unitMs: number): number {
  return Math.floor(ms / unitMs) * unitMs;
}

/** Days that touch the calendar at either end may stretch beyond it. */
function checkServed({ fromMs, toMs }: Range): void {
  if (isServed(fromMs, toMs)) return;
  const served = `${utcIso(CALENDAR_START_MS)} to ${utcIso(CALENDAR_END_MS)}`;
  throw invalidRange(`The range to compare with reaches beyond the calendar, ${served}.`, "/compare");
}
