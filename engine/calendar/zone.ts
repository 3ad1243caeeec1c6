import {
  civilFromDays,
  isoWeekday,
  monthStartDay,
  nextMonthStartDay,
  nextYearStartDay,
  weekStartDay,
  yearStartDay,
  type CivilDate,
} from "./civil.js";
import { DAY_MS, HOUR_MS, ISO_WEEK_START, QUARTER_MS, type Grain } from "./grain.js";
import { MAX_OFFSET_MS, type OffsetTable } from "./transitions.js";

/**
 * A time zone as a table of offsets. All instants are whole UTC ms. Every function is total: outside the calendar
 * (1990–2037, a good year of margin on each side) the offset nearest to it is taken to hold for ever, so what is
 * said there is consistent, but need not be what clocks show; callers refuse such ranges.
 *
 * For each grain the buckets `[startOf, endOf)` are a partition of the time line:
 * - quarter: 15 minutes of UTC. Every offset is a whole number of them, and so is every change of an offset since
 *   2022-10-02. Before that Goose Bay, St John's, Moncton, Hebron, Gaza and Casey moved their clocks at 00:01, so
 *   that a quarter holds the change and an hour there begins off the quarter; days never do.
 * - hour: the longest run of instants with one local clock hour and one offset. The hour that autumn repeats is two
 *   buckets, and a change within an hour cuts it (Lord Howe has two half hours a year).
 * - day: from the first instant whose local date is that day or a later one, to the first instant of the next.
 *   A day that begins after a skipped midnight begins late; a date that was skipped whole has no bucket. Where
 *   the clock went back over midnight just after it (00:01 → 23:01), the repeated last hour of the old date
 *   belongs to the new day, which has begun. This is `startOfDay` of Temporal for every date that existed.
 * - week, month, year: whole days.
 */
export interface Zone {
  /** IANA name in its canonical spelling; a link keeps its own name. */
  readonly name: string;
  /** In ms: local time = UTC + offset. */
  offsetAt(utcMs: number): number;
  /** The first instant after `utcMs` at which the offset is another; `Infinity` where there is none. */
  nextChange(utcMs: number): number;
  /** Start of the bucket that holds the instant. `weekStart` is an ISO weekday, 1–7. */
  startOf(grain: Grain, utcMs: number, weekStart?: number): number;
  /** Exclusive end of that bucket: the start of the next. */
  endOf(grain: Grain, utcMs: number, weekStart?: number): number;
  /** The day that holds the instant, as days since 1970-01-01. */
  dayNumberAt(utcMs: number): number;
  /** Start of a day; of the next one that exists if the zone skipped it. */
  dayStart(dayNumber: number): number;
}

export interface CivilTime extends CivilDate {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly ms: number;
  /** ISO weekday, 1 (Monday) – 7 (Sunday). */
  readonly weekday: number;
}

/** What a wall clock in the zone shows. */
export function civilFromInstant(zone: Zone, utcMs: number): CivilTime {
  const localMs = utcMs + zone.offsetAt(utcMs);
  const dayNumber = Math.floor(localMs / DAY_MS);
  const msOfDay = localMs - dayNumber * DAY_MS;
  return {
    ...civilFromDays(dayNumber),
    hour: Math.floor(msOfDay / HOUR_MS),
    minute: Math.floor(msOfDay / 60_000) % 60,
    second: Math.floor(msOfDay / 1000) % 60,
    ms: msOfDay % 1000,
    weekday: isoWeekday(dayNumber),
  };
}

export class TableZone implements Zone {
  readonly name: string;
  readonly #starts: Float64Array;
  readonly #offsets: Float64Array;
  /** Per run: the latest local day that was reached before it began. */
  readonly #reached: Float64Array;
  /** The run found last: neighbouring questions mostly fall into it. */
  #last = 0;

  constructor(name: string, table: OffsetTable) {
    this.name = name;
    this.#starts = table.starts;
    this.#offsets = table.offsets;
    this.#reached = daysReached(table);
  }

  offsetAt(utcMs: number): number {
    return this.#offsets[this.#run(utcMs)]!;
  }

  nextChange(utcMs: number): number {
    return this.#starts[this.#run(utcMs) + 1]!;
  }

  startOf(grain: Grain, utcMs: number, weekStart: number = ISO_WEEK_START): number {
    switch (grain) {
      case "quarter":
        return Math.floor(utcMs / QUARTER_MS) * QUARTER_MS;
      case "hour":
        return this.#hourStart(utcMs);
      case "day":
        return this.#dayStartAt(utcMs);
      case "week":
        return this.dayStart(weekStartDay(this.dayNumberAt(utcMs), weekStart));
      case "month":
        return this.dayStart(monthStartDay(this.dayNumberAt(utcMs)));
      case "year":
        return this.dayStart(yearStartDay(this.dayNumberAt(utcMs)));
    }
  }

  endOf(grain: Grain, utcMs: number, weekStart: number = ISO_WEEK_START): number {
    switch (grain) {
      case "quarter":
        return (Math.floor(utcMs / QUARTER_MS) + 1) * QUARTER_MS;
      case "hour":
        return this.#hourEnd(utcMs);
      case "day":
        return this.dayStart(this.dayNumberAt(utcMs) + 1);
      case "week":
        return this.dayStart(weekStartDay(this.dayNumberAt(utcMs), weekStart) + 7);
      case "month":
        return this.dayStart(nextMonthStartDay(this.dayNumberAt(utcMs)));
      case "year":
        return this.dayStart(nextYearStartDay(this.dayNumberAt(utcMs)));
    }
  }

  dayNumberAt(utcMs: number): number {
    const run = this.#run(utcMs);
    return Math.max(Math.floor((utcMs + this.#offsets[run]!) / DAY_MS), this.#reached[run]!);
  }

  dayStart(dayNumber: number): number {
    const midnightMs = dayNumber * DAY_MS;
    // No zone has reached this day yet at the instant where we begin, so the first run that reaches it tells.
    let run = this.#run(midnightMs - MAX_OFFSET_MS);
    for (;;) {
      const start = Math.max(midnightMs - this.#offsets[run]!, this.#starts[run]!);
      run++;
      if (!(start >= this.#starts[run]!)) return start;
    }
  }

  #dayStartAt(utcMs: number): number {
    const run = this.#run(utcMs);
    const offset = this.#offsets[run]!;
    const dayNumber = Math.floor((utcMs + offset) / DAY_MS);
    const start = dayNumber * DAY_MS - offset;
    // Almost always: midnight lies in the same run, and no earlier run had got that far.
    if (start >= this.#starts[run]! && dayNumber > this.#reached[run]!) return start;
    return this.dayStart(Math.max(dayNumber, this.#reached[run]!));
  }

  #hourStart(utcMs: number): number {
    const run = this.#run(utcMs);
    const offset = this.#offsets[run]!;
    return Math.max(Math.floor((utcMs + offset) / HOUR_MS) * HOUR_MS - offset, this.#starts[run]!);
  }

  #hourEnd(utcMs: number): number {
    const run = this.#run(utcMs);
    const offset = this.#offsets[run]!;
    return Math.min((Math.floor((utcMs + offset) / HOUR_MS) + 1) * HOUR_MS - offset, this.#starts[run + 1]!);
  }

  #run(utcMs: number): number {
    const starts = this.#starts;
    const last = this.#last;
    if (utcMs >= starts[last]! && utcMs < starts[last + 1]!) return last;
    let low = 0;
    let high = starts.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (utcMs >= starts[middle]!) low = middle;
      else high = middle - 1;
    }
    this.#last = low;
    return low;
  }
}

function daysReached({ starts, offsets }: OffsetTable): Float64Array {
  const reached = new Float64Array(offsets.length).fill(-Infinity);
  for (let run = 1; run < offsets.length; run++) {
    const lastDay = Math.ceil((starts[run]! + offsets[run - 1]!) / DAY_MS) - 1;
    reached[run] = Math.max(reached[run - 1]!, lastDay);
  }
  return reached;
}
