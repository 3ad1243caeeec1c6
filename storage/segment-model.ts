/** Frequencies of symbols that a segment states once: FORMAT.md, "Segment". */
import { damaged } from "./errors.js";
import {
  decodeNumber,
  encodeNumber,
  MAX_TOTAL,
  numberProbabilities,
  type RangeDecoder,
  type RangeEncoder,
} from "./range-coder.js";

/** Entries of the table by which a symbol is found: a few symbols share one. */
const MOST_HINTS = 1 << 16;

/** Symbols from 0 on, each as probable as it is frequent. A model of one symbol takes no bits. */
export class SymbolModel {
  readonly total: number;
  /** Symbol s has the parts `[starts[s], starts[s + 1])` of `total`. */
  readonly #starts: Uint32Array;
  /** Made when something is decoded. */
  #finder: Finder | undefined;
  /** The symbol that is the only one, or −1. */
  readonly #only: number;

  constructor(counts: Uint32Array) {
    this.#starts = startsOf(counts);
    this.total = this.#starts[counts.length]!;
    this.#only = counts.findIndex((count) => count > 0 && count === this.total);
  }

  get isConstant(): boolean {
    return this.#only >= 0;
  }

  encode(encoder: RangeEncoder, symbol: number): void {
    const start = this.#starts[symbol]!;
    const size = this.#starts[symbol + 1]! - start;
    if (!(size > 0)) throw new Error(`BUG: symbol ${symbol} was not counted`);
    if (this.#only < 0) encoder.frequency(start, size, this.total);
  }

  decode(decoder: RangeDecoder): number {
    if (this.#only >= 0) return this.#only;
    if (this.total === 0) throw malformed();
    const symbol = (this.#finder ??= this.#makeFinder()).find(decoder.part(this.total));
    const start = this.#starts[symbol]!;
    decoder.take(start, this.#starts[symbol + 1]! - start, this.total);
    return symbol;
  }

  #makeFinder(): Finder {
    const finder = new Finder(this.#starts, this.total);
    finder.extend(0, this.#starts.length - 1);
    return finder;
  }
}

/** Finds which of ascending, adjoining ranges has a part; ranges may be added at the end. */
export class Finder {
  readonly #starts: Uint32Array;
  readonly #shift: number;
  /** Entry k: the range that has part k · 2^shift. */
  readonly #hints: Uint32Array;
  #known = 0;

  /** `total` is what all ranges will have in the end. */
  constructor(starts: Uint32Array, total: number) {
    this.#starts = starts;
    let shift = 0;
    while (total / 2 ** shift > MOST_HINTS) shift++;
    this.#shift = shift;
    this.#hints = new Uint32Array(Math.floor(total / 2 ** shift) + 1);
  }

  /** Ranges `[from, to)` have their starts now, and their end. */
  extend(from: number, to: number): void {
    const step = 2 ** this.#shift;
    for (let range = from; range < to; range++) {
      const end = this.#starts[range + 1]!;
      while (this.#known < this.#hints.length && this.#known * step < end) {
        this.#hints[this.#known++] = range;
      }
    }
  }

  find(part: number): number {
    const starts = this.#starts;
    let range = this.#hints[part >>> this.#shift]!;
    while (starts[range + 1]! <= part) range++;
    return range;
  }
}

function startsOf(counts: Uint32Array): Uint32Array {
  const starts = new Uint32Array(counts.length + 1);
  for (let symbol = 0; symbol < counts.length; symbol++) {
    starts[symbol + 1] = starts[symbol]! + counts[symbol]!;
  }
  return starts;
}

/** Counts that a coder can take, which are nearly in the same proportions. */
export function scaled(counts: Uint32Array): Uint32Array {
  let total = counts.reduce((sum, count) => sum + count, 0);
  let result = counts;
  while (total > MAX_TOTAL) {
    result = result.map((count) => (count + 1) >>> 1);
    total = result.reduce((sum, count) => sum + count, 0);
  }
  return result;
}

/** Each count as the step from the one before. */
export function writeCounts(encoder: RangeEncoder, counts: Uint32Array): void {
  const probabilities = numberProbabilities();
  let length = counts.length;
  while (length > 0 && counts[length - 1] === 0) length--;
  encodeNumber(encoder, probabilities, length);
  let before = 0;
  for (let symbol = 0; symbol < length; symbol++) {
    encodeNumber(encoder, probabilities, zigzag(counts[symbol]! - before));
    before = counts[symbol]!;
  }
}

/** Of so many symbols. */
export function readCounts(decoder: RangeDecoder, symbols: number): Uint32Array {
  const probabilities = numberProbabilities();
  const counts = new Uint32Array(symbols);
  const length = decodeNumber(decoder, probabilities);
  if (length > symbols) throw malformed();
  let count = 0;
  let total = 0;
  for (let symbol = 0; symbol < length; symbol++) {
    count += unzigzag(decodeNumber(decoder, probabilities));
    total += count;
    if (count < 0 || total > MAX_TOTAL) throw malformed();
    counts[symbol] = count;
  }
  return counts;
}

/** 0, −1, 1, −2 … as 0, 1, 2, 3 …; up to 2^51. */
export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

export function malformed(): Error {
  return damaged("A segment", "does not have the form that it was written in");
}
