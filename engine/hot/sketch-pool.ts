import type { CopyColumn } from "./column-copies.js";
import type { SketchImage } from "../image-port.js";
import { uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT } from "../sketch/token.js";
import { registersOf, type CellBlock } from "../store.js";
import {
  LOG2M,
  NO_PART,
  REGISTERS,
  SketchParts,
  addToRegisters,
  copyTokens,
  countRegisters,
  type Source,
} from "./sketch-parts.js";
import { grownColumn, grownLength } from "./column.js";
import { LIST_LIMIT, TokenBlocks } from "./token-blocks.js";

export { LOG2M, REGISTERS };

/**
 * Forms of a sketch: from 0 to `LIST_LIMIT` the number of its tokens; then sets by their class; then that of the row
 * of a block, parts that are not united yet, and registers.
 */
const FIRST_SET = LIST_LIMIT + 1;
const LENT = 253;
const PARTS = 254;
const DENSE = 255;

/**
 * Blocks that a pool holds parts of may have so many bytes; beyond, all parts are united, so that the blocks can go.
 */
const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** Below this many tokens, moving them one by one sorts them sooner than a call to sort would. */
const SORT_FROM = 24;

/** By block and row: estimates of sketches that never change. */
const estimates = new WeakMap<CellBlock, Map<number, number>>();

/** Tokens on their way from one pool to another, and those of a cell that turns dense meanwhile. */
const passing = new Uint32Array(SMALL_LIMIT);
const turning = new Uint32Array(SMALL_LIMIT);

/**
 * The sketches of many cells: a cell without viewers costs nothing, one viewer is held in the cell's own word, more
 * share one slab (`TokenBlocks`), and a cell of more than `SMALL_LIMIT` tokens has 2^14 registers. The state is a
 * function of the set of tokens alone, and equal to that of `HyperLogLog`.
 */
export class SketchPool {
  /** The single token, the place of the list or set, or the index into `#dense`; by `#forms`. */
  #refs: Uint32Array;
  #forms: Uint8Array;
  #blocks: TokenBlocks;
  readonly #dense: Uint8Array[] = [];
  #parts: SketchParts | undefined;
  /** The block whose rows lent cells are. */
  #lent: CellBlock | undefined;

  /** Room for so many cells is made, and for so many words of tokens. */
  constructor(cells: number, tokenWords?: number) {
    this.#blocks = new TokenBlocks(tokenWords);
    this.#refs = new Uint32Array(cells);
    this.#forms = new Uint8Array(cells);
  }

  /** The sketches of a block's rows, cell by row, without a copy. */
  static ofBlock(block: CellBlock): SketchPool {
    const pool = new SketchPool(block.count);
    pool.#forms.fill(LENT);
    pool.#lent = block;
    return pool;
  }

  static ofImage({ refs, forms, dense, ...tokens }: SketchImage): SketchPool {
    const pool = new SketchPool(0);
    pool.#refs = refs;
    pool.#forms = forms;
    pool.#dense.push(...dense);
    pool.#blocks = TokenBlocks.ofImage(tokens);
    return pool;
  }

  /** A copy of the first `count` cells' sketches, none of which is borrowed. */
  image(count: number, copy: CopyColumn): SketchImage {
    if (this.#parts !== undefined || this.#lent !== undefined)
      throw new Error("BUG: an image of what is borrowed");
    return {
      refs: copy(this.#refs, count),
      forms: copy(this.#forms, count),
      dense: this.#dense.map((registers) => copy(registers, registers.length)),
      ...this.#blocks.image(copy),
    };
  }

  /** Makes room for so many cells, and some more. */
  grow(cells: number): void {
    if (cells > this.#refs.length) {
      this.#refs = grownColumn(this.#refs, new Uint32Array(grownLength(cells, 3)));
    }
    if (cells > this.#forms.length) {
      this.#forms = grownColumn(this.#forms, new Uint8Array(grownLength(cells, 4)));
    }
  }

  /** There is room for so many cells. */
  get room(): number {
    return Math.min(this.#refs.length, this.#forms.length);
  }

  /** Words of the slab that tokens lie in. */
  get tokenWords(): number {
    return this.#blocks.words;
  }

  isDense(cell: number): boolean {
    const form = this.#forms[cell];
    if (form === LENT) return this.#lent!.dense.has(cell);
    return form === DENSE || (form === PARTS && this.#parts!.isDense(this.#united(cell)));
  }

  /** Number of tokens; 0 for a dense sketch. */
  tokenCount(cell: number): number {
    const form = this.#forms[cell]!;
    if (form <= LIST_LIMIT) return form;
    if (form === PARTS) return this.#parts!.size(this.#united(cell));
    if (form === LENT) return this.#lent!.tokenStart[cell + 1]! - this.#lent!.tokenStart[cell]!;
    return form === DENSE ? 0 : this.#blocks.setSize(this.#refs[cell]!);
  }

  /** Adds the sketch of a row, when somebody asks for the union. Rows of a block should come one after the other. */
  defer(cell: number, block: CellBlock, row: number): void {
    const { tokens, tokenStart } = block;
    const start = tokenStart[row]!;
    const end = tokenStart[row + 1]!;
    const registers = registersOf(block, row);
    if (registers === undefined && start === end) return;
    if (this.#forms[cell] === LENT) this.#toParts(cell);
    const form = this.#forms[cell]!;
    if (form === 0 || form === PARTS) {
      if (registers === undefined) this.#addPart(cell, tokens, start, end);
      else this.#addPart(cell, registers, 0, 0);
      this.#parts!.hold(registers ?? tokens);
      if (this.#parts!.heldBytes > MAX_HELD_BYTES) this.detach();
    } else if (registers === undefined) this.addAll(cell, tokens, start, end);
    else this.addRegisters(cell, registers);
  }

  /** Unites all parts and gives up the blocks that they are of. */
  detach(): void {
    if (this.#parts === undefined && this.#lent === undefined) return;
    for (let cell = 0; cell < this.#forms.length; cell++) if (isBorrowed(this.#forms[cell]!)) this.#own(cell);
    this.#parts = undefined;
    this.#lent = undefined;
  }

  /** Adds one token; true when it changed the sketch. */
  add(cell: number, token: number): boolean {
    const form = this.#forms[cell]!;
    if (form === 0) {
      this.#refs[cell] = token;
      this.#forms[cell] = 1;
      return true;
    }
    if (form === 1) return this.#addSecond(cell, token);
    if (form === DENSE) return addToRegisters(this.#dense[this.#refs[cell]!]!, token);
    if (isBorrowed(form)) return this.add(this.#own(cell), token);
    return form <= LIST_LIMIT ? this.#addToList(cell, token, form) : this.#addToSet(cell, token, form);
  }

  addAll(cell: number, tokens: Uint32Array, start: number, end: number): void {
    for (let i = start; i < end; i++) this.add(cell, tokens[i]!);
  }

  addRegisters(cell: number, registers: Uint8Array): void {
    // No hash gives a register of more than 65 − LOG2M, so none is wide.
    uniteRegisters(this.#densify(cell), registers, false);
  }

  /** Merges a cell of another pool. */
  addFrom(cell: number, other: SketchPool, from: number): void {
    if (other.isDense(from)) {
      this.addRegisters(cell, other.registers(from));
      return;
    }
    const count = other.copyUnordered(from, passing, 0);
    if (this.#forms[cell] === LENT) this.#toParts(cell);
    if (this.#forms[cell] === PARTS) this.#addPart(cell, passing.slice(0, count), 0, count);
    else this.addAll(cell, passing, 0, count);
  }

  /** Copies the tokens to `out` from `offset` on, ascending; the number is `tokenCount(cell)`. */
  copyTokens(cell: number, out: Uint32Array, offset: number): void {
    const end = this.copyUnordered(cell, out, offset);
    if (end - offset < SORT_FROM) sortFew(out, offset, end);
    else out.subarray(offset, end).sort();
  }

  /** The registers of a dense sketch, not a copy; not to be changed. */
  registers(cell: number): Uint8Array {
    if (!this.isDense(cell)) throw new Error("BUG: registers of a small sketch");
    const form = this.#forms[cell];
    if (form === LENT) return this.#lent!.dense.get(cell)!;
    const ref = this.#refs[cell]!;
    return form === PARTS ? this.#parts!.registers(ref) : this.#dense[ref]!;
  }

  /** Of a dense sketch: how many registers have each value. */
  valueCounts(cell: number): Uint32Array {
    return countRegisters(this.registers(cell), this.#forms[cell] !== DENSE);
  }

  /**
   * What `estimate` says of the cell. Of the row of a stored block, which is asked about again and again, it is
   * remembered as long as the block is.
   */
  estimated(cell: number, estimate: () => number): number {
    if (this.#forms[cell] !== LENT) return estimate();
    const block = this.#lent!;
    let known = estimates.get(block);
    if (known === undefined) estimates.set(block, (known = new Map<number, number>()));
    let value = known.get(cell);
    if (value === undefined) known.set(cell, (value = estimate()));
    return value;
  }

  get sizeBytes(): number {
    const cells = this.#refs.byteLength + this.#forms.byteLength;
    return cells + this.#blocks.sizeBytes + this.#dense.length * REGISTERS;
  }

  /** Copies the tokens in no order; returns where they end. */
  copyUnordered(cell: number, out: Uint32Array, offset: number): number {
    const form = this.#forms[cell]!;
    const ref = this.#refs[cell]!;
    if (form === LENT) {
      const { tokens, tokenStart } = this.#lent!;
      copyTokens(tokens, tokenStart[cell]!, tokenStart[cell + 1]!, out, offset);
    } else if (form === PARTS) this.#parts!.copy(this.#united(cell), out, offset);
    else if (form === 1) out[offset] = ref;
    else if (form <= LIST_LIMIT) this.#blocks.copyList(ref, form, out, offset);
    else if (form !== DENSE) this.#blocks.copySet(ref, form - FIRST_SET, out, offset);
    return offset + this.tokenCount(cell);
  }

  /** The one part that a cell consists of, once its parts are united. */
  #united(cell: number): number {
    const parts = this.#parts!;
    const chain = this.#refs[cell]!;
    if (parts.isSingle(chain)) return chain;
    const source = parts.unite(chain);
    const end = source instanceof Uint32Array ? source.length : 0;
    return (this.#refs[cell] = parts.add(source, 0, end, NO_PART));
  }

  #addPart(cell: number, source: Source, start: number, end: number): void {
    const parts = (this.#parts ??= new SketchParts());
    const next = this.#forms[cell] === PARTS ? this.#refs[cell]! : NO_PART;
    this.#refs[cell] = parts.add(source, start, end, next);
    this.#forms[cell] = PARTS;
  }

  #toParts(cell: number): void {
    const { tokens, tokenStart } = this.#lent!;
    const start = tokenStart[cell]!;
    const end = tokenStart[cell + 1]!;
    const registers = registersOf(this.#lent!, cell);
    this.#forms[cell] = 0;
    if (registers !== undefined) this.#addPart(cell, registers, 0, 0);
    else if (start < end) this.#addPart(cell, tokens, start, end);
  }

  /** Turns what is borrowed into a form that can be added to; returns the cell. */
  #own(cell: number): number {
    if (this.#forms[cell] === LENT) this.#toParts(cell);
    if (this.#forms[cell] !== PARTS) return cell;
    const parts = this.#parts!;
    const part = this.#united(cell);
    this.#refs[cell] = 0;
    if (parts.isDense(part)) {
      this.#refs[cell] = this.#dense.push(parts.registers(part).slice()) - 1;
      this.#forms[cell] = DENSE;
    } else {
      const count = parts.size(part);
      const tokens = new Uint32Array(count);
      parts.copy(part, tokens, 0);
      this.#forms[cell] = 0;
      this.addAll(cell, tokens, 0, count);
    }
    return cell;
  }

  #addSecond(cell: number, token: number): boolean {
    const first = this.#refs[cell]!;
    if (first === token) return false;
    this.#refs[cell] = this.#blocks.newList(first, token);
    this.#forms[cell] = 2;
    return true;
  }

  #addToList(cell: number, token: number, size: number): boolean {
    const block = this.#refs[cell]!;
    if (this.#blocks.isInList(block, size, token)) return false;
    this.#refs[cell] =
      size < LIST_LIMIT ? this.#blocks.addToList(block, size, token) : this.#blocks.setOfList(block, token);
    this.#forms[cell] = size + 1;
    return true;
  }

  #addToSet(cell: number, token: number, form: number): boolean {
    const setClass = form - FIRST_SET;
    const set = this.#refs[cell]!;
    if (!this.#blocks.isFull(set, setClass)) return this.#blocks.addToSet(set, setClass, token);
    if (this.#blocks.isInSet(set, setClass, token)) return false;
    if (this.#blocks.setSize(set) === SMALL_LIMIT) return addToRegisters(this.#densify(cell), token) || true;
    this.#refs[cell] = this.#blocks.growSet(set, setClass);
    this.#forms[cell] = form + 1;
    return this.#blocks.addToSet(this.#refs[cell], setClass + 1, token);
  }

  #densify(cell: number): Uint8Array {
    if (isBorrowed(this.#forms[cell]!)) this.#own(cell);
    const form = this.#forms[cell]!;
    const ref = this.#refs[cell]!;
    if (form === DENSE) return this.#dense[ref]!;
    const registers = new Uint8Array(REGISTERS);
    const count = this.copyUnordered(cell, turning, 0);
    for (let i = 0; i < count; i++) addToRegisters(registers, turning[i]!);
    if (form > LIST_LIMIT) this.#blocks.freeSet(ref, form - FIRST_SET);
    else if (form > 1) this.#blocks.freeList(ref, form);
    this.#refs[cell] = this.#dense.push(registers) - 1;
    this.#forms[cell] = DENSE;
    return registers;
  }
}

/** Not a form of its own that can be added to. */
function isBorrowed(form: number): boolean {
  return form === LENT || form === PARTS;
}

/** Insertion sort of `[start, end)`. */
function sortFew(tokens: Uint32Array, start: number, end: number): void {
  for (let i = start + 1; i < end; i++) {
    const token = tokens[i]!;
    let at = i;
    while (at > start && tokens[at - 1]! > token) {
      tokens[at] = tokens[at - 1]!;
      at--;
    }
    tokens[at] = token;
  }
}
