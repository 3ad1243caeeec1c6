/**
 * Blocks of tokens in a slab that grows by chunks: lists of up to `LIST_LIMIT` tokens, which are searched from the front, and
 * open-addressing sets of more, whose first word counts their tokens. Blocks come in classes that lie close together, so
 * that little of them is empty; blocks that were outgrown are chained up by class and used again.
 */
import type { CopyColumn } from "./column-copies.js";
import type { SketchImage } from "../image-port.js";
import { SMALL_LIMIT } from "../sketch/token.js";

/** Up to here tokens lie in a list. */
export const LIST_LIMIT = 16;
/** A chunk of the slab has at most so many words; blocks lie within one. A block is told by chunk and offset in one word. */
const OFFSET_BITS = 16;
const CHUNK_WORDS = 1 << OFFSET_BITS;
const OFFSET = CHUNK_WORDS - 1;
/** First size of the first chunk, if one is needed at all: most tables of a quiet quarter need none. */
const MIN_WORDS = 64;
/** First size of later ones. */
const NEXT_WORDS = CHUNK_WORDS / 8;
/** A chunk grows so until it is whole: never is more copied than that. */
const GROWTH = 1.3;
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
  readonly #chunks: Uint32Array[] = [];
  /** Words taken of the last chunk. */
  #end = CHUNK_WORDS;
  /** Per class, lists first: a free block, plus 1; its first word has the next one. */
  readonly #free = new Uint32Array(LIST_SIZES.length + SET_SIZES.length);
  readonly #expectedWords: number;

  /** Chunks that so many words will fill are made whole at once, and never copied. */
  constructor(expectedWords: number = 0) {
    this.#expectedWords = expectedWords;
  }

  /** So much of the slab has been taken. */
  get words(): number {
    return (this.#chunks.length - 1) * CHUNK_WORDS + this.#end;
  }

  get sizeBytes(): number {
    return this.#chunks.reduce((sum, { byteLength }) => sum + byteLength, this.#free.byteLength);
  }

  static ofImage({ chunks, free }: Pick<SketchImage, "chunks" | "free">): TokenBlocks {
    const blocks = new TokenBlocks();
    blocks.#chunks.push(...chunks);
    blocks.#end = chunks.at(-1)?.length ?? CHUNK_WORDS;
    blocks.#free.set(free);
    return blocks;
  }

  image(copy: CopyColumn): Pick<SketchImage, "chunks" | "free"> {
    const last = this.#chunks.length - 1;
    const chunks = this.#chunks.map((chunk, i) => copy(chunk, i === last ? this.#end : chunk.length));
    return { chunks, free: this.#free.slice() };
  }

  /** A list of two tokens. */
  newList(first: number, second: number): number {
    const block = this.#allocate(0);
    const chunk = this.#chunks[block >>> OFFSET_BITS]!;
    const at = block & OFFSET;
    chunk[at] = first;
    chunk[at + 1] = second;
    return block;
  }

  isInList(block: number, size: number, token: number): boolean {
    const chunk = this.#chunks[block >>> OFFSET_BITS]!;
    const at = block & OFFSET;
    for (let i = at; i < at + size; i++) if (chunk[i] === token) return true;
    return false;
  }

  /** Adds to a list of `size` < `LIST_LIMIT` tokens; returns where it is from then on. */
  addToList(block: number, size: number, token: number): number {
    const before = LIST_CLASS[size]!;
    const after = LIST_CLASS[size + 1]!;
    const moved = after === before ? block : this.#allocate(after);
    const to = this.#chunks[moved >>> OFFSET_BITS]!;
    const at = moved & OFFSET;
    if (moved !== block) {
      this.copyList(block, size, to, at);
      this.#release(block, before);
    }
    to[at + size] = token;
    return moved;
  }

  freeList(block: number, size: number): void {
    this.#release(block, LIST_CLASS[size]!);
  }

  /** A set, of the first class, of a full list and one token more; the list is given back. */
  setOfList(block: number, token: number): number {
    const set = this.#newSet(0);
    const list = this.#chunks[block >>> OFFSET_BITS]!;
    const at = block & OFFSET;
    for (let i = at; i < at + LIST_LIMIT; i++) this.addToSet(set, 0, list[i]!);
    this.addToSet(set, 0, token);
    this.freeList(block, LIST_LIMIT);
    return set;
  }

  setSize(set: number): number {
    return this.#chunks[set >>> OFFSET_BITS]![set & OFFSET]!;
  }

  isFull(set: number, setClass: number): boolean {
    return this.setSize(set) === SET_LIMITS[setClass];
  }

  /** Adds a token to a set that is not full, unless it is there; tells whether it was not. */
  addToSet(set: number, setClass: number, token: number): boolean {
    const chunk = this.#chunks[set >>> OFFSET_BITS]!;
    const at = set & OFFSET;
    const slot = find(chunk, at, setClass, token);
    if (chunk[slot] !== 0) return false;
    chunk[slot] = token;
    chunk[at]!++;
    return true;
  }

  isInSet(set: number, setClass: number, token: number): boolean {
    const chunk = this.#chunks[set >>> OFFSET_BITS]!;
    return chunk[find(chunk, set & OFFSET, setClass, token)] !== 0;
  }

  /** Moves a set to the next class. */
  growSet(set: number, setClass: number): number {
    const grown = this.#newSet(setClass + 1);
    const to = this.#chunks[grown >>> OFFSET_BITS]!;
    const from = this.#chunks[set >>> OFFSET_BITS]!;
    const start = set & OFFSET;
    to[grown & OFFSET] = from[start]!;
    const slots = SET_SIZES[setClass + 1]!;
    const first = (grown & OFFSET) + 1;
    const end = start + SET_SIZES[setClass]!;
    for (let i = start + 1; i <= end; i++) {
      const token = from[i]!;
      if (token === 0) continue;
      let slot = slotOf(token, slots);
      while (to[first + slot] !== 0) if (++slot === slots) slot = 0;
      to[first + slot] = token;
    }
    this.freeSet(set, setClass);
    return grown;
  }

  freeSet(set: number, setClass: number): void {
    this.#release(set, LIST_SIZES.length + setClass);
  }

  /** Copies a list's tokens to `out` from `offset` on, as they lie. */
  copyList(block: number, size: number, out: Uint32Array, offset: number): void {
    const chunk = this.#chunks[block >>> OFFSET_BITS]!;
    const at = block & OFFSET;
    for (let i = 0; i < size; i++) out[offset + i] = chunk[at + i]!;
  }

  /** Copies a set's tokens to `out` from `offset` on, as they lie. */
  copySet(set: number, setClass: number, out: Uint32Array, offset: number): void {
    const chunk = this.#chunks[set >>> OFFSET_BITS]!;
    const start = set & OFFSET;
    const end = start + SET_SIZES[setClass]!;
    let at = offset;
    for (let i = start + 1; i <= end; i++) if (chunk[i] !== 0) out[at++] = chunk[i]!;
  }

  #newSet(setClass: number): number {
    const set = this.#allocate(LIST_SIZES.length + setClass);
    const at = set & OFFSET;
    this.#chunks[set >>> OFFSET_BITS]!.fill(0, at, at + 1 + SET_SIZES[setClass]!);
    return set;
  }

  #allocate(index: number): number {
    const reused = this.#free[index]! - 1;
    if (reused >= 0) {
      this.#free[index] = this.#chunks[reused >>> OFFSET_BITS]![reused & OFFSET]!;
      return reused;
    }
    const words = index < LIST_SIZES.length ? LIST_SIZES[index]! : SET_SIZES[index - LIST_SIZES.length]! + 1;
    if (this.#end + words > CHUNK_WORDS) {
      this.#chunks.push(new Uint32Array(this.#firstSize(this.#chunks.length)));
      this.#end = 0;
    }
    const last = this.#chunks.length - 1;
    const at = this.#end;
    this.#end += words;
    if (this.#end > this.#chunks[last]!.length) this.#chunks[last] = grown(this.#chunks[last]!, this.#end);
    return ((last << OFFSET_BITS) | at) >>> 0;
  }

  #firstSize(chunk: number): number {
    const expected = Math.min(CHUNK_WORDS, this.#expectedWords - chunk * CHUNK_WORDS);
    return Math.max(chunk === 0 ? MIN_WORDS : NEXT_WORDS, expected);
  }

  #release(block: number, index: number): void {
    this.#chunks[block >>> OFFSET_BITS]![block & OFFSET] = this.#free[index]!;
    this.#free[index] = block + 1;
  }
}

/** The slot of the set at `set` that has the token, or the free one that would take it; no token is 0. */
function find(chunk: Uint32Array, set: number, setClass: number, token: number): number {
  const slots = SET_SIZES[setClass]!;
  const first = set + 1;
  let slot = slotOf(token, slots);
  for (let held = chunk[first + slot]!; held !== 0 && held !== token; held = chunk[first + slot]!) {
    if (++slot === slots) slot = 0;
  }
  return first + slot;
}

function grown(chunk: Uint32Array, words: number): Uint32Array {
  const copy = new Uint32Array(Math.min(CHUNK_WORDS, Math.max(words, Math.ceil(chunk.length * GROWTH))));
  copy.set(chunk);
  return copy;
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
