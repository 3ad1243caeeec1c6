import { civilFromDays, isoWeek, weekStartDay } from "./civil.js";
import { DAY_MS, HOUR_MS, ISO_WEEK_START, MINUTE_MS, type Grain } from "./grain.js";
import type { Zone } from "./zone.js";

/** Zones that are UTC by name: their instants end in "Z", those of all others in "±HH:MM" (London: "+00:00"). */
const UTC_NAMES: ReadonlySet<string> = new Set(
  ["UTC", "UCT", "Universal", "Zulu"].flatMap((name) => [name, `Etc/${name}`]),
);

/**
 * The name of the bucket that holds `utcMs`. Year "2016", month "2016-03", day "2016-03-14"; week "2016-W11" (ISO
 * 8601), or the date of its first day where the week does not begin on Monday; hour and quarter the RFC 3339
 * instant of their start, "2016-03-14T19:00:00+05:30". Within one zone, grain and `weekStart` no two buckets
 * have the same label: the two hours that autumn makes of one differ in their offset.
 */
export function label(zone: Zone, grain: Grain, utcMs: number, weekStart: number = ISO_WEEK_START): string {
  if (grain === "hour" || grain === "quarter") return formatInstant(zone.startOf(grain, utcMs), zone);
  const dayNumber = zone.dayNumberAt(utcMs);
  switch (grain) {
    case "day":
      return formatDay(dayNumber);
    case "week":
      return formatWeek(dayNumber, weekStart);
    case "month":
      return formatDay(dayNumber).slice(0, -3);
    case "year":
      return formatDay(dayNumber).slice(0, -6);
  }
}

/** RFC 3339 in the zone's time, with milliseconds only where they are not zero: "2016-03-14T19:04:05.250+05:30". */
export function formatInstant(utcMs: number, zone: Zone): string {
  if (UTC_NAMES.has(zone.name)) return utcIso(utcMs);
  const offsetMs = zone.offsetAt(utcMs);
  return formatLocal(utcMs + offsetMs) + formatOffset(offsetMs);
}

/** RFC 3339 in UTC, ending in "Z", with milliseconds only where they are not zero. */
export function utcIso(utcMs: number): string {
  return `${formatLocal(utcMs)}Z`;
}

/** The same, null for an instant that is not known: an infinite one. */
export function utcIsoOrNull(ms: number): string | null {
  return Number.isFinite(ms) ? utcIso(ms) : null;
}

/** "2016-03-14" for a day number. Years outside 0–9999 have a sign and six digits (ECMA-262, expanded years). */
export function formatDay(dayNumber: number): string {
  const { year, month, day } = civilFromDays(dayNumber);
  return `${formatYear(year)}-${pad2(month)}-${pad2(day)}`;
}

function formatWeek(dayNumber: number, weekStart: number): string {
  if (weekStart !== ISO_WEEK_START) return formatDay(weekStartDay(dayNumber, weekStart));
  const { year, week } = isoWeek(dayNumber);
  return `${formatYear(year)}-W${pad2(week)}`;
}

function formatLocal(localMs: number): string {
  const dayNumber = Math.floor(localMs / DAY_MS);
  const msOfDay = Math.floor(localMs - dayNumber * DAY_MS);
  const ms = msOfDay % 1000;
  const hour = pad2(Math.floor(msOfDay / HOUR_MS));
  const minute = pad2(Math.floor(msOfDay / MINUTE_MS) % 60);
  const second = pad2(Math.floor(msOfDay / 1000) % 60);
  const fraction = ms === 0 ? "" : `.${String(ms).padStart(3, "0")}`;
  return `${formatDay(dayNumber)}T${hour}:${minute}:${second}${fraction}`;
}

function formatOffset(offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / MINUTE_MS;
  return `${offsetMs < 0 ? "-" : "+"}${pad2(Math.floor(minutes / 60))}:${pad2(minutes % 60)}`;
}

function formatYear(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, "0");
  return `${year < 0 ? "-" : "+"}${String(Math.abs(year)).padStart(6, "0")}`;
}

function pad2(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
