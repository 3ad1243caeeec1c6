/**
 * Keys of the named databases: FORMAT.md, "Keys". All are big-endian, so that LMDB's order of bytes is the order of
 * the numbers.
 */
import { GRAINS, type Grain } from "../engine/calendar/grain.js";
import { crc32c } from "./crc32c.js";

/** In the place of a rollup: the bucket's head. Greater than any rollup. */
export const HEAD = 0xff;

const BUCKET_KEY_BYTES = 12;
const WORD = 2 ** 32;
/** Moves every start, before 1970 too, into the whole numbers ≥ 0. */
const START_BIAS = 2 ** 52;

export function logKey(position: number): Uint8Array {
  const key = Buffer.alloc(8);
  writeUInt53(key, position, 0);
  return key;
}

export function positionOf(key: Uint8Array): number {
  return readUInt53(key, 0);
}

export function revisionKey(seq: number): Uint8Array {
  return logKey(seq);
}

/** One (calendar, grain, rollup) over time is one contiguous range. */
export function bucketKey(calendar: number, grain: Grain, rollup: number, startMs: number): Uint8Array {
  const key = Buffer.alloc(BUCKET_KEY_BYTES);
  key.writeUInt16BE(calendar, 0);
  key[2] = GRAINS.indexOf(grain);
  key[3] = rollup;
  writeUInt53(key, startMs + START_BIAS, 4);
  return key;
}

/** From the first to beyond the last of the bucket heads of one calendar and grain. */
export function headRange(calendar: number, grain: Grain): { start: Uint8Array; end: Uint8Array } {
  const start = bucketKey(calendar, grain, HEAD, -START_BIAS);
  const end = Buffer.from(start).fill(0xff, 4);
  return { start, end };
}

export function startOf(key: Uint8Array): number {
  return readUInt53(key, 4) - START_BIAS;
}

export const VALUES = 0x76;
export const REMEMBERED = 0x72;

/** The sum of the CRC32Cs of keys, modulo 2^32: of the same keys in any order it is the same. */
export function sumOfKeys(keys: Iterable<Uint8Array>): number {
  let sum = 0;
  for (const key of keys) sum = (sum + crc32c(key)) >>> 0;
  return sum;
}

/** A page of dictionary values (`VALUES`) or of remembered ids (`REMEMBERED`) of one dimension. */
export function pageKey(kind: number, dimension: number, page: number): Uint8Array {
  const key = Buffer.alloc(6);
  key[0] = kind;
  key[1] = dimension;
  key.writeUInt32BE(page, 2);
  return key;
}

export function pageOf(key: Uint8Array): number {
  return Buffer.from(key).readUInt32BE(2);
}

/** A single record of the `meta` database. */
export function metaKey(name: string): Uint8Array {
  return Buffer.from(name, "ascii");
}

function writeUInt53(key: Buffer, value: number, at: number): void {
  key.writeUInt32BE(Math.floor(value / WORD), at);
  key.writeUInt32BE(value % WORD, at + 4);
}

function readUInt53(key: Uint8Array, at: number): number {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  return bytes.readUInt32BE(at) * WORD + bytes.readUInt32BE(at + 4);
}
