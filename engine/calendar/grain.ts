/** The grains of a bucket, finest first. `quarter` is 15 minutes of UTC time; all others are local to a zone. */
export const GRAINS = ["quarter", "hour", "day", "week", "month", "year"] as const;

export type Grain = (typeof GRAINS)[number];

export const MINUTE_MS = 60_000;
export const QUARTER_MS = 15 * MINUTE_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** 1990-01-01T00:00:00Z: from here on the zone tables are right for every grain. */
export const CALENDAR_START_MS = 631_152_000_000;
/** 2038-01-01T00:00:00Z: up to here the zone tables are right for every grain. */
export const CALENDAR_END_MS = 2_145_916_800_000;

/** ISO weekday of the first day of a week where nobody says otherwise: Monday. */
export const ISO_WEEK_START = 1;

export function isGrain(value: unknown): value is Grain {
  return (GRAINS as readonly unknown[]).includes(value);
}
