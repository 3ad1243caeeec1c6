/** The events of one block, column by column in steps of a few thousand: FORMAT.md, "Segment". */
import { FLAG_VIEWER } from "../engine/log.js";
import type { ByteWriter } from "./bytes.js";
import { GUESS_DIMENSION, GUESS_NONE, GUESS_VIEWER } from "./segment-dimensions.js";
import { malformed, type SymbolModel } from "./segment-model.js";
import { TimeGuess } from "./segment-times.js";
import { FLAG_RATE, NO_VIEWER, ViewerColumn, type ViewerTable } from "./segment-viewers.js";
import { createProbabilities, RangeDecoder, RangeEncoder } from "./range-coder.js";

/** Events coded in one step: about 2 ms. A number of the format. */
export const STEP_EVENTS = 4096;

/** How a dimension is coded. */
export interface DimensionCode {
  readonly guess: number;
  /** By viewer's number or the other dimension's symbol. */
  readonly table: Uint32Array;
  readonly model: SymbolModel;
}

/** How the events of a segment are coded. */
export interface EventsCode {
  readonly flags: SymbolModel;
  readonly times: SymbolModel;
  /** How times are guessed. */
  readonly timeMode: number;
  readonly dimensions: readonly DimensionCode[];
  /** Dimensions in the order in which they are coded. */
  readonly order: readonly number[];
}

export interface EventColumns {
  readonly flags: Uint8Array;
  readonly ts: Float64Array;
  /** Viewers' numbers, or `NO_VIEWER`. */
  readonly viewer: Uint32Array;
  /** Symbols. */
  readonly dims: readonly Uint32Array[];
}

/** Events `[from, to)`. `firstNew` is the number of the first viewer who is new in them, `starts` their weights. */
export function* writeEvents(
  writer: ByteWriter,
  code: EventsCode,
  columns: EventColumns,
  from: number,
  to: number,
  starts: Uint32Array,
  firstNew: number,
): Generator<undefined> {
  if (from === to) return;
  const { flags, ts, viewer, dims } = columns;
  writer.f64(ts[from]!);
  const encoder = new RangeEncoder(writer, FLAG_RATE);
  const times = new TimeGuess(code.timeMode, ts[from]!);
  const viewers = new ViewerColumn(starts, firstNew);
  const isHit = code.dimensions.map(() => createProbabilities(1));
  for (let at = from; at < to; at += STEP_EVENTS) {
    const end = Math.min(at + STEP_EVENTS, to);
    if (!code.flags.isConstant) for (let i = at; i < end; i++) code.flags.encode(encoder, flags[i]!);
    times.encode(encoder, code.times, ts, at, end);
    viewers.encode(encoder, viewer, at, end);
    for (const d of code.order) {
      const dimension = code.dimensions[d]!;
      const context = contextOf(dimension.guess, viewer, dims);
      encodeDimension(encoder, dimension, dims[d]!, context, starts, isHit[d]!, at, end);
    }
    yield;
  }
  encoder.finish();
}

export function* readEvents(
  bytes: Uint8Array,
  code: EventsCode,
  count: number,
  table: ViewerTable,
  firstNew: number,
): Generator<undefined, EventColumns> {
  const flags = new Uint8Array(count);
  const ts = new Float64Array(count);
  const viewer = new Uint32Array(count);
  const dims = code.dimensions.map(() => new Uint32Array(count));
  const columns = { flags, ts, viewer, dims };
  if (count === 0) return columns;
  if (bytes.length < 8) throw malformed();
  const first = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
  const decoder = new RangeDecoder(bytes, 8, bytes.length, FLAG_RATE);
  const times = new TimeGuess(code.timeMode, first);
  const viewers = new ViewerColumn(table.starts, firstNew);
  const isHit = code.dimensions.map(() => createProbabilities(1));
  for (let at = 0; at < count; at += STEP_EVENTS) {
    const end = Math.min(at + STEP_EVENTS, count);
    for (let i = at; i < end; i++) flags[i] = code.flags.decode(decoder);
    times.decode(decoder, code.times, ts, at, end);
    viewers.decode(decoder, table, flags, FLAG_VIEWER, viewer, at, end);
    for (const d of code.order) {
      const dimension = code.dimensions[d]!;
      const context = contextOf(dimension.guess, viewer, dims);
      decodeDimension(decoder, dimension, dims[d]!, context, table.starts, isHit[d]!, at, end);
    }
    yield;
  }
  decoder.finish();
  return columns;
}

function contextOf(guess: number, viewer: Uint32Array, dims: readonly Uint32Array[]): Uint32Array {
  return guess < GUESS_DIMENSION ? viewer : dims[guess - GUESS_DIMENSION]!;
}

/** A guess that cannot fail, that of a viewer who appears once, takes no flag. */
function encodeDimension(
  encoder: RangeEncoder,
  { guess, table, model }: DimensionCode,
  symbols: Uint32Array,
  context: Uint32Array,
  starts: Uint32Array,
  isHit: Uint16Array,
  from: number,
  to: number,
): void {
  if (guess === GUESS_NONE) {
    if (!model.isConstant) for (let i = from; i < to; i++) model.encode(encoder, symbols[i]!);
    return;
  }
  for (let i = from; i < to; i++) {
    const key = context[i]!;
    const symbol = symbols[i]!;
    if (guess === GUESS_VIEWER) {
      if (key === NO_VIEWER) {
        model.encode(encoder, symbol);
        continue;
      }
      if (starts[key] === starts[key + 1]) continue;
    }
    const hit = table[key] === symbol;
    encoder.bit(isHit, 0, hit ? 0 : 1);
    if (!hit) model.encode(encoder, symbol);
  }
}

function decodeDimension(
  decoder: RangeDecoder,
  { guess, table, model }: DimensionCode,
  symbols: Uint32Array,
  context: Uint32Array,
  starts: Uint32Array,
  isHit: Uint16Array,
  from: number,
  to: number,
): void {
  if (guess === GUESS_NONE) {
    for (let i = from; i < to; i++) symbols[i] = model.decode(decoder);
    return;
  }
  for (let i = from; i < to; i++) {
    const key = context[i]!;
    if (guess === GUESS_VIEWER) {
      if (key === NO_VIEWER) {
        symbols[i] = model.decode(decoder);
        continue;
      }
      if (starts[key] === starts[key + 1]) {
        symbols[i] = table[key]!;
        continue;
      }
    }
    symbols[i] = decoder.bit(isHit, 0) === 0 ? table[key]! : model.decode(decoder);
  }
}
