import type { CellBlock } from "../store.js";
import type { Schema } from "../schema.js";
import type { CellTable } from "./cell-table.js";

/** Below this many rows a comparison sort is cheaper than clearing the radix counters. */
const RADIX_FROM = 2048;
const RADIX = 1 << 16;

/** The cells of a table as sorted blocks, one per rollup that has any. */
export function toBlocks(table: CellTable, schema: Schema): CellBlock[] {
  const byRollup = cellsByRollup(table, schema.rollups.length);
  return byRollup.flatMap((cells, rollup) => {
    if (cells.length === 0) return [];
    const arity = schema.rollups[rollup]!.dims.length;
    return [blockOf(table, rollup, arity, sortByKey(table, cells, arity))];
  });
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

function cellsByRollup(table: CellTable, rollups: number): Uint32Array[] {
  const counts = new Uint32Array(rollups);
  for (let cell = 0; cell < table.count; cell++) counts[table.rollups[cell]!]!++;
  const lists = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  for (let cell = 0; cell < table.count; cell++) {
    const rollup = table.rollups[cell]!;
    lists[rollup]![counts[rollup]!++] = cell;
  }
  return lists;
}

function sortByKey(table: CellTable, cells: Uint32Array, arity: number): Uint32Array {
  const { keys, arity: stride } = table;
  if (cells.length < RADIX_FROM) {
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
  for (let i = arity - 1; i >= 0; i--) {
    for (const shift of [0, 16]) {
      radixPass(keys, stride, i, shift, from, to);
      [from, to] = [to, from];
    }
  }
  return from;
}

function radixPass(
  keys: Uint32Array,
  stride: number,
  word: number,
  shift: number,
  from: Uint32Array,
  to: Uint32Array,
): void {
  const starts = new Uint32Array(RADIX);
  for (let i = 0; i < from.length; i++) starts[(keys[from[i]! * stride + word]! >>> shift) & (RADIX - 1)]!++;
  let sum = 0;
  for (let digit = 0; digit < RADIX; digit++) {
    const count = starts[digit]!;
    starts[digit] = sum;
    sum += count;
  }
  for (let i = 0; i < from.length; i++) {
    const digit = (keys[from[i]! * stride + word]! >>> shift) & (RADIX - 1);
    to[starts[digit]!++] = from[i]!;
  }
}

function blockOf(table: CellTable, rollup: number, arity: number, cells: Uint32Array): CellBlock {
  const count = cells.length;
  const block = {
    rollup,
    arity,
    count,
    keys: new Uint32Array(count * arity),
    views: new Float64Array(count),
    anonymous: new Float64Array(count),
    created: new Float64Array(count),
    tokenStart: new Uint32Array(count + 1),
    tokens: new Uint32Array(0),
    dense: new Map<number, Uint8Array>(),
  };
  for (let row = 0; row < count; row++) {
    const cell = cells[row]!;
    for (let i = 0; i < arity; i++) block.keys[row * arity + i] = table.keys[cell * table.arity + i]!;
    block.views[row] = table.views[cell]!;
    block.anonymous[row] = table.anonymousOf(cell);
    block.created[row] = table.createdOf(cell);
    block.tokenStart[row + 1] = block.tokenStart[row]! + table.sketches.tokenCount(cell);
    if (table.sketches.isDense(cell)) block.dense.set(row, table.sketches.registers(cell).slice());
  }
  block.tokens = new Uint32Array(block.tokenStart[count]!);
  for (let row = 0; row < count; row++) {
    table.sketches.copyTokens(cells[row]!, block.tokens, block.tokenStart[row]!);
  }
  return block;
}
