import { civilFromDays } from "./civil.js";
import { CALENDAR_END_MS, CALENDAR_START_MS, DAY_MS, HOUR_MS, MINUTE_MS } from "./grain.js";

/**
 * The offsets of one zone as runs: run i holds from `starts[i]` (UTC ms; −∞ for the first) to `starts[i + 1]`
 * (+∞ after the last, so `starts` is one longer) and has local = UTC + `offsets[i]` ms. Neighbours differ.
 */
export interface OffsetTable {
  readonly starts: Float64Array;
  readonly offsets: Float64Array;
}

/** A year, week or month that only touches the calendar at either end lies within this margin. */
const MARGIN_MS = 400 * DAY_MS;
const TABLE_START_MS = CALENDAR_START_MS - MARGIN_MS;
const TABLE_END_MS = CALENDAR_END_MS + MARGIN_MS;

/**
 * Two samples with equal offsets hide a pair of changes only if both lie between them and the second takes back
 * the first. The shortest time between two changes of any zone since 1988 is 6 d 23 h (Boa Vista, Noronha and
 * Recife, October 2000), the next is 12 days: any step up to 6 days finds them all, and half of that leaves room
 * for a government in more of a hurry. A test proves the gap, and with it the step, over every zone of the tz
 * database that it runs on; the long form of it scans four times a day.
 */
export const SCAN_STEP_MS = 3 * DAY_MS;

/** Changes of clocks are whole seconds in the tz database. */
const RESOLUTION_MS = 1000;

/** The real ones lie between −12:00 and +14:00. */
export const MAX_OFFSET_MS = 15 * HOUR_MS;

/** `timeZone` must be one that Intl accepts. */
export function scanTransitions(timeZone: string): OffsetTable {
  const offsetAt = offsetProbe(timeZone);
  const starts = [-Infinity];
  const offsets = [offsetAt(TABLE_START_MS)];
  let before = offsets[0]!;
  for (let at = TABLE_START_MS; at < TABLE_END_MS; at += SCAN_STEP_MS) {
    const after = offsetAt(at + SCAN_STEP_MS);
    if (after === before) continue;
    appendChanges(offsetAt, at, at + SCAN_STEP_MS, before, after, starts, offsets);
    before = after;
  }
  starts.push(Infinity);
  return { starts: Float64Array.from(starts), offsets: Float64Array.from(offsets) };
}

/** Bisects for a change in (lo, hi]; what is left between the one found and `hi` may hold another. */
function appendChanges(
  offsetAt: (utcMs: number) => number,
  lo: number,
  hi: number,
  before: number,
  after: number,
  starts: number[],
  offsets: number[],
): void {
  let from = lo;
  for (let current = before; current !== after; current = offsets.at(-1)!) {
    let to = hi;
    while (to - from > RESOLUTION_MS) {
      const middle = from + Math.floor((to - from) / (2 * RESOLUTION_MS)) * RESOLUTION_MS;
      if (offsetAt(middle) === current) from = middle;
      else to = middle;
    }
    starts.push(to);
    offsets.push(offsetAt(to));
    from = to;
  }
}

/**
 * The offset at an instant, read off Intl. Every offset in use since 1972 is a whole number of minutes (since
 * 1988 even of quarters: 418 zones of tzdata 2025c), so local day, hour and minute tell it, and fewer fields make
 * Intl faster.
 */
function offsetProbe(timeZone: string): (utcMs: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    calendar: "gregory",
    numberingSystem: "latn",
    hourCycle: "h23",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  return (utcMs) => {
    const utcDay = Math.floor(utcMs / DAY_MS);
    const utcMinute = Math.floor((utcMs - utcDay * DAY_MS) / MINUTE_MS);
    const [day, hour, minute] = threeNumbers(format.format(utcMs));
    const days = dayDifference(day, civilFromDays(utcDay).day);
    const offsetMs = (days * 1440 + hour * 60 + minute - utcMinute) * MINUTE_MS;
    if (!(Math.abs(offsetMs) < MAX_OFFSET_MS)) throw new Error(`BUG: offset ${offsetMs} ms in ${timeZone}`);
    return offsetMs;
  };
}

/** Local and UTC date are one day apart at most; a larger difference of days of the month is its turn. */
function dayDifference(localDay: number, utcDay: number): number {
  const days = localDay - utcDay;
  if (days > 1) return -1;
  return days < -1 ? 1 : days;
}

/** Reads "31, 18:45", whatever stands between the numbers. */
function threeNumbers(text: string): [number, number, number] {
  const numbers: [number, number, number] = [0, 0, 0];
  let index = -1;
  let inside = false;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    const isDigit = digit >= 0 && digit <= 9;
    if (isDigit && !inside) index++;
    if (isDigit && index < 3) numbers[index] = numbers[index]! * 10 + digit;
    inside = isDigit;
  }
  if (index !== 2) throw new Error(`BUG: Intl wrote ${JSON.stringify(text)} for day, hour and minute`);
  return numbers;
}
