/** The bytes of one segment: FORMAT.md, "Segment". */
import { ByteWriter } from "./bytes.js";
import type { Block, Gathered } from "./segment-builder.js";
import { byFrequency, GUESS_DIMENSION, GUESS_VIEWER, planDimensions } from "./segment-dimensions.js";
import { FLAG_SYMBOLS, writeDictionary, type DimensionParts } from "./segment-dictionary.js";
import { writeEvents, type DimensionCode, type EventsCode } from "./segment-events.js";
import { encodeHeader, type BlockEntry } from "./segment-format.js";
import { scaled, SymbolModel } from "./segment-model.js";
import { writeRecords } from "./segment-records.js";
import {
  extraBits,
  GUESS_BEFORE,
  GUESS_SMOOTH,
  magnitudeSymbol,
  MAGNITUDE_SYMBOLS,
  STEP_SYMBOLS,
  TimeGuess,
} from "./segment-times.js";
import { writeViewers } from "./segment-viewers.js";
import { MAX_TOTAL } from "./range-coder.js";

export interface EncodedSegment {
  readonly header: Uint8Array;
  /** By number: the dictionary, then records, viewers and events of each block. */
  readonly sections: readonly Uint8Array[];
}

/** Events or viewers looked at in one step: about 1 ms. */
const STEP = 1 << 16;

/** Takes the columns over: their numbers are replaced by symbols. */
export function* encodeSegment(gathered: Gathered): Generator<undefined, EncodedSegment> {
  const { viewers, blocks, rows } = gathered;
  const starts = yield* startsOf(viewers.repeats, viewers.size);
  const { parts, order } = yield* rankDimensions(gathered);
  const [timeMode, timeCounts] = yield* chooseTimes(gathered);
  const weightCounts = yield* countWeights(viewers.repeats, viewers.size);
  const flagCounts = yield* countFlags(gathered);
  const writer = new ByteWriter();
  const repeats = starts[viewers.size]!;
  if (repeats > MAX_TOTAL) throw new Error(`BUG: a segment with ${gathered.events} events`);
  const head = { timeMode, viewers: viewers.size, repeats, order, flagCounts, timeCounts, weightCounts };
  yield* writeDictionary(writer, { ...head, dimensions: parts });
  const sections = [writer.take()];
  const dimensions: DimensionCode[] = [];
  for (const { guess, table, counts } of parts) {
    dimensions.push({ guess, table, model: new SymbolModel(counts) });
    yield;
  }
  const [flags, times] = [new SymbolModel(flagCounts), new SymbolModel(timeCounts)];
  const code: EventsCode = { flags, times, timeMode, dimensions, order };
  const guesses = dimensions
    .filter(({ guess }) => guess === GUESS_VIEWER)
    .map(({ model, table }) => ({ model, symbols: table }));
  const weights = new SymbolModel(weightCounts);
  for (const block of blocks) {
    yield* writeRecords(writer, rows.slice(...block.records));
    sections.push(writer.take());
    yield* writeViewers(writer, viewers, ...block.viewers, weights, guesses);
    sections.push(writer.take());
    yield* writeEvents(writer, code, gathered, ...block.events, starts, block.viewers[0]);
    sections.push(writer.take());
    yield;
  }
  return { header: headerOf(gathered, sections), sections };
}

function headerOf({ from, rows, events, blocks }: Gathered, sections: readonly Uint8Array[]): Uint8Array {
  const sizes = sections.map(({ length }) => length);
  return encodeHeader({
    from,
    to: from + rows.length,
    events,
    least: blocks.reduce((least, block) => Math.min(least, block.least), Infinity),
    greatest: blocks.reduce((greatest, block) => Math.max(greatest, block.greatest), -Infinity),
    dictionary: sizes[0]!,
    blocks: blocks.map((block, b) => blockEntry(block, sizes.slice(1 + 3 * b, 4 + 3 * b))),
  });
}

function blockEntry(block: Block, sections: readonly number[]): BlockEntry {
  const [records, events, viewers] = [block.records, block.events, block.viewers].map(([a, b]) => b - a);
  const { least, greatest } = block;
  return { records: records!, events: events!, viewers: viewers!, least, greatest, sections };
}

function* startsOf(repeats: Uint32Array, size: number): Generator<undefined, Uint32Array> {
  const starts = new Uint32Array(size + 1);
  for (let v = 0; v < size; v++) {
    starts[v + 1] = starts[v]! + repeats[v]!;
    if (v % STEP === STEP - 1) yield;
  }
  return starts;
}

/** Replaces the dimensions' numbers by symbols, the most frequent first. */
function* rankDimensions(
  gathered: Gathered,
): Generator<undefined, { parts: DimensionParts[]; order: readonly number[] }> {
  const { dims, values, viewers, viewer, events } = gathered;
  const sizes = values.map((list) => list.length);
  const { size, repeats } = viewers;
  const columns = { count: events, dims, values: sizes, viewer, viewers: size, repeats };
  const plan = yield* planDimensions(columns);
  const orders = plan.dimensions.map(({ counts }) => byFrequency(counts));
  const symbols = orders.map((order) => symbolsOf(order));
  for (const [d, column] of dims.entries()) {
    for (let from = 0; from < events; from += STEP) {
      translate(column.subarray(from, Math.min(from + STEP, events)), symbols[d]!);
      yield;
    }
  }
  const parts: DimensionParts[] = [];
  for (const [d, { guess, table, counts }] of plan.dimensions.entries()) {
    const order = orders[d]!;
    for (let from = 0; from < table.length; from += STEP) {
      translate(table.subarray(from, Math.min(from + STEP, table.length)), symbols[d]!);
      yield;
    }
    const ranked = new Uint32Array(counts.length);
    for (let id = 0; id < counts.length; id++) ranked[symbols[d]![id]!] = counts[id]!;
    parts.push({
      guess,
      values: Array.from(order, (id) => values[d]![id - 1]!),
      counts: scaled(ranked),
      table: guess < GUESS_DIMENSION ? table : permuted(table, symbols[guess - GUESS_DIMENSION]!),
    });
    yield;
  }
  return { parts, order: plan.order };
}

/** By number: its place in the order + 1; 0 stays 0. */
function symbolsOf(order: Uint32Array): Uint32Array {
  const symbols = new Uint32Array(order.length + 1);
  for (let place = 0; place < order.length; place++) symbols[order[place]!] = place + 1;
  return symbols;
}

function translate(column: Uint32Array, symbols: Uint32Array): void {
  for (let i = 0; i < column.length; i++) column[i] = symbols[column[i]!]!;
}

function permuted(table: Uint32Array, places: Uint32Array): Uint32Array {
  const result = new Uint32Array(table.length);
  for (let i = 0; i < table.length; i++) result[places[i]!] = table[i]!;
  return result;
}

/** The way to guess times that takes fewest bits, and how often each step is taken with it. */
function* chooseTimes({ ts, blocks }: Gathered): Generator<undefined, [mode: number, counts: Uint32Array]> {
  let best: [mode: number, counts: Uint32Array] | undefined;
  let least = Infinity;
  for (const mode of [GUESS_BEFORE, GUESS_SMOOTH]) {
    const counts = new Uint32Array(STEP_SYMBOLS);
    for (const { events } of blocks) {
      const [from, to] = events;
      const guess = new TimeGuess(mode, ts[from]!);
      for (let at = from; at < to; at += STEP) {
        guess.count(ts, at, Math.min(at + STEP, to), counts);
        yield;
      }
    }
    const bits = bitsOf(counts);
    if (bits >= least) continue;
    least = bits;
    best = [mode, scaled(counts)];
  }
  return best!;
}

function bitsOf(counts: Uint32Array): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let bits = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    const count = counts[symbol]!;
    if (count > 0) bits += count * (Math.log2(total / count) + extraBits(symbol >>> 1));
  }
  return bits;
}

function* countWeights(repeats: Uint32Array, size: number): Generator<undefined, Uint32Array> {
  const counts = new Uint32Array(MAGNITUDE_SYMBOLS);
  for (let v = 0; v < size; v++) {
    counts[magnitudeSymbol(repeats[v]!)]!++;
    if (v % STEP === STEP - 1) yield;
  }
  return scaled(counts);
}

function* countFlags({ flags, events }: Gathered): Generator<undefined, Uint32Array> {
  const counts = new Uint32Array(FLAG_SYMBOLS);
  for (let i = 0; i < events; i++) {
    counts[flags[i]!]!++;
    if (i % STEP === STEP - 1) yield;
  }
  return scaled(counts);
}
