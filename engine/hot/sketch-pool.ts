import { uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT, tokenIndex, tokenValue } from "../sketch/token.js";
import { LIST_LIMIT, TokenBlocks } from "./token-blocks.js";

/** Precision of every sketch inside the engine. */
export const LOG2M = 14;
export const REGISTERS = 1 << LOG2M;

/** Forms of a sketch: from 0 to `LIST_LIMIT` the number of its tokens; then sets by their class; then registers. */
const FIRST_SET = LIST_LIMIT + 1;
const DENSE = 255;
/** Below this many tokens, moving them one by one sorts them sooner than a call to sort would. */
const SORT_FROM = 24;

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
  readonly #blocks = new TokenBlocks();
  readonly #dense: Uint8Array[] = [];

  constructor(cells: number) {
    this.#refs = new Uint32Array(cells);
    this.#forms = new Uint8Array(cells);
  }

  grow(cells: number): void {
    const refs = new Uint32Array(cells);
    refs.set(this.#refs);
    this.#refs = refs;
    const forms = new Uint8Array(cells);
    forms.set(this.#forms);
    this.#forms = forms;
  }

  isDense(cell: number): boolean {
    return this.#forms[cell] === DENSE;
  }

  /** Number of tokens; 0 for a dense sketch. */
  tokenCount(cell: number): number {
    const form = this.#forms[cell]!;
    if (form <= LIST_LIMIT) return form;
    return form === DENSE ? 0 : this.#blocks.setSize(this.#refs[cell]!);
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
    if (other.isDense(from)) this.addRegisters(cell, other.registers(from));
    else this.addAll(cell, passing, 0, other.#copy(from, passing, 0));
  }

  /** Copies the tokens to `out` from `offset` on, ascending; the number is `tokenCount(cell)`. */
  copyTokens(cell: number, out: Uint32Array, offset: number): void {
    const end = this.#copy(cell, out, offset);
    if (end - offset < SORT_FROM) sortFew(out, offset, end);
    else out.subarray(offset, end).sort();
  }

  /** The registers of a dense sketch, not a copy. */
  registers(cell: number): Uint8Array {
    if (!this.isDense(cell)) throw new Error("BUG: registers of a small sketch");
    return this.#dense[this.#refs[cell]!]!;
  }

  get sizeBytes(): number {
    const cells = this.#refs.byteLength + this.#forms.byteLength;
    return cells + this.#blocks.sizeBytes + this.#dense.length * REGISTERS;
  }

  /** Copies the tokens in no order; returns where they end. */
  #copy(cell: number, out: Uint32Array, offset: number): number {
    const form = this.#forms[cell]!;
    const ref = this.#refs[cell]!;
    if (form === 1) out[offset] = ref;
    else if (form <= LIST_LIMIT) this.#blocks.copyList(ref, form, out, offset);
    else if (form !== DENSE) this.#blocks.copySet(ref, form - FIRST_SET, out, offset);
    return offset + this.tokenCount(cell);
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
    const form = this.#forms[cell]!;
    const ref = this.#refs[cell]!;
    if (form === DENSE) return this.#dense[ref]!;
    const registers = new Uint8Array(REGISTERS);
    const count = this.#copy(cell, turning, 0);
    for (let i = 0; i < count; i++) addToRegisters(registers, turning[i]!);
    if (form > LIST_LIMIT) this.#blocks.freeSet(ref, form - FIRST_SET);
    else if (form > 1) this.#blocks.freeList(ref, form);
    this.#refs[cell] = this.#dense.push(registers) - 1;
    this.#forms[cell] = DENSE;
    return registers;
  }
}

function addToRegisters(registers: Uint8Array, token: number): boolean {
  const index = tokenIndex(token, LOG2M);
  const value = tokenValue(token, LOG2M);
  if (value <= registers[index]!) return false;
  registers[index] = value;
  return true;
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
