import type { ValueIndex } from "../event.js";
import { decodeValue } from "./text.js";

/** Slots looked at before a value is sought in a map, whose hash nobody outside can foresee. */
const MAX_PROBES = 32;
const INITIAL_SLOTS = 128;
const INITIAL_BYTES = 1024;
/** Eighths of the slots that may be taken. */
const MAX_EIGHTHS = 5;
/** What is kept for the next batch at most: some 12 MiB a dimension. Beyond it the table begins anew. */
const KEPT_VALUES = 131_072;
const KEPT_BYTES = 4 * 1024 * 1024;

/** Words of a slot, half a cache line: all that finds a short value. */
const SLOT_BITS = 3;
const SLOT = 1 << SLOT_BITS;
const HASH = 0;
/** Bytes; 0 where the slot is free. */
const LENGTH = 1;
/** The first 8 bytes, zero-padded. */
const HEAD_LO = 2;
const HEAD_HI = 3;
const HEAD_BYTES = 8;
/** Where the bytes beyond the head are. */
const REST = 4;
/** The batch that had the value last, and its index there. */
const BATCH = 5;
const INDEX = 6;
const TEXT = 7;

/** By length, up to `HEAD_BYTES`: which bytes of the head's words are the value's. */
const MASK_LO = Int32Array.of(0, 0xff, 0xffff, 0xff_ffff, -1, -1, -1, -1, -1);
const MASK_HI = Int32Array.of(0, 0, 0, 0, 0, 0xff, 0xffff, 0xff_ffff, -1);

interface Crowded {
  batch: number;
  index: number;
  /** Among all texts. */
  readonly number: number;
}

const utf8 = new TextEncoder();

/**
 * The dictionary of one dimension of a batch in the making, found by the bytes of its values: a text is made only of
 * a value that was in no batch before. What is kept from batch to batch changes no index and no order.
 */
export class ValueTable implements ValueIndex {
  /** The values of the batch, in order of first appearance: their places among `texts`. */
  numbers: number[] = [];
  /** How often the table began anew, whereupon numbers begin at 0 again. */
  generation = 0;
  readonly #seed: number;
  #batch = 0;
  #slots = new Int32Array(INITIAL_SLOTS * SLOT);
  #texts: string[] = [];
  #rests = new Uint8Array(INITIAL_BYTES);
  #restsUsed = 0;
  /** Values that found no free slot near enough. */
  readonly #crowded = new Map<string, Crowded>();
  #encoded = new Uint8Array(INITIAL_BYTES);

  /** `seed`: of this process, so that whoever chooses values cannot foresee their slots. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Begins another batch. */
  clear(): void {
    this.numbers = [];
    this.#batch++;
    if (this.#texts.length <= KEPT_VALUES && this.#restsUsed <= KEPT_BYTES) return;
    this.generation++;
    this.#slots = new Int32Array(INITIAL_SLOTS * SLOT);
    this.#texts = [];
    this.#rests = new Uint8Array(INITIAL_BYTES);
    this.#restsUsed = 0;
    this.#crowded.clear();
  }

  get values(): string[] {
    return this.numbers.map((number) => this.#texts[number]!);
  }

  /** All values since the table began, of which `clear` forgets none before it begins anew. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  /** The index in the batch of `bytes[start, end)`, which is UTF-8 and not empty: from 1 on. */
  indexOf(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const masked = length < HEAD_BYTES ? length : HEAD_BYTES;
    const lo = wordAt(bytes, start) & MASK_LO[masked]!;
    const hi = wordAt(bytes, start + 4) & MASK_HI[masked]!;
    let hash = mix(mix(this.#seed ^ length, lo), hi);
    for (let at = start + HEAD_BYTES; at < end; at++) hash = mix(hash, bytes[at]!);
    const slots = this.#slots;
    let at = (hash << SLOT_BITS) & (slots.length - 1);
    for (let probes = 0; probes < MAX_PROBES && slots[at + LENGTH] !== 0; probes++) {
      if (
        slots[at + HASH] === hash &&
        slots[at + LENGTH] === length &&
        slots[at + HEAD_LO] === lo &&
        slots[at + HEAD_HI] === hi &&
        this.#isRest(slots[at + REST]!, bytes, start + HEAD_BYTES, end)
      ) {
        return slots[at + BATCH] === this.#batch ? slots[at + INDEX]! : this.#enter(at);
      }
      at = (at + SLOT) & (slots.length - 1);
    }
    return this.#add(Int32Array.of(hash, length, lo, hi), bytes, start, end);
  }

  /** The same of a well-formed text. */
  indexOfText(text: string): number {
    if (text.length * 3 > this.#encoded.length) this.#encoded = new Uint8Array(text.length * 3);
    return this.indexOf(this.#encoded, 0, utf8.encodeInto(text, this.#encoded).written);
  }

  #isRest(rest: number, bytes: Uint8Array, start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (bytes[i] !== this.#rests[rest + i - start]) return false;
    return true;
  }

  /** The value of the slot appears in this batch for the first time. */
  #enter(at: number): number {
    const slots = this.#slots;
    slots[at + BATCH] = this.#batch;
    return (slots[at + INDEX] = this.numbers.push(slots[at + TEXT]!));
  }

  /** A value that has no slot, or none near enough. */
  #add(head: Int32Array, bytes: Uint8Array, start: number, end: number): number {
    const text = decodeValue(bytes, start, end);
    const crowded = this.#crowded.size === 0 ? undefined : this.#crowded.get(text);
    if (crowded !== undefined) return this.#enterCrowded(crowded);
    if ((this.#texts.length + 1) * SLOT * 8 > this.#slots.length * MAX_EIGHTHS) this.#growSlots();
    const at = freeSlot(this.#slots, head[HASH]!);
    const number = this.#texts.push(text) - 1;
    if (at < 0) {
      const entry = { batch: this.#batch - 1, index: 0, number };
      this.#crowded.set(text, entry);
      return this.#enterCrowded(entry);
    }
    this.#slots.set(head, at);
    this.#slots[at + REST] = this.#keepRest(bytes, start + HEAD_BYTES, end);
    this.#slots[at + TEXT] = number;
    return this.#enter(at);
  }

  #enterCrowded(entry: Crowded): number {
    if (entry.batch === this.#batch) return entry.index;
    entry.batch = this.#batch;
    return (entry.index = this.numbers.push(entry.number));
  }

  #keepRest(bytes: Uint8Array, start: number, end: number): number {
    const at = this.#restsUsed;
    if (end <= start) return at;
    if (at + end - start > this.#rests.length) {
      const rests = new Uint8Array(Math.max(this.#rests.length * 2, at + end - start));
      rests.set(this.#rests);
      this.#rests = rests;
    }
    this.#rests.set(bytes.subarray(start, end), at);
    this.#restsUsed = at + end - start;
    return at;
  }

  #growSlots(): void {
    const before = this.#slots;
    const slots = new Int32Array(before.length * 2);
    for (let from = 0; from < before.length; from += SLOT) {
      if (before[from + LENGTH] === 0) continue;
      const to = freeSlot(slots, before[from + HASH]!);
      if (to >= 0) slots.set(before.subarray(from, from + SLOT), to);
      else {
        const number = before[from + TEXT]!;
        const entry = { batch: before[from + BATCH]!, index: before[from + INDEX]!, number };
        this.#crowded.set(this.#texts[number]!, entry);
      }
    }
    this.#slots = slots;
  }
}

/** The first free slot for the hash; −1 where there is none near enough. */
function freeSlot(slots: Int32Array, hash: number): number {
  let at = (hash << SLOT_BITS) & (slots.length - 1);
  for (let probes = 0; probes < MAX_PROBES; probes++) {
    if (slots[at + LENGTH] === 0) return at;
    at = (at + SLOT) & (slots.length - 1);
  }
  return -1;
}

/** Four bytes from `at` on; beyond the end of the array they are 0. */
function wordAt(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) return lastWord(bytes, at);
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function lastWord(bytes: Uint8Array, at: number): number {
  let word = 0;
  for (let i = 0; at + i < bytes.length; i++) word |= bytes[at + i]! << (8 * i);
  return word;
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x85eb_ca6b);
  return mixed ^ (mixed >>> 15);
}
