/** One group of a block of version 2: FORMAT.md, "Group". */
import { registersOf, type CellBlock } from "../engine/store.js";
import { SMALL_LIMIT } from "../engine/sketch/token.js";
import { BitReader, BitWriter, ORDER_BITS, OrderChooser } from "./block-bits.js";
import type { Header } from "./block-frame.js";
import type { Rows, Sketches } from "./block-rows.js";
import { LEAST_TOKEN_BITS, readTokens, writeTokens } from "./block-tokens.js";
import { ByteReader } from "./bytes.js";
import { LEAST_CODED_BYTES, MAX_CODED_BYTES, decodeRegisters, encodeRegisters } from "./registers.js";

/** Bits of the size of coded registers: at most 12,502 bytes. */
const SIZE_BITS = 14;
/** More than a key, counts and what they are off by can take, in 32-bit words of a row beside its key. */
const MAX_ROW_BITS = 8 * 128;
/** In the column of sketches: registers. */
const DENSE = 1;

/** The least that a row takes: a bit of its views; the first of a group has its key in the index. */
const LEAST_ROW_BITS = 1;
/** A row that is skipped has no more tokens than its bytes can hold. */
const MAX_SKIPPED = 2 ** 24;

const bits = new BitWriter();
const reader = new BitReader();
const chooser = new OrderChooser();
const keyChoosers: OrderChooser[] = [];
let skipped = new Uint32Array(SMALL_LIMIT);

export function leastGroupBits({ count, tokens, dense }: Header): number {
  return count * LEAST_ROW_BITS + tokens * LEAST_TOKEN_BITS + dense * 8 * LEAST_CODED_BYTES;
}

/** The group of the rows `[from, to)`. The key of the first is not in it. */
export function encodeGroup(block: CellBlock, from: number, to: number): Uint8Array[] {
  bits.clear();
  writeKeys(block, from, to);
  writeViews(block.views, from, to);
  writeSparse(from, to, (row) => block.anonymous[row]!);
  writeSparse(from, to, (row) => block.created[row]!);
  writeSparse(from, to, (row) => sketchNumber(block, row));
  const parts: Uint8Array[] = [];
  for (let row = from; row < to; row++) {
    const registers = registersOf(block, row);
    if (registers === undefined) continue;
    const coded = new Uint8Array(MAX_CODED_BYTES);
    parts.push(coded.subarray(0, encodeRegisters(registers, coded, 0)));
    bits.reserve(SIZE_BITS);
    bits.write(parts.at(-1)!.length, SIZE_BITS);
  }
  for (let row = from; row < to; row++) {
    writeTokens(bits, block.tokens, block.tokenStart[row]!, block.tokenStart[row + 1]!);
  }
  return [bits.bytes().slice(), ...parts];
}

/** A group whose rows are read; its sketches follow, row by row. */
export class GroupReader implements Sketches {
  readonly #bytes: ByteReader;
  /** Per row: tokens of its sketch, or −1 for registers. */
  readonly #sizes: Int32Array;
  /** Where the registers of each dense row end, the first after where they begin. */
  readonly #ends: number[] = [];
  #row = 0;
  #nextDense = 0;

  /** Reads `count` rows to `rows` from `at` on, where the first key is already. */
  constructor(group: ByteReader, rows: Rows, at: number, count: number) {
    this.#bytes = group;
    this.#sizes = new Int32Array(count);
    reader.load(group.bytes, group.at, group.end, group.what);
    readKeys(rows, at, at + count);
    readViews(rows.views, at, at + count);
    readSparse(rows.anonymous, at, at + count);
    readSparse(rows.created, at, at + count);
    this.#readSizes(rows, at);
    reader.check();
  }

  room(row: number): number {
    return Math.max(0, this.#sizes[row]!);
  }

  next(out: Uint32Array, start: number): number | Uint8Array {
    const size = this.#sizes[this.#row++]!;
    if (size < 0) return this.#registers();
    if (size > out.length - start) throw reader.broken();
    readTokens(reader, size, out, start);
    return size;
  }

  skip(): void {
    const size = this.#sizes[this.#row++]!;
    if (size < 0) this.#nextDense++;
    else {
      if (size > skipped.length) skipped = new Uint32Array(Math.min(size * 2, MAX_SKIPPED));
      if (size > skipped.length) throw reader.broken();
      readTokens(reader, size, skipped, 0);
    }
  }

  finish(): void {
    reader.finish();
  }

  /** Where the tokens of the next row begin, in bits. */
  get position(): number {
    return reader.at;
  }

  /** Tokens of a row; −1 for registers. */
  size(row: number): number {
    return this.#sizes[row]!;
  }

  /** Reads the tokens of a row, which begin at `position`, to `out` from `start` on. */
  tokensAt(row: number, position: number, out: Uint32Array, start: number): void {
    const { bytes, at, end, what } = this.#bytes;
    reader.load(bytes, at, end, what);
    reader.at = position;
    readTokens(reader, this.#sizes[row]!, out, start);
    reader.check();
  }

  /** The registers of the row that is the `number`-th of those with registers. */
  registersAt(number: number): Uint8Array {
    this.#nextDense = number;
    return this.#registers();
  }

  #registers(): Uint8Array {
    const { bytes, what } = this.#bytes;
    const start = this.#ends[this.#nextDense++]!;
    return decodeRegisters(new ByteReader(bytes, what, start, this.#ends[this.#nextDense]));
  }

  #readSizes({ views, anonymous }: Rows, at: number): void {
    const sizes = this.#sizes;
    const numbers = new Float64Array(sizes.length);
    readSparse(numbers, 0, sizes.length);
    const lengths: number[] = [];
    for (let row = 0; row < sizes.length; row++) {
      const number = numbers[row]!;
      const expected = expectedTokens(views[at + row]!, anonymous[at + row]!);
      if (number === DENSE) {
        sizes[row] = -1;
        lengths.push(reader.read(SIZE_BITS));
      } else if (number === 0) sizes[row] = expected;
      else {
        const size = expected - unfold(number - 1);
        if (!(size >= 0 && size < 2 ** 31)) throw reader.broken();
        sizes[row] = size;
      }
    }
    if (lengths.length > 0) this.#placeRegisters(lengths);
  }

  /** Registers lie at the end of the group, behind the bits. */
  #placeRegisters(lengths: readonly number[]): void {
    const start = this.#bytes.at;
    let place = this.#bytes.end - lengths.reduce((sum, length) => sum + length, 0);
    if (place < start) throw reader.broken();
    reader.endAt(place - start);
    this.#ends.push(place);
    for (const length of lengths) this.#ends.push((place += length));
  }
}

/** One viewer a view, until there are registers. */
function expectedTokens(views: number, anonymous: number): number {
  return Math.max(0, Math.min(views - anonymous, SMALL_LIMIT));
}

/** 0: as many tokens as expected. 1: registers. Else 1 + how many fewer, folded. */
function sketchNumber(block: CellBlock, row: number): number {
  if (registersOf(block, row) !== undefined) return DENSE;
  const { views, anonymous, tokenStart } = block;
  const missing = expectedTokens(views[row]!, anonymous[row]!) - (tokenStart[row + 1]! - tokenStart[row]!);
  return missing === 0 ? 0 : 1 + fold(missing);
}

/** 0, −1, 1, −2, 2 … as 0, 1, 2, 3, 4 … */
function fold(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unfold(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
}

/**
 * Per row: a bit for each id but the last that tells that it is as before, until one is not; the step of that one; and
 * those behind it as they are.
 */
function writeKeys({ keys, arity }: CellBlock, from: number, to: number): void {
  bits.reserve((2 + 2 * arity) * ORDER_BITS);
  const orders = keyOrders(keys, arity, from, to);
  for (const order of orders) bits.write(order, ORDER_BITS);
  for (let row = from + 1; row < to; row++) {
    bits.reserve(arity * 128);
    const at = row * arity;
    const first = firstChange(keys, at, arity);
    for (let i = 0; i < first; i++) bits.write(1, 1);
    if (first < arity - 1) bits.write(0, 1);
    bits.number(keys[at + first]! - keys[at + first - arity]! - 1, orders[2 * first]!);
    for (let i = first + 1; i < arity; i++) bits.number(keys[at + i]!, orders[2 * i + 1]!);
  }
}

function readKeys({ keys, arity }: Rows, from: number, to: number): void {
  const orders: number[] = [];
  for (let i = 0; i < 2 * arity; i++) orders.push(reader.read(ORDER_BITS));
  for (let row = from + 1; row < to; row++) {
    let at = row * arity;
    const last = at + arity - 1;
    let i = 0;
    for (; at < last && reader.read(1) === 1; i++, at++) keys[at] = keys[at - arity]!;
    keys[at] = keys[at - arity]! + 1 + reader.number(orders[2 * i]!);
    while (at < last) keys[++at] = reader.number(orders[2 * ++i + 1]!);
  }
}

/** Per id of a key: the order for its steps, and for its own values. */
function keyOrders(keys: Uint32Array, arity: number, from: number, to: number): number[] {
  while (keyChoosers.length < 2 * arity) keyChoosers.push(new OrderChooser());
  for (let i = 0; i < 2 * arity; i++) keyChoosers[i]!.clear();
  for (let row = from + 1; row < to; row++) {
    const at = row * arity;
    const first = firstChange(keys, at, arity);
    keyChoosers[2 * first]!.add(keys[at + first]! - keys[at + first - arity]! - 1);
    for (let i = first + 1; i < arity; i++) keyChoosers[2 * i + 1]!.add(keys[at + i]!);
  }
  return keyChoosers.slice(0, 2 * arity).map((chooser) => chooser.best());
}

/** The first id of the key at `at` that differs from the key before. */
function firstChange(keys: Uint32Array, at: number, arity: number): number {
  let i = 0;
  while (keys[at + i] === keys[at + i - arity]) i++;
  return i;
}

/** Nearly every row has a view: then each number is one less. */
function writeViews(views: Float64Array, from: number, to: number): void {
  let least = 1;
  for (let row = from; row < to; row++) if (views[row] === 0) least = 0;
  chooser.clear();
  for (let row = from; row < to; row++) chooser.add(views[row]! - least);
  const order = chooser.best();
  bits.reserve(1 + ORDER_BITS + (to - from) * MAX_ROW_BITS);
  bits.write(least, 1);
  bits.write(order, ORDER_BITS);
  for (let row = from; row < to; row++) bits.number(views[row]! - least, order);
}

function readViews(views: Float64Array, from: number, to: number): void {
  const least = reader.read(1);
  const order = reader.read(ORDER_BITS);
  for (let row = from; row < to; row++) views[row] = reader.number(order) + least;
}

/** A column that is mostly 0: how many rows are not, then for each how many zeros lie before it, and its value. */
function writeSparse(from: number, to: number, valueOf: (row: number) => number): void {
  const rows: number[] = [];
  for (let row = from; row < to; row++) if (valueOf(row) !== 0) rows.push(row);
  bits.reserve(128 + 2 * ORDER_BITS + rows.length * 256);
  bits.number(rows.length, 0);
  if (rows.length === 0) return;
  const gap = (i: number): number => rows[i]! - (i === 0 ? from : rows[i - 1]! + 1);
  chooser.clear();
  rows.forEach((_, i) => chooser.add(gap(i)));
  const gapOrder = chooser.best();
  chooser.clear();
  for (const row of rows) chooser.add(valueOf(row) - 1);
  const valueOrder = chooser.best();
  bits.write(gapOrder, ORDER_BITS);
  bits.write(valueOrder, ORDER_BITS);
  rows.forEach((row, i) => {
    bits.number(gap(i), gapOrder);
    bits.number(valueOf(row) - 1, valueOrder);
  });
}

/** Fills in what is not 0. */
function readSparse(column: Float64Array, from: number, to: number): void {
  const count = reader.number(0);
  if (count === 0) return;
  const gapOrder = reader.read(ORDER_BITS);
  const valueOrder = reader.read(ORDER_BITS);
  let row = from - 1;
  for (let i = 0; i < count; i++) {
    row += 1 + reader.number(gapOrder);
    if (row >= to) throw reader.broken();
    column[row] = reader.number(valueOrder) + 1;
  }
}
