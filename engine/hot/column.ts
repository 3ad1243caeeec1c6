/** Columns that grow: how long they become, so that growth is neither a waste nor a pause. */

import type { Sliced } from "../sliced.js";

/** Copied between two yields, bytes, and how many take as long as a row. */
const COPIED_AT_ONCE = 1 << 18;
export const BYTES_COPIED_OF_ROW = 256;
/** Up to so many cells a column doubles; from then on it grows by a quarter, so that a tenth of it is empty. */
const DOUBLE_UNTIL = 1024;
const GROWTH = 1.25;
/**
 * From here on it doubles again: memory of this size that nothing was written to is not there, and a copy takes long
 * enough that there should be few.
 */
const DOUBLE_FROM = 1 << 16;
/** Columns of a large table differ so much in length, and are therefore not copied at the same time. */
const STAGGER = 0.08;

/** The length of a column that must hold so many cells. `column`: its number among those of its table. */
export function grownLength(cells: number, column: number): number {
  if (cells <= DOUBLE_UNTIL) return cells * 2;
  if (cells < DOUBLE_FROM) return Math.ceil(cells * GROWTH);
  return Math.ceil(cells * (2 - column * STAGGER));
}

export function grownColumn<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** `to` has room for all of `from`. In pieces, since memory that is new takes 0.4 ms a MiB when it is first written. */
export function* copyInSlices<T extends Uint32Array | Float64Array>(from: T, to: T): Sliced<void> {
  const step = COPIED_AT_ONCE / from.BYTES_PER_ELEMENT;
  for (let at = 0; at < from.length; at += step) {
    const piece = from.subarray(at, at + step);
    to.set(piece, at);
    yield piece.byteLength / BYTES_COPIED_OF_ROW;
  }
}
