import { CALENDAR_END_MS, CALENDAR_START_MS } from "./calendar/grain.js";
import { parseInstant } from "./calendar/parse.js";
import type { RejectionCode } from "./api.js";
import { MAX_ID_BYTES } from "./limits.js";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER, type EventBatch } from "./log.js";
import { Rows } from "./scan/rows.js";
import type { Schema } from "./schema.js";
import { hashText } from "./sketch/murmur3.js";

/** Writes the 64-bit hash of a text: low word at `offset`, high word after it. */
export interface TextHash {
  (text: string, out: Uint32Array, offset: number): void;
  /** The same of `bytes[start, end)`, the UTF-8 form of a text. */
  readonly ofBytes?: BytesHash;
}

export type BytesHash = (
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint32Array,
  offset: number,
) => void;

/** The dictionary of one dimension of a batch in the making. */
export interface ValueIndex {
  /** In order of first appearance. */
  readonly values: readonly string[];
  /** The index of a well-formed text that is not empty: from 1 on. */
  indexOfText(text: string): number;
}

/** What a batch is made in. */
export interface BatchParts {
  readonly rows: Rows;
  /** By dimension. */
  readonly tables: readonly ValueIndex[];
}

/** Why an event was refused: a value, not an exception, since bad events are expected. */
export interface Rejection {
  readonly type: RejectionCode;
  readonly detail: string;
}

const VIEWER_HIGH_BITS = 0xffff;

/** Turns unknown values into the rows of one `EventBatch`, one per good event. */
export class BatchBuilder {
  readonly rows: Rows;
  readonly #schema: Schema;
  readonly #hashViewer: TextHash;
  readonly #now: number;
  readonly #tables: readonly ValueIndex[];
  /** The values of the event being read; "" is absent. They enter the dictionaries only if it is good. */
  readonly #pending: string[];
  readonly #hash = new Uint32Array(2);

  /** `now`: event time of events without `ts`, ms. `parts`: those of a batch that others add to as well. */
  constructor(
    schema: Schema,
    capacity: number,
    now: number,
    hashViewer: TextHash = hashText,
    parts: BatchParts = newParts(schema, capacity),
  ) {
    this.#schema = schema;
    this.#hashViewer = hashViewer;
    this.#now = now;
    this.rows = parts.rows;
    this.#tables = parts.tables;
    this.#pending = schema.dimensions.map(() => "");
  }

  /** Adds one event; undefined when it is good, else why it is not. A refused event leaves no trace. */
  add(event: unknown): Rejection | undefined {
    if (typeof event !== "object" || event === null || Array.isArray(event)) {
      return { type: "not-an-object", detail: "An event is a JSON object." };
    }
    const row = this.rows.next();
    this.#clear(row);
    let typed = false;
    let timed = false;
    for (const name in event) {
      const value = (event as Record<string, unknown>)[name];
      let rejection: Rejection | undefined;
      if (name === "type") rejection = ((typed = true), this.#setType(row, value));
      else if (name === "ts") rejection = ((timed = true), this.#setTime(row, value));
      else rejection = this.#setText(row, name, value);
      if (rejection !== undefined) return rejection;
    }
    if (!typed) return { type: "invalid-type", detail: 'Say "type": "view" or "created".' };
    if (!timed) this.rows.ts[row] = this.#now;
    return this.#finish(row);
  }

  build(): EventBatch {
    return this.rows.toBatch(this.#tables.map(({ values }) => values));
  }

  #clear(row: number): void {
    const { flags, viewerLo, viewerHi, idLo, idHi } = this.rows;
    flags[row] = 0;
    viewerLo[row] = 0;
    viewerHi[row] = 0;
    idLo[row] = 0;
    idHi[row] = 0;
    this.#pending.fill("");
  }

  #setType(row: number, value: unknown): Rejection | undefined {
    if (value === "view") return undefined;
    if (value === "created") {
      this.rows.flags[row]! |= FLAG_CREATED;
      return undefined;
    }
    return { type: "invalid-type", detail: 'The type of an event is "view" or "created".' };
  }

  #setTime(row: number, value: unknown): Rejection | undefined {
    const ms = typeof value === "string" ? parseInstant(value) : value;
    if (typeof ms !== "number" || !Number.isInteger(ms)) {
      const detail =
        "ts is whole milliseconds since 1970, or an RFC 3339 time with Z or an offset, such as 2026-11-23T14:03:11Z.";
      return { type: "invalid-timestamp", detail };
    }
    if (ms < CALENDAR_START_MS || ms >= CALENDAR_END_MS) {
      const seconds = ms * 1000 >= CALENDAR_START_MS && ms * 1000 < CALENDAR_END_MS;
      const hint = seconds ? " It looks like seconds: multiply by 1,000." : "";
      return { type: "invalid-timestamp", detail: `ts lies outside the years 1990 to 2037.${hint}` };
    }
    this.rows.ts[row] = ms;
    return undefined;
  }

  #setText(row: number, name: string, value: unknown): Rejection | undefined {
    const dimension = this.#schema.dimensions.indexOf(name);
    if (dimension < 0 && name !== this.#schema.identity && name !== "id") {
      const known = ["type", "ts", ...this.#schema.dimensions, this.#schema.identity, "id"].join(", ");
      return { type: "unknown-field", detail: `${quote(name)} is not declared; known are ${known}.` };
    }
    if (value === null || value === undefined || value === "") return undefined;
    if (typeof value !== "string") return { type: "invalid-value", detail: `${name} must be a string.` };
    const rejection = checkText(name, value);
    if (rejection !== undefined) return rejection;
    if (dimension >= 0) this.#pending[dimension] = value;
    else if (name === "id") this.#setId(row, value);
    else this.#setViewer(row, value);
    return undefined;
  }

  #setId(row: number, id: string): void {
    hashText(id, this.#hash, 0);
    this.rows.idLo[row] = this.#hash[0]!;
    this.rows.idHi[row] = this.#hash[1]!;
    this.rows.flags[row]! |= FLAG_ID;
  }

  #setViewer(row: number, viewer: string): void {
    this.#hashViewer(viewer, this.#hash, 0);
    this.rows.viewerLo[row] = this.#hash[0]!;
    this.rows.viewerHi[row] = this.#hash[1]! & VIEWER_HIGH_BITS;
    this.rows.flags[row]! |= FLAG_VIEWER;
  }

  #finish(row: number): Rejection | undefined {
    const { subject, dimensions } = this.#schema;
    if (this.#pending[subject] === "") {
      return { type: "missing-value", detail: `Every event needs a ${dimensions[subject]}.` };
    }
    const { rows } = this;
    const flags = rows.flags[row]!;
    // Whoever creates a blog has not viewed it: a viewer on "created" counts nowhere.
    if ((flags & FLAG_CREATED) !== 0 && (flags & FLAG_VIEWER) !== 0) {
      rows.flags[row] = flags & ~FLAG_VIEWER;
      rows.viewerLo[row] = 0;
      rows.viewerHi[row] = 0;
    }
    if ((flags & FLAG_ID) !== 0) rows.anyId = true;
    for (let d = 0; d < dimensions.length; d++) {
      const value = this.#pending[d]!;
      rows.dims[d]![row] = value === "" ? 0 : this.#tables[d]!.indexOfText(value);
    }
    rows.count = row + 1;
    return undefined;
  }
}

/** The dictionary of values that are texts already. */
class TextIndex implements ValueIndex {
  readonly values: string[] = [];
  readonly #indexes = new Map<string, number>();

  indexOfText(text: string): number {
    const known = this.#indexes.get(text);
    if (known !== undefined) return known;
    const index = this.values.push(text);
    this.#indexes.set(text, index);
    return index;
  }
}

function newParts(schema: Schema, capacity: number): BatchParts {
  const tables = schema.dimensions.map(() => new TextIndex());
  return { rows: new Rows(tables.length, capacity), tables };
}

/** Why a text can be no value of `name`; undefined when it can. */
export function checkText(name: string, value: string): Rejection | undefined {
  if (utf8Length(value) > MAX_ID_BYTES) {
    return { type: "value-too-long", detail: `${name} is longer than ${MAX_ID_BYTES} bytes of UTF-8.` };
  }
  if (value.isWellFormed()) return undefined;
  return { type: "invalid-value", detail: `${name} has half of a surrogate pair; send valid Unicode.` };
}

function utf8Length(text: string): number {
  if (text.length * 3 <= MAX_ID_BYTES) return text.length;
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Each half of a surrogate pair is two of the pair's four bytes.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3;
  }
  return bytes;
}

/** A name that somebody else chose, short and safe to show. */
function quote(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}
