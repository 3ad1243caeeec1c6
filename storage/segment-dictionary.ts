/** The dictionary of a segment: values, frequencies and guesses. FORMAT.md, "Segment". */
import { ByteReader, type ByteWriter } from "./bytes.js";
import { GUESS_DIMENSION, GUESS_VIEWER } from "./segment-dimensions.js";
import type { DimensionCode, EventsCode } from "./segment-events.js";
import { malformed, readCounts, SymbolModel, writeCounts } from "./segment-model.js";
import { readTexts, writeTexts } from "./segment-texts.js";
import { GUESS_SMOOTH, MAGNITUDE_SYMBOLS, STEP_SYMBOLS } from "./segment-times.js";
import { RangeDecoder, RangeEncoder } from "./range-coder.js";

/** Flags of an event have four bits. */
export const FLAG_SYMBOLS = 16;

/** What a dictionary is written from. */
export interface DictionaryParts {
  readonly timeMode: number;
  readonly viewers: number;
  /** How often viewers appear again, all together. */
  readonly repeats: number;
  readonly order: readonly number[];
  readonly flagCounts: Uint32Array;
  readonly timeCounts: Uint32Array;
  readonly weightCounts: Uint32Array;
  readonly dimensions: readonly DimensionParts[];
}

export interface DimensionParts {
  readonly guess: number;
  /** By symbol − 1. */
  readonly values: readonly string[];
  /** By symbol. */
  readonly counts: Uint32Array;
  /** By the other dimension's symbol; as `DimensionCode.table`. */
  readonly table: Uint32Array;
}

/** As read; the tables of what is guessed from viewers are with the viewers. */
export interface Dictionary {
  readonly viewers: number;
  readonly repeats: number;
  readonly weights: SymbolModel;
  readonly code: EventsCode;
  /** Per dimension, by symbol − 1. */
  readonly values: readonly (readonly string[])[];
}

/** Table entries coded in one step: about 1 ms. */
const STEP_ENTRIES = 4096;

export function* writeDictionary(writer: ByteWriter, parts: DictionaryParts): Generator<undefined> {
  writer.u8(parts.timeMode);
  writer.varint(parts.viewers);
  writer.varint(parts.repeats);
  writer.varint(parts.dimensions.length);
  for (const d of parts.order) writer.varint(d);
  for (const { guess, values } of parts.dimensions) {
    writer.varint(guess);
    writer.varint(values.length);
    yield* writeTexts(writer, values);
  }
  const encoder = new RangeEncoder(writer);
  writeCounts(encoder, parts.flagCounts);
  writeCounts(encoder, parts.timeCounts);
  writeCounts(encoder, parts.weightCounts);
  for (const { counts } of parts.dimensions) {
    writeCounts(encoder, counts);
    yield;
  }
  for (const { guess, counts, table } of parts.dimensions) {
    if (guess < GUESS_DIMENSION) continue;
    const model = new SymbolModel(counts);
    for (let i = 0; i < table.length; i++) {
      model.encode(encoder, table[i]!);
      if (i % STEP_ENTRIES === STEP_ENTRIES - 1) yield;
    }
  }
  encoder.finish();
}

export function* readDictionary(bytes: Uint8Array): Generator<undefined, Dictionary> {
  const reader = new ByteReader(bytes, "A segment's dictionary");
  const timeMode = reader.u8();
  const [viewers, repeats] = [reader.varint(), reader.varint()];
  const order = Array.from({ length: reader.count(1) }, () => reader.varint());
  const guesses: number[] = [];
  const values: string[][] = [];
  while (values.length < order.length) {
    guesses.push(reader.varint());
    const count = reader.varint();
    values.push(yield* readTexts(reader));
    if (values.at(-1)!.length !== count) throw malformed();
  }
  checkOrder(order, guesses, timeMode);
  const decoder = new RangeDecoder(reader.bytes, reader.at, reader.end);
  const flags = new SymbolModel(readCounts(decoder, FLAG_SYMBOLS));
  const times = new SymbolModel(readCounts(decoder, STEP_SYMBOLS));
  const weights = new SymbolModel(readCounts(decoder, MAGNITUDE_SYMBOLS));
  const models: SymbolModel[] = [];
  for (const list of values) {
    models.push(new SymbolModel(readCounts(decoder, list.length + 1)));
    yield;
  }
  const dimensions: DimensionCode[] = [];
  for (const [d, guess] of guesses.entries()) {
    const model = models[d]!;
    const table = new Uint32Array(guess < GUESS_DIMENSION ? 0 : values[guess - GUESS_DIMENSION]!.length + 1);
    for (let i = 0; i < table.length; i++) {
      table[i] = model.decode(decoder);
      if (i % STEP_ENTRIES === STEP_ENTRIES - 1) yield;
    }
    dimensions.push({ guess, table, model });
  }
  decoder.finish();
  return { viewers, repeats, weights, values, code: { flags, times, timeMode, dimensions, order } };
}

/** Each dimension once, and none before what it is guessed by. */
function checkOrder(order: readonly number[], guesses: readonly number[], timeMode: number): void {
  const seen = new Set<number>();
  for (const d of order) {
    const guess = guesses[d];
    if (guess === undefined || seen.has(d)) throw malformed();
    if (guess >= GUESS_DIMENSION && !seen.has(guess - GUESS_DIMENSION)) throw malformed();
    seen.add(d);
  }
  if (timeMode > GUESS_SMOOTH) throw malformed();
}

/** Dimensions that are guessed from viewers. */
export function viewerGuessed({ dimensions }: EventsCode): number[] {
  return [...dimensions.keys()].filter((d) => dimensions[d]!.guess === GUESS_VIEWER);
}
