import type { CellBlock } from "../store.js";

/** One cell, in numbers that a person can compare. */
export interface CellValues {
  readonly views: number;
  readonly anonymous: number;
  readonly created: number;
  /** Hash tokens of the sketch; null where it is dense. */
  readonly tokens: number | null;
}

/** A cell that two forms of a bucket do not agree on; undefined where one has none. */
export interface Difference {
  readonly rollup: number;
  readonly key: readonly number[];
  readonly left: CellValues | undefined;
  readonly right: CellValues | undefined;
}

/** Every cell that differs, bit for bit, sketches included. */
export function* differences(
  left: readonly CellBlock[],
  right: readonly CellBlock[],
): Generator<Difference, void, void> {
  const rollups = new Set([...left, ...right].map(({ rollup }) => rollup));
  for (const rollup of rollups) {
    const of = (blocks: readonly CellBlock[]): CellBlock | undefined =>
      blocks.find((block) => block.rollup === rollup);
    yield* differencesOf(rollup, of(left), of(right));
  }
}

function* differencesOf(
  rollup: number,
  left: CellBlock | undefined,
  right: CellBlock | undefined,
): Generator<Difference, void, void> {
  let l = 0;
  let r = 0;
  for (;;) {
    const hasLeft = left !== undefined && l < left.count;
    const hasRight = right !== undefined && r < right.count;
    if (!hasLeft && !hasRight) return;
    const order = !hasLeft ? 1 : !hasRight ? -1 : compareKeys(left, l, right, r);
    if (order < 0) yield { rollup, key: keyOf(left!, l), left: valuesOf(left!, l++), right: undefined };
    else if (order > 0)
      yield { rollup, key: keyOf(right!, r), left: undefined, right: valuesOf(right!, r++) };
    else {
      if (!isSameRow(left!, l, right!, r)) {
        yield { rollup, key: keyOf(left!, l), left: valuesOf(left!, l), right: valuesOf(right!, r) };
      }
      l++;
      r++;
    }
  }
}

function compareKeys(left: CellBlock, l: number, right: CellBlock, r: number): number {
  for (let i = 0; i < left.arity; i++) {
    const order = left.keys[l * left.arity + i]! - right.keys[r * right.arity + i]!;
    if (order !== 0) return order;
  }
  return 0;
}

function isSameRow(left: CellBlock, l: number, right: CellBlock, r: number): boolean {
  return (
    left.views[l] === right.views[r] &&
    left.anonymous[l] === right.anonymous[r] &&
    left.created[l] === right.created[r] &&
    isSame(
      left.tokens,
      left.tokenStart[l]!,
      left.tokenStart[l + 1]!,
      right.tokens,
      right.tokenStart[r]!,
      right.tokenStart[r + 1]!,
    ) &&
    isSameDense(left.dense.get(l), right.dense.get(r))
  );
}

function isSame(
  a: Uint32Array,
  aFrom: number,
  aTo: number,
  b: Uint32Array,
  bFrom: number,
  bTo: number,
): boolean {
  if (aTo - aFrom !== bTo - bFrom) return false;
  for (let i = 0; i < aTo - aFrom; i++) if (a[aFrom + i] !== b[bFrom + i]) return false;
  return true;
}

function isSameDense(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function keyOf({ keys, arity }: CellBlock, row: number): number[] {
  return Array.from(keys.subarray(row * arity, (row + 1) * arity));
}

function valuesOf(block: CellBlock, row: number): CellValues {
  return {
    views: block.views[row]!,
    anonymous: block.anonymous[row]!,
    created: block.created[row]!,
    tokens: block.dense.has(row) ? null : block.tokenStart[row + 1]! - block.tokenStart[row]!,
  };
}
