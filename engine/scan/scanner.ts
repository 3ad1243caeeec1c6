import { CALENDAR_END_MS, CALENDAR_START_MS } from "../calendar/grain.js";
import type { BatchParts, BytesHash } from "../event.js";
import { MAX_ID_BYTES } from "../limits.js";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER } from "../log.js";
import type { Schema } from "../schema.js";
import { hashBytes } from "../sketch/murmur3.js";
import { instantOf } from "./instant.js";
import {
  CLOSE,
  COLON,
  COMMA,
  LINE_FEED,
  OPEN,
  QUOTE,
  digitsEnd,
  isNull,
  numberAt,
  skipSpace,
  stringEnd,
} from "./json.js";
import { FIRST_DIMENSION, ID, Members, TS, TYPE, VIEWER } from "./members.js";
import { Rows } from "./rows.js";
import { ValueTable } from "./value-table.js";

const VIEWER_HIGH_BITS = 0xffff;
const VIEW = 0x77656976;
const NOTHING = new Uint8Array(0);
const CREATED = [0x63, 0x72, 0x65, 0x61, 0x74, 0x65, 0x64];

/**
 * Reads events of the usual shape from bytes into rows, without a text or an object for each: flat, names and strings
 * without escapes, whole numbers. It takes nothing that JSON.parse and `BatchBuilder` would refuse, and what it takes
 * gives the same row; every other line it leaves to them.
 */
export class Scanner implements BatchParts {
  readonly rows: Rows;
  /** By dimension. */
  readonly tables: readonly ValueTable[];
  readonly #members: Members;
  readonly #subject: number;
  readonly #hash = new Uint32Array(2);
  /** By member: where its value is in the body, quotes left out; the same twice for none. */
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  #bytes: Uint8Array = NOTHING;
  #now = 0;
  #hashViewer: BytesHash = hashBytes;
  #ts = 0;
  #isCreated = false;

  /** `seed`: see `ValueTable`. */
  constructor(schema: Schema, seed = 0) {
    this.rows = new Rows(schema.dimensions.length);
    this.tables = schema.dimensions.map((_, d) => new ValueTable(seed + d));
    this.#members = new Members(schema);
    this.#subject = FIRST_DIMENSION + schema.subject;
    this.#starts = new Int32Array(this.#members.count);
    this.#ends = new Int32Array(this.#members.count);
  }

  /** Begins another batch. `now`: event time of events without one, ms. */
  begin(body: Uint8Array, now: number, hashViewer: BytesHash): void {
    this.rows.clear();
    for (const table of this.tables) table.clear();
    // Always the same class of array: the loops below are compiled for one.
    this.#bytes = new Uint8Array(body.buffer, body.byteOffset, body.length);
    this.#now = now;
    this.#hashViewer = hashViewer;
  }

  /** Lets go of the body, which may be large. */
  release(): void {
    this.#bytes = NOTHING;
  }

  /** The event of the line that begins at `start` becomes a row; returns where the line ends, or −1 without a trace. */
  scan(start: number, index: number): number {
    const bytes = this.#bytes;
    let at = skipSpace(bytes, start);
    if (bytes[at] !== OPEN) return -1;
    let seen = 0;
    let place = 0;
    do {
      at = skipSpace(bytes, at + 1);
      if (bytes[at] !== QUOTE || place === this.#members.count) return -1;
      const member = this.#members.find(bytes, at + 1, place++);
      if (member < 0 || (seen & (1 << member)) !== 0) return -1;
      seen |= 1 << member;
      at = skipSpace(bytes, at + this.#members.length(member) + 2);
      if (bytes[at] !== COLON) return -1;
      at = this.#value(member, skipSpace(bytes, at + 1));
      if (at < 0) return -1;
      at = skipSpace(bytes, at);
    } while (bytes[at] === COMMA);
    if (bytes[at] !== CLOSE) return -1;
    at = skipSpace(bytes, at + 1);
    if (at < bytes.length && bytes[at] !== LINE_FEED) return -1;
    return this.#finish(seen, index) ? at : -1;
  }

  /** Notes the value that begins at `at`; returns where it ends, or −1 for one that is not as usual. */
  #value(member: number, at: number): number {
    const bytes = this.#bytes;
    if (bytes[at] !== QUOTE) return member === TS ? this.#number(at) : this.#none(member, at);
    const end = stringEnd(bytes, at + 1);
    if (end < 0 || end - at - 1 > MAX_ID_BYTES) return -1;
    if (member === TYPE) return this.#type(at + 1, end) ? end + 1 : -1;
    if (member === TS) return this.#time(instantOf(bytes, at + 1, end)) ? end + 1 : -1;
    this.#starts[member] = at + 1;
    this.#ends[member] = end;
    return end + 1;
  }

  #number(at: number): number {
    const end = digitsEnd(this.#bytes, at);
    return end >= 0 && this.#time(numberAt(this.#bytes, at, end)) ? end : -1;
  }

  #none(member: number, at: number): number {
    if (member === TYPE || !isNull(this.#bytes, at)) return -1;
    this.#starts[member] = this.#ends[member] = at;
    return at + 4;
  }

  #time(ms: number): boolean {
    this.#ts = ms;
    return ms >= CALENDAR_START_MS && ms < CALENDAR_END_MS;
  }

  #type(start: number, end: number): boolean {
    const bytes = this.#bytes;
    this.#isCreated = end - start === CREATED.length;
    if (this.#isCreated) return CREATED.every((byte, i) => bytes[start + i] === byte);
    if (end - start !== 4) return false;
    const word =
      bytes[start]! | (bytes[start + 1]! << 8) | (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24);
    return word === VIEW;
  }

  /** Writes the row of an event that was read; false when it lacks what every event needs. */
  #finish(seen: number, index: number): boolean {
    if ((seen & (1 << TYPE)) === 0 || !this.#has(this.#subject, seen)) return false;
    const { rows } = this;
    const row = rows.next();
    rows.indexes[row] = index;
    rows.ts[row] = (seen & (1 << TS)) === 0 ? this.#now : this.#ts;
    let flags = this.#isCreated ? FLAG_CREATED : 0;
    if (this.#writeViewer(row, !this.#isCreated && this.#has(VIEWER, seen))) flags |= FLAG_VIEWER;
    if (this.#writeId(row, this.#has(ID, seen))) flags |= FLAG_ID;
    rows.flags[row] = flags;
    for (let d = 0; d < this.tables.length; d++) {
      const member = FIRST_DIMENSION + d;
      rows.dims[d]![row] = this.#has(member, seen)
        ? this.tables[d]!.indexOf(this.#bytes, this.#starts[member]!, this.#ends[member]!)
        : 0;
    }
    rows.count = row + 1;
    return true;
  }

  #has(member: number, seen: number): boolean {
    return (seen & (1 << member)) !== 0 && this.#starts[member] !== this.#ends[member];
  }

  /** Whoever creates a blog has not viewed it: a viewer on "created" counts nowhere. */
  #writeViewer(row: number, has: boolean): boolean {
    const hash = this.#hash;
    if (has) this.#hashViewer(this.#bytes, this.#starts[VIEWER]!, this.#ends[VIEWER]!, hash, 0);
    this.rows.viewerLo[row] = has ? hash[0]! : 0;
    this.rows.viewerHi[row] = has ? hash[1]! & VIEWER_HIGH_BITS : 0;
    return has;
  }

  #writeId(row: number, has: boolean): boolean {
    const hash = this.#hash;
    if (has) hashBytes(this.#bytes, this.#starts[ID]!, this.#ends[ID]!, hash, 0);
    this.rows.idLo[row] = has ? hash[0]! : 0;
    this.rows.idHi[row] = has ? hash[1]! : 0;
    if (has) this.rows.anyId = true;
    return has;
  }
}
