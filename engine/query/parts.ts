import type { CellTable } from "../hot/cell-table.js";
import { REGISTERS } from "../hot/sketch-pool.js";
import { cellBlock, type CellBlock } from "../store.js";
import { Lru } from "./lru.js";

/** The sealed part of what a question reads: only a late event changes it. */
export interface SealedPart {
  /** Its cells, in the order in which they were found. */
  readonly block: CellBlock;
  readonly revised: Uint8Array;
  /** Blocks that were read, by tier. */
  readonly sources: ReadonlyMap<string, number>;
  /** `Buckets.lastWritten` of its range when it was read. */
  readonly written: number;
}

/** Room for the registers of a few hundred cells; one part shall not push out all others. */
const MAX_PART_BYTES = 8 * 1024 * 1024;

/** Of a part and of each of its rows, besides key and sketch. */
const OVERHEAD_BYTES = 1024;
const ROW_BYTES = 28;

/** Sealed parts by question and range, the least recently used given up first. */
export class SealedParts {
  readonly #maxBytes: number;
  readonly #kept: Lru<SealedPart>;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#kept = new Lru(maxBytes);
  }

  /** What is kept, if nothing was written into its range since. */
  get(key: string, lastWritten: number): SealedPart | undefined {
    const part = this.#kept.get(key);
    if (part === undefined || part.written >= lastWritten) return part;
    this.#kept.delete(key);
    return undefined;
  }

  /** Is it kept and good? Does not count as use. */
  has(key: string, lastWritten: number): boolean {
    const part = this.#kept.peek(key);
    return part !== undefined && part.written >= lastWritten;
  }

  /** Keeps a copy of the table, unless it is too large; was it? */
  put(key: string, table: CellTable, rest: Omit<SealedPart, "block">): boolean {
    for (const _ of this.putSteps(key, table, rest));
    return this.#kept.peek(key) !== undefined;
  }

  /** The same, cell by cell: each unites the sketches that wait for it. */
  *putSteps(key: string, table: CellTable, rest: Omit<SealedPart, "block">): Generator<void, void> {
    const limit = Math.min(MAX_PART_BYTES, this.#maxBytes / 4);
    let sizeBytes = 2 * key.length + OVERHEAD_BYTES + rest.revised.byteLength;
    sizeBytes += table.count * (ROW_BYTES + 4 * table.arity);
    for (let cell = 0; cell < table.count && sizeBytes <= limit; cell++) {
      sizeBytes += table.sketches.isDense(cell) ? REGISTERS : 4 * table.sketches.tokenCount(cell);
      yield;
    }
    if (sizeBytes <= limit) this.#kept.set(key, { block: blockOf(table), ...rest }, sizeBytes);
  }
}

/** A copy: of what the table has, all may change but the parts that it borrows. */
function blockOf(table: CellTable): CellBlock {
  const { count, arity, sketches } = table;
  const tokenStart = new Uint32Array(count + 1);
  const dense = new Map<number, Uint8Array>();
  for (let cell = 0; cell < count; cell++) {
    tokenStart[cell + 1] = tokenStart[cell]! + sketches.tokenCount(cell);
    if (sketches.isDense(cell)) dense.set(cell, sketches.registers(cell).slice());
  }
  const tokens = new Uint32Array(tokenStart[count]!);
  for (let cell = 0; cell < count; cell++) sketches.copyTokens(cell, tokens, tokenStart[cell]!);
  return cellBlock({
    rollup: 0,
    arity,
    count,
    keys: table.keys.slice(0, count * arity),
    views: table.views.slice(0, count),
    anonymous: Float64Array.from({ length: count }, (_, cell) => table.anonymousOf(cell)),
    created: Float64Array.from({ length: count }, (_, cell) => table.createdOf(cell)),
    tokenStart,
    tokens,
    dense,
  });
}
