/** Groups of version 1, which are no longer written: FORMAT.md, "Version 1". */
import type { Header } from "./block-frame.js";
import type { Rows, Sketches } from "./block-rows.js";
import type { ByteReader } from "./bytes.js";
import { LEAST_PACKED_BYTES, readPackedRegisters } from "./registers.js";

/** The least that a row takes: one byte of views and one that says how long its sketch is. */
const LEAST_ROW_BYTES = 2;
/** The least that a token takes. */
const LEAST_TOKEN_BYTES = 2;

const HAS_ANONYMOUS = 1;
const HAS_CREATED = 2;

export function leastPackedBits({ count, tokens, dense }: Header): number {
  return 8 * (count * LEAST_ROW_BYTES + tokens * LEAST_TOKEN_BYTES + dense * LEAST_PACKED_BYTES);
}

export class PackedGroupReader implements Sketches {
  readonly #group: ByteReader;
  /** Per row: bytes of its sketch, doubled; odd for registers. */
  readonly #sizes: Uint32Array;
  #row = 0;

  /** Reads `count` rows to `rows` from `at` on. */
  constructor(group: ByteReader, rows: Rows, at: number, count: number) {
    this.#group = group;
    const content = group.u8();
    readKeys(group, rows, at, at + count);
    readColumn(group, rows.views, at, at + count);
    if ((content & HAS_ANONYMOUS) !== 0) readColumn(group, rows.anonymous, at, at + count);
    if ((content & HAS_CREATED) !== 0) readColumn(group, rows.created, at, at + count);
    this.#sizes = new Uint32Array(count);
    for (let i = 0; i < count; i++) this.#sizes[i] = group.varint();
  }

  room(row: number): number {
    return Math.min(Math.ceil(this.#sizes[row]! / 2), this.#group.remaining) / LEAST_TOKEN_BYTES + 1;
  }

  next(out: Uint32Array, start: number): number | Uint8Array {
    const size = this.#sizes[this.#row++]!;
    if ((size & 1) === 1) return readPackedRegisters(this.#group);
    return size === 0 ? 0 : readTokens(this.#group, size >>> 1, out, start) - start;
  }

  skip(): void {
    this.#group.skip(this.#sizes[this.#row++]! >>> 1);
  }

  finish(): void {
    this.#group.finish();
  }
}

function readColumn(group: ByteReader, column: Float64Array, from: number, to: number): void {
  for (let row = from; row < to; row++) column[row] = group.varint();
}

/** Each id as what it is greater by than in the row before, as long as all ids before it are the same there. */
function readKeys(group: ByteReader, { keys, arity }: Rows, from: number, to: number): void {
  for (let row = from; row < to; row++) {
    let same = row > from;
    for (let i = row * arity; i < (row + 1) * arity; i++) {
      const step = group.varint();
      keys[i] = same ? keys[i - arity]! + step : step;
      same &&= step === 0;
    }
  }
}

/**
 * Reads the tokens of `size` bytes to `tokens` from `index` on; returns the index after the last. The lowest two bits
 * of a step's first byte tell how many bytes follow the second.
 */
function readTokens(group: ByteReader, size: number, tokens: Uint32Array, index: number): number {
  let at = group.skip(size);
  const end = at + size;
  const { bytes } = group;
  if (size < 4 || index >= tokens.length) throw group.broken();
  let token = bytes.readUInt32LE(at);
  let next = index;
  tokens[next++] = token;
  for (at += 4; at < end;) {
    const first = bytes[at]!;
    const more = first & 3;
    let step = (first >>> 2) | (bytes[at + 1]! << 6);
    if (more > 0) step |= bytes[at + 2]! << 14;
    if (more > 1) step |= bytes[at + 3]! << 22;
    if (more > 2) step |= bytes[at + 4]! << 30;
    at += 2 + more;
    token = (token + step) >>> 0;
    tokens[next++] = token;
  }
  if (at !== end || next > tokens.length) throw group.broken();
  return next;
}
