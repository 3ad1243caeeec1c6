import { Temporal } from "temporal-polyfill";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  supportedZones,
  type Zone,
} from "../../../engine/calendar/index.js";

/** What Temporal says, asked in its own words; it shares no code with the calendar. */

export const zoneNames = supportedZones();
export const long = process.env["TIDEMARK_LONG"] === "1";

export function zonedAt(name: string, utcMs: number): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(utcMs).toZonedDateTimeISO(name);
}

export function offsetByTemporal(name: string, utcMs: number): number {
  return zonedAt(name, utcMs).offsetNanoseconds / 1e6;
}

export function changesByTemporal(name: string): number[] {
  const changes: number[] = [];
  let at: Temporal.ZonedDateTime | null = zonedAt(name, CALENDAR_START_MS);
  for (;;) {
    at = at.getTimeZoneTransition("next");
    if (at === null || at.epochMilliseconds >= CALENDAR_END_MS) return changes;
    changes.push(at.epochMilliseconds);
  }
}

export function changesOf(zone: Zone): number[] {
  const changes: number[] = [];
  for (let at = zone.nextChange(CALENDAR_START_MS); at < CALENDAR_END_MS; at = zone.nextChange(at))
    changes.push(at);
  return changes;
}

export function dateStart(name: string, date: Temporal.PlainDate): number {
  return date.toZonedDateTime(name).epochMilliseconds;
}

/** What Intl shows on the wall, as ms; fine for a scan of its own. */
export function wallClock(name: string): (utcMs: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: name,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  return (utcMs) => {
    const [month, day, year, hour, minute, second] = format.format(utcMs).match(/\d+/g)!.map(Number);
    return Date.UTC(year!, month! - 1, day, hour, minute, second);
  };
}
