import { Temporal } from "temporal-polyfill";
import type { Grain } from "../../engine/index.js";

/** A bucket as Temporal sees it: nothing here shares code with the engine's calendar. */
export interface ZonedBucket {
  readonly startMs: number;
  /** Exclusive. */
  readonly endMs: number;
  readonly label: string;
}

const QUARTER_MS = 900_000;

type Zoned = Temporal.ZonedDateTime;

const known = new Map<string, Map<number, ZonedBucket>>();

/** The bucket that holds an instant. Cached: every boundary in use is a multiple of a quarter-hour. */
export function bucketAt(zone: string, grain: Grain, utcMs: number): ZonedBucket {
  const quarterMs = utcMs - (utcMs % QUARTER_MS);
  const name = `${zone} ${grain}`;
  let cache = known.get(name);
  if (cache === undefined) known.set(name, (cache = new Map()));
  let bucket = cache.get(quarterMs);
  if (bucket === undefined) cache.set(quarterMs, (bucket = compute(zone, grain, quarterMs)));
  return bucket;
}

function compute(zone: string, grain: Grain, quarterMs: number): ZonedBucket {
  const at = zoned(quarterMs, zone);
  if (grain === "quarter") return bucket(zone, quarterMs, quarterMs + QUARTER_MS, instant);
  if (grain === "hour") return hourAt(at);
  const day = at.toPlainDate();
  const first = {
    day,
    week: day.subtract({ days: day.dayOfWeek - 1 }),
    month: day.with({ day: 1 }),
    year: day.with({ month: 1, day: 1 }),
  }[grain];
  const next = first.add({ days: 0, [`${grain}s`]: 1 });
  const start = first.toZonedDateTime(zone).epochMilliseconds;
  const end = next.toZonedDateTime(zone).epochMilliseconds;
  return bucket(zone, start, end, () => dateLabel(day, grain));
}

/** A local hour lasts while neither the hour on the wall nor the offset changes. */
function hourAt(at: Zoned): ZonedBucket {
  const same = (other: Zoned): boolean => other.offset === at.offset && other.hour === at.hour;
  let start = at.epochMilliseconds;
  let end = start + QUARTER_MS;
  while (same(zoned(start - QUARTER_MS, at.timeZoneId))) start -= QUARTER_MS;
  while (same(zoned(end, at.timeZoneId))) end += QUARTER_MS;
  return bucket(at.timeZoneId, start, end, instant);
}

function bucket(zone: string, startMs: number, endMs: number, label: (start: Zoned) => string): ZonedBucket {
  return { startMs, endMs, label: label(zoned(startMs, zone)) };
}

function zoned(utcMs: number, zone: string): Zoned {
  return Temporal.Instant.fromEpochMilliseconds(utcMs).toZonedDateTimeISO(zone);
}

function instant(at: Zoned): string {
  const text = at.toString({ timeZoneName: "never", smallestUnit: "second" });
  return at.timeZoneId === "UTC" ? text.replace("+00:00", "Z") : text;
}

function dateLabel(day: Temporal.PlainDate, grain: "day" | "week" | "month" | "year"): string {
  if (grain === "day") return day.toString();
  if (grain === "week") return `${day.yearOfWeek}-W${String(day.weekOfYear).padStart(2, "0")}`;
  return day.toString().slice(0, grain === "month" ? 7 : 4);
}
