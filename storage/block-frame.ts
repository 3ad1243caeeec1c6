/** Header, index and groups of a cell block, which both versions share: FORMAT.md, "Cell block". */
import type { Sliced } from "../engine/sliced.js";
import { ByteReader } from "./bytes.js";
import { crc32c } from "./crc32c.js";
import { damaged, wrongVersion } from "./errors.js";

export const MAGIC = 0x42;
export const PACKED_VERSION = 1;
export const VERSION = 2;

/** Magic, version, rollup, arity; rows, tokens, dense rows, groups, bytes of all groups. */
const HEADER_BYTES = 24;
/** Place, checksum and first row of a group, before its first key. */
const INDEX_ENTRY_BYTES = 12;
/** To copy and sum up so many takes about as long as to encode a row. */
const BYTES_OF_ROW = 64;

/** What a block says of itself before any row. */
export interface Header {
  readonly version: number;
  readonly rollup: number;
  readonly arity: number;
  readonly count: number;
  readonly tokens: number;
  readonly dense: number;
  readonly groups: number;
  /** Where the groups begin. */
  readonly area: number;
}

/** A reader of one group, which was checked, and the group's rows. */
export interface Group {
  readonly number: number;
  readonly group: ByteReader;
  readonly from: number;
  readonly to: number;
}

/** A group that is being written: its first row, and its bytes in pieces. */
export interface NewGroup {
  readonly from: number;
  readonly parts: readonly Uint8Array[];
}

export function* writeFrame(
  { rollup, arity, count, tokens, dense }: Omit<Header, "version" | "groups" | "area">,
  keys: Uint32Array,
  groups: readonly NewGroup[],
): Sliced<Uint8Array> {
  const indexEnd = entryAt(arity, groups.length);
  const area = indexEnd + 4;
  const size = groups.reduce((sum, { parts }) => parts.reduce((all, { length }) => all + length, sum), 0);
  const taken = new Uint8Array(area + size);
  const bytes = Buffer.from(taken.buffer);
  let end = area;
  for (const [number, { from, parts }] of groups.entries()) {
    const start = end;
    for (const part of parts) {
      taken.set(part, end);
      end += part.length;
    }
    let at = entryAt(arity, number);
    at = bytes.writeUInt32LE(start - area, at);
    at = bytes.writeUInt32LE(crc32c(taken, start, end), at);
    at = bytes.writeUInt32LE(from, at);
    for (let i = 0; i < arity; i++) at = bytes.writeUInt32LE(keys[from * arity + i]!, at);
    yield (end - start) / BYTES_OF_ROW;
  }
  taken.set([MAGIC, VERSION, rollup, arity]);
  [count, tokens, dense, groups.length, size].forEach((value, i) => bytes.writeUInt32LE(value, 4 + 4 * i));
  bytes.writeUInt32LE(crc32c(taken, 0, indexEnd), indexEnd);
  return taken;
}

/** Where the index entry of a group begins; of the group after the last: where the index ends. */
export function entryAt(arity: number, number: number): number {
  return HEADER_BYTES + number * (INDEX_ENTRY_BYTES + 4 * arity);
}

/** `leastBits`: what a header of a version must have room for. */
export function readHeader({ bytes, what, end }: ByteReader, leastBits: (header: Header) => number): Header {
  if (end < HEADER_BYTES + 4) throw damaged(what, "is too short");
  const arity = bytes[3]!;
  const [count, tokens, dense, groups, size] = [4, 8, 12, 16, 20].map((at) => bytes.readUInt32LE(at));
  const indexEnd = entryAt(arity, groups!);
  const area = indexEnd + 4;
  if (area > end || bytes.readUInt32LE(indexEnd) !== crc32c(bytes, 0, indexEnd)) {
    throw damaged(what, "fails its checksum");
  }
  const [magic, version, rollup] = bytes;
  if (magic !== MAGIC) throw damaged(what, "is another kind of record");
  if (version !== VERSION && version !== PACKED_VERSION) throw wrongVersion(what, version!, VERSION);
  const header = {
    version,
    rollup: rollup!,
    arity,
    count: count!,
    tokens: tokens!,
    dense: dense!,
    groups: groups!,
    area,
  };
  if (size !== end - area || size * 8 < leastBits(header)) throw damaged(what, "is not as long as it says");
  return header;
}

/** The checksum of header and index, which hold those of the groups. */
export function frameChecksum({ bytes, what, end }: ByteReader): number {
  if (end < HEADER_BYTES + 4) throw damaged(what, "is too short");
  const indexEnd = entryAt(bytes[3]!, bytes.readUInt32LE(16));
  if (indexEnd + 4 > end || bytes.readUInt32LE(indexEnd) !== crc32c(bytes, 0, indexEnd)) {
    throw damaged(what, "fails its checksum");
  }
  return bytes.readUInt32LE(indexEnd);
}

export function groupAt(
  { bytes, what, end }: ByteReader,
  { arity, area, groups, count }: Header,
  number: number,
): Group {
  const entry = entryAt(arity, number);
  const next = number + 1 < groups ? entryAt(arity, number + 1) : undefined;
  const start = area + bytes.readUInt32LE(entry);
  const stop = next === undefined ? end : area + bytes.readUInt32LE(next);
  if (start > stop || stop > end || bytes.readUInt32LE(entry + 4) !== crc32c(bytes, start, stop)) {
    throw damaged(what, "fails its checksum");
  }
  const group = new ByteReader(bytes, what, start, stop);
  const from = bytes.readUInt32LE(entry + 8);
  const to = next === undefined ? count : bytes.readUInt32LE(next + 8);
  if (from > to || to > count) throw group.broken();
  return { number, group, from, to };
}

/** All groups in order, which have each of the block's rows once. */
export function* groupsOf(reader: ByteReader, header: Header): Generator<Group> {
  let done = 0;
  for (let number = 0; number < header.groups; number++) {
    const group = groupAt(reader, header, number);
    if (group.from !== done || group.from === group.to) throw reader.broken();
    done = group.to;
    yield group;
  }
  if (done !== header.count) throw reader.broken();
}

/** Copies the first key of a group to `keys` from `at` on. */
export function readFirstKey(
  { bytes }: ByteReader,
  { arity }: Header,
  number: number,
  keys: Uint32Array,
  at: number,
): void {
  const entry = entryAt(arity, number) + INDEX_ENTRY_BYTES;
  for (let i = 0; i < arity; i++) keys[at + i] = bytes.readUInt32LE(entry + 4 * i);
}

/** How the first key of a group compares with one that is as long or shorter. */
export function compareFirstKey(
  { bytes }: ByteReader,
  { arity }: Header,
  number: number,
  prefix: Uint32Array,
): number {
  const entry = entryAt(arity, number) + INDEX_ENTRY_BYTES;
  for (let i = 0; i < prefix.length; i++) {
    const difference = bytes.readUInt32LE(entry + 4 * i) - prefix[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The first group that can hold a key that begins with `prefix`; −1 when there is none. */
export function findGroup(reader: ByteReader, header: Header, prefix: Uint32Array): number {
  let low = 0;
  let high = header.groups;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareFirstKey(reader, header, middle, prefix) < 0) low = middle + 1;
    else high = middle;
  }
  // The group begins with the very key, or else rows with the prefix may end the group before.
  const isFirst = low < header.groups && prefix.length === header.arity;
  if (isFirst && compareFirstKey(reader, header, low, prefix) === 0) return low;
  return low > 0 ? low - 1 : header.groups > 0 && prefix.length < header.arity ? 0 : -1;
}
