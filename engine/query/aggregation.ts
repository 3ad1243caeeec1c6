import { GRAINS, QUARTER_MS } from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import type { Buckets } from "../hot/buckets.js";
import { CellTable } from "../hot/cell-table.js";
import type { Rollup, Schema } from "../schema.js";
import { UTC_CALENDAR, type BucketAddress, type CellBlock } from "../store.js";
import type { Run } from "./cover.js";
import type { IdSet } from "./id-set.js";
import { rankedOf, type Top } from "./top.js";
import { edgeIndex } from "./time-buckets.js";

/** Groups of one query, at some 100 bytes: room for every value of a full dictionary (2 million), not for much more. */
export const MAX_GROUPS = 2_500_000;

/** Where cells come from: stored buckets of a grain, or memory. */
export const TIERS = [...GRAINS, "hot"] as const;

/** Up to so many keys are searched for one by one; beyond, a column's filter is tested row by row. */
const MAX_SEEKS = 64;
/** Up to so many keys, each is asked of the store by itself, which then need not read whole blocks. */
const MAX_SINGLE_READS = 8;

/** Which cells are read, and what of their keys makes the group. */
export interface Selection {
  readonly rollup: Rollup;
  /** Positions in the rollup's key, in the order of the answer's columns. */
  readonly group: readonly number[];
  /** Per position in the rollup's key: the ids that pass; undefined where all do. */
  readonly passing: readonly (IdSet | undefined)[];
  /** What no set of ids of one dimension can say: does the key at `at` pass? */
  readonly residual: ((keys: Uint32Array, at: number) => boolean) | undefined;
  /** Are viewers asked for? */
  readonly sketches: boolean;
  /** Groups that come after these may be left out. */
  readonly top: Top | undefined;
}

/** Where and when: stored runs in ascending order, and the borders of the time buckets that they lie in. */
export interface Span {
  readonly runs: readonly Run[];
  readonly edges: Float64Array;
}

/**
 * One table of groups, each the union of all cells that a selection finds in a span. The key of a group is the index
 * of its time bucket, if time is grouped by, and its ids.
 */
export class Aggregation {
  #table: CellTable;
  /** Per time bucket: was anything in it changed after it was sealed? Known for buckets that ended by `finalUntil`. */
  readonly revised: Uint8Array;
  /** Blocks read, by tier. */
  readonly sources = new Map<string, number>();
  /** Where groups were left out: how many there are of each kind (`rowsWith`). */
  kinds: Uint32Array | undefined;
  /** Is one block all that is read? */
  #isOneBlock = false;
  readonly #selection: Selection;
  readonly #span: Span;
  readonly #byTime: number;
  readonly #finalUntil: number;
  readonly #key: Uint32Array;
  /** The cell of `#key`, or −1 when the key has changed since. */
  #cell = -1;
  /** The keys that pass, as far as filters pin them from the left: so many ids each, zeros behind. */
  readonly #prefixes: readonly Uint32Array[];
  readonly #pinned: number;

  /** `finalUntil`: only buckets that end by then are asked whether they were revised, ms. */
  constructor(schema: Schema, selection: Selection, span: Span, byTime: boolean, finalUntil: number) {
    this.#selection = selection;
    this.#span = span;
    this.#byTime = byTime ? 1 : 0;
    this.#finalUntil = finalUntil;
    this.#key = new Uint32Array(this.#byTime + selection.group.length);
    this.revised = new Uint8Array(span.edges.length - 1);
    this.#pinned = countPinned(selection.passing);
    this.#prefixes = prefixesOf(selection.passing, this.#pinned, schema.maxArity);
    this.#table = new CellTable(
      this.#key.length,
      byTime && this.#hasFewKeys() ? { cells: this.revised.length } : {},
    );
  }

  get table(): CellTable {
    return this.#table;
  }

  /** Reads everything, in one synchronous turn: one state of the buckets. */
  run(buckets: Buckets): this {
    const { runs, edges } = this.#span;
    if (this.#selection.top !== undefined && runs.length === 1 && runs[0]!.count === 1) {
      this.#isOneBlock = buckets.deltas(edges[0]!, edges.at(-1)!).next().done === true;
    }
    return this.addStored(buckets, this.#span.runs).addHot(buckets);
  }

  /** What was read before of other runs; nobody changes it any more, so that nothing of it is copied. */
  addFound(block: CellBlock, revised: Uint8Array): this {
    for (let time = 0; time < revised.length; time++) this.revised[time]! |= revised[time]!;
    const { arity, keys } = block;
    for (let row = 0; row < block.count; row++) {
      const key = keys.subarray(row * arity, (row + 1) * arity);
      this.#addRow(this.#table.upsert(0, key), block, row);
    }
    this.#cell = -1;
    return this;
  }

  /** Reads these runs; each call's begin after those of the call before. */
  addStored(buckets: Buckets, runs: readonly Run[]): this {
    for (const _ of this.storedSteps(buckets, runs));
    return this;
  }

  /** The same, bucket by bucket. */
  *storedSteps(buckets: Buckets, runs: readonly Run[]): Generator<void, void> {
    const { edges } = this.#span;
    let time = 0;
    for (const { calendar, grain, fromMs, toMs, count } of runs) {
      const starts = count === 1 ? [fromMs] : buckets.starts(calendar, grain, fromMs, toMs);
      for (const startMs of starts) {
        while (startMs >= edges[time + 1]!) time++;
        const address = { calendar, grain, startMs };
        this.#noteRevision(buckets, address, time);
        this.#setTime(time);
        if (!this.#addBucket(buckets, address)) continue;
        this.#count(grain);
        this.#checkSize();
        yield;
      }
    }
  }

  /** Whole blocks, or as much of them as the few keys need that filters pin. False where the bucket has nothing of it. */
  #addBucket(buckets: Buckets, address: BucketAddress): boolean {
    const { id } = this.#selection.rollup;
    let isThere = false;
    if (this.#hasFewKeys()) {
      for (const prefix of this.#prefixes) {
        const block = buckets.blockWith(address, id, prefix.subarray(0, this.#pinned));
        isThere ||= block !== undefined;
        if (block !== undefined) this.#addRows(block, prefix);
      }
      return isThere;
    }
    const block = buckets.block(address, id);
    if (block === undefined) return false;
    if (this.#table.count === 0 && this.#takesAll()) this.#takeBlock(block);
    else for (const prefix of this.#prefixes) this.#addRows(block, prefix);
    return true;
  }

  #takeBlock(block: CellBlock): void {
    const { sketches, top } = this.#selection;
    const ranked = top !== undefined && this.#isOneBlock ? rankedOf(block, top) : undefined;
    this.kinds = ranked?.kinds;
    this.#table = CellTable.ofBlock(ranked?.block ?? block, sketches);
  }

  #hasFewKeys(): boolean {
    return this.#pinned > 0 && this.#prefixes.length <= MAX_SINGLE_READS;
  }

  /** Are the groups the very keys of the rollup, all of them? */
  #takesAll(): boolean {
    const { rollup, group, passing, residual } = this.#selection;
    if (this.#byTime === 1 || group.length === 0 || group.length !== rollup.dims.length) return false;
    return (
      residual === undefined &&
      passing.every((ids) => ids === undefined) &&
      group.every((position, i) => position === i)
    );
  }

  /** What the store does not have yet; for a sealed quarter, that is a revision too. */
  addHot(buckets: Buckets): this {
    const { edges } = this.#span;
    this.#cell = -1;
    const sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
    for (const [quarterMs, table] of buckets.deltas(edges[0]!, edges.at(-1)!)) {
      const time = edgeIndex(edges, quarterMs);
      if (quarterMs + QUARTER_MS <= sealedUntil) this.revised[time] = 1;
      this.#count("hot");
      this.#setTime(time);
      this.#addTable(table);
      this.#checkSize();
    }
    return this;
  }

  #noteRevision(buckets: Buckets, address: BucketAddress, time: number): void {
    if (this.revised[time] === 1 || this.#span.edges[time + 1]! > this.#finalUntil) return;
    if ((buckets.head(address)?.revision ?? 0) > 0) this.revised[time] = 1;
  }

  #addRows(block: CellBlock, prefix: Uint32Array): void {
    const pinned = this.#pinned;
    const { arity, keys } = block;
    for (let row = firstRow(block, prefix, pinned); row < block.count; row++) {
      if (compare(keys, row * arity, prefix, pinned) !== 0) break;
      if (this.#passes(keys, row * arity)) this.#addRow(this.#cellOf(keys, row * arity), block, row);
    }
  }

  #addTable(hot: CellTable): void {
    const { id, dims } = this.#selection.rollup;
    if (this.#pinned === dims.length) {
      for (const key of this.#prefixes) {
        const cell = hot.find(id, key);
        if (cell >= 0) this.#addHotCell(hot, cell);
      }
    } else if (this.#prefixes.length > 0) {
      for (let cell = 0; cell < hot.count; cell++) {
        if (hot.rollups[cell] === id) this.#addHotCell(hot, cell);
      }
    }
  }

  #addHotCell(hot: CellTable, from: number): void {
    const at = from * hot.arity;
    for (let i = 0; i < this.#pinned; i++) {
      if (!this.#selection.passing[i]!.has(hot.keys[at + i]!)) return;
    }
    if (!this.#passes(hot.keys, at)) return;
    const cell = this.#cellOf(hot.keys, at);
    if (this.#selection.sketches) this.#table.addCell(cell, hot, from);
    else this.#table.addCounts(cell, hot, from);
  }

  #addRow(cell: number, block: CellBlock, row: number): void {
    if (this.#selection.sketches) this.#table.deferRow(cell, block, row);
    else this.#table.addCounts(cell, block, row);
  }

  /** Tests the filters that are not pinned. */
  #passes(keys: Uint32Array, at: number): boolean {
    const { passing, residual } = this.#selection;
    for (let i = this.#pinned; i < passing.length; i++) {
      const ids = passing[i];
      if (ids !== undefined && !ids.has(keys[at + i]!)) return false;
    }
    return residual === undefined || residual(keys, at);
  }

  /** The cell of the group that a key belongs to; neighbours mostly share it. */
  #cellOf(keys: Uint32Array, at: number): number {
    const { group } = this.#selection;
    const key = this.#key;
    const offset = this.#byTime;
    for (let i = 0; i < group.length; i++) {
      const id = keys[at + group[i]!]!;
      if (key[offset + i] === id) continue;
      key[offset + i] = id;
      this.#cell = -1;
    }
    if (this.#cell < 0) this.#cell = this.#table.upsert(0, key);
    return this.#cell;
  }

  #setTime(time: number): void {
    if (this.#byTime === 0 || this.#key[0] === time) return;
    this.#key[0] = time;
    this.#cell = -1;
  }

  #count(tier: string): void {
    this.sources.set(tier, (this.sources.get(tier) ?? 0) + 1);
  }

  #checkSize(): void {
    if (this.#table.count > MAX_GROUPS) throw tooManyGroups();
  }
}

export function tooManyGroups(): TidemarkError {
  return new TidemarkError(
    "range-too-wide",
    `The query has more than ${MAX_GROUPS} groups: ask for a shorter range, a coarser grain or fewer dimensions, or filter.`,
    { pointer: "/dimensions", extra: { limit: MAX_GROUPS } },
  );
}

/** How many leading columns of the key filters pin to few enough keys that each can be searched for. */
function countPinned(passing: Selection["passing"]): number {
  let keys = 1;
  for (let i = 0; i < passing.length; i++) {
    keys *= passing[i]?.size ?? Infinity;
    if (keys > MAX_SEEKS) return i;
  }
  return passing.length;
}

function prefixesOf(passing: Selection["passing"], pinned: number, length: number): Uint32Array[] {
  if (passing.some((ids) => ids?.size === 0)) return [];
  let prefixes = [new Uint32Array(length)];
  for (let i = 0; i < pinned; i++) {
    prefixes = prefixes.flatMap((prefix) => Array.from(passing[i]!.ids(), (id) => prefix.with(i, id)));
  }
  return prefixes;
}

/** The first row whose key is not before the prefix. */
function firstRow(block: CellBlock, prefix: Uint32Array, length: number): number {
  let low = 0;
  let high = length === 0 ? 0 : block.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(block.keys, middle * block.arity, prefix, length) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compare(keys: Uint32Array, at: number, prefix: Uint32Array, length: number): number {
  for (let i = 0; i < length; i++) {
    const difference = keys[at + i]! - prefix[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
