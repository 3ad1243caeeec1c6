import { HOUR_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { UTC_CALENDAR, type BucketAddress } from "../store.js";

/** Grains whose buckets are made of finer ones. */
export type CoarseGrain = Exclude<Grain, "quarter">;

/** What a bucket is made of; a day is made of hours, and of quarters where it begins within one. */
const CHILD: Readonly<Record<Exclude<Grain, "quarter" | "day">, Grain>> = {
  hour: "quarter",
  week: "day",
  month: "day",
  year: "month",
};

/** The buckets of a tier, in the range that is asked about. */
export type Existing = (calendar: string, grain: Grain) => Iterable<BucketAddress>;

/** The disjoint finer buckets that buckets of `grain` are made of, each inside one of them. */
export function* partsOf(zone: Zone, grain: CoarseGrain, existing: Existing): Generator<BucketAddress> {
  if (grain !== "day") {
    yield* existing(grain === "hour" ? UTC_CALENDAR : zone.name, CHILD[grain]);
    return;
  }
  for (const hour of existing(UTC_CALENDAR, "hour")) if (!isCut(zone, hour.startMs)) yield hour;
  for (const quarter of existing(UTC_CALENDAR, "quarter")) {
    if (isCut(zone, quarter.startMs - (quarter.startMs % HOUR_MS))) yield quarter;
  }
}

export type Tier = readonly [calendar: string, grain: Grain];

/** The tiers that one bucket is made from. */
export function partTiersOf(zone: Zone, grain: CoarseGrain, startMs: number, endMs: number): readonly Tier[] {
  const tiers = partTiers(zone, grain);
  if (grain !== "day") return tiers;
  const takesQuarters = [startMs, endMs].some((ms) => isCut(zone, ms - (ms % HOUR_MS)));
  return takesQuarters ? tiers : tiers.slice(0, 1);
}

/** The tiers that some bucket of the grain is made from. */
export function partTiers(zone: Zone, grain: CoarseGrain): readonly Tier[] {
  if (grain === "hour") return [[UTC_CALENDAR, CHILD.hour]];
  if (grain !== "day") return [[zone.name, CHILD[grain]]];
  return [
    [UTC_CALENDAR, "hour"],
    [UTC_CALENDAR, "quarter"],
  ];
}

/** Does a local day begin within this UTC hour, as those of +05:30 and +05:45 do? Then the hour is taken apart. */
export function isCut(zone: Zone, hourMs: number): boolean {
  return zone.startOf("day", hourMs) !== zone.startOf("day", hourMs + HOUR_MS - 1);
}
