/** Numbers by magnitude, and times as what they differ from a guess: FORMAT.md, "Segment". */
import { malformed, type SymbolModel } from "./segment-model.js";
import { bitLength, type RangeDecoder, type RangeEncoder } from "./range-coder.js";

/** Magnitudes below 2^4 are symbols; of greater ones the highest five bits are. */
const HEAD_BITS = 4;
const HEADS = 1 << HEAD_BITS;
/** Magnitudes have at most 53 bits. */
const MAX_BITS = 53;

export const MAGNITUDE_SYMBOLS = HEADS * (MAX_BITS - HEAD_BITS + 1);
/** Twice as many: + and −. */
export const STEP_SYMBOLS = 2 * MAGNITUDE_SYMBOLS;

/** The symbol of a whole number from 0 to 2^53 − 1. */
export function magnitudeSymbol(value: number): number {
  if (value < HEADS) return value;
  const extra = bitLength(value) - HEAD_BITS - 1;
  const head = extra < 27 ? value >>> extra : Math.floor(value / 2 ** extra);
  return HEADS * extra + head;
}

/** Bits that `symbol` leaves open. */
export function extraBits(symbol: number): number {
  return symbol < 2 * HEADS ? 0 : (symbol >>> HEAD_BITS) - 1;
}

/** Least magnitude of a symbol. */
function leastOf(symbol: number): number {
  const extra = extraBits(symbol);
  return (symbol - HEADS * extra) * 2 ** extra;
}

export function encodeMagnitude(encoder: RangeEncoder, model: SymbolModel, value: number): void {
  const symbol = magnitudeSymbol(value);
  model.encode(encoder, symbol);
  const extra = extraBits(symbol);
  if (extra > 0) encoder.direct(value - leastOf(symbol), extra);
}

export function decodeMagnitude(decoder: RangeDecoder, model: SymbolModel): number {
  const symbol = model.decode(decoder);
  const extra = extraBits(symbol);
  return extra === 0 ? leastOf(symbol) : leastOf(symbol) + decoder.direct(extra);
}

/** How a time is guessed: by the one before, or by the smoothed course of those before. */
export const GUESS_BEFORE = 0;
export const GUESS_SMOOTH = 1;

/** Events over which times are smoothed. */
const SMOOTH_EVENTS = 256;
/** ms; soon replaced by what is found. */
const INITIAL_SPREAD = 1000;

/** Guesses times one after another. All arithmetic is IEEE 754's, in a fixed order: every machine guesses the same. */
export class TimeGuess {
  readonly #mode: number;
  #guess: number;
  /** Mean distance of the times from the guess. */
  #spread = INITIAL_SPREAD;
  #seen = 0;

  constructor(mode: number, first: number) {
    this.#mode = mode;
    this.#guess = first;
  }

  /** Symbols of the steps of times `[from, to)` are counted. */
  count(ts: Float64Array, from: number, to: number, counts: Uint32Array): void {
    for (let i = from; i < to; i++) {
      const step = ts[i]! - Math.round(this.#guess);
      counts[step < 0 ? 2 * magnitudeSymbol(-step) + 1 : 2 * magnitudeSymbol(step)]!++;
      this.#learn(ts[i]!);
    }
  }

  encode(encoder: RangeEncoder, model: SymbolModel, ts: Float64Array, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const step = ts[i]! - Math.round(this.#guess);
      const size = Math.abs(step);
      const symbol = magnitudeSymbol(size);
      model.encode(encoder, 2 * symbol + (step < 0 ? 1 : 0));
      const extra = extraBits(symbol);
      if (extra > 0) encoder.direct(size - leastOf(symbol), extra);
      this.#learn(ts[i]!);
    }
  }

  decode(decoder: RangeDecoder, model: SymbolModel, ts: Float64Array, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const signed = model.decode(decoder);
      const symbol = signed >>> 1;
      const extra = extraBits(symbol);
      const size = extra === 0 ? leastOf(symbol) : leastOf(symbol) + decoder.direct(extra);
      const time = Math.round(this.#guess) + ((signed & 1) === 0 ? size : -size);
      if (!Number.isSafeInteger(time)) throw malformed();
      ts[i] = time;
      this.#learn(time);
    }
  }

  #learn(time: number): void {
    if (this.#mode === GUESS_BEFORE) {
      this.#guess = time;
      return;
    }
    const off = time - this.#guess;
    const distance = Math.abs(off);
    // Late events are many hours off: they must not pull the guess with them.
    const limit = 2 * this.#spread;
    this.#seen = Math.min(this.#seen + 1, SMOOTH_EVENTS);
    this.#guess += Math.max(-limit, Math.min(limit, off)) / this.#seen;
    this.#spread += (Math.min(distance, 2 * limit) - this.#spread) / SMOOTH_EVENTS;
    if (this.#spread < 1) this.#spread = 1;
  }
}
