/**
 * Finds cells by their hash: extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979, section 2), whose buckets are
 * open-addressing tables. A bucket grows until it is whole and is then split in two, so that no insertion ever has to move
 * more than one bucket, however many cells there are.
 */

/** A slot: a cell + 1 in the low bits, above them six bits of its hash; 0 is free. */
const CELL_BITS = 26;
export const CELL_MASK = (1 << CELL_BITS) - 1;
/** More cells than fit in the memory of the machines of today; no table may have as many. */
export const MAX_CELLS = CELL_MASK - 1;

/** Slots of a whole bucket: to split one takes about a millisecond. */
const BUCKET_SLOTS = 1 << 15;
const LEAST_SLOTS = 16;
/** A bucket is this full at most. */
const MAX_LOAD = 0.8;
/** Of the hash, the lowest bits choose the bucket, the next six are kept in the slot, the upper ones choose the slot. */
const MAX_DEPTH = 11;
const TAG_SHIFT = 32 - 6 - MAX_DEPTH;
const SLOT_SHIFT = MAX_DEPTH + 6;

export interface Bucket {
  readonly slots: Uint32Array;
  /** All hashes in here agree in so many of their lowest bits. */
  readonly depth: number;
  used: number;
}

/** The part of a slot that tells most cells apart without a look at them. */
export function tagOf(hash: number): number {
  return (hash << TAG_SHIFT) & ~CELL_MASK;
}

/** Where the search begins. */
export function slotOf(hash: number, mask: number): number {
  return (hash >>> SLOT_SHIFT) & mask;
}

export class CellIndex {
  readonly #hashOf: (cell: number) => number;
  #buckets: Bucket[];
  #mask: number;

  /** `hashOf`: of a cell that is in here. `cells`: how many are expected. */
  constructor(hashOf: (cell: number) => number, cells: number) {
    this.#hashOf = hashOf;
    const slots = 2 ** Math.ceil(Math.log2(Math.max(LEAST_SLOTS, cells / MAX_LOAD)));
    const depth = Math.min(MAX_DEPTH, Math.max(0, Math.log2(slots / BUCKET_SLOTS)));
    this.#buckets = Array.from({ length: 2 ** depth }, () => newBucket(slots / 2 ** depth, depth));
    this.#mask = 2 ** depth - 1;
  }

  get sizeBytes(): number {
    let bytes = 0;
    for (const { slots } of new Set(this.#buckets)) bytes += slots.byteLength;
    return bytes;
  }

  bucketOf(hash: number): Bucket {
    return this.#buckets[hash & this.#mask]!;
  }

  /** Puts a cell where the search for it ended, in a free slot. */
  put(bucket: Bucket, slot: number, hash: number, cell: number): void {
    bucket.slots[slot] = tagOf(hash) | (cell + 1);
    if (++bucket.used > bucket.slots.length * MAX_LOAD) this.#relieve(bucket, hash);
  }

  /** Puts in a cell that is not in yet. */
  add(cell: number): void {
    const hash = this.#hashOf(cell);
    const bucket = this.bucketOf(hash);
    this.put(bucket, freeSlot(bucket.slots, hash), hash, cell);
  }

  #relieve(full: Bucket, hash: number): void {
    const { slots, depth } = full;
    if (slots.length < BUCKET_SLOTS || depth === MAX_DEPTH) {
      const larger = newBucket(slots.length * 2, depth);
      this.#move(slots, [larger], depth);
      this.#replace(full, [larger], hash);
      return;
    }
    if (2 ** depth > this.#mask) {
      this.#buckets = [...this.#buckets, ...this.#buckets];
      this.#mask = this.#buckets.length - 1;
    }
    const halves = [newBucket(slots.length, depth + 1), newBucket(slots.length, depth + 1)];
    this.#move(slots, halves, depth);
    this.#replace(full, halves, hash);
  }

  /** By the bit at `depth` where there are two. */
  #move(slots: Uint32Array, to: readonly Bucket[], depth: number): void {
    for (let slot = 0; slot < slots.length; slot++) {
      const held = slots[slot]!;
      if (held === 0) continue;
      const hash = this.#hashOf((held & CELL_MASK) - 1);
      const bucket = to[(hash >>> depth) & (to.length - 1)]!;
      bucket.slots[freeSlot(bucket.slots, hash)] = held;
      bucket.used++;
    }
  }

  #replace({ depth }: Bucket, by: readonly Bucket[], hash: number): void {
    const step = 2 ** depth;
    for (let i = hash & (step - 1); i <= this.#mask; i += step) {
      this.#buckets[i] = by[(i >>> depth) & (by.length - 1)]!;
    }
  }
}

function newBucket(slots: number, depth: number): Bucket {
  return { slots: new Uint32Array(slots), depth, used: 0 };
}

function freeSlot(slots: Uint32Array, hash: number): number {
  const mask = slots.length - 1;
  let slot = slotOf(hash, mask);
  while (slots[slot] !== 0) slot = (slot + 1) & mask;
  return slot;
}
