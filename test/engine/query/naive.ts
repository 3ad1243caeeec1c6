/**
 * Answers by going through all events one by one, with sets. Shares nothing with the engine but the calendar, and, for
 * what a range is compared with, `compare-range.ts`, which has tests of its own.
 */
import type { FilterInput, Metric, OrderKey } from "../../../engine/api.js";
import { formatInstant, label, type Grain, type Zone } from "../../../engine/calendar/index.js";
import { comparisonOf, counterparts, type Range } from "../../../engine/query/compare-range.js";

/** An event as answers show it: a value that shares "(other)" with others is called so. */
export interface Seen {
  readonly ts: number;
  readonly created: boolean;
  readonly viewer: string | undefined;
  readonly values: Readonly<Record<string, string | null>>;
}

export interface AskedCompare {
  readonly mode: "previous_period" | "year_over_year" | "custom";
  readonly range: Range | undefined;
  readonly matchWeekday: boolean;
  readonly whole: boolean;
}

export interface Question {
  readonly zone: Zone;
  readonly fromMs: number;
  readonly toMs: number;
  /** What is sent in place of the two instants. */
  readonly preset: string | undefined;
  readonly includeToday: boolean;
  readonly grain: Grain | null;
  /** `time` stands for `grain`. */
  readonly columns: readonly string[];
  readonly filters: readonly FilterInput[];
  readonly metrics: readonly Metric[];
  readonly compare: AskedCompare | undefined;
  readonly order: readonly (readonly [OrderKey, "asc" | "desc"])[];
  readonly limit: number;
  readonly fill: boolean;
  readonly total: boolean;
  readonly other: boolean;
  /** What the engine's clock shows, ms. */
  readonly now: number;
}

/** The question as it goes over the wire. */
export function toQuery(question: Question): Record<string, unknown> {
  const { zone, grain, compare, preset, includeToday } = question;
  const instants = ({ fromMs, toMs }: Range): string[] => [fromMs, toMs].map((ms) => formatInstant(ms, zone));
  const named = (name: OrderKey): unknown => (name === "time" ? `time:${grain}` : name);
  return {
    date_range: preset ?? instants(question),
    timezone: zone.name,
    ...(includeToday ? {} : { include_today: false }),
    metrics: question.metrics,
    dimensions: question.columns.map(named),
    filters: question.filters,
    ...(compare && {
      compare: {
        mode: compare.mode,
        whole: compare.whole,
        ...(compare.range
          ? { date_range: instants(compare.range) }
          : { match_day_of_week: compare.matchWeekday }),
      },
    }),
    order_by: question.order.map(([name, direction]) => [named(name), direction]),
    limit: question.limit,
    fill: question.fill ? "zero" : "none",
    include: { total: question.total, other: question.other, time_labels: grain !== null, explain: true },
  };
}

export type Value = number | null;

export interface NaiveValues {
  readonly metrics: readonly Value[];
  /** Undefined without `compare`, null where the other period has no such bucket. */
  readonly compare:
    | { readonly metrics: readonly Value[]; readonly change: readonly Value[] }
    | null
    | undefined;
}

export interface NaiveRow extends NaiveValues {
  readonly fromMs: number;
  readonly endMs: number;
  readonly group: string;
  readonly dimensions: readonly (string | null)[];
}

export interface NaiveAnswer {
  /** All rows in order, those too that the limit cuts off. */
  readonly rows: readonly NaiveRow[];
  readonly total: NaiveValues;
  /** Of all groups that have no row among the first `limit`. */
  readonly other: readonly Value[] | undefined;
}

/** The time buckets of a range, and those before it: number −1 ends where number 0 begins. */
export class Period implements Range {
  readonly fromMs: number;
  readonly toMs: number;
  readonly grain: Grain | null;
  /** Borders of the buckets of the range. */
  readonly edges: Float64Array;
  readonly #zone: Zone;
  readonly #before: number[];

  constructor(zone: Zone, grain: Grain | null, { fromMs, toMs }: Range) {
    this.#zone = zone;
    this.grain = grain;
    this.fromMs = fromMs;
    this.toMs = toMs;
    const edges = [fromMs];
    if (grain === null) edges.push(toMs);
    else for (let at = fromMs; at < toMs; edges.push(at)) at = Math.min(zone.endOf(grain, at), toMs);
    this.edges = Float64Array.from(edges);
    this.#before = [fromMs];
  }

  get times(): number {
    return this.edges.length - 1;
  }

  startOf(time: number): number {
    if (time >= 0) return this.edges[time]!;
    const before = this.#before;
    while (before.length <= -time) before.push(this.#zone.startOf(this.grain!, before.at(-1)! - 1));
    return before[-time]!;
  }

  endOf(time: number): number {
    return this.startOf(time + 1);
  }
}

/** Does the event pass? Values that share "(other)" are not to be found by their own names, nor by parts of them. */
export function passes(values: Seen["values"], filter: FilterInput): boolean {
  switch (filter[0]) {
    case "and":
      return filter[1].every((each) => passes(values, each));
    case "or":
      return filter[1].some((each) => passes(values, each));
    case "not":
      return !passes(values, filter[1]);
    default: {
      const value = values[filter[1]]!;
      const isPart = (part: string | null): boolean =>
        value !== null && value !== "(other)" && part !== null && value.includes(part);
      const isMet = filter[0].startsWith("contains") ? filter[2].some(isPart) : hasValue(filter[2], value);
      return isMet !== filter[0].includes("not");
    }
  }
}

function hasValue(values: readonly (string | null)[], value: string | null): boolean {
  return values.includes(value);
}

interface Tally {
  views: number;
  anonymous: number;
  created: number;
  readonly viewers: Set<string>;
}

function tally(events: readonly Seen[], fromMs: number, toMs: number): Tally {
  const found: Tally = { views: 0, anonymous: 0, created: 0, viewers: new Set() };
  for (const { ts, created, viewer } of events) {
    if (ts < fromMs || ts >= toMs) continue;
    if (created) found.created++;
    else {
      found.views++;
      if (viewer === undefined) found.anonymous++;
      else found.viewers.add(viewer);
    }
  }
  return found;
}

const UNIT_MS = { second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** A metric of some events in a time bucket. */
export function valueOf(
  metric: Metric,
  events: readonly Seen[],
  period: Period,
  time: number,
  now: number,
): Value {
  const inner = (each: Metric, at = time): Value => valueOf(each, events, period, at, now);
  const within = (fromMs: number): Tally => tally(events, fromMs, period.endOf(time));
  if (typeof metric === "string") return baseOf(metric, within(period.startOf(time)), events, period, time);
  if (metric[0] === "ratio") return quotient(inner(metric[1]), inner(metric[2]));
  if (period.grain === null) return null;
  switch (metric[0]) {
    case "rolling":
      return baseOf(metric[1], within(period.startOf(time - metric[2] + 1)), events, period, time);
    case "cumulative":
      return baseOf(metric[1], within(period.fromMs), events, period, time);
    case "rate": {
      const passedMs = Math.min(period.endOf(time), now) - period.startOf(time);
      const value = inner(metric[1]);
      return passedMs <= 0 || value === null ? null : value * (UNIT_MS[metric[2]] / passedMs);
    }
    case "moving_average": {
      let sum = 0;
      for (let at = time - metric[2] + 1; at <= time; at++) {
        const value = inner(metric[1], at);
        if (value === null) return null;
        sum += value;
      }
      return sum / metric[2];
    }
    case "change":
      return changeOf(inner(metric[1]), inner(metric[1], time - 1));
  }
}

function baseOf(metric: string, found: Tally, events: readonly Seen[], period: Period, time: number): Value {
  switch (metric) {
    case "views":
      return found.views;
    case "viewers":
      return found.viewers.size;
    case "views_anonymous":
      return found.anonymous;
    case "blogs_created":
      return found.created;
    case "views_per_viewer":
      return quotient(found.views - found.anonymous, found.viewers.size);
    case "blogs_total":
      return tally(events, Number.NEGATIVE_INFINITY, period.endOf(time)).created;
    case "new_viewers":
    case "returning_viewers": {
      const { viewers } = tally(events, Number.NEGATIVE_INFINITY, period.startOf(time));
      const known = [...found.viewers].filter((viewer) => viewers.has(viewer)).length;
      return metric === "returning_viewers" ? known : found.viewers.size - known;
    }
    default:
      throw new Error(`no metric ${metric}`);
  }
}

function quotient(a: Value, b: Value): Value {
  return a === null || b === null || b === 0 ? null : a / b;
}

function changeOf(now: Value, before: Value): Value {
  const relative = quotient(now, before);
  return relative === null ? null : relative - 1;
}

/** Can it be other than zero or null in a bucket without events? */
function isLocal(metric: Metric): boolean {
  if (typeof metric === "string") return metric !== "blogs_total";
  return metric[0] === "ratio" && isLocal(metric[1]) && isLocal(metric[2]);
}

/** The periods of a question; throws `invalid-range` where what it is compared with lies beyond the calendar. */
export interface Periods {
  readonly main: Period;
  readonly other: { readonly period: Period; readonly counterparts: Int32Array } | undefined;
}

export function periodsOf(question: Question): Periods {
  const { zone, grain, compare, now } = question;
  const main = new Period(zone, grain, question);
  if (compare === undefined) return { main, other: undefined };
  const { mode, range, matchWeekday, whole } = compare;
  const asked = mode === "custom" ? { mode, range: range! } : { mode, matchWeekday };
  const comparison = comparisonOf(zone, question, asked, now, whole);
  const period = new Period(zone, grain, comparison);
  const pairs =
    grain === null ? Int32Array.of(0) : counterparts(zone, grain, main.edges, comparison, period.edges);
  return { main, other: { period, counterparts: pairs } };
}

export function naiveAnswer(all: readonly Seen[], question: Question, periods: Periods): NaiveAnswer {
  const passing = all.filter(({ values }) => question.filters.every((filter) => passes(values, filter)));
  const groups = groupsOf(passing, question);
  const rows = [...groups].flatMap(([group, events]) => rowsOf(group, events, question, periods));
  rows.sort((a, b) => compareRows(question, a, b));
  const whole = wholeOf(question, periods);
  const total = valuesOf(passing, { ...question, grain: null }, whole, 0);
  const shown = new Set(rows.slice(0, question.limit).map(({ group }) => group));
  const rest = rows.filter(({ group }) => !shown.has(group)).map(({ group }) => group);
  const cut = rest.flatMap((group) => groups.get(group)!);
  const other =
    rest.length === 0 ? undefined : question.metrics.map((m) => valueOf(m, cut, whole.main, 0, question.now));
  return { rows, total, other };
}

/** The same periods, each as one bucket. */
function wholeOf({ zone }: Question, { main, other }: Periods): Periods {
  const period = other && new Period(zone, null, other.period);
  return { main: new Period(zone, null, main), other: period && { period, counterparts: Int32Array.of(0) } };
}

function groupsOf(passing: readonly Seen[], { columns, fill, toMs }: Question): Map<string, Seen[]> {
  const groups = new Map<string, Seen[]>();
  const names = columns.filter((name) => name !== "time");
  if (columns.length === 0 || fill) groups.set("[]", []);
  for (const each of passing) {
    const key = JSON.stringify(names.map((name) => each.values[name]));
    const known = groups.get(key);
    if (known !== undefined) known.push(each);
    else groups.set(key, [each]);
  }
  for (const [key, events] of groups) {
    if (events.length > 0 && events.every(({ ts }) => ts >= toMs) && !fill && columns.length > 0)
      groups.delete(key);
  }
  return groups;
}

function rowsOf(group: string, events: readonly Seen[], question: Question, periods: Periods): NaiveRow[] {
  const { columns, fill, metrics, zone, grain } = question;
  const { main } = periods;
  const isQuiet = metrics.every(isLocal) && !fill && columns.length > 0;
  const rows: NaiveRow[] = [];
  for (let time = 0; time < main.times; time++) {
    const fromMs = main.startOf(time);
    const endMs = main.endOf(time);
    if (isQuiet && !events.some(({ ts }) => ts >= fromMs && ts < endMs)) continue;
    const values = valuesOf(events, question, periods, time);
    const isEmpty = values.metrics.every((metric) => metric === 0 || metric === null);
    if (isEmpty && columns.length > 0 && !fill) continue;
    // A bucket that has not begun has a row only if something came ahead of the clock.
    const isToCome = columns.includes("time") && fromMs > question.now && !fill;
    if (isToCome && !events.some(({ ts }) => ts >= fromMs && ts < endMs)) continue;
    const rest = (JSON.parse(group) as (string | null)[]).values();
    const dimensions = columns.map((name) =>
      name === "time" ? label(zone, grain!, fromMs) : (rest.next().value as string | null),
    );
    rows.push({ ...values, fromMs, endMs, group, dimensions });
  }
  return rows;
}

function valuesOf(
  events: readonly Seen[],
  { metrics, now }: Question,
  { main, other }: Periods,
  time: number,
): NaiveValues {
  const values = metrics.map((metric) => valueOf(metric, events, main, time, now));
  if (other === undefined) return { metrics: values, compare: undefined };
  const counterpart = other.counterparts[time]!;
  if (counterpart < 0) return { metrics: values, compare: null };
  const compared = metrics.map((metric) => valueOf(metric, events, other.period, counterpart, now));
  const change = values.map((value, m) => changeOf(value, compared[m]!));
  return { metrics: values, compare: { metrics: compared, change } };
}

function compareRows(question: Question, a: NaiveRow, b: NaiveRow): number {
  const ties = question.columns.map((name) => [name, "asc"] as const);
  for (const [name, direction] of [...question.order, ...ties]) {
    const order = compareValues(keyOf(question, a, name), keyOf(question, b, name), direction === "desc");
    if (order !== 0) return order;
  }
  return 0;
}

function keyOf(question: Question, row: NaiveRow, name: OrderKey): string | number | null {
  if (name === "time") return row.fromMs;
  const metric = question.metrics.indexOf(name as Metric);
  return metric >= 0 ? row.metrics[metric]! : row.dimensions[question.columns.indexOf(name as string)]!;
}

function compareValues(a: string | number | null, b: string | number | null, descending: boolean): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const order =
    typeof a === "number" ? a - (b as number) : Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  return descending ? -order : order;
}
