/** Viewers of a segment, numbered in order of first appearance: FORMAT.md, "Segment". */
import type { ByteWriter } from "./bytes.js";
import { Finder, malformed, type SymbolModel } from "./segment-model.js";
import { decodeMagnitude, encodeMagnitude } from "./segment-times.js";
import { createProbabilities, RangeDecoder, RangeEncoder } from "./range-coder.js";

/** In the place of a viewer's number: the event has none. */
export const NO_VIEWER = 0xffff_ffff;

/** Bytes of a viewer's hash. */
export const VIEWER_BYTES = 6;

/** Viewers written or read in one step: about 1 ms. */
const STEP_MASK = 4095;

/** How fast probabilities of flags follow: slowly, there are thousands of them. */
export const FLAG_RATE = 6;

/** Numbers viewers: a hash table with open addressing. */
export class ViewerNumbers {
  readonly low: Uint32Array;
  readonly high: Uint16Array;
  /** How often the viewer appears again. */
  readonly repeats: Uint32Array;
  readonly #slots: Uint32Array;
  #size = 0;

  /** Takes as many viewers as there are events. */
  constructor(events: number) {
    this.low = new Uint32Array(events);
    this.high = new Uint16Array(events);
    this.repeats = new Uint32Array(events);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(1.5 * events + 2)));
  }

  get size(): number {
    return this.#size;
  }

  /** The number of a viewer, who appears once more. */
  add(low: number, high: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1);
    slot = (slot ^ (slot >>> 15)) & mask;
    for (;;) {
      const number = slots[slot]! - 1;
      if (number < 0) break;
      if (this.low[number] === low && this.high[number] === high) {
        this.repeats[number]!++;
        return number;
      }
      slot = (slot + 1) & mask;
    }
    slots[slot] = ++this.#size;
    this.low[this.#size - 1] = low;
    this.high[this.#size - 1] = high;
    return this.#size - 1;
  }
}

/** What all viewers of a segment are, as far as they are loaded. */
export class ViewerTable {
  readonly low: Uint32Array;
  readonly high: Uint16Array;
  /** Viewer v is weighted by how often it appears again: `starts[v + 1] − starts[v]`. */
  readonly starts: Uint32Array;
  /** By dimension that is guessed from the viewer: the guesses. */
  readonly guesses: ReadonlyMap<number, Uint32Array>;
  readonly #finder: Finder;
  #loaded = 0;

  /** `repeats` is that of all viewers together. */
  constructor(viewers: number, repeats: number, dimensions: readonly number[]) {
    this.low = new Uint32Array(viewers);
    this.high = new Uint16Array(viewers);
    this.starts = new Uint32Array(viewers + 1);
    this.guesses = new Map(dimensions.map((dimension) => [dimension, new Uint32Array(viewers)]));
    this.#finder = new Finder(this.starts, repeats);
  }

  get loaded(): number {
    return this.#loaded;
  }

  /** The viewer, among those before `next`, who has this part of their weights. */
  find(part: number): number {
    return this.#finder.find(part);
  }

  /** The next `count` viewers, as `writeViewers` wrote them. */
  *load(
    bytes: Uint8Array,
    count: number,
    weights: SymbolModel,
    models: readonly SymbolModel[],
  ): Generator<undefined> {
    const from = this.#loaded;
    const to = from + count;
    if (to > this.low.length || count * VIEWER_BYTES > bytes.length) throw malformed();
    const decoder = new RangeDecoder(bytes, count * VIEWER_BYTES, bytes.length, FLAG_RATE);
    const guesses = [...this.guesses];
    for (let v = from, at = 0; v < to; v++, at += VIEWER_BYTES) {
      this.low[v] =
        (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
      this.high[v] = bytes[at + 4]! | (bytes[at + 5]! << 8);
      this.starts[v + 1] = this.starts[v]! + decodeMagnitude(decoder, weights);
      for (const [dimension, values] of guesses) values[v] = models[dimension]!.decode(decoder);
      if ((v & STEP_MASK) === STEP_MASK) yield;
    }
    decoder.finish();
    this.#finder.extend(from, to);
    this.#loaded = to;
  }
}

/** Viewers `[from, to)`: six bytes each; then, in one stream, each one's repeats and guesses. */
export function* writeViewers(
  writer: ByteWriter,
  viewers: ViewerNumbers,
  from: number,
  to: number,
  weights: SymbolModel,
  guesses: readonly { readonly model: SymbolModel; readonly symbols: Uint32Array }[],
): Generator<undefined> {
  yield* writeHashes(writer, viewers, from, to);
  const encoder = new RangeEncoder(writer, FLAG_RATE);
  for (let v = from; v < to; v++) {
    encodeMagnitude(encoder, weights, viewers.repeats[v]!);
    for (const { model, symbols } of guesses) model.encode(encoder, symbols[v]!);
    if ((v & STEP_MASK) === STEP_MASK) yield;
  }
  encoder.finish();
}

function* writeHashes(
  writer: ByteWriter,
  { low, high }: ViewerNumbers,
  from: number,
  to: number,
): Generator<undefined> {
  writer.reserve((to - from) * VIEWER_BYTES);
  for (let v = from; v < to; v++) {
    writer.length = writer.bytes.writeUInt32LE(low[v]!, writer.length);
    writer.length = writer.bytes.writeUInt16LE(high[v]!, writer.length);
    if ((v & STEP_MASK) === STEP_MASK) yield;
  }
}

/** The viewers of a block's events, one after another. */
export class ViewerColumn {
  readonly #isNew = createProbabilities(1);
  readonly #starts: Uint32Array;
  /** The viewer who comes next who is new. */
  #next: number;

  constructor(starts: Uint32Array, next: number) {
    this.#starts = starts;
    this.#next = next;
  }

  encode(encoder: RangeEncoder, viewers: Uint32Array, from: number, to: number): void {
    const starts = this.#starts;
    for (let i = from; i < to; i++) {
      const v = viewers[i]!;
      if (v === NO_VIEWER) continue;
      if (v === this.#next) {
        encoder.bit(this.#isNew, 0, 1);
        this.#next++;
        continue;
      }
      encoder.bit(this.#isNew, 0, 0);
      const start = starts[v]!;
      encoder.frequency(start, starts[v + 1]! - start, starts[this.#next]!);
    }
  }

  /** Only rows that have a viewer, by `hasViewer`; `limit` viewers are known. */
  decode(
    decoder: RangeDecoder,
    table: ViewerTable,
    flags: Uint8Array,
    mask: number,
    viewers: Uint32Array,
    from: number,
    to: number,
  ): void {
    const starts = this.#starts;
    for (let i = from; i < to; i++) {
      if ((flags[i]! & mask) === 0) {
        viewers[i] = NO_VIEWER;
      } else if (decoder.bit(this.#isNew, 0) === 1) {
        if (this.#next >= table.loaded) throw malformed();
        viewers[i] = this.#next++;
      } else {
        const total = starts[this.#next]!;
        if (total === 0) throw malformed();
        const v = table.find(decoder.part(total));
        viewers[i] = v;
        decoder.take(starts[v]!, starts[v + 1]! - starts[v]!, total);
      }
    }
  }
}
