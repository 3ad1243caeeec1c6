/** Reads one segment, block by block, in steps between which others may run. */
import {
  FLAG_ID,
  type EventBatch,
  type LogClaims,
  type LogEntry,
  type LogRecord,
  type Position,
} from "../engine/log.js";
import { readDictionary, viewerGuessed, type Dictionary } from "./segment-dictionary.js";
import { readEvents, type EventColumns, type EventsCode } from "./segment-events.js";
import { DICTIONARY, EVENTS, RECORDS, sectionOf, VIEWERS, type SegmentHeader } from "./segment-format.js";
import { malformed } from "./segment-model.js";
import { claimsOf, readRecords, type RecordRow } from "./segment-records.js";
import { NO_VIEWER, ViewerTable } from "./segment-viewers.js";

/** A section by its number; throws `storage-damaged` when its checksum is not the header's. */
export type ReadSection = (section: number) => Uint8Array;

/** Bytes of columns made in one step: about 1 ms. */
const STEP_ROWS = 8192;

export class SegmentReader {
  readonly header: SegmentHeader;
  readonly #read: ReadSection;
  #dictionary: Dictionary | undefined;
  #code: EventsCode | undefined;
  #viewers: ViewerTable | undefined;
  #blocksLoaded = 0;
  /** Per dimension and symbol: the number in the batch that is being made, when `#marks` says so. */
  #locals: Uint32Array[] = [];
  #marks: Uint32Array[] = [];
  #mark = 0;

  constructor(header: SegmentHeader, read: ReadSection) {
    this.header = header;
    this.#read = read;
  }

  /** What the records of a block claim. */
  *claims(block: number): Generator<LogClaims | undefined> {
    const rows = yield* this.#rows(block);
    let position = this.#firstOf(block);
    for (const row of rows) yield claimsOf(position++, row);
  }

  /** The records of a block; an `undefined` among them is a place for a pause. */
  *entries(block: number): Generator<LogEntry | undefined> {
    const rows = yield* this.#rows(block);
    yield* this.#load(block);
    const { events } = this.header.blocks[block]!;
    const firstNew = this.header.blocks.slice(0, block).reduce((sum, { viewers }) => sum + viewers, 0);
    const bytes = this.#read(sectionOf(block, EVENTS));
    const columns = yield* readEvents(bytes, this.#code!, events, this.#viewers!, firstNew);
    let position = this.#firstOf(block);
    let at = 0;
    for (const row of rows) {
      const batch = yield* this.#batch(row, columns, at);
      at += row.count;
      yield { position: position++, record: recordOf(row, batch) };
    }
  }

  #firstOf(block: number): Position {
    return this.header.blocks.slice(0, block).reduce((at, { records }) => at + records, this.header.from);
  }

  #rows(block: number): Generator<undefined, RecordRow[]> {
    const { records, events } = this.header.blocks[block]!;
    return readRecords(this.#read(sectionOf(block, RECORDS)), records, events);
  }

  /** The dictionary, and all viewers up to those of a block. */
  *#load(block: number): Generator<undefined> {
    if (this.#dictionary === undefined) {
      const dictionary = yield* readDictionary(this.#read(DICTIONARY));
      const { code, viewers, repeats, values } = dictionary;
      if (viewers > this.header.events || repeats > this.header.events) throw malformed();
      const table = new ViewerTable(viewers, repeats, viewerGuessed(code));
      const dimensions = code.dimensions.map((one, d) => ({
        ...one,
        table: table.guesses.get(d) ?? one.table,
      }));
      this.#dictionary = dictionary;
      this.#code = { ...code, dimensions };
      this.#viewers = table;
      this.#locals = values.map((list) => new Uint32Array(list.length + 1));
      this.#marks = values.map((list) => new Uint32Array(list.length + 1));
    }
    const { weights, code } = this.#dictionary;
    const models = code.dimensions.map(({ model }) => model);
    while (this.#blocksLoaded <= block) {
      const bytes = this.#read(sectionOf(this.#blocksLoaded, VIEWERS));
      const { viewers } = this.header.blocks[this.#blocksLoaded]!;
      yield* this.#viewers!.load(bytes, viewers, weights, models);
      this.#blocksLoaded++;
    }
  }

  *#batch(row: RecordRow, columns: EventColumns, from: number): Generator<undefined, EventBatch> {
    const { count, dimensions } = row;
    const dictionary = this.#dictionary!.values;
    if (dimensions > dictionary.length) throw malformed();
    const to = from + count;
    const dims: Uint32Array[] = [];
    const values: string[][] = [];
    const viewerLo = new Uint32Array(count);
    const viewerHi = new Uint16Array(count);
    this.#mark++;
    for (let d = 0; d < dimensions; d++) {
      const local = new Uint32Array(count);
      const list: string[] = [];
      for (let at = 0; at < count; at += STEP_ROWS) {
        this.#localize(d, columns.dims[d]!, from, local, at, Math.min(at + STEP_ROWS, count), list);
        if (count > STEP_ROWS) yield;
      }
      dims.push(local);
      values.push(list);
    }
    for (let at = 0; at < count; at += STEP_ROWS) {
      this.#hashes(columns.viewer, from, viewerLo, viewerHi, at, Math.min(at + STEP_ROWS, count));
      if (count > STEP_ROWS) yield;
    }
    const { flags, ts } = columns;
    const batch = {
      count,
      flags: flags.slice(from, to),
      ts: ts.slice(from, to),
      dims,
      values,
      viewerLo,
      viewerHi,
    };
    return row.idLo === undefined ? batch : { ...batch, ...spread(batch.flags, row.idLo, row.idHi!) };
  }

  #localize(
    d: number,
    symbols: Uint32Array,
    base: number,
    local: Uint32Array,
    from: number,
    to: number,
    list: string[],
  ): void {
    const names = this.#dictionary!.values[d]!;
    const marks = this.#marks[d]!;
    const locals = this.#locals[d]!;
    for (let i = from; i < to; i++) {
      const symbol = symbols[base + i]!;
      if (symbol === 0) continue;
      if (marks[symbol] !== this.#mark) {
        marks[symbol] = this.#mark;
        locals[symbol] = list.push(names[symbol - 1]!);
      }
      local[i] = locals[symbol]!;
    }
  }

  #hashes(
    viewers: Uint32Array,
    base: number,
    viewerLo: Uint32Array,
    viewerHi: Uint16Array,
    from: number,
    to: number,
  ): void {
    const { low, high } = this.#viewers!;
    for (let i = from; i < to; i++) {
      const v = viewers[base + i]!;
      if (v === NO_VIEWER) continue;
      viewerLo[i] = low[v]!;
      viewerHi[i] = high[v]!;
    }
  }
}

function recordOf({ receivedAt, claim, isBackfill }: RecordRow, events: EventBatch): LogRecord {
  return {
    receivedAt,
    events,
    ...(claim === undefined ? {} : { claim }),
    ...(isBackfill ? { backfill: true } : {}),
  };
}

/** Ids in the rows that have one. */
function spread(
  flags: Uint8Array,
  idLo: Uint32Array,
  idHi: Uint32Array,
): { idLo: Uint32Array; idHi: Uint32Array } {
  const low = new Uint32Array(flags.length);
  const high = new Uint32Array(flags.length);
  let at = 0;
  for (let i = 0; i < flags.length; i++) {
    if ((flags[i]! & FLAG_ID) === 0) continue;
    if (at === idLo.length) throw malformed();
    low[i] = idLo[at]!;
    high[i] = idHi[at++]!;
  }
  if (at !== idLo.length) throw malformed();
  return { idLo: low, idHi: high };
}
