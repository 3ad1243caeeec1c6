import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  HOUR_MS,
  QUARTER_MS,
  addDays,
  addMonths,
  civilFromDays,
  compareDates,
  daysFromCivil,
  formatInstant,
  localDateStart,
  parseInstant,
  parseLocalDate,
  utcIso,
  type CivilDate,
  type Zone,
} from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import { invalidRange, quoted } from "./problem.js";
import type { RangeSpec } from "./types.js";

const PRESETS = {
  current_hour: "current_hour",
  today: "today",
  day: "today",
  month: "month",
  year: "year",
  all: "all",
} as const;

const LAST = /^([1-9][0-9]{0,3})(h|d|mo)$/;
const UNITS = { h: "hour", d: "day", mo: "month" } as const;

const FORMS =
  "one of current_hour, today, 24h, 7d, 28d, 30d, 91d, month, 6mo, 12mo, year and all, or two dates such as " +
  '["2026-01-01", "2026-03-31"], or two instants with their offsets';

/** Throws `invalid-range`, and `range-not-aligned` for instants that lie within a quarter-hour. */
export function parseRange(value: unknown, zone: Zone): RangeSpec {
  if (typeof value === "string") return parsePreset(value);
  if (value === undefined) throw invalidRange(`Give a date_range: ${FORMS}.`);
  if (!Array.isArray(value) || value.length !== 2) throw invalidRange(`A date_range is ${FORMS}.`);
  const [first, last] = value as readonly unknown[];
  const dates = [readDate(first), readDate(last)] as const;
  if (dates[0] !== undefined && dates[1] !== undefined) return fromDates(dates[0], dates[1], zone);
  if (dates[0] !== undefined || dates[1] !== undefined) {
    throw invalidRange("Give two dates or two instants, not one of each.");
  }
  return fromInstants(readInstant(first, 0), readInstant(last, 1), zone);
}

function parsePreset(text: string): RangeSpec {
  if (Object.hasOwn(PRESETS, text)) return { kind: "preset", name: PRESETS[text as keyof typeof PRESETS] };
  const match = LAST.exec(text);
  if (match === null) throw invalidRange(`${quoted(text)} is no date_range; give ${FORMS}.`);
  return { kind: "last", count: Number(match[1]), unit: UNITS[match[2] as keyof typeof UNITS] };
}

function readDate(value: unknown): CivilDate | undefined {
  return typeof value === "string" ? parseLocalDate(value) : undefined;
}

function readInstant(value: unknown, index: number): number {
  const pointer = `/date_range/${index}`;
  if (typeof value !== "string") throw invalidRange("A date or an instant is a string.", pointer);
  const instant = parseInstant(value);
  if (instant !== undefined) return instant;
  const isLocal = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(value);
  const advice = isLocal
    ? "has no offset, and a guess would be wrong somewhere: end it in Z or in an offset such as +05:30"
    : "is neither a date such as 2026-01-31 nor an RFC 3339 instant such as 2026-01-31T18:30:00Z";
  throw invalidRange(`${quoted(value)} ${advice}.`, pointer);
}

/** Both days belong to it. */
function fromDates(first: CivilDate, last: CivilDate, zone: Zone): RangeSpec {
  if (compareDates(first, last) > 0) {
    throw invalidRange("The range ends before it begins: give the earlier day first.");
  }
  const next = addDays(last, 1);
  const fromMs = startOfDate(zone, first, 0);
  const toMs = startOfDate(zone, next, 1);
  if (fromMs === toMs) throw invalidRange(`In ${zone.name} there was no such day: the clocks skipped it.`);
  return { kind: "fixed", fromMs, toMs };
}

function startOfDate(zone: Zone, { year, month, day }: CivilDate, index: number): number {
  try {
    return localDateStart(zone, year, month, day);
  } catch (error) {
    throw error instanceof TidemarkError ? invalidRange(error.message, `/date_range/${index}`) : error;
  }
}

function fromInstants(fromMs: number, toMs: number, zone: Zone): RangeSpec {
  if (fromMs >= toMs) {
    throw invalidRange("The range ends before it has begun: it holds its first instant, but not its second.");
  }
  const nearest = [floorQuarter(fromMs), -floorQuarter(-toMs)] as const;
  if (nearest[0] !== fromMs || nearest[1] !== toMs) {
    throw new TidemarkError(
      "range-not-aligned",
      "Events are kept by quarter-hours of UTC: a range begins and ends on :00, :15, :30 or :45.",
      {
        pointer: `/date_range/${nearest[0] === fromMs ? 1 : 0}`,
        extra: { nearest: nearest.map((ms) => formatInstant(ms, zone)) },
      },
    );
  }
  checkServed(fromMs, toMs);
  return { kind: "fixed", fromMs, toMs };
}

function floorQuarter(ms: number): number {
  return Math.floor(ms / QUARTER_MS) * QUARTER_MS;
}

/** Days that touch the calendar at either end may stretch beyond it. */
function checkServed(fromMs: number, toMs: number): void {
  if (fromMs >= CALENDAR_START_MS - DAY_MS && toMs <= CALENDAR_END_MS + DAY_MS) return;
  throw invalidRange(`Times are served from ${utcIso(CALENDAR_START_MS)} to ${utcIso(CALENDAR_END_MS)}.`);
}

/**
 * `[fromMs, toMs)` as of `now`. `allFromMs` gives where `all` begins; it is asked for that only. Throws `invalid-range` where the calendar does not reach.
 */
export function resolveRange(
  spec: RangeSpec,
  zone: Zone,
  now: number,
  allFromMs: () => number | undefined,
): { readonly fromMs: number; readonly toMs: number } {
  if (spec.kind === "fixed") return spec;
  const toMs = rangeEnd(spec, zone, now);
  const fromMs = rangeStart(spec, zone, now, toMs, allFromMs);
  checkServed(fromMs, toMs);
  return { fromMs, toMs };
}

/** The end of the current local hour or day: what has begun is in the answer, what comes later is not. */
function rangeEnd(spec: Exclude<RangeSpec, { kind: "fixed" }>, zone: Zone, now: number): number {
  const hourly = spec.kind === "preset" ? spec.name === "current_hour" : spec.unit === "hour";
  return zone.endOf(hourly ? "hour" : "day", now);
}

function rangeStart(
  spec: Exclude<RangeSpec, { kind: "fixed" }>,
  zone: Zone,
  now: number,
  toMs: number,
  allFromMs: () => number | undefined,
): number {
  const today = zone.dayNumberAt(now);
  if (spec.kind === "last") {
    if (spec.unit === "hour") return zone.startOf("hour", toMs - spec.count * HOUR_MS);
    if (spec.unit === "day") return zone.dayStart(today - spec.count + 1);
    const { year, month } = addMonths({ ...civilFromDays(today), day: 1 }, 1 - spec.count);
    return zone.dayStart(daysFromCivil(year, month, 1));
  }
  switch (spec.name) {
    case "current_hour":
      return zone.startOf("hour", now);
    case "today":
      return zone.startOf("day", now);
    case "month":
      return zone.startOf("month", now);
    case "year":
      return zone.startOf("year", now);
    case "all":
      return Math.min(allFromMs() ?? Infinity, zone.startOf("day", now));
  }
}
