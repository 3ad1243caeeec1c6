import { DAY_MS, HOUR_MS, isoWeekday, type Zone } from "../calendar/index.js";

export const WEEKDAYS = 7;
export const HOURS = 24;

/** An hour of the week by the zone's clock. */
export interface WeekHour {
  /** ISO weekday, 1 (Monday) – 7 (Sunday). */
  readonly weekday: number;
  /** 0–23 */
  readonly hour: number;
}

export interface PeakHour extends WeekHour {
  /** Mean views of such an hour. */
  readonly mean: number;
  /** Its part of an average week: the mean, divided by the sum of all means. */
  readonly share: number;
}

/** When a week is busiest. Rows are ISO weekdays 1–7, columns local hours 0–23. */
export interface Peak {
  /** Mean views per hour that occurred in full; null where none did. */
  readonly matrix: readonly (readonly (number | null)[])[];
  /** How many such hours there were: as many as days, but for those on which the clocks changed. */
  readonly daysCounted: readonly (readonly number[])[];
  /** The greatest means first, without those that are 0. */
  readonly top: readonly PeakHour[];
  readonly now: WeekHour;
}

/**
 * The mean views of every hour of the week. `edges` are the borders of the local hours of a range (`timeEdges` by hour),
 * `views` what was seen in each. Only hours of 60 minutes that are over at `now` count: not those that the range
 * cuts, nor the one under way. So an hour that spring skips has not occurred, and the one that autumn repeats
 * occurred twice; neither bends the mean.
 *
 * An hour belongs to the weekday and clock hour that the wall clock shows as it begins. Where clocks change by half an
 * hour (Lord Howe), spring leaves 30 minutes of the hour from 2 to 3 and autumn repeats the last 30 of the hour from 1
 * to 2: these half hours have buckets of their own and are no full hours, so they are left out.
 */
export function peak(
  zone: Zone,
  edges: Float64Array,
  views: ArrayLike<number>,
  now: number,
  n: number,
): Peak {
  const sums = new Float64Array(WEEKDAYS * HOURS);
  const counts = new Uint32Array(WEEKDAYS * HOURS);
  for (let i = 0; i + 1 < edges.length; i++) {
    const startMs = edges[i]!;
    const endMs = edges[i + 1]!;
    if (endMs - startMs !== HOUR_MS || endMs > now) continue;
    const cell = weekHourIndex(zone, startMs);
    sums[cell]! += views[i]!;
    counts[cell]!++;
  }
  const means = Array.from(sums, (sum, cell) => (counts[cell] === 0 ? null : sum / counts[cell]!));
  return {
    matrix: byWeekday(means),
    daysCounted: byWeekday([...counts]),
    top: topHours(means, n),
    now: weekHour(weekHourIndex(zone, now)),
  };
}

function topHours(means: readonly (number | null)[], n: number): PeakHour[] {
  const week = means.reduce<number>((sum, mean) => sum + (mean ?? 0), 0);
  return means
    .map((mean, cell) => ({ ...weekHour(cell), mean: mean ?? 0, share: (mean ?? 0) / week }))
    .filter(({ mean }) => mean > 0)
    .sort((a, b) => b.mean - a.mean || a.weekday - b.weekday || a.hour - b.hour)
    .slice(0, n);
}

function weekHourIndex(zone: Zone, utcMs: number): number {
  const localMs = utcMs + zone.offsetAt(utcMs);
  const day = Math.floor(localMs / DAY_MS);
  return (isoWeekday(day) - 1) * HOURS + Math.floor((localMs - day * DAY_MS) / HOUR_MS);
}

function weekHour(index: number): WeekHour {
  return { weekday: Math.floor(index / HOURS) + 1, hour: index % HOURS };
}

function byWeekday<T>(cells: readonly T[]): T[][] {
  return Array.from({ length: WEEKDAYS }, (_, day) => cells.slice(day * HOURS, (day + 1) * HOURS));
}
