import { Temporal } from "temporal-polyfill";
import type { BaseMetric, Metric, RateUnit } from "../../../engine/api.js";
import { label, type Grain, type Zone } from "../../../engine/calendar/index.js";
import type { Happening } from "./world.js";

/**
 * Metrics along time by going through all events again for every number, with sets; and what is compared with what, by
 * Temporal's dates. Shares nothing with the engine but where a bucket of a zone begins.
 */
export interface SeriesQuestion {
  readonly zone: Zone;
  readonly grain: Grain;
  /** On the start of a bucket. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly now: number;
  readonly metrics: readonly Metric[];
}

export interface SeriesRow {
  readonly fromMs: number;
  readonly label: string;
  readonly metrics: readonly (number | null)[];
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

const UNIT_MS: Readonly<Record<RateUnit, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

/** One row per time bucket, of the events of one group. */
export function naiveSeries(events: readonly Happening[], question: SeriesQuestion): SeriesRow[] {
  const series = new Series(events, question);
  return series.spans.map(({ fromMs }, time) => ({
    fromMs,
    label: label(question.zone, question.grain, fromMs),
    metrics: question.metrics.map((metric) => series.value(metric, time)),
  }));
}

class Series {
  readonly spans: readonly Span[];
  readonly #events: readonly Happening[];
  readonly #question: SeriesQuestion;

  constructor(events: readonly Happening[], question: SeriesQuestion) {
    const { zone, grain, fromMs, toMs } = question;
    const spans = [];
    for (let at = fromMs; at < toMs; at = zone.endOf(grain, at)) {
      spans.push({ fromMs: at, toMs: Math.min(zone.endOf(grain, at), toMs) });
    }
    this.spans = spans;
    this.#events = events;
    this.#question = question;
  }

  /** Times before the range are negative. */
  value(metric: Metric, time: number): number | null {
    const span = this.#span(time);
    if (typeof metric === "string") return base(metric, this.#events, span);
    switch (metric[0]) {
      case "rolling":
        return base(metric[1], this.#events, { ...span, fromMs: this.#span(time - metric[2] + 1).fromMs });
      case "cumulative":
        return base(metric[1], this.#events, { ...span, fromMs: this.#question.fromMs });
      case "rate": {
        const passedMs = Math.min(span.toMs, this.#question.now) - span.fromMs;
        const value = this.value(metric[1], time);
        return value === null || passedMs <= 0 ? null : value * (UNIT_MS[metric[2]] / passedMs);
      }
      case "moving_average": {
        const values = Array.from({ length: metric[2] }, (_, back) => this.value(metric[1], time - back));
        return values.includes(null)
          ? null
          : values.reduce<number>((sum, each) => sum + each!, 0) / metric[2];
      }
      case "change":
        return naiveChange(this.value(metric[1], time), this.value(metric[1], time - 1));
      case "ratio":
        return quotient(this.value(metric[1], time), this.value(metric[2], time));
    }
  }

  #span(time: number): Span {
    if (time >= 0) return this.spans[time]!;
    const { zone, grain } = this.#question;
    let toMs = this.#question.fromMs;
    for (let back = -1; back > time; back--) toMs = zone.startOf(grain, toMs - 1);
    return { fromMs: zone.startOf(grain, toMs - 1), toMs };
  }
}

/** Relative change; null where there is nothing to compare with. */
export function naiveChange(now: number | null, before: number | null): number | null {
  const share = quotient(now, before);
  return share === null ? null : share - 1;
}

function quotient(first: number | null, second: number | null): number | null {
  return first === null || second === null || second === 0 ? null : first / second;
}

function base(metric: BaseMetric, events: readonly Happening[], { fromMs, toMs }: Span): number | null {
  const views = (from: number, to: number): Happening[] =>
    events.filter(({ created, ts }) => created !== true && ts >= from && ts < to);
  const inside = views(fromMs, toMs);
  const viewers = viewersOf(inside);
  const before = metric.endsWith("_viewers") ? viewersOf(views(-Infinity, fromMs)) : new Set();
  switch (metric) {
    case "views":
      return inside.length;
    case "viewers":
      return viewers.size;
    case "views_anonymous":
      return inside.filter(({ viewer }) => viewer === undefined).length;
    case "views_per_viewer":
      return quotient(inside.filter(({ viewer }) => viewer !== undefined).length, viewers.size);
    case "new_viewers":
      return [...viewers].filter((viewer) => !before.has(viewer)).length;
    case "returning_viewers":
      return [...viewers].filter((viewer) => before.has(viewer)).length;
    case "blogs_created":
      return events.filter(({ created, ts }) => created === true && ts >= fromMs && ts < toMs).length;
    case "blogs_total":
      return events.filter(({ created, ts }) => created === true && ts < toMs).length;
  }
}

function viewersOf(views: readonly Happening[]): Set<string> {
  return new Set(views.flatMap(({ viewer }) => viewer ?? []));
}

export interface NaiveCompare {
  readonly mode: "previous_period" | "year_over_year";
  readonly matchWeekday: boolean;
}

/**
 * The other days of whole local days, both ends in it, by the rules in words: whole months with whole months, other days
 * by as many days before or the same dates a year before, weekdays by whole weeks.
 */
export function naiveOtherDays(
  first: Temporal.PlainDate,
  last: Temporal.PlainDate,
  { mode, matchWeekday }: NaiveCompare,
): readonly [first: Temporal.PlainDate, last: Temporal.PlainDate] {
  const next = last.add({ days: 1 });
  const count = first.until(next, { largestUnit: "day" }).days;
  const months = first.day === 1 && next.day === 1 ? first.until(next, { largestUnit: "month" }).months : 0;
  if (matchWeekday) {
    const by = { days: mode === "year_over_year" ? 364 : Math.ceil(count / 7) * 7 };
    return [first.subtract(by), last.subtract(by)];
  }
  if (mode === "previous_period") {
    return [first.subtract(months > 0 ? { months } : { days: count }), first.subtract({ days: 1 })];
  }
  const year = { years: 1 };
  if (months === 0) return [first.subtract(year), last.subtract(year)];
  return [first.subtract(year), next.subtract(year).subtract({ days: 1 })];
}

/** The date that a day of such a range is compared with; undefined where there is none. Not for months of several. */
export function naiveOtherDay(
  first: Temporal.PlainDate,
  last: Temporal.PlainDate,
  compare: NaiveCompare,
  day: Temporal.PlainDate,
): Temporal.PlainDate | undefined {
  const [otherFirst, otherLast] = naiveOtherDays(first, last, compare);
  if (day.equals(first)) return otherFirst;
  const isMonths = first.day === 1 && last.add({ days: 1 }).day === 1 && !compare.matchWeekday;
  const isYear = compare.mode === "year_over_year" && !compare.matchWeekday;
  const other =
    isMonths || isYear
      ? exactly(() =>
          otherFirst
            .with({ day: 1 })
            .add(monthsBetween(first, day))
            .with({ day: day.day }, { overflow: "reject" }),
        )
      : otherFirst.add(first.until(day, { largestUnit: "day" }));
  return other === undefined || Temporal.PlainDate.compare(other, otherLast) > 0 ? undefined : other;
}

function monthsBetween(first: Temporal.PlainDate, day: Temporal.PlainDate): { months: number } {
  return { months: (day.year - first.year) * 12 + day.month - first.month };
}

/** Undefined for a date that the calendar does not have. */
function exactly(date: () => Temporal.PlainDate): Temporal.PlainDate | undefined {
  try {
    return date();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
