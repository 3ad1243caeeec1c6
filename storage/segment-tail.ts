/** What is known of the records that are in no segment, without reading them. */
import { timesOf, type LogRecord, type Position } from "../engine/log.js";
import type { TailRecord } from "./segment-plan.js";

interface Row extends TailRecord {
  /** Times of its events: NaN until they are known; +∞ and −∞ when it has none. */
  least: number;
  greatest: number;
}

/** Rows before the first that may be kept, unused, until the list is cut. */
const SLACK = 4096;

export class TailIndex {
  /** Row i is at position `#base + i`; undefined where nothing is known, because the record is not there. */
  #rows: (Row | undefined)[] = [];
  #base: Position;
  #first: Position;
  #records = 0;
  #events = 0;
  #bytes = 0;

  constructor(first: Position) {
    this.#base = first;
    this.#first = first;
  }

  /** Position of the oldest record, or of the next one. */
  get first(): Position {
    return this.#first;
  }

  get sizes(): { records: number; events: number; bytes: number } {
    return { records: this.#records, events: this.#events, bytes: this.#bytes };
  }

  has(position: Position): boolean {
    return position >= this.#first && this.#rows[position - this.#base] !== undefined;
  }

  at(position: Position): Row {
    const row = this.#rows[position - this.#base];
    if (row === undefined) throw new Error(`BUG: nothing is known of record ${position}`);
    return row;
  }

  /** A record as it is appended. */
  add(position: Position, record: LogRecord, bytes: number): void {
    const { least, greatest } = timesOf(record.events);
    this.set(position, {
      receivedAt: record.receivedAt,
      events: record.events.count,
      bytes,
      least,
      greatest,
    });
  }

  /** A record that was found, whose times nobody knows. */
  found(position: Position, row: TailRecord): void {
    this.set(position, { ...row, least: Number.NaN, greatest: Number.NaN });
  }

  /** The record was read: its times are known from now on. */
  learn(position: Position, { events }: LogRecord): Row {
    const row = this.at(position);
    if (Number.isNaN(row.least)) Object.assign(row, timesOf(events));
    return row;
  }

  set(position: Position, row: Row): void {
    this.#rows[position - this.#base] = row;
    this.#records++;
    this.#events += row.events;
    this.#bytes += row.bytes;
  }

  /** The record is there no more. */
  remove(position: Position): void {
    const row = this.#rows[position - this.#base];
    if (row === undefined) return;
    this.#rows[position - this.#base] = undefined;
    this.#records--;
    this.#events -= row.events;
    this.#bytes -= row.bytes;
  }

  /** All records before this position are there no more. */
  cut(before: Position): void {
    for (let position = this.#first; position < before; position++) this.remove(position);
    this.#first = Math.max(this.#first, before);
    const unused = this.#first - this.#base;
    if (unused < SLACK && unused < this.#rows.length) return;
    this.#rows = this.#rows.slice(unused);
    this.#base = this.#first;
  }
}
