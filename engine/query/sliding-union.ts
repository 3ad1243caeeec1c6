/**
 * Unions along time, measured as they are made: only numbers are kept, some 40 bytes a cell, where the unions
 * themselves would be up to 16 KiB each. Tables are *complete*: group by group, each with `times` cells in the order of
 * time, so that cell `group × times + time` is a group's cell of one time bucket; the columns have the same order.
 */
import type { CellTable } from "../hot/cell-table.js";
import { LOG2M, REGISTERS, type SketchPool } from "../hot/sketch-pool.js";
import { TokenUnion } from "../hot/token-union.js";
import {
  estimateFromCounts,
  estimateFromTokens,
  registerStandardError,
  tokenStandardError,
} from "../sketch/estimator.js";
import { countValues, raiseByTokens, uniteRegisters } from "../sketch/registers.js";
import { EXACT_LIMIT, SMALL_LIMIT, maxRegisterValue } from "../sketch/token.js";

/** What the unions have, by cell. */
export interface UnionColumns {
  readonly views: Float64Array;
  readonly anonymous: Float64Array;
  readonly created: Float64Array;
  /** Distinct viewers, not rounded: what an estimate of the united sketch gives. */
  readonly viewers: Float64Array;
  /** One standard error of them. */
  readonly errors: Float64Array;
  readonly exact: Uint8Array;
  /** 1 where the union has registers, whose errors are those of all other unions that it lies in. */
  readonly dense: Uint8Array;
  /** How many unions of two sketches were taken. */
  readonly unions: number;
}

/**
 * Each cell united with the `length − 1` before it in its group, fewer at the beginning. At most three unions a cell,
 * whatever the length: a queue of two stacks (Tangwongsan, Hirzel and Schneider, "Low-latency sliding-window
 * aggregation in worst-case constant time", DEBS 2017, section 2), of which all that is left of the front one when the
 * back one is full has just been used up. Holds the sketches of two windows of one group at a time.
 */
export function slidingColumns(table: CellTable, times: number, length: number): UnionColumns {
  const columns = new Columns(table.count);
  for (let first = 0; first < table.count; first += times) {
    columns.addSums(table, first, times, length);
    slideGroup(columns, table, first, times, length);
  }
  return columns;
}

function slideGroup(columns: Columns, table: CellTable, first: number, times: number, length: number): void {
  /** Of the window before: the unions of its last cells, from the i-th on. */
  let front: readonly Viewers[] = [];
  for (let start = 0; start < times; start += length) {
    const size = Math.min(length, times - start);
    const cells = Array.from({ length: size }, (_, i) => viewersOf(table.sketches, first + start + i));
    let back = NOBODY;
    for (let i = 0; i < size; i++) {
      back = columns.unite(back, cells[i]!);
      columns.measureUnion(first + start + i, back, front[i + 1] ?? NOBODY);
    }
    if (start + size === times) return;
    for (let i = size - 2; i >= 0; i--) cells[i] = columns.unite(cells[i + 1]!, cells[i]!);
    front = cells;
  }
}

/**
 * Each cell united with all before it in its group from time `from` on, and with the group's cell of `past`. What comes
 * before `from` has zeros.
 */
export function runningColumns(
  table: CellTable,
  times: number,
  past: CellTable | undefined,
  from: number,
): UnionColumns {
  const columns = new Columns(table.count);
  for (let first = 0; first < table.count; first += times) {
    const group = first / times;
    columns.addSums(table, first + from, times - from, Infinity, past, group);
    let all = past === undefined ? NOBODY : viewersOf(past.sketches, group);
    for (let time = from; time < times; time++) {
      all = columns.unite(all, viewersOf(table.sketches, first + time));
      columns.measureUnion(first + time, all, NOBODY);
    }
  }
  return columns;
}

/** A set that nobody changes: tokens in ascending order, or registers once there are more than `SMALL_LIMIT`. */
type Viewers =
  | { readonly tokens: Uint32Array; readonly registers?: undefined }
  | { readonly registers: Uint8Array };

const NOBODY: Viewers = { tokens: new Uint32Array(0) };

/** Two small sets while they are merged, and a large one that is only measured. */
const union = new TokenUnion();
const merged = new Uint32Array(2 * SMALL_LIMIT);
const measured = new Uint8Array(REGISTERS);

function viewersOf(sketches: SketchPool, cell: number): Viewers {
  if (sketches.isDense(cell)) return { registers: sketches.registers(cell) };
  const count = sketches.tokenCount(cell);
  if (count === 0) return NOBODY;
  const tokens = new Uint32Array(count);
  sketches.copyTokens(cell, tokens, 0);
  return { tokens };
}

function isNobody(set: Viewers): boolean {
  return set.registers === undefined && set.tokens.length === 0;
}

class Columns implements UnionColumns {
  readonly views: Float64Array;
  readonly anonymous: Float64Array;
  readonly created: Float64Array;
  readonly viewers: Float64Array;
  readonly errors: Float64Array;
  readonly exact: Uint8Array;
  readonly dense: Uint8Array;
  unions = 0;

  constructor(cells: number) {
    this.views = new Float64Array(cells);
    this.anonymous = new Float64Array(cells);
    this.created = new Float64Array(cells);
    this.viewers = new Float64Array(cells);
    this.errors = new Float64Array(cells);
    this.exact = new Uint8Array(cells).fill(1);
    this.dense = new Uint8Array(cells);
  }

  /** Sums of the last `length` of `count` cells from `start` on. Whole numbers, so that taking away is exact. */
  addSums(table: CellTable, start: number, count: number, length: number, past?: CellTable, group = 0): void {
    let views = past?.views[group] ?? 0;
    let anonymous = past?.anonymousOf(group) ?? 0;
    let created = past?.createdOf(group) ?? 0;
    for (let cell = start; cell < start + count; cell++) {
      views += table.views[cell]!;
      anonymous += table.anonymousOf(cell);
      created += table.createdOf(cell);
      const left = cell - length;
      if (left >= start) {
        views -= table.views[left]!;
        anonymous -= table.anonymousOf(left);
        created -= table.createdOf(left);
      }
      this.views[cell] = views;
      this.anonymous[cell] = anonymous;
      this.created[cell] = created;
    }
  }

  unite(a: Viewers, b: Viewers): Viewers {
    if (isNobody(a)) return b;
    if (isNobody(b)) return a;
    this.unions++;
    if (a.registers !== undefined) return { registers: unitedInto(a.registers.slice(), b) };
    if (b.registers !== undefined) return { registers: unitedInto(b.registers.slice(), a) };
    const count = mergeTokens(a.tokens, b.tokens);
    if (count === a.tokens.length) return a;
    if (count <= SMALL_LIMIT) return { tokens: merged.slice(0, count) };
    return { registers: unitedInto(new Uint8Array(REGISTERS), { tokens: merged.subarray(0, count) }) };
  }

  /** Sets the numbers of a cell to those of the union of two sets, which is not kept. */
  measureUnion(cell: number, a: Viewers, b: Viewers): void {
    if (isNobody(a)) return this.#measure(cell, b);
    if (isNobody(b)) return this.#measure(cell, a);
    this.unions++;
    if (a.registers === undefined && b.registers === undefined) {
      const tokens = merged.subarray(0, mergeTokens(a.tokens, b.tokens));
      if (tokens.length <= SMALL_LIMIT) return this.#measure(cell, { tokens });
      measured.fill(0);
      return this.#measure(cell, { registers: unitedInto(measured, { tokens }) });
    }
    const [large, other] =
      a.registers !== undefined ? [a.registers, b] : [(b as { registers: Uint8Array }).registers, a];
    measured.set(large);
    this.#measure(cell, { registers: unitedInto(measured, other) });
  }

  /** The numbers that `estimate` of `measure.ts` gives for a cell with this sketch. */
  #measure(cell: number, set: Viewers): void {
    if (set.registers !== undefined) {
      const value = estimateFromCounts(countValues(set.registers, maxRegisterValue(LOG2M)), LOG2M);
      this.#set(cell, value, registerStandardError(value, LOG2M));
      this.dense[cell] = 1;
    } else if (set.tokens.length > EXACT_LIMIT) {
      const value = estimateFromTokens(set.tokens);
      this.#set(cell, value, tokenStandardError(value));
    } else this.viewers[cell] = set.tokens.length;
  }

  #set(cell: number, viewers: number, error: number): void {
    this.viewers[cell] = viewers;
    this.errors[cell] = error;
    this.exact[cell] = 0;
  }
}

function unitedInto(target: Uint8Array, set: Viewers): Uint8Array {
  if (set.registers !== undefined) uniteRegisters(target, set.registers, false);
  else raiseByTokens(target, LOG2M, set.tokens);
  return target;
}

/** Merges two ascending sets into `merged`; returns how many tokens they have together. */
function mergeTokens(a: Uint32Array, b: Uint32Array): number {
  union.add(a, 0, a.length);
  union.add(b, 0, b.length);
  return union.copyTo(merged, 0);
}
