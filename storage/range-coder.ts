/**
 * A range coder (Martin 1979; with 32-bit range, bytes shifted out below 2^24, as in LZMA, but carries are added to
 * the bytes already written). What is encoded takes −log2 of its probability in bits, to about 1 in 500.
 */
import type { ByteWriter } from "./bytes.js";
import { damaged } from "./errors.js";

/** Bits of an adaptive probability: that of a 0, in 1/2^15. */
const PROBABILITY_BITS = 15;
const CERTAIN = 1 << PROBABILITY_BITS;
const LEAST_RANGE = 2 ** 24;
const WORD = 2 ** 32;
/** Bits that can be encoded in one step: the range keeps 8 of its own. */
const STEP_BITS = 16;
/** Greatest total of `frequency`: the range keeps at least 3 bits of its own, and mostly 7. */
export const MAX_TOTAL = 2 ** 21;

/** How fast probabilities follow: by 1/2^5 of the distance. Sources that do not change want 6 or 7. */
const DEFAULT_RATE = 5;

/** Zero bytes that a decoder may read behind the end: `finish` leaves them out. */
const OMITTED_BYTES = 4;

/** `count` adaptive probabilities, to be given to `bit`. */
export function createProbabilities(count: number): Uint16Array {
  return new Uint16Array(count).fill(CERTAIN >>> 1);
}

export class RangeEncoder {
  readonly #writer: ByteWriter;
  readonly #rate: number;
  #low = 0;
  #range = WORD - 1;

  constructor(writer: ByteWriter, rate = DEFAULT_RATE) {
    this.#writer = writer;
    this.#rate = rate;
  }

  /** Encodes a bit by the adaptive probability `probs[at]`, and adapts it. */
  bit(probs: Uint16Array, at: number, bit: 0 | 1): void {
    const probability = probs[at]!;
    const bound = Math.imul(this.#range >>> PROBABILITY_BITS, probability) >>> 0;
    if (bit === 0) {
      probs[at] = probability + ((CERTAIN - probability) >>> this.#rate);
      this.#range = bound;
    } else {
      probs[at] = probability - (probability >>> this.#rate);
      this.#add(bound);
      this.#range -= bound;
    }
    if (this.#range < LEAST_RANGE) this.#shift();
  }

  /** A whole number below 2^bits, `bits` ≤ 53, all equally probable. */
  direct(value: number, bits: number): void {
    let left = bits;
    while (left > 0) {
      const step = ((left - 1) & (STEP_BITS - 1)) + 1;
      left -= step;
      const part = left < 32 && value < WORD ? value >>> left : Math.floor(value / 2 ** left);
      this.#range = this.#range >>> step;
      this.#add((part & ((1 << step) - 1)) * this.#range);
      if (this.#range < LEAST_RANGE) this.#shift();
    }
  }

  /** Something that has `size` of `total` ≤ `MAX_TOTAL` parts, behind what has `start` of them; 0 < size. */
  frequency(start: number, size: number, total: number): void {
    const part = Math.floor(this.#range / total);
    this.#add(start * part);
    this.#range = start + size < total ? size * part : this.#range - start * part;
    if (this.#range < LEAST_RANGE) this.#shift();
  }

  /** Writes what is still held back. Nothing may follow. */
  finish(): void {
    // As few bytes as name a number of the range when zeros follow.
    for (let bytes = 0; bytes <= OMITTED_BYTES; bytes++) {
      const unit = 2 ** (32 - 8 * bytes);
      const value = Math.ceil(this.#low / unit) * unit;
      if (value >= this.#low + this.#range) continue;
      this.#add(value - this.#low);
      for (let i = 0; i < bytes; i++) this.#writer.u8((this.#low >>> (24 - 8 * i)) & 0xff);
      return;
    }
  }

  #add(amount: number): void {
    this.#low += amount;
    if (this.#low < WORD) return;
    this.#low -= WORD;
    const { bytes, length } = this.#writer;
    let at = length - 1;
    while (bytes[at] === 0xff) bytes[at--] = 0;
    bytes[at]!++;
  }

  #shift(): void {
    while (this.#range < LEAST_RANGE) {
      this.#writer.u8(this.#low >>> 24);
      this.#low = (this.#low << 8) >>> 0;
      this.#range = (this.#range << 8) >>> 0;
    }
  }
}

/** Reads what `RangeEncoder` wrote, asked for in the same order. Throws `storage-damaged` instead of reading on. */
export class RangeDecoder {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #rate: number;
  /** Of the next byte; beyond the end once zeros are read in the place of what `finish` left out. */
  #at: number;
  /** What was read, less the low end of the range. */
  #code = 0;
  #range = WORD - 1;

  constructor(bytes: Uint8Array, start: number, end: number, rate = DEFAULT_RATE) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#rate = rate;
    for (let i = 0; i < 4; i++) this.#code = ((this.#code << 8) | this.#next()) >>> 0;
  }

  bit(probs: Uint16Array, at: number): 0 | 1 {
    const probability = probs[at]!;
    const bound = Math.imul(this.#range >>> PROBABILITY_BITS, probability) >>> 0;
    const bit = this.#code < bound ? 0 : 1;
    if (bit === 0) {
      probs[at] = probability + ((CERTAIN - probability) >>> this.#rate);
      this.#range = bound;
    } else {
      probs[at] = probability - (probability >>> this.#rate);
      this.#code -= bound;
      this.#range -= bound;
    }
    if (this.#range < LEAST_RANGE) this.#shift();
    return bit;
  }

  direct(bits: number): number {
    let value = 0;
    let left = bits;
    while (left > 0) {
      const step = ((left - 1) & (STEP_BITS - 1)) + 1;
      left -= step;
      this.#range = this.#range >>> step;
      const part = Math.min(Math.floor(this.#code / this.#range), (1 << step) - 1);
      this.#code -= part * this.#range;
      value = value * (1 << step) + part;
      if (this.#range < LEAST_RANGE) this.#shift();
    }
    return value;
  }

  /** Which of `total` parts is next. To be followed by `take` with what has that part. */
  part(total: number): number {
    return Math.min(Math.floor(this.#code / Math.floor(this.#range / total)), total - 1);
  }

  take(start: number, size: number, total: number): void {
    const part = Math.floor(this.#range / total);
    this.#code -= start * part;
    this.#range = start + size < total ? size * part : this.#range - start * part;
    if (this.#range < LEAST_RANGE) this.#shift();
  }

  /** Throws unless all was read. */
  finish(): void {
    if (this.#at < this.#end) throw broken();
  }

  #next(): number {
    if (this.#at < this.#end) return this.#bytes[this.#at++]!;
    if (this.#at++ >= this.#end + OMITTED_BYTES) throw broken();
    return 0;
  }

  #shift(): void {
    // A range of 0, which no encoder has, would never grow.
    if (this.#range === 0 || this.#code >= this.#range) throw broken();
    while (this.#range < LEAST_RANGE) {
      this.#range = (this.#range << 8) >>> 0;
      this.#code = ((this.#code << 8) | this.#next()) >>> 0;
    }
  }
}

function broken(): Error {
  return damaged("A range-coded stream", "does not have the form that it was written in");
}

/** Probabilities for `encodeTree` of symbols below 2^bits. */
export function treeProbabilities(bits: number): Uint16Array {
  return createProbabilities(1 << bits);
}

/** A symbol below 2^bits, its highest bit first, each bit in the context of those above it. */
export function encodeTree(encoder: RangeEncoder, probs: Uint16Array, symbol: number, bits: number): void {
  let node = 1;
  for (let i = bits - 1; i >= 0; i--) {
    const bit = ((symbol >>> i) & 1) as 0 | 1;
    encoder.bit(probs, node, bit);
    node = 2 * node + bit;
  }
}

export function decodeTree(decoder: RangeDecoder, probs: Uint16Array, bits: number): number {
  let node = 1;
  for (let i = 0; i < bits; i++) node = 2 * node + decoder.bit(probs, node);
  return node - (1 << bits);
}

/** Bits of the tree that says how many bits a number has. */
const LENGTH_BITS = 6;

/** Probabilities for `encodeNumber`. */
export function numberProbabilities(): Uint16Array {
  return treeProbabilities(LENGTH_BITS);
}

/** A whole number from 0 to 2^53 − 2: the length of it + 1 in an adaptive tree, then its other bits as they are. */
export function encodeNumber(encoder: RangeEncoder, probs: Uint16Array, value: number): void {
  const length = bitLength(value + 1);
  encodeTree(encoder, probs, length, LENGTH_BITS);
  encoder.direct(value + 1 - 2 ** (length - 1), length - 1);
}

export function decodeNumber(decoder: RangeDecoder, probs: Uint16Array): number {
  const length = decodeTree(decoder, probs, LENGTH_BITS);
  if (length === 0 || length > 53) throw broken();
  return 2 ** (length - 1) + decoder.direct(length - 1) - 1;
}

/** Bits of a whole number from 0 to 2^53 − 1. */
export function bitLength(value: number): number {
  return value < WORD ? 32 - Math.clz32(value) : 64 - Math.clz32(value / WORD);
}
