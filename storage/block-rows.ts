import type { CellBlock } from "../engine/store.js";

/** Rows of one group, or of a whole block, without their sketches. */
export type Rows = Pick<CellBlock, "arity" | "keys" | "views" | "anonymous" | "created">;

/** The sketches of a group, to be read in order. */
export interface Sketches {
  /** No more tokens than so many has the sketch of row `row` of the group. */
  room(row: number): number;
  /** The next sketch: its registers, or how many tokens were written to `out` from `start` on. */
  next(out: Uint32Array, start: number): number | Uint8Array;
  skip(): void;
  /** Everything must have been read. */
  finish(): void;
}

export function emptyRows(arity: number, count: number): Rows {
  return {
    arity,
    keys: new Uint32Array(count * arity),
    views: new Float64Array(count),
    anonymous: new Float64Array(count),
    created: new Float64Array(count),
  };
}

/** The first row from `from` on whose key begins with `prefix`, or is beyond it; rows ascend. */
export function seekRow({ keys, arity }: Rows, from: number, count: number, prefix: Uint32Array): number {
  let row = from;
  while (row < count && compareKey(keys, row * arity, prefix) < 0) row++;
  return row;
}

export function compareKey(keys: Uint32Array, at: number, prefix: Uint32Array): number {
  for (let i = 0; i < prefix.length; i++) {
    const difference = keys[at + i]! - prefix[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
