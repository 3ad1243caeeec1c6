import { CALENDAR_START_MS, HOUR_MS, QUARTER_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import type { Position } from "../log.js";
import type { Schema } from "../schema.js";
import {
  UTC_CALENDAR,
  addressName,
  type BucketAddress,
  type BucketStore,
  type CellBlock,
  type StoredBucket,
} from "../store.js";
import { toBlocks } from "./block.js";
import { CellTable } from "./cell-table.js";

/** Unwritten cells of one quarter, keyed by its start. */
export type Deltas = ReadonlyMap<number, CellTable>;

export interface SealInput {
  readonly schema: Schema;
  readonly store: BucketStore;
  /** UTC first, then the home zones. */
  readonly calendars: readonly Zone[];
  readonly deltas: Deltas;
  /** Every folded record up to here is in the store or in `deltas`. */
  readonly position: Position;
  /** Per calendar: sealed so far. */
  readonly sealedUntil: Readonly<Record<string, number>>;
  /** Buckets that end at or before this instant are sealed by this commit. */
  readonly sealUntil: number;
}

/** What a bucket is made of; a day is made of hours, and of quarters where it begins within one. */
const CHILD: Readonly<Record<Exclude<Grain, "quarter" | "day">, Grain>> = {
  hour: "quarter",
  week: "day",
  month: "day",
  year: "month",
};

/**
 * Works out every bucket that a commit writes: the quarters of `deltas` merged with what is stored; each sealed
 * ancestor of theirs, merged likewise (a revision); and each bucket whose time has now passed, made from its
 * parts. A generator, so that the caller may pause between two buckets.
 */
export function sealBuckets(input: SealInput): Generator<StoredBucket, void, void> {
  return new Sealer(input).run();
}

class Sealer {
  readonly #in: SealInput;
  /** What this commit has written so far, by name; later buckets are made from it. */
  readonly #written = new Map<string, StoredBucket>();

  constructor(input: SealInput) {
    this.#in = input;
  }

  *run(): Generator<StoredBucket, void, void> {
    for (const bucket of this.#all()) {
      this.#written.set(addressName(bucket.address), bucket);
      yield bucket;
    }
  }

  *#all(): Generator<StoredBucket, void, void> {
    yield* this.#quarters();
    yield* this.#grain(this.#in.calendars[0]!, "hour");
    for (const zone of this.#in.calendars) {
      for (const grain of ["day", "week", "month", "year"] as const) yield* this.#grain(zone, grain);
    }
  }

  *#quarters(): Generator<StoredBucket, void, void> {
    const sealed = this.#sealedBefore(UTC_CALENDAR);
    for (const [startMs, delta] of this.#in.deltas) {
      const address: BucketAddress = { calendar: UTC_CALENDAR, grain: "quarter", startMs };
      yield this.#merged(address, [delta], startMs + QUARTER_MS <= sealed);
    }
  }

  *#grain(zone: Zone, grain: Exclude<Grain, "quarter">): Generator<StoredBucket, void, void> {
    const calendar = grain === "hour" ? UTC_CALENDAR : zone.name;
    const before = this.#sealedBefore(calendar);
    const late = new Map<number, CellTable[]>();
    for (const [quarterMs, delta] of this.#in.deltas) {
      const startMs = zone.startOf(grain, quarterMs);
      if (zone.endOf(grain, startMs) > before) continue;
      const tables = late.get(startMs);
      if (tables === undefined) late.set(startMs, [delta]);
      else tables.push(delta);
    }
    for (const [startMs, tables] of late) yield this.#merged({ calendar, grain, startMs }, tables, true);
    for (const [startMs, parts] of this.#ripe(zone, grain, before)) {
      yield this.#composed({ calendar, grain, startMs }, parts);
    }
  }

  /** The non-empty buckets that this commit seals: start → the finer buckets that it is made of. */
  #ripe(zone: Zone, grain: Exclude<Grain, "quarter">, before: number): Map<number, BucketAddress[]> {
    const ripe = new Map<number, BucketAddress[]>();
    const from = zone.startOf(grain, before);
    const to = zone.startOf(grain, this.#in.sealUntil);
    if (from >= to) return ripe;
    for (const part of this.#parts(zone, grain, from, to)) {
      const startMs = zone.startOf(grain, part.startMs);
      const parts = ripe.get(startMs);
      if (parts === undefined) ripe.set(startMs, [part]);
      else parts.push(part);
    }
    return ripe;
  }

  #merged(address: BucketAddress, deltas: readonly CellTable[], revises: boolean): StoredBucket {
    const { schema, store, position } = this.#in;
    const head = store.head(address);
    const stored = this.#stored(address);
    // At least as many cells as the largest part has.
    const cells = Math.max(countRows(stored), ...deltas.map(({ count }) => count));
    const table = new CellTable(schema.maxArity, cells);
    for (const block of stored) table.addBlock(block);
    for (const delta of deltas) table.addTable(delta);
    const revision = (head?.revision ?? 0) + (revises ? 1 : 0);
    return { address, head: { revision, position }, blocks: toBlocks(table, schema) };
  }

  #composed(address: BucketAddress, parts: readonly BucketAddress[]): StoredBucket {
    const { schema, position } = this.#in;
    const table = new CellTable(schema.maxArity);
    for (const part of parts) for (const block of this.#blocks(part)) table.addBlock(block);
    return { address, head: { revision: 0, position }, blocks: toBlocks(table, schema) };
  }

  /** Disjoint finer buckets of `[fromMs, toMs)`, each inside one bucket of `grain`. */
  *#parts(
    zone: Zone,
    grain: Exclude<Grain, "quarter">,
    fromMs: number,
    toMs: number,
  ): Generator<BucketAddress> {
    if (grain !== "day") {
      const calendar = grain === "hour" ? UTC_CALENDAR : zone.name;
      yield* this.#existing(calendar, CHILD[grain], fromMs, toMs);
      return;
    }
    // Local days of +05:30 or +05:45 begin within a UTC hour: that hour is taken apart.
    const cut = (hourMs: number): boolean =>
      zone.startOf("day", hourMs) !== zone.startOf("day", hourMs + HOUR_MS - 1);
    for (const hour of this.#existing(UTC_CALENDAR, "hour", fromMs, toMs)) {
      if (!cut(hour.startMs)) yield hour;
    }
    for (const quarter of this.#existing(UTC_CALENDAR, "quarter", fromMs, toMs)) {
      if (cut(quarter.startMs - (quarter.startMs % HOUR_MS))) yield quarter;
    }
  }

  /** Stored or just written buckets that begin in `[fromMs, toMs)`. */
  *#existing(calendar: string, grain: Grain, fromMs: number, toMs: number): Generator<BucketAddress> {
    const stored = this.#in.store.starts(calendar, grain, fromMs, toMs);
    for (const startMs of stored) yield { calendar, grain, startMs };
    const known = new Set(stored);
    for (const { address } of this.#written.values()) {
      if (address.grain !== grain || address.calendar !== calendar || known.has(address.startMs)) continue;
      if (address.startMs >= fromMs && address.startMs < toMs) yield address;
    }
  }

  #blocks(address: BucketAddress): readonly CellBlock[] {
    return this.#written.get(addressName(address))?.blocks ?? this.#stored(address);
  }

  #stored(address: BucketAddress): CellBlock[] {
    return this.#in.schema.rollups.flatMap(({ id }) => this.#in.store.block(address, id) ?? []);
  }

  #sealedBefore(calendar: string): number {
    return this.#in.sealedUntil[calendar] ?? CALENDAR_START_MS;
  }
}

function countRows(blocks: readonly CellBlock[]): number {
  return blocks.reduce((rows, { count }) => rows + count, 0);
}
