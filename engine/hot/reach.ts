import { CALENDAR_START_MS, HOUR_MS } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { UTC_CALENDAR, tierName } from "../store.js";
import { isCut } from "./parts.js";

/** By `tierName`: buckets of the tier that begin before this instant are not kept. */
export type Reach = Readonly<Record<string, number>>;

/**
 * How far back the tiers of home zones reach that were not there before: their days are made of the hours that are
 * kept, and, where a day begins within an hour, of the quarters.
 */
export function reachOfNew(zones: readonly Zone[], known: Reach): Reach {
  const reach: Record<string, number> = {};
  const hours = known[tierName(UTC_CALENDAR, "hour")];
  const quarters = known[tierName(UTC_CALENDAR, "quarter")];
  if (hours === undefined && quarters === undefined) return reach;
  for (const zone of zones) {
    if (zone.name === UTC_CALENDAR) continue;
    const from = daysFrom(zone, hours ?? Number.NEGATIVE_INFINITY, quarters ?? Number.NEGATIVE_INFINITY);
    if (!Number.isFinite(from)) continue;
    for (const grain of ["day", "week", "month", "year"] as const) {
      const startMs = zone.startOf(grain, from);
      reach[tierName(zone.name, grain)] = startMs === from ? from : zone.endOf(grain, startMs);
    }
  }
  return reach;
}

/** From where on the zone's days can be made. */
function daysFrom(zone: Zone, hours: number, quarters: number): number {
  // The last day before the quarters' reach that begins within an hour is the last that cannot be made.
  let from = hours;
  const first = zone.startOf("day", Math.max(hours, CALENDAR_START_MS));
  for (let day = first; day < quarters; day = zone.endOf("day", day)) {
    if (isCut(zone, day - (day % HOUR_MS))) from = zone.endOf("day", day);
  }
  return from;
}
