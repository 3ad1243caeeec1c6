/**
 * Streams of bits, the first in the lowest bit of the first byte, kept as 32-bit words in the machine's own order:
 * little-endian on every machine that LMDB's prebuilt packages are made for.
 */
import { damaged } from "./errors.js";

const INITIAL_WORDS = 4096;
/** Zero words behind what is read, so that a peek past the end sees zeros. */
const SLACK_WORDS = 3;
/** The greatest order of an Exp-Golomb code. */
export const MAX_ORDER = 15;
/** Orders are written in so many bits. */
export const ORDER_BITS = 4;
/** Bits of the greatest number: 2^53 − 1. */
const NUMBER_BITS = 53;

export class BitWriter {
  #words = new Uint32Array(INITIAL_WORDS);
  /** Bits written. */
  #at = 0;

  clear(): void {
    this.#at = 0;
    this.#words[0] = 0;
  }

  /** Makes room for `bits` more. Everything but `reserve` relies on it. */
  reserve(bits: number): void {
    const needed = ((this.#at + bits) >>> 5) + SLACK_WORDS;
    if (needed <= this.#words.length) return;
    const grown = new Uint32Array(Math.max(needed, this.#words.length * 2));
    grown.set(this.#words);
    this.#words = grown;
  }

  /** The low `width` ≤ 32 bits; `value` has no others. */
  write(value: number, width: number): void {
    const words = this.#words;
    const shift = this.#at & 31;
    const word = this.#at >>> 5;
    words[word]! |= value << shift;
    if (shift + width >= 32) words[word + 1] = (value >>> 1) >>> (31 - shift);
    this.#at += width;
  }

  /** So many zeros, then a one. */
  unary(zeros: number): void {
    let left = zeros;
    for (; left > 31; left -= 32) this.write(0, 32);
    this.write(left === 31 ? 0x8000_0000 : 1 << left, left + 1);
  }

  /** Exp-Golomb code of a whole number from 0 to 2^53 − 1: short for small ones, and never long. */
  number(value: number, order: number): void {
    if (value < 2 ** 30) {
      const high = (value >>> order) + 1;
      const width = 31 - Math.clz32(high);
      const used = 2 * width + 1 + order;
      // The whole code is one word, as nearly all are.
      if (used <= 31) {
        const rest = (high ^ (1 << width)) | ((value & ((1 << order) - 1)) << width);
        this.write((1 << width) | (rest << (width + 1)), used);
        return;
      }
    }
    this.#longNumber(value, order);
  }

  /** What was written, padded with zeros to whole bytes; valid until the next write. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, (this.#at + 7) >>> 3);
  }

  #longNumber(value: number, order: number): void {
    const high = Math.floor(value / 2 ** order) + 1;
    const width = bitLength(high) - 1;
    this.unary(width);
    if (width > 32) {
      this.write(high >>> 0, 32);
      this.write(Math.floor(high / 2 ** 32) - 2 ** (width - 32), width - 32);
    } else this.write((high % 2 ** width) >>> 0, width);
    this.write(value % 2 ** order, order);
  }
}

export class BitReader {
  words = new Uint32Array(INITIAL_WORDS);
  /** In bits. Loops that must be fast move it themselves. */
  at = 0;
  #end = 0;
  #what = "";

  load(bytes: Uint8Array, start: number, end: number, what: string): void {
    const size = end - start;
    const words = (size + 3) >>> 2;
    if (words + SLACK_WORDS > this.words.length) this.words = new Uint32Array((words + SLACK_WORDS) * 2);
    this.words.fill(0, words === 0 ? 0 : words - 1, words + SLACK_WORDS);
    new Uint8Array(this.words.buffer).set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, size));
    this.at = 0;
    this.#end = size * 8;
    this.#what = what;
  }

  /** The bits end after `size` bytes already. */
  endAt(size: number): void {
    this.#end = size * 8;
    this.check();
  }

  /** The next 32 bits, zeros behind the end. */
  peek(): number {
    return wordAt(this.words, this.at);
  }

  /** The next `width` ≤ 32 bits, unsigned. */
  read(width: number): number {
    if (width === 0) return 0;
    const value = this.peek();
    this.at += width;
    return (value << (32 - width)) >>> (32 - width);
  }

  /** How many zeros there are before the next one. */
  unary(): number {
    let zeros = 0;
    for (let next = this.peek(); ; next = this.peek()) {
      if (next !== 0) {
        const run = 31 - Math.clz32(next & -next);
        this.at += run + 1;
        return zeros + run;
      }
      zeros += 32;
      this.at += 32;
      if (this.at > this.#end) throw this.broken();
    }
  }

  number(order: number): number {
    const next = this.peek();
    const width = 31 - Math.clz32(next & -next);
    const used = 2 * width + 1 + order;
    // The whole code lies in one word, as nearly all do.
    if (next !== 0 && used <= 31) {
      this.at += used;
      const high = (1 << width) | ((next >>> (width + 1)) & ((1 << width) - 1));
      return ((high - 1) << order) | ((next >>> (2 * width + 1)) & ((1 << order) - 1));
    }
    return this.#longNumber(order);
  }

  /** All but the padding must have been read. */
  finish(): void {
    if (this.at > this.#end || this.#end - this.at > 7) throw this.broken();
  }

  /** Have more bits been read than there are? */
  check(): void {
    if (this.at > this.#end) throw this.broken();
  }

  broken(): Error {
    return damaged(this.#what, "does not have the form that it was written in");
  }

  #longNumber(order: number): number {
    const width = this.unary();
    if (width > NUMBER_BITS) throw this.broken();
    const low = this.read(Math.min(width, 32));
    const high = width > 32 ? this.read(width - 32) * 2 ** 32 : 0;
    const value = (2 ** width + high + low - 1) * 2 ** order + this.read(order);
    if (!Number.isSafeInteger(value)) throw this.broken();
    return value;
  }
}

/** The 32 bits from bit `at` on. */
export function wordAt(words: Uint32Array, at: number): number {
  const shift = at & 31;
  const word = at >>> 5;
  return (words[word]! >>> shift) | ((words[word + 1]! << 1) << (31 - shift));
}

/** Bits of a whole number from 1 to 2^53. */
export function bitLength(value: number): number {
  return value < 2 ** 32 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / 2 ** 32));
}

/** Finds the order that makes a column of numbers short, from how many there are of each length in bits. */
export class OrderChooser {
  readonly #lengths = new Uint32Array(NUMBER_BITS + 2);

  clear(): this {
    this.#lengths.fill(0);
    return this;
  }

  add(value: number): void {
    this.#lengths[value === 0 ? 0 : bitLength(value)]!++;
  }

  /** A number of n bits costs about 2 · (n − order) + 1 + order, and never less than 1 + order. */
  best(): number {
    const lengths = this.#lengths;
    let longest = lengths.length - 1;
    while (longest > 0 && lengths[longest] === 0) longest--;
    let best = 0;
    let least = Infinity;
    for (let order = 0; order <= Math.min(longest, MAX_ORDER); order++) {
      let bits = 0;
      for (let length = 0; length <= longest; length++) {
        bits += lengths[length]! * (2 * Math.max(0, length - 0.5 - order) + 1 + order);
      }
      if (bits < least) [least, best] = [bits, order];
    }
    return best;
  }
}
