import { uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT, tokenIndex, tokenValue } from "../sketch/token.js";

/** Precision of every sketch inside the engine. */
export const LOG2M = 14;
export const REGISTERS = 1 << LOG2M;

/** `sizes[cell]` of a dense sketch; greater than any number of tokens. */
const DENSE = 0xffff_ffff;
/** First size of a slab that is needed at all: most tables of a quiet quarter need none. */
const MIN_SLAB_WORDS = 64;
/** Up to here tokens lie in a list that is searched from the front; beyond, in an open-addressing set. */
const LIST_LIMIT = 16;

/**
 * The sketches of many cells in flat slabs: a cell without viewers costs nothing, one viewer is held in the
 * cell's own word, more share one `Uint32Array` in blocks of powers of two, and a cell of more than
 * `SMALL_LIMIT` tokens has 2^14 registers. The state is a function of the set of tokens alone, and equal to that
 * of `HyperLogLog`.
 */
export class SketchPool {
  /** The single token, the offset of the block, or the index into `#dense`; by `#sizes`. */
  #refs: Uint32Array;
  #sizes: Uint32Array;
  #slab: Uint32Array = new Uint32Array(0);
  #slabEnd = 0;
  /** Per power of two: offsets of blocks that were outgrown, for reuse. */
  readonly #free: number[][] = [];
  readonly #dense: Uint8Array[] = [];

  constructor(cells: number) {
    this.#refs = new Uint32Array(cells);
    this.#sizes = new Uint32Array(cells);
  }

  grow(cells: number): void {
    this.#refs = grown(this.#refs, cells);
    this.#sizes = grown(this.#sizes, cells);
  }

  isDense(cell: number): boolean {
    return this.#sizes[cell] === DENSE;
  }

  /** Number of tokens; 0 for a dense sketch. */
  tokenCount(cell: number): number {
    const size = this.#sizes[cell]!;
    return size === DENSE ? 0 : size;
  }

  /** Adds one token; true when it changed the sketch. */
  add(cell: number, token: number): boolean {
    const size = this.#sizes[cell]!;
    if (size === 0) {
      this.#refs[cell] = token;
      this.#sizes[cell] = 1;
      return true;
    }
    if (size === 1) return this.#addSecond(cell, token);
    if (size === DENSE) return addToRegisters(this.#dense[this.#refs[cell]!]!, token);
    if (size <= LIST_LIMIT) return this.#addToList(cell, token, size);
    return this.#addToSet(cell, token, size);
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
    const size = other.#sizes[from]!;
    if (size === 0) return;
    const ref = other.#refs[from]!;
    if (size === 1) this.add(cell, ref);
    else if (size === DENSE) this.addRegisters(cell, other.#dense[ref]!);
    else other.#forEachToken(ref, size, (token) => this.add(cell, token));
  }

  /** Copies the tokens to `out` from `offset` on, ascending; the number is `tokenCount(cell)`. */
  copyTokens(cell: number, out: Uint32Array, offset: number): void {
    const size = this.tokenCount(cell);
    if (size === 0) return;
    if (size === 1) {
      out[offset] = this.#refs[cell]!;
      return;
    }
    let at = offset;
    this.#forEachToken(this.#refs[cell]!, size, (token) => {
      out[at++] = token;
    });
    out.subarray(offset, at).sort();
  }

  /** The registers of a dense sketch, not a copy. */
  registers(cell: number): Uint8Array {
    if (!this.isDense(cell)) throw new Error("BUG: registers of a small sketch");
    return this.#dense[this.#refs[cell]!]!;
  }

  get sizeBytes(): number {
    return this.#refs.byteLength * 2 + this.#slab.byteLength + this.#dense.length * REGISTERS;
  }

  #addSecond(cell: number, token: number): boolean {
    const first = this.#refs[cell]!;
    if (first === token) return false;
    const block = this.#allocate(2);
    this.#slab[block] = first;
    this.#slab[block + 1] = token;
    this.#refs[cell] = block;
    this.#sizes[cell] = 2;
    return true;
  }

  #addToList(cell: number, token: number, size: number): boolean {
    const block = this.#refs[cell]!;
    for (let i = block; i < block + size; i++) if (this.#slab[i] === token) return false;
    this.#place(cell, token, size);
    return true;
  }

  #addToSet(cell: number, token: number, size: number): boolean {
    const mask = capacityFor(size) - 1;
    if (contains(this.#slab, this.#refs[cell]!, mask, token)) return false;
    if (size === SMALL_LIMIT) addToRegisters(this.#densify(cell), token);
    else this.#place(cell, token, size);
    return true;
  }

  /** Adds a token that is not there to a block of `size` tokens, which grows where it is full. */
  #place(cell: number, token: number, size: number): void {
    const capacity = capacityFor(size + 1);
    if (capacity !== capacityFor(size)) this.#move(cell, size, capacity);
    const block = this.#refs[cell]!;
    if (size < LIST_LIMIT) this.#slab[block + size] = token;
    else insert(this.#slab, block, capacity - 1, token);
    this.#sizes[cell] = size + 1;
  }

  #move(cell: number, size: number, capacity: number): void {
    const from = this.#refs[cell]!;
    const to = this.#allocate(capacity);
    const slab = this.#slab;
    if (capacity <= LIST_LIMIT) slab.copyWithin(to, from, from + size);
    else this.#forEachToken(from, size, (token) => insert(slab, to, capacity - 1, token));
    this.#release(from, capacityFor(size));
    this.#refs[cell] = to;
  }

  #densify(cell: number): Uint8Array {
    const size = this.#sizes[cell]!;
    const ref = this.#refs[cell]!;
    if (size === DENSE) return this.#dense[ref]!;
    const registers = new Uint8Array(REGISTERS);
    if (size === 1) addToRegisters(registers, ref);
    else if (size > 1) {
      this.#forEachToken(ref, size, (token) => addToRegisters(registers, token));
      this.#release(ref, capacityFor(size));
    }
    this.#refs[cell] = this.#dense.push(registers) - 1;
    this.#sizes[cell] = DENSE;
    return registers;
  }

  #forEachToken(block: number, size: number, visit: (token: number) => void): void {
    const end = block + (size <= LIST_LIMIT ? size : capacityFor(size));
    for (let i = block; i < end; i++) if (this.#slab[i] !== 0) visit(this.#slab[i]!);
  }

  #allocate(capacity: number): number {
    const reused = this.#free[31 - Math.clz32(capacity)]?.pop();
    if (reused !== undefined) return reused;
    const block = this.#slabEnd;
    this.#slabEnd += capacity;
    if (this.#slabEnd > this.#slab.length) {
      this.#slab = grown(
        this.#slab,
        Math.max(this.#slabEnd, MIN_SLAB_WORDS, Math.ceil(this.#slab.length * 1.5)),
      );
    }
    return block;
  }

  #release(block: number, capacity: number): void {
    this.#slab.fill(0, block, block + capacity);
    (this.#free[31 - Math.clz32(capacity)] ??= []).push(block);
  }
}

/** Words of a block of `size ≥ 2` tokens: a full list, or a set that is at most three quarters full. */
function capacityFor(size: number): number {
  const words = size <= LIST_LIMIT ? size : Math.ceil((size * 4) / 3);
  return 1 << (32 - Math.clz32(words - 1));
}

/** Is the token in the open-addressing set? Slots of 0 are free; tokens are never 0. */
function contains(slab: Uint32Array, block: number, mask: number, token: number): boolean {
  let slot = (Math.imul(token, 0x9e37_79b1) >>> 7) & mask;
  for (let held = slab[block + slot]!; held !== 0; held = slab[block + slot]!) {
    if (held === token) return true;
    slot = (slot + 1) & mask;
  }
  return false;
}

/** Inserts a token that is not in the set. */
function insert(slab: Uint32Array, block: number, mask: number, token: number): void {
  let slot = (Math.imul(token, 0x9e37_79b1) >>> 7) & mask;
  while (slab[block + slot] !== 0) slot = (slot + 1) & mask;
  slab[block + slot] = token;
}

function addToRegisters(registers: Uint8Array, token: number): boolean {
  const index = tokenIndex(token, LOG2M);
  const value = tokenValue(token, LOG2M);
  if (value <= registers[index]!) return false;
  registers[index] = value;
  return true;
}

function grown(array: Uint32Array, length: number): Uint32Array {
  const next = new Uint32Array(length);
  next.set(array);
  return next;
}
