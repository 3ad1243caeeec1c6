/**
 * The floor under the way from NDJSON bytes to cells: what a good JavaScript programmer writes in an hour for lines that
 * are known to be good and to have their members in one order. Values are found by their quotes, interned by a hash of
 * their bytes, viewers hashed as the engine hashes them, and all of it goes into the bare fold (bench/bare-fold.ts).
 * Nothing is checked: neither JSON nor UTF-8 nor limits nor times.
 */
import { hashBytes } from "../engine/sketch/murmur3.js";
import { tokenOf } from "../engine/sketch/token.js";
import { bareFold, type BareCells } from "./bare-fold.js";
import type { Workload } from "./workload.js";

const QUOTE = 0x22;
/** What stands between two values: `,"ts":`, `,"blog":"`, … */
const TO_TS = '{"type":"view","ts":'.length;
const TO_BLOG = ',"blog":"'.length;
const TO_AUTHOR = '","author":"'.length;
const TO_COUNTRY = '","country":"'.length;
const TO_VIEWER = '","viewer":"'.length;
const TO_END = '"}\n'.length;
const COMMA = 0x2c;

/** `events`: how many the bodies hold. The fold's tables have 2^`tableBits` pairs and half as many cells. */
export function bareBytes(bodies: readonly Uint8Array[], events: number, tableBits: number): BareCells {
  const rows: Workload = {
    count: events,
    ts: new Float64Array(events),
    blog: new Uint32Array(events),
    author: new Uint32Array(events),
    country: new Uint32Array(events),
    viewer: new Uint32Array(0),
  };
  const tokens = new Uint32Array(events);
  const tables = [new Names(), new Names(), new Names()] as const;
  let row = 0;
  for (const body of bodies) row = scan(body, row, rows, tokens, tables);
  return bareFold(rows, tokens, tableBits, tableBits - 1);
}

function scan(
  bytes: Uint8Array,
  row: number,
  rows: Workload,
  tokens: Uint32Array,
  [blogs, authors, countries]: readonly [Names, Names, Names],
): number {
  const hash = new Uint32Array(2);
  for (let at = 0; at < bytes.length; row++) {
    at += TO_TS;
    let ts = 0;
    for (; bytes[at] !== COMMA; at++) ts = ts * 10 + bytes[at]! - 48;
    rows.ts[row] = ts;
    let start = at + TO_BLOG;
    for (at = start; bytes[at] !== QUOTE; at++);
    rows.blog[row] = blogs.idOf(bytes, start, at);
    start = at + TO_AUTHOR;
    for (at = start; bytes[at] !== QUOTE; at++);
    rows.author[row] = authors.idOf(bytes, start, at);
    start = at + TO_COUNTRY;
    for (at = start; bytes[at] !== QUOTE; at++);
    rows.country[row] = countries.idOf(bytes, start, at);
    start = at + TO_VIEWER;
    for (at = start; bytes[at] !== QUOTE; at++);
    hashBytes(bytes, start, at, hash, 0);
    tokens[row] = tokenOf(hash[0]!, hash[1]! & 0xffff);
    at += TO_END;
  }
  return row;
}

/** Names as small numbers, by their bytes: up to 16,000 of up to 16 bytes. */
class Names {
  readonly #slots = new Int32Array(2 ** 16).fill(-1);
  readonly #hashes = new Int32Array(2 ** 14);
  readonly #bytes = new Uint8Array(2 ** 18);
  readonly #lengths = new Uint8Array(2 ** 14);
  #count = 0;

  idOf(bytes: Uint8Array, start: number, end: number): number {
    let hash = 0x811c_9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x0100_0193);
    let slot = (hash ^ (hash >>> 15)) & 0xffff;
    for (;;) {
      const id = this.#slots[slot]!;
      if (id < 0) break;
      if (this.#hashes[id] === hash && this.#isSame(id, bytes, start, end)) return id;
      slot = (slot + 1) & 0xffff;
    }
    const id = this.#count++;
    this.#slots[slot] = id;
    this.#hashes[id] = hash;
    this.#lengths[id] = end - start;
    this.#bytes.set(bytes.subarray(start, end), id * 16);
    return id;
  }

  #isSame(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#lengths[id] !== end - start) return false;
    for (let i = start; i < end; i++) if (bytes[i] !== this.#bytes[id * 16 + i - start]) return false;
    return true;
  }
}
