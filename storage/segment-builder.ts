/** Gathers log records as the columns of one segment. */
import {
  FLAG_VIEWER,
  idsOf,
  timesOf,
  type EventBatch,
  type LogRecord,
  type Position,
} from "../engine/log.js";
import type { RecordRow } from "./segment-records.js";
import { NO_VIEWER, ViewerNumbers } from "./segment-viewers.js";

/**
 * A block ends with the record that gives it as many events (or with as many records): what is decoded at least, to
 * see one of them.
 */
export const BLOCK_EVENTS = 65_536;

/** Events gathered in one step: 0.1 ms, and 10 ms where each touches a page of memory that the system has yet to provide. */
const STEP_EVENTS = 256;

/** `[from, to)` of the segment's records, events and viewers. */
export interface Block {
  readonly records: readonly [from: number, to: number];
  readonly events: readonly [from: number, to: number];
  /** Those who appear first in this block. */
  readonly viewers: readonly [from: number, to: number];
  /** Times of its events; +∞ and −∞ when it has none. */
  readonly least: number;
  readonly greatest: number;
}

/** Records as columns, with numbers for what repeats. */
export interface Gathered {
  readonly from: Position;
  readonly events: number;
  readonly rows: readonly RecordRow[];
  readonly blocks: readonly Block[];
  readonly flags: Uint8Array;
  readonly ts: Float64Array;
  readonly viewer: Uint32Array;
  readonly viewers: ViewerNumbers;
  /** Per dimension: 0, or 1 + the index of the value. */
  readonly dims: readonly Uint32Array[];
  readonly values: readonly (readonly string[])[];
}

/** Takes records, oldest first, in steps between which others may run. */
export class SegmentBuilder {
  readonly #from: Position;
  readonly #capacity: number;
  readonly #blockEvents: number;
  readonly #flags: Uint8Array;
  readonly #ts: Float64Array;
  readonly #viewer: Uint32Array;
  readonly #viewers: ViewerNumbers;
  readonly #dims: Uint32Array[] = [];
  readonly #values: Map<string, number>[] = [];
  readonly #rows: RecordRow[] = [];
  readonly #blocks: Block[] = [];
  #events = 0;
  #least = Infinity;
  #greatest = -Infinity;

  /** `events` is what all records have together. */
  constructor(from: Position, events: number, blockEvents = BLOCK_EVENTS) {
    this.#from = from;
    this.#capacity = events;
    this.#blockEvents = blockEvents;
    this.#flags = new Uint8Array(events);
    this.#ts = new Float64Array(events);
    this.#viewer = new Uint32Array(events);
    this.#viewers = new ViewerNumbers(events);
  }

  *add(record: LogRecord): Generator<undefined> {
    const { events } = record;
    if (this.#events + events.count > this.#capacity) throw new Error("BUG: more events than announced");
    while (this.#dims.length < events.dims.length) {
      this.#dims.push(new Uint32Array(this.#capacity));
      this.#values.push(new Map());
    }
    const ids = events.values.map((values) => new Uint32Array(values.length + 1));
    for (let at = 0; at < events.count; at += STEP_EVENTS) {
      const end = Math.min(at + STEP_EVENTS, events.count);
      this.#addEvents(events, at, end);
      for (const [d, known] of ids.entries()) this.#addDimension(events, d, known, at, end);
      yield;
    }
    this.#events += events.count;
    const { least, greatest } = timesOf(events);
    this.#least = Math.min(this.#least, least);
    this.#greatest = Math.max(this.#greatest, greatest);
    this.#rows.push(rowOf(record));
    const before = this.#blocks.at(-1);
    const eventsOfBlock = this.#events - (before?.events[1] ?? 0);
    const recordsOfBlock = this.#rows.length - (before?.records[1] ?? 0);
    if (eventsOfBlock >= this.#blockEvents || recordsOfBlock >= this.#blockEvents) this.#endBlock();
  }

  /** What was gathered; no records may be added any more. */
  take(): Gathered {
    if (this.#rows.length > (this.#blocks.at(-1)?.records[1] ?? 0)) this.#endBlock();
    return {
      from: this.#from,
      events: this.#events,
      rows: this.#rows,
      blocks: this.#blocks,
      flags: this.#flags,
      ts: this.#ts,
      viewer: this.#viewer,
      viewers: this.#viewers,
      dims: this.#dims,
      values: this.#values.map((known) => [...known.keys()]),
    };
  }

  #addEvents({ flags, ts, viewerLo, viewerHi }: EventBatch, from: number, to: number): void {
    const base = this.#events;
    this.#flags.set(flags.subarray(from, to), base + from);
    this.#ts.set(ts.subarray(from, to), base + from);
    const viewer = this.#viewer;
    for (let i = from; i < to; i++) {
      const hasViewer = (flags[i]! & FLAG_VIEWER) !== 0;
      viewer[base + i] = hasViewer ? this.#viewers.add(viewerLo[i]!, viewerHi[i]!) : NO_VIEWER;
    }
  }

  /** `known` has the segment's ids of those of the batch's values that appeared already. */
  #addDimension({ dims, values }: EventBatch, d: number, known: Uint32Array, from: number, to: number): void {
    const column = this.#dims[d]!;
    const local = dims[d]!;
    const names = values[d]!;
    const ids = this.#values[d]!;
    const base = this.#events;
    for (let i = from; i < to; i++) {
      const index = local[i]!;
      if (index === 0) continue;
      if (known[index] === 0) known[index] = idOf(ids, names[index - 1]!);
      column[base + i] = known[index]!;
    }
  }

  #endBlock(): void {
    const before = this.#blocks.at(-1);
    this.#blocks.push({
      records: [before?.records[1] ?? 0, this.#rows.length],
      events: [before?.events[1] ?? 0, this.#events],
      viewers: [before?.viewers[1] ?? 0, this.#viewers.size],
      least: this.#least,
      greatest: this.#greatest,
    });
    this.#least = Infinity;
    this.#greatest = -Infinity;
  }
}

function idOf(ids: Map<string, number>, value: string): number {
  let id = ids.get(value);
  if (id === undefined) ids.set(value, (id = ids.size + 1));
  return id;
}

function rowOf({ receivedAt, events, claim, backfill }: LogRecord): RecordRow {
  const ids = events.idLo === undefined ? { idLo: undefined, idHi: undefined } : idsOf(events);
  const { count, dims } = events;
  return { receivedAt, count, dimensions: dims.length, isBackfill: backfill === true, claim, ...ids };
}
