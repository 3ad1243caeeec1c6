import { Slices, type Turns } from "../../../engine/sliced.js";
import { getZone, QUARTER_MS } from "../../../engine/calendar/index.js";
import { BatchBuilder } from "../../../engine/event.js";
import { Buckets } from "../../../engine/hot/buckets.js";
import { Dictionaries } from "../../../engine/hot/dictionaries.js";
import { Fold } from "../../../engine/hot/fold.js";
import { OTHER_NAME } from "../../../engine/hot/interner.js";
import { Questions, runQuery } from "../../../engine/query/index.js";
import { defineSchema, type Schema, type SchemaConfig } from "../../../engine/schema.js";
import type { QueryResult } from "../../../engine/api.js";
import { openMemory } from "../../../storage/memory.js";
import type { QuestionGround } from "../../../engine/query/questions.js";
import type { Seen } from "./naive.js";

const TURNS: Turns = { nextTurn: () => Promise.resolve(), stopwatch: () => 0 };

export const MAX_LATENESS_MS = 30 * 86_400_000;

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
  /** What happened, as answers show it. */
  readonly seen: Seen[] = [];
  now = 0;
  watermarkMs = Number.NEGATIVE_INFINITY;
  sealedUntil = Number.NEGATIVE_INFINITY;
  readonly homeZones: readonly string[];
  readonly #fold: Fold;
  readonly #memory = openMemory();
  #position = 0;

  constructor({ homeZones = [], schema, maxValues = 1_000_000 }: WorldOptions = {}) {
    this.schema = defineSchema(schema);
    this.homeZones = homeZones;
    const { store } = this.#memory;
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
    this.#fold.fold(batch, ids, (quarterMs) => this.buckets.tableOf(quarterMs, position, 0, false));
    this.buckets.folded(position, batch.count);
    this.happenings.push(...happenings);
    for (const each of happenings) {
      this.seen.push(this.#show(each));
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
      now: this.now,
      slices: new Slices(TURNS),
    });
    this.sealedUntil = this.buckets.sealedUntil("UTC");
  }

  /** Gives up what begins before these instants, by tier such as "UTC quarter". */
  async retain(reach: Readonly<Record<string, number>>): Promise<void> {
    await this.buckets.commit({
      include: () => false,
      sealUntil: this.sealedUntil,
      watermark: this.watermarkMs,
      dedupeFrom: 0,
      now: this.now,
      amendments: { reach },
      slices: new Slices(TURNS),
    });
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

  /** All that an engine remembers of answers, over these buckets. */
  questions(
    maxCacheBytes = 1 << 24,
    time: Partial<Pick<QuestionGround, "stopwatch" | "rest">> = {},
  ): Questions {
    return new Questions({
      schema: this.schema,
      buckets: this.buckets,
      log: this.#memory.log,
      defaultZone: this.homeZones[0] ?? "UTC",
      moment: () => ({ now: this.now, watermarkMs: this.watermarkMs }),
      stopwatch: () => performance.now(),
      pause: () => Promise.resolve(),
      rest: () => Promise.resolve(),
      watched: (answer) => answer(),
      maxCacheBytes,
      maxLatenessMs: MAX_LATENESS_MS,
      epoch: "test",
      ...time,
    });
  }

  #show({ ts, created = false, viewer, blog, author, country }: Happening): Seen {
    const given = { blog, author, country };
    const names = this.schema.dimensions as readonly (keyof typeof given)[];
    return {
      ts,
      created,
      viewer: viewer === "" ? undefined : viewer,
      values: Object.fromEntries(names.map((name) => [name, this.shown(name, given[name])])),
    };
  }

  /** What a value is called in answers: those beyond the limit share one name. */
  shown(dimension: string, value: string | undefined): string | null {
    if (value === undefined) return null;
    const known = this.buckets.dictionaries.find(this.schema.dimensions.indexOf(dimension), value);
    return known === undefined ? OTHER_NAME : value;
  }
}

/** A generator of our own, for states that must be the same at every run. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Views, unless the rest says otherwise. */
export function ask(
  world: World,
  timezone: string,
  dateRange: unknown,
  rest: Record<string, unknown> = {},
): QueryResult {
  return world.query({ timezone, date_range: dateRange, metrics: ["views"], ...rest });
}

export function firstMetrics({ results }: QueryResult): number[] {
  return results.map(({ metrics }) => metrics[0]!);
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

export function at(text: string): number {
  return Date.parse(text);
}
