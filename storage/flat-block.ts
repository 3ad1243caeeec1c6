/** Cell blocks as one stretch of memory each, which another thread can take over without another copy. */
import { BYTES_COPIED_OF_ROW, copyInSlices } from "../engine/hot/column.js";
import { cellBlock, type CellBlock } from "../engine/store.js";
import type { Sliced } from "../engine/sliced.js";
import { DENSE_REGISTERS } from "./checks.js";

/**
 * `buffer` holds, one after the other: views, anonymous and created (f64, `count` each), keys (u32, `count × arity`), token
 * starts (u32, `count + 1`), tokens (u32), the dense rows (u32) and their registers.
 */
export interface FlatBlock {
  readonly rollup: number;
  readonly arity: number;
  readonly count: number;
  readonly tokens: number;
  readonly dense: number;
  readonly buffer: ArrayBuffer;
}

/** Bytes that a block takes. */
export function flatSize({ count, arity, tokens, dense }: CellBlock): number {
  return (
    24 * count + 4 * (count * arity + count + 1 + tokens.length + dense.size) + DENSE_REGISTERS * dense.size
  );
}

/** `buffer` must be large enough. */
export function* flattened(block: CellBlock, buffer: ArrayBuffer): Sliced<FlatBlock> {
  const { rollup, arity, count, tokens, dense } = block;
  const flat = { rollup, arity, count, tokens: tokens.length, dense: dense.size, buffer };
  const to = viewsOf(flat);
  for (const column of ["views", "anonymous", "created", "keys", "tokenStart", "tokens"] as const) {
    yield* copyInSlices(block[column], to[column]);
  }
  let i = 0;
  for (const [row, registers] of dense) {
    to.denseRows[i] = row;
    to.registers.set(registers, i++ * DENSE_REGISTERS);
    yield DENSE_REGISTERS / BYTES_COPIED_OF_ROW;
  }
  return flat;
}

/** The block again; its columns lie in the buffer. */
export function unflattened(flat: FlatBlock): CellBlock {
  const { denseRows, registers, ...columns } = viewsOf(flat);
  const { rollup, arity, count } = flat;
  const dense = new Map<number, Uint8Array>();
  for (const [i, row] of denseRows.entries()) {
    dense.set(row, registers.subarray(i * DENSE_REGISTERS, (i + 1) * DENSE_REGISTERS));
  }
  return cellBlock({ rollup, arity, count, ...columns, dense });
}

interface Views extends Pick<
  CellBlock,
  "views" | "anonymous" | "created" | "keys" | "tokenStart" | "tokens"
> {
  readonly denseRows: Uint32Array;
  readonly registers: Uint8Array;
}

function viewsOf({ arity, count, tokens, dense, buffer }: FlatBlock): Views {
  const numbers = (i: number): Float64Array => new Float64Array(buffer, 8 * i * count, count);
  let at = 24 * count;
  const words = (length: number): Uint32Array => {
    const start = at;
    at += 4 * length;
    return new Uint32Array(buffer, start, length);
  };
  return {
    views: numbers(0),
    anonymous: numbers(1),
    created: numbers(2),
    keys: words(count * arity),
    tokenStart: words(count + 1),
    tokens: words(tokens),
    denseRows: words(dense),
    registers: new Uint8Array(buffer, at, dense * DENSE_REGISTERS),
  };
}
