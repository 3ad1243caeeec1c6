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
import type { PresetName, RangeSpec } from "./types.js";

const PRESETS = {
  current_hour: "current_hour",
  today: "today",
  day: "today",
  yesterday: "yesterday",
  week: "week",
  last_week: "last_week",
  month: "month",
  last_month: "last_month",
  year: "year",
  last_year: "last_year",
  all: "all",
} as const;
export const PRESET_NAMES = Object.keys(PRESETS);

/** Those that today is no more than a part of. */
const WITHOUT_TODAY: ReadonlySet<PresetName> = new Set(["week", "month", "year", "all"]);

const LAST = /^([1-9][0-9]{0,3})(h|d|w|mo|y)$/;
const UNITS = { h: "hour", d: "day", w: "week", mo: "month", y: "year" } as const;

const FORMS =
  "one of current_hour, today, yesterday, 24h, 7d, 28d, 30d, 91d, week, last_week, month, last_month, 6mo, 12mo, " +
  'year, last_year and all, or two dates such as ["2026-01-01", "2026-03-31"], or two instants with their offsets';

export interface RangeOptions {
  /** Where in the question it stands. */
  readonly pointer?: string;
  /** False leaves today out of presets. */
  readonly includeToday?: boolean;
  /** May it begin or end within a quarter-hour? Only raw events tell so finely. */
  readonly anyInstant?: boolean;
}

/** Throws `invalid-range`, and `range-not-aligned` for instants that lie within a quarter-hour. */
export function parseRange(value: unknown, zone: Zone, options: RangeOptions = {}): RangeSpec {
  const { pointer = "/date_range", includeToday = true } = options;
  if (typeof value === "string") return parsePreset(value, pointer, includeToday);
  if (value === undefined) throw invalidRange(`Give a date_range: ${FORMS}.`, pointer);
  if (!Array.isArray(value) || value.length !== 2) throw invalidRange(`A date_range is ${FORMS}.`, pointer);
  if (!includeToday)
    throw invalidRange("Today is left out of presets; give the dates as they should be.", pointer);
  const [first, last] = value as readonly unknown[];
  const dates = [readDate(first), readDate(last)] as const;
  if (dates[0] !== undefined && dates[1] !== undefined) return fromDates(dates[0], dates[1], zone, pointer);
  if (dates[0] !== undefined || dates[1] !== undefined) {
    throw invalidRange("Give two dates or two instants, not one of each.", pointer);
  }
  const instants = [readInstant(first, `${pointer}/0`), readInstant(last, `${pointer}/1`)] as const;
  return fromInstants(...instants, zone, { ...options, pointer });
}

function parsePreset(text: string, pointer: string, includeToday: boolean): RangeSpec {
  const untilYesterday = !includeToday;
  const refuse = (): never => {
    throw invalidRange(`Today cannot be left out of ${quoted(text)}; leave include_today out.`, pointer);
  };
  if (Object.hasOwn(PRESETS, text)) {
    const name = PRESETS[text as keyof typeof PRESETS];
    if (untilYesterday && !WITHOUT_TODAY.has(name)) refuse();
    return { kind: "preset", name, untilYesterday };
  }
  const match = LAST.exec(text);
  if (match === null) throw invalidRange(`${quoted(text)} is no date_range; give ${FORMS}.`, pointer);
  const unit = UNITS[match[2] as keyof typeof UNITS];
  if (untilYesterday && unit === "hour") refuse();
  return { kind: "last", count: Number(match[1]), unit, untilYesterday };
}

function readDate(value: unknown): CivilDate | undefined {
  return typeof value === "string" ? parseLocalDate(value) : undefined;
}

function readInstant(value: unknown, pointer: string): number {
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
function fromDates(first: CivilDate, last: CivilDate, zone: Zone, pointer: string): RangeSpec {
  if (compareDates(first, last) > 0) {
    throw invalidRange("The range ends before it begins: give the earlier day first.", pointer);
  }
  const next = addDays(last, 1);
  const fromMs = startOfDate(zone, first, `${pointer}/0`);
  const toMs = startOfDate(zone, next, `${pointer}/1`);
  if (fromMs === toMs) {
    throw invalidRange(`In ${zone.name} there was no such day: the clocks skipped it.`, pointer);
  }
  return { kind: "fixed", fromMs, toMs };
}

function startOfDate(zone: Zone, { year, month, day }: CivilDate, pointer: string): number {
  try {
    return localDateStart(zone, year, month, day);
  } catch (error) {
    throw error instanceof TidemarkError ? invalidRange(error.message, pointer) : error;
  }
}

function fromInstants(
  fromMs: number,
  toMs: number,
  zone: Zone,
  { pointer = "", anyInstant = false }: RangeOptions,
): RangeSpec {
  if (fromMs >= toMs) {
    throw invalidRange(
      "The range ends before it has begun: it holds its first instant, but not its second.",
      pointer,
    );
  }
  const nearest = [floorQuarter(fromMs), -floorQuarter(-toMs)] as const;
  if (!anyInstant && (nearest[0] !== fromMs || nearest[1] !== toMs)) {
    throw new TidemarkError(
      "range-not-aligned",
      "Events are kept by quarter-hours of UTC: a range begins and ends on :00, :15, :30 or :45.",
      {
        pointer: `${pointer}/${nearest[0] === fromMs ? 1 : 0}`,
        extra: { nearest: nearest.map((ms) => formatInstant(ms, zone)) },
      },
    );
  }
  checkServed(fromMs, toMs, pointer);
  return { kind: "fixed", fromMs, toMs };
}

function floorQuarter(ms: number): number {
  return Math.floor(ms / QUARTER_MS) * QUARTER_MS;
}

/** Days that touch the calendar at either end may stretch beyond it. */
export function isServed(fromMs: number, toMs: number): boolean {
  return fromMs >= CALENDAR_START_MS - DAY_MS && toMs <= CALENDAR_END_MS + DAY_MS;
}

function checkServed(fromMs: number, toMs: number, pointer: string): void {
  if (isServed(fromMs, toMs)) return;
  throw invalidRange(
    `Times are served from ${utcIso(CALENDAR_START_MS)} to ${utcIso(CALENDAR_END_MS)}.`,
    pointer,
  );
}

/**
 * `[fromMs, toMs)` as of `now`. `allFromMs` gives where `all` begins; it is asked for that only. Throws `invalid-range` where the calendar does not reach.
 */
export function resolveRange(
  spec: RangeSpec,
  zone: Zone,
  now: number,
  allFromMs: () => number | undefined,
  pointer = "/date_range",
): { readonly fromMs: number; readonly toMs: number } {
  if (spec.kind === "fixed") return spec;
  // Without today, the range is that of yesterday's last moment.
  const at = spec.untilYesterday ? zone.startOf("day", now) - 1 : now;
  const toMs = rangeEnd(spec, zone, at);
  const fromMs = rangeStart(spec, zone, at, toMs, allFromMs);
  checkServed(fromMs, toMs, pointer);
  return { fromMs, toMs };
}

type MovingSpec = Exclude<RangeSpec, { kind: "fixed" }>;

/** The end of the current local hour or day: what has begun is in the answer, what comes later is not. */
function rangeEnd(spec: MovingSpec, zone: Zone, now: number): number {
  if (spec.kind === "last") return zone.endOf(spec.unit === "hour" ? "hour" : "day", now);
  switch (spec.name) {
    case "current_hour":
      return zone.endOf("hour", now);
    case "yesterday":
      return zone.startOf("day", now);
    case "last_week":
      return zone.startOf("week", now);
    case "last_month":
      return zone.startOf("month", now);
    case "last_year":
      return zone.startOf("year", now);
    default:
      return zone.endOf("day", now);
  }
}

function rangeStart(
  spec: MovingSpec,
  zone: Zone,
  now: number,
  toMs: number,
  allFromMs: () => number | undefined,
): number {
  if (spec.kind === "last") return lastStart(spec, zone, now, toMs);
  switch (spec.name) {
    case "current_hour":
      return zone.startOf("hour", now);
    case "today":
      return zone.startOf("day", now);
    case "yesterday":
      return zone.startOf("day", toMs - 1);
    case "week":
      return zone.startOf("week", now);
    case "last_week":
      return zone.startOf("week", toMs - 1);
    case "month":
      return zone.startOf("month", now);
    case "last_month":
      return zone.startOf("month", toMs - 1);
    case "year":
      return zone.startOf("year", now);
    case "last_year":
      return zone.startOf("year", toMs - 1);
    case "all":
      return Math.min(allFromMs() ?? Infinity, zone.startOf("day", now));
  }
}

/** So many hours, days, weeks, months or years, that of `now` included. */
function lastStart(
  { count, unit }: Extract<RangeSpec, { kind: "last" }>,
  zone: Zone,
  now: number,
  toMs: number,
): number {
  const today = zone.dayNumberAt(now);
  const { year, month } = civilFromDays(today);
  switch (unit) {
    case "hour":
      return zone.startOf("hour", toMs - count * HOUR_MS);
    case "day":
      return zone.dayStart(today - count + 1);
    case "week":
      return zone.dayStart(zone.dayNumberAt(zone.startOf("week", now)) - 7 * (count - 1));
    case "month": {
      const first = addMonths({ year, month, day: 1 }, 1 - count);
      return zone.dayStart(daysFromCivil(first.year, first.month, 1));
    }
    case "year":
      return zone.dayStart(daysFromCivil(year - count + 1, 1, 1));
  }
}
