import { CALENDAR_START_MS, QUARTER_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import type { Position } from "../log.js";
import type { Schema } from "../schema.js";
import type { Sliced } from "../sliced.js";
import {
  UTC_CALENDAR,
  addressName,
  tierName,
  type BucketAddress,
  type BucketStore,
  type CellBlock,
  type Revision,
  type StoredBucket,
} from "../store.js";
import { toBlocksInSlices } from "./block.js";
import type { CellTable } from "./cell-table.js";
import { mergeByRollupInSlices } from "./merge-blocks.js";
import { partsOf, type CoarseGrain } from "./parts.js";

/** Unwritten cells of one quarter. */
export interface QuarterDelta {
  readonly table: CellTable;
  /** Did any of it come as an import of history? */
  readonly backfill: boolean;
}

export interface SealInput {
  readonly schema: Schema;
  readonly store: BucketStore;
  /** UTC first, then the home zones. */
  readonly calendars: readonly Zone[];
  /** By the quarter's start. */
  readonly deltas: ReadonlyMap<number, QuarterDelta>;
  /** Every folded record up to here is in the store or in `deltas`. */
  readonly position: Position;
  /** Per calendar: sealed so far. */
  readonly sealedUntil: Readonly<Record<string, number>>;
  /** Buckets that end at or before this instant are sealed by this commit. */
  readonly sealUntil: number;
  /** By tier: buckets that begin before this instant are not kept. */
  readonly reach: Readonly<Record<string, number>>;
  /** Buckets that take the place of stored ones, which may be damaged; deltas are merged into them. */
  readonly replaced: readonly StoredBucket[];
}

/** What a commit changes a sealed bucket by. */
export type Change = Pick<Revision, "reason" | "views" | "created" | "cells">;

export interface SealedBucket extends StoredBucket {
  /** Undefined for a bucket that is open, or sealed for the first time. */
  readonly change: Change | undefined;
}

/** A delta, or several of one bucket, in the form of stored blocks. */
interface Addition {
  readonly blocks: readonly CellBlock[];
  readonly backfill: boolean;
}

/**
 * Works out every bucket that a commit writes: the quarters of `deltas` merged with what is stored; each sealed
 * ancestor of theirs, merged likewise (a revision); and each bucket whose time has now passed, made from its
 * parts. In slices: the deltas must not change meanwhile, nor what is stored.
 */
export function sealBuckets(input: SealInput): Sliced<SealedBucket[]> {
  return new Sealer(input).run();
}

class Sealer {
  readonly #in: SealInput;
  readonly #sealed: SealedBucket[] = [];
  /** What this commit has written so far, by name, the replaced first; later buckets are made from it. */
  readonly #written: Map<string, StoredBucket>;
  readonly #additions = new Map<number, Addition>();

  constructor(input: SealInput) {
    this.#in = input;
    this.#written = new Map(input.replaced.map((bucket) => [addressName(bucket.address), bucket]));
  }

  *run(): Sliced<SealedBucket[]> {
    for (const [quarterMs, { table, backfill }] of this.#in.deltas) {
      this.#additions.set(quarterMs, { blocks: yield* toBlocksInSlices(table, this.#in.schema), backfill });
    }
    yield* this.#quarters();
    yield* this.#grain(this.#in.calendars[0]!, "hour");
    for (const zone of this.#in.calendars) {
      for (const grain of ["day", "week", "month", "year"] as const) yield* this.#grain(zone, grain);
    }
    return this.#sealed;
  }

  *#quarters(): Sliced<void> {
    const sealed = this.#sealedBefore(UTC_CALENDAR);
    const reach = this.#reach(UTC_CALENDAR, "quarter");
    for (const [startMs, addition] of this.#additions) {
      if (startMs < reach) continue;
      const address: BucketAddress = { calendar: UTC_CALENDAR, grain: "quarter", startMs };
      yield* this.#merge(address, [addition], startMs + QUARTER_MS <= sealed);
    }
  }

  *#grain(zone: Zone, grain: CoarseGrain): Sliced<void> {
    const calendar = grain === "hour" ? UTC_CALENDAR : zone.name;
    const before = this.#sealedBefore(calendar);
    const reach = this.#reach(calendar, grain);
    const late = new Map<number, Addition[]>();
    for (const [quarterMs, addition] of this.#additions) {
      const startMs = zone.startOf(grain, quarterMs);
      if (startMs < reach || zone.endOf(grain, startMs) > before) continue;
      const additions = late.get(startMs);
      if (additions === undefined) late.set(startMs, [addition]);
      else additions.push(addition);
    }
    for (const [startMs, additions] of late)
      yield* this.#merge({ calendar, grain, startMs }, additions, true);
    for (const [startMs, parts] of this.#ripe(zone, grain, Math.max(before, reach))) {
      yield* this.#compose({ calendar, grain, startMs }, parts);
    }
  }

  /** The non-empty buckets that this commit seals: start → the finer buckets that it is made of. */
  #ripe(zone: Zone, grain: CoarseGrain, before: number): Map<number, BucketAddress[]> {
    const ripe = new Map<number, BucketAddress[]>();
    const from = zone.startOf(grain, before);
    const to = zone.startOf(grain, this.#in.sealUntil);
    if (from >= to) return ripe;
    const existing = (calendar: string, finer: Grain): Iterable<BucketAddress> =>
      this.#existing(calendar, finer, from, to);
    for (const part of partsOf(zone, grain, existing)) {
      const startMs = zone.startOf(grain, part.startMs);
      const parts = ripe.get(startMs);
      if (parts === undefined) ripe.set(startMs, [part]);
      else parts.push(part);
    }
    return ripe;
  }

  *#merge(address: BucketAddress, additions: readonly Addition[], revises: boolean): Sliced<void> {
    const { store, position } = this.#in;
    const added = yield* mergeByRollupInSlices(additions.flatMap(({ blocks }) => blocks));
    const known = yield* this.#blocks(address);
    const blocks = yield* mergeByRollupInSlices([...known, ...added]);
    const head = this.#written.get(addressName(address))?.head ?? store.head(address);
    const revision = (head?.revision ?? 0) + (revises ? 1 : 0);
    const change = revises
      ? changeBy(
          added,
          additions.some(({ backfill }) => backfill),
        )
      : undefined;
    this.#add({ address, head: { revision, position }, blocks, change });
  }

  *#compose(address: BucketAddress, parts: readonly BucketAddress[]): Sliced<void> {
    const all: CellBlock[] = [];
    for (const part of parts) all.push(...(yield* this.#blocks(part)));
    const blocks = yield* mergeByRollupInSlices(all);
    this.#add({ address, head: { revision: 0, position: this.#in.position }, blocks, change: undefined });
  }

  #add(bucket: SealedBucket): void {
    this.#written.set(addressName(bucket.address), bucket);
    this.#sealed.push(bucket);
    this.#in.store.expect?.(bucket);
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

  *#blocks(address: BucketAddress): Sliced<readonly CellBlock[]> {
    const written = this.#written.get(addressName(address));
    if (written !== undefined) return written.blocks;
    const { store, schema } = this.#in;
    const blocks: CellBlock[] = [];
    for (const { id } of schema.rollups) {
      const block = yield* store.blockInSlices(address, id);
      if (block !== undefined) blocks.push(block);
    }
    return blocks;
  }

  #sealedBefore(calendar: string): number {
    return this.#in.sealedUntil[calendar] ?? CALENDAR_START_MS;
  }

  #reach(calendar: string, grain: Grain): number {
    return this.#in.reach[tierName(calendar, grain)] ?? Number.NEGATIVE_INFINITY;
  }
}

function changeBy(blocks: readonly CellBlock[], backfill: boolean): Change {
  return { reason: backfill ? "backfill" : "late", ...totalOf(blocks), cells: countRows(blocks) };
}

/** Each event has one cell in each rollup, so that any of them tells how many there are. */
export function totalOf(blocks: readonly CellBlock[]): { views: number; created: number } {
  const [block] = blocks;
  if (block === undefined) return { views: 0, created: 0 };
  return { views: sum(block.views), created: sum(block.created) };
}

export function countRows(blocks: readonly CellBlock[]): number {
  return blocks.reduce((rows, { count }) => rows + count, 0);
}

function sum(counts: Float64Array): number {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i]!;
  return total;
}
