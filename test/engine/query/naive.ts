import { formatInstant, label, type Grain, type Zone } from "../../../engine/calendar/index.js";
import type { Happening, World } from "./world.js";

export interface Question {
  readonly zone: Zone;
  readonly fromMs: number;
  readonly toMs: number;
  readonly grain: Grain | null;
  /** `time` stands for `grain`. */
  readonly columns: readonly string[];
  readonly filters: readonly (readonly [string, readonly (string | null)[]])[];
  readonly metrics: readonly string[];
  readonly order: readonly (readonly [string, "asc" | "desc"])[];
  readonly limit: number;
  readonly fill: boolean;
}

/** The question as it goes over the wire. */
export function toQuery(question: Question): Record<string, unknown> {
  const { zone, fromMs, toMs, grain } = question;
  const named = (name: string): string => (name === "time" ? `time:${grain}` : name);
  return {
    date_range: [formatInstant(fromMs, zone), formatInstant(toMs, zone)],
    timezone: zone.name,
    metrics: question.metrics,
    dimensions: question.columns.map(named),
    filters: question.filters.map(([dimension, values]) => ["is", dimension, values]),
    order_by: question.order.map(([name, direction]) => [named(name), direction]),
    limit: question.limit,
    fill: question.fill ? "zero" : "none",
    include: { total: true, time_labels: grain !== null, explain: true },
  };
}

export interface NaiveRow {
  readonly time: number;
  readonly endMs: number;
  readonly dimensions: readonly (string | null)[];
  readonly metrics: readonly (number | null)[];
}

interface Tally {
  views: number;
  anonymous: number;
  created: number;
  readonly viewers: Set<string>;
}

/** The answer by going through all events one by one, with sets; shares nothing with the engine but the calendar. */
export function naiveRows(world: World, question: Question): NaiveRow[] {
  const { columns, grain } = question;
  const spans = spansOf(question);
  const passing = world.happenings.filter((each) => passes(world, question, each));
  const groups = new Map<string, (string | null)[]>();
  const tallies = new Map<string, Tally>();
  for (const each of passing) {
    const group = columns.filter((name) => name !== "time").map((name) => shownValue(world, name, each));
    const groupKey = JSON.stringify(group);
    if (each.ts < question.toMs) groups.set(groupKey, group);
    const span = spans.findIndex(({ fromMs, toMs }) => each.ts >= fromMs && each.ts < toMs);
    // Before the range: of interest for the cumulative total only.
    if (span >= 0 || each.ts < question.fromMs) count(tallies, `${span} ${groupKey}`, each);
  }
  if (columns.length === 0 || question.fill) groups.set("[]", []);
  const rows: NaiveRow[] = [];
  for (const [groupKey, group] of groups) {
    let total = tallies.get(`-1 ${groupKey}`)?.created ?? 0;
    spans.forEach(({ fromMs, toMs }, span) => {
      const tally = tallies.get(`${span} ${groupKey}`) ?? {
        views: 0,
        anonymous: 0,
        created: 0,
        viewers: new Set(),
      };
      total += tally.created;
      const metrics = question.metrics.map((metric) => metricOf(metric, tally, total));
      const isEmpty = metrics.every((metric) => metric === 0 || metric === null);
      if (isEmpty && columns.length > 0 && !question.fill) return;
      const rest = group.values();
      const dimensions = columns.map((name) =>
        name === "time" ? label(question.zone, grain!, fromMs) : (rest.next().value as string | null),
      );
      rows.push({ time: fromMs, endMs: toMs, dimensions, metrics });
    });
  }
  return rows.sort((a, b) => compareRows(question, a, b));
}

function spansOf({ zone, grain, fromMs, toMs }: Question): { fromMs: number; toMs: number }[] {
  if (grain === null) return [{ fromMs, toMs }];
  const spans = [];
  for (let at = fromMs; at < toMs; at = zone.endOf(grain, at)) {
    spans.push({ fromMs: at, toMs: Math.min(zone.endOf(grain, at), toMs) });
  }
  return spans;
}

function passes(world: World, question: Question, each: Happening): boolean {
  return question.filters.every(([name, values]) => {
    const shown = shownValue(world, name, each);
    // A value that shares "(other)" is not to be found by its own name.
    return values.includes(shown);
  });
}

function shownValue(world: World, name: string, each: Happening): string | null {
  return world.shown(name, each[name as "blog" | "author" | "country"]);
}

function count(tallies: Map<string, Tally>, key: string, each: Happening): void {
  const tally = tallies.get(key) ?? { views: 0, anonymous: 0, created: 0, viewers: new Set() };
  tallies.set(key, tally);
  if (each.created === true) tally.created++;
  else {
    tally.views++;
    if (each.viewer === undefined) tally.anonymous++;
    else tally.viewers.add(each.viewer);
  }
}

function metricOf(metric: string, tally: Tally, total: number): number | null {
  switch (metric) {
    case "views":
      return tally.views;
    case "viewers":
      return tally.viewers.size;
    case "views_anonymous":
      return tally.anonymous;
    case "blogs_created":
      return tally.created;
    case "blogs_total":
      return total;
    case "views_per_viewer":
      return tally.viewers.size === 0 ? null : (tally.views - tally.anonymous) / tally.viewers.size;
    default:
      throw new Error(`no metric ${metric}`);
  }
}

function compareRows(question: Question, a: NaiveRow, b: NaiveRow): number {
  const ties = question.columns.map((name) => [name, "asc"] as const);
  for (const [name, direction] of [...question.order, ...ties]) {
    const order = compareValues(valueOf(question, a, name), valueOf(question, b, name), direction === "desc");
    if (order !== 0) return order;
  }
  return 0;
}

function valueOf(question: Question, row: NaiveRow, name: string): string | number | null {
  if (name === "time") return row.time;
  const metric = question.metrics.indexOf(name);
  return metric >= 0 ? row.metrics[metric]! : row.dimensions[question.columns.indexOf(name)]!;
}

function compareValues(a: string | number | null, b: string | number | null, descending: boolean): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const order =
    typeof a === "number" ? a - (b as number) : Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  return descending ? -order : order;
}
