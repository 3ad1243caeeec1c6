/** Finds out by what each dimension of a segment can be guessed. */
import { NO_VIEWER } from "./segment-viewers.js";

/** A dimension's values stand alone. */
export const GUESS_NONE = 0;
/** The viewer mostly has one value of the dimension. */
export const GUESS_VIEWER = 1;
/** `GUESS_DIMENSION + e`: the value of dimension e mostly goes with one value of the dimension. */
export const GUESS_DIMENSION = 2;

/** Events looked at in one step: 1 to 3 ms. */
const STEP_EVENTS = 1 << 16;

export interface Columns {
  readonly count: number;
  /** Per dimension and event: 0, or 1 + the index of the value. */
  readonly dims: readonly Uint32Array[];
  /** Per dimension: how many values. */
  readonly values: readonly number[];
  /** Per event: the viewer's number or `NO_VIEWER`. */
  readonly viewer: Uint32Array;
  readonly viewers: number;
  /** Per viewer: how often it appears again. */
  readonly repeats: Uint32Array;
}

export interface DimensionPlan {
  /** `GUESS_…`. */
  readonly guess: number;
  /** By viewer's number or by the other dimension's symbol: the guessed symbol. Empty for `GUESS_NONE`. */
  readonly table: Uint32Array;
  /** How often each symbol is written: where the guess fails, and in the table. */
  readonly counts: Uint32Array;
}

export interface DimensionsPlan {
  readonly dimensions: readonly DimensionPlan[];
  /** All dimensions, each behind the one that it is guessed by. */
  readonly order: readonly number[];
}

export function* planDimensions(columns: Columns): Generator<undefined, DimensionsPlan> {
  const guesses = yield* chooseGuesses(columns);
  const dimensions: DimensionPlan[] = [];
  for (const [d, guess] of guesses.entries()) dimensions.push(yield* planDimension(columns, d, guess));
  return { dimensions, order: orderOf(guesses) };
}

/** For each dimension the guess that saves most, as long as no dimension is guessed by way of itself. */
function* chooseGuesses(columns: Columns): Generator<undefined, number[]> {
  const offers: { d: number; guess: number; savedBits: number }[] = [];
  for (const [d, column] of columns.dims.entries()) {
    const counts = yield* histogram(column, columns.count, columns.values[d]! + 1);
    const bits = entropyOf(counts);
    const alone = bits * columns.count;
    for (let guess = GUESS_VIEWER; guess < GUESS_DIMENSION + columns.dims.length; guess++) {
      if (guess === GUESS_DIMENSION + d || alone === 0) continue;
      const savedBits = alone - (yield* guessedBits(columns, d, guess, bits));
      if (savedBits > 0) offers.push({ d, guess, savedBits });
    }
  }
  const guesses = columns.dims.map(() => GUESS_NONE);
  for (const { d, guess } of offers.sort((a, b) => b.savedBits - a.savedBits)) {
    if (guesses[d] === GUESS_NONE && !leadsTo(guesses, guess, d)) guesses[d] = guess;
  }
  return guesses;
}

function leadsTo(guesses: readonly number[], guess: number, d: number): boolean {
  for (let by = guess; by >= GUESS_DIMENSION; by = guesses[by - GUESS_DIMENSION]!) {
    if (by === GUESS_DIMENSION + d) return true;
  }
  return false;
}

function orderOf(guesses: readonly number[]): number[] {
  const order: number[] = [];
  const add = (d: number): void => {
    if (order.includes(d)) return;
    const guess = guesses[d]!;
    if (guess >= GUESS_DIMENSION) add(guess - GUESS_DIMENSION);
    order.push(d);
  };
  for (const d of guesses.keys()) add(d);
  return order;
}

interface Context {
  readonly column: Uint32Array;
  readonly size: number;
}

function contextOf({ viewer, viewers, dims, values }: Columns, guess: number): Context {
  if (guess === GUESS_VIEWER) return { column: viewer, size: viewers };
  const e = guess - GUESS_DIMENSION;
  return { column: dims[e]!, size: values[e]! + 1 };
}

/** About what a dimension takes in bits when it is guessed so. */
function* guessedBits(
  columns: Columns,
  d: number,
  guess: number,
  bits: number,
): Generator<undefined, number> {
  const { size } = contextOf(columns, guess);
  const { misses } = yield* majorities(columns, d, guess);
  const flags = columns.count * binaryEntropy(misses / columns.count);
  return (size + misses) * bits + flags;
}

/** For each context the value that has the majority (Boyer and Moore), and how often it failed on the way. */
function* majorities(
  columns: Columns,
  d: number,
  guess: number,
): Generator<undefined, { table: Uint32Array; misses: number }> {
  const { column, size } = contextOf(columns, guess);
  const values = columns.dims[d]!;
  const table = new Uint32Array(size);
  const votes = new Uint32Array(size);
  let misses = 0;
  for (let from = 0; from < columns.count; from += STEP_EVENTS) {
    const to = Math.min(from + STEP_EVENTS, columns.count);
    for (let i = from; i < to; i++) {
      const context = column[i]!;
      if (context === NO_VIEWER) misses++;
      else if (votes[context] === 0) {
        if (table[context] !== values[i]! && table[context] !== 0) misses++;
        table[context] = values[i]!;
        votes[context] = 1;
      } else if (table[context] === values[i]) votes[context]!++;
      else {
        votes[context]!--;
        misses++;
      }
    }
    yield;
  }
  return { table, misses };
}

function* planDimension(columns: Columns, d: number, guess: number): Generator<undefined, DimensionPlan> {
  const symbols = columns.values[d]! + 1;
  if (guess === GUESS_NONE) {
    const counts = yield* histogram(columns.dims[d]!, columns.count, symbols);
    return { guess, table: new Uint32Array(0), counts };
  }
  const { column } = contextOf(columns, guess);
  const { table } = yield* majorities(columns, d, guess);
  const values = columns.dims[d]!;
  const counts = yield* histogram(table, table.length, symbols);
  for (let from = 0; from < columns.count; from += STEP_EVENTS) {
    const to = Math.min(from + STEP_EVENTS, columns.count);
    for (let i = from; i < to; i++) {
      const context = column[i]!;
      if (context === NO_VIEWER || table[context] !== values[i]) counts[values[i]!]!++;
    }
    yield;
  }
  return { guess, table, counts };
}

function* histogram(column: Uint32Array, count: number, symbols: number): Generator<undefined, Uint32Array> {
  const counts = new Uint32Array(symbols);
  for (let from = 0; from < count; from += STEP_EVENTS) {
    const to = Math.min(from + STEP_EVENTS, count);
    for (let i = from; i < to; i++) counts[column[i]!]!++;
    yield;
  }
  return counts;
}

/** Bits of one symbol. */
function entropyOf(counts: Uint32Array): number {
  let total = 0;
  let sum = 0;
  for (const count of counts) {
    if (count === 0) continue;
    total += count;
    sum += count * Math.log2(count);
  }
  return total === 0 ? 0 : Math.max(0, Math.log2(total) - sum / total);
}

function binaryEntropy(p: number): number {
  return p <= 0 || p >= 1 ? 0 : -p * Math.log2(p) - (1 - p) * Math.log2(1 - p);
}

/** Symbols from 1 on, the most frequent first, those equally frequent in their order. */
export function byFrequency(counts: Uint32Array): Uint32Array {
  let most = 0;
  for (let symbol = 1; symbol < counts.length; symbol++) most = Math.max(most, counts[symbol]!);
  const places = new Uint32Array(most + 2);
  for (let symbol = 1; symbol < counts.length; symbol++) places[most - counts[symbol]! + 1]!++;
  for (let i = 1; i < places.length; i++) places[i]! += places[i - 1]!;
  const order = new Uint32Array(Math.max(0, counts.length - 1));
  for (let symbol = 1; symbol < counts.length; symbol++) {
    order[places[most - counts[symbol]!]!++] = symbol;
  }
  return order;
}
