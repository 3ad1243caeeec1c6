import { cellBlock, type CellBlock } from "../store.js";
import type { Schema } from "../schema.js";
import { CHUNK, ROWS_OF_DENSE, atOnce, eachChunk, type Sliced } from "../sliced.js";
import type { CellTable } from "./cell-table.js";

/** Below this many rows a comparison sort is cheaper than clearing the radix counters. */
const RADIX_FROM = 2048;
/** Of a pass: so many counters still lie in the cache. */
const MAX_DIGIT_BITS = 16;
/** To sort so many tokens takes about as long as a row does. */
const TOKENS_SORTED_OF_ROW = 4;

type Counts = Omit<CellBlock, "tokens" | "dense">;

/** The cells of a table as sorted blocks, one per rollup that has any. */
export function toBlocks(table: CellTable, schema: Schema): CellBlock[] {
  return atOnce(toBlocksInSlices(table, schema));
}

/** The table must not change meanwhile. */
export function* toBlocksInSlices(table: CellTable, schema: Schema): Sliced<CellBlock[]> {
  const byRollup = yield* cellsByRollup(table, schema.rollups.length);
  const greatest = yield* greatestIds(table);
  const blocks: CellBlock[] = [];
  for (const [rollup, cells] of byRollup.entries()) {
    if (cells.length === 0) continue;
    const arity = schema.rollups[rollup]!.dims.length;
    const sorted = yield* sortByKey(table, cells, greatest.subarray(0, arity));
    blocks.push(yield* blockOf(table, rollup, arity, sorted));
  }
  return blocks;
}

/** The row whose key is `key[0 .. arity)`, or −1. Binary search. */
export function findRow(block: CellBlock, key: Uint32Array): number {
  let low = 0;
  let high = block.count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = compareRow(block, middle, key);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function compareRow(block: CellBlock, row: number, key: Uint32Array): number {
  for (let i = 0; i < block.arity; i++) {
    const difference = block.keys[row * block.arity + i]! - key[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

function* cellsByRollup(table: CellTable, rollups: number): Sliced<Uint32Array[]> {
  const of = table.rollups;
  const counts = new Uint32Array(rollups);
  yield* eachChunk(table.count, (from, to) => {
    for (let cell = from; cell < to; cell++) counts[of[cell]!]!++;
  });
  const lists = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  yield* eachChunk(table.count, (from, to) => {
    for (let cell = from; cell < to; cell++) {
      const rollup = of[cell]!;
      lists[rollup]![counts[rollup]!++] = cell;
    }
  });
  return lists;
}

/** `greatest`: what no id of a key is greater than, by its place there. */
function* sortByKey(table: CellTable, cells: Uint32Array, greatest: Uint32Array): Sliced<Uint32Array> {
  const { keys, arity: stride } = table;
  const arity = greatest.length;
  if (cells.length < RADIX_FROM) {
    yield cells.length;
    return cells.sort((a, b) => {
      for (let i = 0; i < arity; i++) {
        const difference = keys[a * stride + i]! - keys[b * stride + i]!;
        if (difference !== 0) return difference;
      }
      return 0;
    });
  }
  let from: Uint32Array = cells;
  let to: Uint32Array = new Uint32Array(cells.length);
  for (let word = arity - 1; word >= 0; word--) {
    const bits = 32 - Math.clz32(greatest[word]!);
    const digitBits = bits > MAX_DIGIT_BITS ? Math.ceil(bits / 2) : bits;
    for (let shift = 0; shift < bits; shift += digitBits) {
      yield* radixPass({ keys, stride, word, shift, bits: digitBits }, from, to);
      [from, to] = [to, from];
    }
  }
  return from;
}

function* greatestIds({ keys, count, arity }: CellTable): Sliced<Uint32Array> {
  const greatest = new Uint32Array(arity);
  yield* eachChunk(count, (from, to) => {
    for (let word = 0; word < arity; word++) {
      let most = greatest[word]!;
      for (let i = from * arity + word; i < to * arity; i += arity) if (keys[i]! > most) most = keys[i]!;
      greatest[word] = most;
    }
  });
  return greatest;
}

/** Which bits of the keys. */
interface Digit {
  readonly keys: Uint32Array;
  readonly stride: number;
  readonly word: number;
  readonly shift: number;
  readonly bits: number;
}

function* radixPass(digit: Digit, from: Uint32Array, to: Uint32Array): Sliced<void> {
  const { keys, stride, word, shift, bits } = digit;
  const radix = 2 ** bits;
  const starts = new Uint32Array(radix);
  yield* eachChunk(from.length, (start, end) => {
    for (let i = start; i < end; i++) starts[(keys[from[i]! * stride + word]! >>> shift) & (radix - 1)]!++;
  });
  let sum = 0;
  for (let value = 0; value < radix; value++) {
    const count = starts[value]!;
    starts[value] = sum;
    sum += count;
  }
  yield* eachChunk(from.length, (start, end) => {
    for (let i = start; i < end; i++) {
      const value = (keys[from[i]! * stride + word]! >>> shift) & (radix - 1);
      to[starts[value]!++] = from[i]!;
    }
  });
}

function* blockOf(table: CellTable, rollup: number, arity: number, cells: Uint32Array): Sliced<CellBlock> {
  const count = cells.length;
  const counts: Counts = {
    rollup,
    arity,
    count,
    keys: new Uint32Array(count * arity),
    views: new Float64Array(count),
    anonymous: new Float64Array(count),
    created: new Float64Array(count),
    tokenStart: new Uint32Array(count + 1),
  };
  yield* eachChunk(count, (from, to) => copyCounts(table, cells, counts, from, to));
  const dense = new Map<number, Uint8Array>();
  const block = cellBlock({ ...counts, tokens: new Uint32Array(counts.tokenStart[count]!), dense });
  let work = 0;
  for (let row = 0; row < count; row++) {
    work += copySketch(table, cells[row]!, block, row, dense);
    if (work < CHUNK) continue;
    yield work;
    work = 0;
  }
  return block;
}

function copyCounts(table: CellTable, cells: Uint32Array, block: Counts, from: number, to: number): void {
  const { arity } = block;
  for (let row = from; row < to; row++) {
    const cell = cells[row]!;
    for (let i = 0; i < arity; i++) block.keys[row * arity + i] = table.keys[cell * table.arity + i]!;
    block.views[row] = table.views[cell]!;
    block.anonymous[row] = table.anonymousOf(cell);
    block.created[row] = table.createdOf(cell);
    block.tokenStart[row + 1] = block.tokenStart[row]! + table.sketches.tokenCount(cell);
  }
}

/** Returns how much work that was, in rows. */
function copySketch(
  { sketches }: CellTable,
  cell: number,
  block: CellBlock,
  row: number,
  dense: Map<number, Uint8Array>,
): number {
  if (sketches.isDense(cell)) {
    dense.set(row, sketches.registers(cell).slice());
    return ROWS_OF_DENSE;
  }
  const start = block.tokenStart[row]!;
  sketches.copyTokens(cell, block.tokens, start);
  return 1 + (block.tokenStart[row + 1]! - start) / TOKENS_SORTED_OF_ROW;
}
