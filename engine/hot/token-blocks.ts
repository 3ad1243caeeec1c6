/**
 * Blocks of tokens in one growing slab: lists of up to `LIST_LIMIT` tokens, which are searched from the front, and
 * open-addressing sets of more, whose first word counts their tokens. Blocks come in classes that lie close together, so
 * that little of them is empty; blocks that were outgrown are chained up by class and used again.
 */
import { SMALL_LIMIT } from "../sketch/token.js";

/** Up to here tokens lie in a list. */
export const LIST_LIMIT = 16;
/** First size of a slab that is needed at all: most tables of a quiet quarter need none. */
const MIN_SLAB_WORDS = 64;
const SLAB_GROWTH = 1.3;
/** A set is this full at most: beyond, a search takes too many probes. */
const MAX_LOAD = 0.8;
const SET_GROWTH = 1.5;

/** Per class: tokens that a list holds, or slots of a set. */
const LIST_SIZES = [2, 3, 4, 6, 8, 12, LIST_LIMIT];
const SET_SIZES = setSizes();
/** The class of a list by the number of its tokens, from 2 on. */
const LIST_CLASS = Uint8Array.from({ length: LIST_LIMIT + 1 }, (_, size) =>
  LIST_SIZES.findIndex((words) => words >= size),
);
/** Per class of sets: the most tokens that it takes. */
const SET_LIMITS = Uint32Array.from(SET_SIZES, (slots) => Math.floor(slots * MAX_LOAD));

export class TokenBlocks {
  #slab = new Uint32Array(0);
  #end = 0;
  /** Per class, lists first: the offset of a free block, plus 1; its first word has the next one. */
  readonly #free = new Uint32Array(LIST_SIZES.length + SET_SIZES.length);

  get sizeBytes(): number {
    return this.#slab.byteLength + this.#free.byteLength;
  }

  /** A list of two tokens. */
  newList(first: number, second: number): number {
    const block = this.#allocate(0);
    this.#slab[block] = first;
    this.#slab[block + 1] = second;
    return block;
  }

  isInList(block: number, size: number, token: number): boolean {
    const slab = this.#slab;
    for (let i = block; i < block + size; i++) if (slab[i] === token) return true;
    return false;
  }

  /** Adds to a list of `size` < `LIST_LIMIT` tokens; returns where it is from then on. */
  addToList(block: number, size: number, token: number): number {
    const before = LIST_CLASS[size]!;
    const after = LIST_CLASS[size + 1]!;
    let at = block;
    if (after !== before) {
      at = this.#allocate(after);
      const slab = this.#slab;
      for (let i = 0; i < size; i++) slab[at + i] = slab[block + i]!;
      this.#release(block, before);
    }
    this.#slab[at + size] = token;
    return at;
  }

  freeList(block: number, size: number): void {
    this.#release(block, LIST_CLASS[size]!);
  }

  /** A set, of the first class, of a full list and one token more; the list is given back. */
  setOfList(block: number, token: number): number {
    const set = this.#allocate(LIST_SIZES.length);
    this.#slab.fill(0, set, set + 1 + SET_SIZES[0]!);
    for (let i = 0; i < LIST_LIMIT; i++) this.#insert(set, 0, this.#slab[block + i]!);
    this.#insert(set, 0, token);
    this.freeList(block, LIST_LIMIT);
    return set;
  }

  setSize(set: number): number {
    return this.#slab[set]!;
  }

  isFull(set: number, setClass: number): boolean {
    return this.#slab[set] === SET_LIMITS[setClass];
  }

  /** Adds a token to a set that is not full, unless it is there; tells whether it was not. */
  addToSet(set: number, setClass: number, token: number): boolean {
    const slot = this.#find(set, setClass, token);
    if (this.#slab[slot] !== 0) return false;
    this.#slab[slot] = token;
    this.#slab[set]!++;
    return true;
  }

  isInSet(set: number, setClass: number, token: number): boolean {
    return this.#slab[this.#find(set, setClass, token)] !== 0;
  }

  /** Moves a set to the next class. */
  growSet(set: number, setClass: number): number {
    const next = setClass + 1;
    const grown = this.#allocate(LIST_SIZES.length + next);
    const slab = this.#slab;
    const slots = SET_SIZES[next]!;
    const first = grown + 1;
    slab.fill(0, grown, first + slots);
    slab[grown] = slab[set]!;
    const end = set + SET_SIZES[setClass]!;
    for (let i = set + 1; i <= end; i++) {
      const token = slab[i]!;
      if (token === 0) continue;
      let slot = slotOf(token, slots);
      while (slab[first + slot] !== 0) if (++slot === slots) slot = 0;
      slab[first + slot] = token;
    }
    this.freeSet(set, setClass);
    return grown;
  }

  freeSet(set: number, setClass: number): void {
    this.#release(set, LIST_SIZES.length + setClass);
  }

  /** Copies a list's tokens to `out` from `offset` on, as they lie. */
  copyList(block: number, size: number, out: Uint32Array, offset: number): void {
    const slab = this.#slab;
    for (let i = 0; i < size; i++) out[offset + i] = slab[block + i]!;
  }

  /** Copies a set's tokens to `out` from `offset` on, as they lie. */
  copySet(set: number, setClass: number, out: Uint32Array, offset: number): void {
    const slab = this.#slab;
    const end = set + SET_SIZES[setClass]!;
    let at = offset;
    for (let i = set + 1; i <= end; i++) if (slab[i] !== 0) out[at++] = slab[i]!;
  }

  #insert(set: number, setClass: number, token: number): void {
    this.#slab[this.#find(set, setClass, token)] = token;
    this.#slab[set]!++;
  }

  /** The slot that has the token, or the free one that would take it; no token is 0. */
  #find(set: number, setClass: number, token: number): number {
    const slab = this.#slab;
    const slots = SET_SIZES[setClass]!;
    const first = set + 1;
    let slot = slotOf(token, slots);
    for (let held = slab[first + slot]!; held !== 0 && held !== token; held = slab[first + slot]!) {
      if (++slot === slots) slot = 0;
    }
    return first + slot;
  }

  #allocate(index: number): number {
    const reused = this.#free[index]!;
    if (reused !== 0) {
      this.#free[index] = this.#slab[reused - 1]!;
      return reused - 1;
    }
    const block = this.#end;
    this.#end += index < LIST_SIZES.length ? LIST_SIZES[index]! : SET_SIZES[index - LIST_SIZES.length]! + 1;
    if (this.#end > this.#slab.length) {
      const grown = Math.max(this.#end, MIN_SLAB_WORDS, Math.ceil(this.#slab.length * SLAB_GROWTH));
      const slab = new Uint32Array(grown);
      slab.set(this.#slab);
      this.#slab = slab;
    }
    return block;
  }

  #release(block: number, index: number): void {
    this.#slab[block] = this.#free[index]!;
    this.#free[index] = block + 1;
  }
}

/** 16 bits of the hash, scaled to the slots, of which there are fewer than 2^12. */
function slotOf(token: number, slots: number): number {
  return ((Math.imul(token, 0x9e37_79b1) >>> 16) * slots) >>> 16;
}

function setSizes(): Uint32Array {
  const sizes: number[] = [];
  for (let slots = 24; ; slots = Math.ceil(slots * SET_GROWTH)) {
    const isLast = slots * MAX_LOAD > SMALL_LIMIT;
    sizes.push(isLast ? Math.ceil(SMALL_LIMIT / MAX_LOAD) : slots);
    if (isLast) return Uint32Array.from(sizes);
  }
}
