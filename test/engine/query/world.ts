import {
  formatInstant,
  getZone,
  label,
  QUARTER_MS,
  type Grain,
  type Zone,
} from "../../../engine/calendar/index.js";
import { BatchBuilder } from "../../../engine/event.js";
import { Buckets } from "../../../engine/hot/buckets.js";
import { Dictionaries } from "../../../engine/hot/dictionaries.js";
import { Fold } from "./fold-fixed.js";
import { OTHER_NAME } from "../../../engine/hot/interner.js";
import { runQuery } from "../../../engine/query/index.js";
import { defineSchema, type Schema, type SchemaConfig } from "../../../engine/schema.js";
import type { QueryResult } from "../../../engine/api.js";
import { openMemory } from "../../../storage/memory.js";

/** An event as a test thinks of it; every member but `ts` and `blog` may be missing. */
export interface Happening {
  readonly ts: number;
  readonly blog: string;
  readonly author?: string | undefined;
  readonly country?: string | undefined;
  readonly viewer?: string | undefined;
  readonly created?: boolean;
}

export interface WorldOptions {
  readonly homeZones?: readonly string[];
  readonly schema?: SchemaConfig;
  readonly maxValues?: number;
}

/** A state of buckets, built by hand, beside the plain list of what went into it. */
export class World {
  readonly schema: Schema;
  readonly buckets: Buckets;
  readonly happenings: Happening[] = [];
  /** Those of their quarter came after it was sealed. */
  readonly late: Happening[] = [];
  now = 0;
  watermarkMs = Number.NEGATIVE_INFINITY;
  sealedUntil = Number.NEGATIVE_INFINITY;
  readonly homeZones: readonly string[];
  readonly #fold: Fold;
  #position = 0;

  constructor({ homeZones = [], schema, maxValues = 1_000_000 }: WorldOptions = {}) {
    this.schema = defineSchema(schema);
    this.homeZones = homeZones;
    const { store } = openMemory();
    const calendars = ["UTC", ...homeZones].map((name) => getZone(name));
    this.buckets = new Buckets(
      this.schema,
      calendars,
      store,
      new Dictionaries(this.schema, store, maxValues),
    );
    this.#fold = new Fold(this.schema);
  }

  /** Folds one batch. */
  add(...happenings: readonly Happening[]): this {
    if (happenings.length === 0) return this;
    const builder = new BatchBuilder(this.schema, happenings.length, 0);
    for (const { created, author = null, country = null, viewer = null, ...event } of happenings) {
      const type = created === true ? "created" : "view";
      const rejection = builder.add({ type, ...event, author, country, viewer });
      if (rejection !== undefined) throw new Error(rejection.detail);
    }
    const batch = builder.build();
    const { dictionaries } = this.buckets;
    const ids = batch.values.map((values, dimension) => dictionaries.idsOf(dimension, values));
    const position = ++this.#position;
    this.#fold.fold(batch, ids, (quarterMs) => this.buckets.tableOf(quarterMs, position, 0));
    this.buckets.folded(position);
    this.happenings.push(...happenings);
    for (const each of happenings) {
      if (Math.floor(each.ts / QUARTER_MS) * QUARTER_MS + QUARTER_MS <= this.sealedUntil)
        this.late.push(each);
      this.watermarkMs = Math.max(this.watermarkMs, each.ts);
      this.now = Math.max(this.now, each.ts);
    }
    return this;
  }

  /** Seals everything that ends by `sealUntil`, and writes all deltas or only those that fall due. */
  async commit(sealUntil: number, all = false): Promise<void> {
    await this.buckets.commit({
      include: () => all,
      sealUntil: Math.floor(sealUntil / QUARTER_MS) * QUARTER_MS,
      watermark: this.watermarkMs,
      dedupeFrom: 0,
      pause: () => Promise.resolve(),
    });
    this.sealedUntil = this.buckets.sealedUntil("UTC");
  }

  query(input: unknown): QueryResult {
    const { schema, now, watermarkMs } = this;
    return runQuery(this.buckets, input, {
      schema,
      now,
      watermarkMs,
      defaultZone: this.homeZones[0] ?? "UTC",
    });
  }

  /** What a value is called in answers: those beyond the limit share one name. */
  shown(dimension: string, value: string | undefined): string | null {
    if (value === undefined) return null;
    const known = this.buckets.dictionaries.find(this.schema.dimensions.indexOf(dimension), value);
    return known === undefined ? OTHER_NAME : value;
  }
}

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
