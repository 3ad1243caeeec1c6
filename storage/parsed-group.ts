import { cellBlock, type CellBlock } from "../engine/store.js";
import { GroupReader } from "./block-group.js";
import { compareKey, emptyRows, type Rows } from "./block-rows.js";
import type { ByteReader } from "./bytes.js";

/** Of the objects besides the columns. */
const OVERHEAD_BYTES = 512;
const NO_REGISTERS: ReadonlyMap<number, Uint8Array> = new Map();

/**
 * A group whose rows were read, and of whose sketches is known where they begin: a row of it is then read by itself.
 * Registers that were read are kept.
 */
export class ParsedGroup {
  readonly #rows: Rows;
  readonly #reader: GroupReader;
  /** Per row: where its tokens begin, in bits; of registers, their number. */
  readonly #places: Uint32Array;
  readonly #dense = new Map<number, Uint8Array>();
  /** Grows with what is kept. */
  sizeBytes: number;

  /** `readFirstKey` puts the first key where it belongs. */
  constructor(group: ByteReader, arity: number, count: number, readFirstKey: (keys: Uint32Array) => void) {
    const rows = emptyRows(arity, count);
    readFirstKey(rows.keys);
    this.#reader = new GroupReader(group, rows, 0, count);
    this.#places = placesOf(this.#reader, count);
    this.#rows = rows;
    const columns = [rows.keys, rows.views, rows.anonymous, rows.created, this.#places, this.#places];
    this.sizeBytes = columns.reduce((sum, { byteLength }) => sum + byteLength, OVERHEAD_BYTES);
  }

  /** The rows whose key begins with `prefix`, as a block of their own, or undefined. */
  rowsWith(prefix: Uint32Array, rollup: number): CellBlock | undefined {
    const { arity, keys, views, anonymous, created } = this.#rows;
    const all = views.length;
    const start = firstWith(this.#rows, prefix);
    let end = start;
    while (end < all && compareKey(keys, end * arity, prefix) === 0) end++;
    if (start === end) return undefined;
    return cellBlock({
      rollup,
      arity,
      count: end - start,
      keys: keys.slice(start * arity, end * arity),
      views: views.slice(start, end),
      anonymous: anonymous.slice(start, end),
      created: created.slice(start, end),
      ...this.#sketches(start, end),
    });
  }

  #sketches(start: number, end: number): Pick<CellBlock, "tokenStart" | "tokens" | "dense"> {
    const reader = this.#reader;
    const tokenStart = new Uint32Array(end - start + 1);
    for (let row = start; row < end; row++) {
      tokenStart[row - start + 1] = tokenStart[row - start]! + Math.max(0, reader.size(row));
    }
    const tokens = new Uint32Array(tokenStart[end - start]!);
    let dense: Map<number, Uint8Array> | undefined;
    for (let row = start; row < end; row++) {
      if (reader.size(row) > 0) reader.tokensAt(row, this.#places[row]!, tokens, tokenStart[row - start]!);
      else if (reader.size(row) < 0)
        (dense ??= new Map<number, Uint8Array>()).set(row - start, this.#registersOf(row));
    }
    return { tokenStart, tokens, dense: dense ?? NO_REGISTERS };
  }

  #registersOf(row: number): Uint8Array {
    let registers = this.#dense.get(row);
    if (registers === undefined) {
      registers = this.#reader.registersAt(this.#places[row]!);
      this.#dense.set(row, registers);
      this.sizeBytes += registers.byteLength;
    }
    return registers;
  }
}

function placesOf(reader: GroupReader, count: number): Uint32Array {
  const places = new Uint32Array(count);
  let dense = 0;
  for (let row = 0; row < count; row++) {
    places[row] = reader.size(row) < 0 ? dense++ : reader.position;
    reader.skip();
  }
  reader.finish();
  return places;
}

/** The first row whose key begins with `prefix`, or is beyond it. */
function firstWith({ arity, keys, views }: Rows, prefix: Uint32Array): number {
  let low = 0;
  let high = views.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKey(keys, middle * arity, prefix) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
