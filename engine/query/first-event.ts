import { CALENDAR_END_MS, CALENDAR_START_MS, DAY_MS, GRAINS, type Zone } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import { UTC_CALENDAR } from "../store.js";
import { cover } from "./cover.js";

/**
 * Start of the first quarter-hour that holds an event, stored or in memory, or of the finest bucket that is kept of
 * that time; undefined where there is none. Goes
 * down from years to quarters: whatever is sealed lies before whatever is not, and each first bucket of a grain
 * holds the first of the next finer one.
 */
function firstEventMs(buckets: Buckets): number | undefined {
  const utc: Zone = buckets.calendars[0]!;
  let fromMs = CALENDAR_START_MS - DAY_MS;
  let toMs = CALENDAR_END_MS;
  let found = Infinity;
  for (const grain of GRAINS.toReversed()) {
    // A month's first days may lie in a week that began before it.
    if (grain === "week") continue;
    // Finer buckets are no longer kept there: the coarser one tells as well as can be.
    if (Number.isFinite(found) && fromMs < buckets.reachOf(UTC_CALENDAR, grain)) break;
    const first = buckets.starts(UTC_CALENDAR, grain, fromMs, toMs)[0];
    if (first === undefined) continue;
    fromMs = first;
    toMs = utc.endOf(grain, first);
    found = first;
  }
  for (const [quarterMs] of buckets.deltas(CALENDAR_START_MS, CALENDAR_END_MS)) {
    found = Math.min(found, quarterMs);
  }
  return Number.isFinite(found) ? found : undefined;
}

/**
 * Where `all` begins: with the day of the first event in the zone, or, where the zone's days of that time cannot be
 * told from what is kept, with the first bucket. Undefined before the first event.
 */
export function allFromMs(buckets: Buckets, zone: Zone): number | undefined {
  const first = firstEventMs(buckets);
  if (first === undefined) return undefined;
  const dayMs = zone.startOf("day", first);
  return cover(buckets, dayMs, zone.endOf("day", dayMs)) === undefined ? first : dayMs;
}
