/**
 * The bytes of a cell block: FORMAT.md, "Cell block". Rows lie in groups; an index holds each group's place,
 * checksum and first key, so that one key is found by reading the index and one group.
 */
import type { CellBlock } from "../engine/store.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { checkBlock } from "./checks.js";
import { crc32c } from "./crc32c.js";
import { damaged, wrongVersion } from "./errors.js";
import { LEAST_PACKED_BYTES, readRegisters, writeRegisters } from "./registers.js";

const MAGIC = 0x42;
const VERSION = 1;

/** A group ends after so many rows, or so many bytes of sketches: it is read as a whole to find one key. */
export const GROUP_ROWS = 256;
const GROUP_SKETCH_BYTES = 32 * 1024;

/** Magic, version, rollup, arity; rows, tokens, dense rows, groups, bytes of all groups. */
const HEADER_BYTES = 24;
/** Place, checksum and first row of a group, before its first key. */
const INDEX_ENTRY_BYTES = 12;
/** The least that a row takes: one byte of views and one that says how long its sketch is. */
const LEAST_ROW_BYTES = 2;
/** The least that a token takes. */
const LEAST_TOKEN_BYTES = 2;

const HAS_ANONYMOUS = 1;
const HAS_CREATED = 2;

/** What a block says of itself before any row. */
interface Header {
  readonly rollup: number;
  readonly arity: number;
  readonly count: number;
  readonly tokens: number;
  readonly dense: number;
  readonly groups: number;
  /** Where the groups begin. */
  readonly area: number;
}

type Rows = Pick<CellBlock, "arity" | "keys" | "views" | "anonymous" | "created">;
type Sketches = { tokenStart: Uint32Array; tokens: Uint32Array; dense: Map<number, Uint8Array> };

const writer = new ByteWriter();
const sketches = new ByteWriter();

/** Throws `Error("BUG: …")` when the block is not what `CellBlock` promises. */
export function encodeBlock(block: CellBlock): Uint8Array {
  checkBlock(block);
  const { rollup, arity, count, keys, tokenStart, dense } = block;
  const starts = groupStarts(block);
  const indexEnd = entryAt(arity, starts.length);
  const area = indexEnd + 4;
  writer.length = 0;
  writer.reserve(area);
  writer.length = area;
  starts.forEach((from, number) => {
    const start = writer.length;
    writeGroup(block, from, starts[number + 1] ?? count);
    const { bytes } = writer;
    let at = entryAt(arity, number);
    at = bytes.writeUInt32LE(start - area, at);
    at = bytes.writeUInt32LE(crc32c(bytes, start, writer.length), at);
    at = bytes.writeUInt32LE(from, at);
    for (let i = 0; i < arity; i++) at = bytes.writeUInt32LE(keys[from * arity + i]!, at);
  });
  const { bytes } = writer;
  bytes.set([MAGIC, VERSION, rollup, arity]);
  const numbers = [count, tokenStart[count]!, dense.size, starts.length, writer.length - area];
  numbers.forEach((value, i) => bytes.writeUInt32LE(value, 4 + 4 * i));
  bytes.writeUInt32LE(crc32c(bytes, 0, indexEnd), indexEnd);
  return writer.take();
}

/** Throws `storage-damaged` or `storage-version`. `what` names the block in the sentence. */
export function decodeBlock(bytes: Uint8Array, what: string): CellBlock {
  const reader = new ByteReader(bytes, what);
  const header = readHeader(reader);
  const { rollup, arity, count, tokens, dense } = header;
  const block = { rollup, count, ...emptyRows(arity, count), ...emptySketches(count, tokens) };
  let done = 0;
  for (let number = 0; number < header.groups; number++) {
    const { group, from, to } = groupAt(reader, header, number);
    if (from !== done) throw reader.broken();
    done = to;
    readRows(group, block, from, to);
    readSketches(group, block, from, readSizes(group, to - from));
    group.finish();
  }
  if (done !== count || block.tokenStart[count] !== tokens || block.dense.size !== dense)
    throw reader.broken();
  return block;
}

/**
 * The one row whose key is `key`, as a block of its own, or undefined. Reads, and checks, the index and the one
 * group that can hold it. Errors as `decodeBlock`.
 */
export function decodeRow(bytes: Uint8Array, key: Uint32Array, what: string): CellBlock | undefined {
  const reader = new ByteReader(bytes, what);
  const header = readHeader(reader);
  const { rollup, arity } = header;
  if (key.length !== arity) throw new Error(`BUG: a key of ${key.length} ids for arity ${arity}`);
  const number = findGroup(reader, header, key);
  if (number < 0) return undefined;
  const { group, from, to } = groupAt(reader, header, number);
  const rows = emptyRows(arity, to - from);
  readRows(group, rows, 0, to - from);
  const row = findRow(rows, to - from, key);
  if (row < 0) return undefined;
  const sizes = readSizes(group, to - from);
  for (let i = 0; i < row; i++) group.skip(sizes[i]! >>> 1);
  const sketch = emptySketches(1, Math.ceil(sizes[row]! / 2 / LEAST_TOKEN_BYTES));
  readSketches(group, sketch, 0, sizes.subarray(row, row + 1));
  return {
    rollup,
    arity,
    count: 1,
    keys: key.slice(),
    views: rows.views.slice(row, row + 1),
    anonymous: rows.anonymous.slice(row, row + 1),
    created: rows.created.slice(row, row + 1),
    tokenStart: sketch.tokenStart,
    tokens: sketch.tokens.slice(0, sketch.tokenStart[1]),
    dense: sketch.dense,
  };
}

/** The checksum that stands for a whole block: that of its header and index, which hold those of the groups. */
export function blockChecksum(bytes: Uint8Array, what: string): number {
  const reader = new ByteReader(bytes, what);
  return reader.bytes.readUInt32LE(readHeader(reader).area - 4);
}

/** The first row of every group. */
function groupStarts({ count, tokenStart, dense }: CellBlock): number[] {
  const starts: number[] = [];
  let end = 0;
  let sketchBytes = 0;
  for (let row = 0; row < count; row++) {
    if (row === end || sketchBytes > GROUP_SKETCH_BYTES) {
      starts.push(row);
      end = row + GROUP_ROWS;
      sketchBytes = 0;
    }
    sketchBytes += dense.has(row) ? LEAST_PACKED_BYTES : 4 * (tokenStart[row + 1]! - tokenStart[row]!);
  }
  return starts;
}

/** Where the index entry of a group begins; of the group after the last: where the index ends. */
function entryAt(arity: number, number: number): number {
  return HEADER_BYTES + number * (INDEX_ENTRY_BYTES + 4 * arity);
}

function readHeader({ bytes, what, end }: ByteReader): Header {
  if (end < HEADER_BYTES + 4) throw damaged(what, "is too short");
  const arity = bytes[3]!;
  const [count, tokens, dense, groups, size] = [4, 8, 12, 16, 20].map((at) => bytes.readUInt32LE(at));
  const indexEnd = entryAt(arity, groups!);
  const area = indexEnd + 4;
  if (area > end || bytes.readUInt32LE(indexEnd) !== crc32c(bytes, 0, indexEnd)) {
    throw damaged(what, "fails its checksum");
  }
  if (bytes[0] !== MAGIC) throw damaged(what, "is another kind of record");
  if (bytes[1] !== VERSION) throw wrongVersion(what, bytes[1]!, VERSION);
  const least = count! * LEAST_ROW_BYTES + tokens! * LEAST_TOKEN_BYTES + dense! * LEAST_PACKED_BYTES;
  if (size !== end - area || size < least) throw damaged(what, "is not as long as it says");
  return { rollup: bytes[2]!, arity, count: count!, tokens: tokens!, dense: dense!, groups: groups!, area };
}

/** A reader of one group, which is checked, and the group's rows. */
function groupAt(
  { bytes, what, end }: ByteReader,
  { arity, area, groups, count }: Header,
  number: number,
): { group: ByteReader; from: number; to: number } {
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
  return { group, from, to };
}

/** The last group whose first key is not greater than `key`; −1 when there is none. */
function findGroup({ bytes }: ByteReader, { arity, groups }: Header, key: Uint32Array): number {
  let low = 0;
  let high = groups;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = entryAt(arity, middle) + INDEX_ENTRY_BYTES;
    let order = 0;
    for (let i = 0; i < arity && order === 0; i++) order = bytes.readUInt32LE(at + 4 * i) - key[i]!;
    if (order <= 0) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function findRow({ keys, arity }: Rows, count: number, key: Uint32Array): number {
  for (let row = 0; row < count; row++) {
    let i = 0;
    while (i < arity && keys[row * arity + i] === key[i]) i++;
    if (i === arity) return row;
  }
  return -1;
}

function emptyRows(arity: number, count: number): Rows {
  return {
    arity,
    keys: new Uint32Array(count * arity),
    views: new Float64Array(count),
    anonymous: new Float64Array(count),
    created: new Float64Array(count),
  };
}

function emptySketches(count: number, tokens: number): Sketches {
  return {
    tokenStart: new Uint32Array(count + 1),
    tokens: new Uint32Array(tokens),
    dense: new Map<number, Uint8Array>(),
  };
}

function writeGroup(block: CellBlock, from: number, to: number): void {
  const anonymous = anyCount(block.anonymous, from, to) ? HAS_ANONYMOUS : 0;
  const created = anyCount(block.created, from, to) ? HAS_CREATED : 0;
  writer.u8(anonymous | created);
  writeKeys(block, from, to);
  for (let row = from; row < to; row++) writer.varint(block.views[row]!);
  if (anonymous !== 0) for (let row = from; row < to; row++) writer.varint(block.anonymous[row]!);
  if (created !== 0) for (let row = from; row < to; row++) writer.varint(block.created[row]!);
  writeSketches(block, from, to);
}

function readRows(group: ByteReader, rows: Rows, from: number, to: number): void {
  const content = group.u8();
  readKeys(group, rows, from, to);
  for (let row = from; row < to; row++) rows.views[row] = group.varint();
  if ((content & HAS_ANONYMOUS) !== 0) {
    for (let row = from; row < to; row++) rows.anonymous[row] = group.varint();
  }
  if ((content & HAS_CREATED) !== 0) {
    for (let row = from; row < to; row++) rows.created[row] = group.varint();
  }
}

function anyCount(counters: Float64Array, from: number, to: number): boolean {
  for (let row = from; row < to; row++) if (counters[row] !== 0) return true;
  return false;
}

/** Each id as what it is greater by than in the row before, as long as all ids before it are the same there. */
function writeKeys({ keys, arity }: CellBlock, from: number, to: number): void {
  for (let row = from; row < to; row++) {
    let same = row > from;
    for (let i = row * arity; i < (row + 1) * arity; i++) {
      const step = same ? keys[i]! - keys[i - arity]! : keys[i]!;
      writer.varint(step);
      same &&= step === 0;
    }
  }
}

function readKeys(group: ByteReader, { keys, arity }: Rows, from: number, to: number): void {
  for (let row = from; row < to; row++) {
    let same = row > from;
    for (let i = row * arity; i < (row + 1) * arity; i++) {
      const step = group.varint();
      keys[i] = same ? keys[i - arity]! + step : step;
      same &&= step === 0;
    }
  }
}

/** The sizes of all sketches (in bytes, doubled; odd for registers), then the sketches. */
function writeSketches({ tokens, tokenStart, dense }: CellBlock, from: number, to: number): void {
  sketches.length = 0;
  for (let row = from; row < to; row++) {
    const start = sketches.length;
    const registers = dense.get(row);
    if (registers === undefined) writeTokens(tokens, tokenStart[row]!, tokenStart[row + 1]!);
    else writeRegisters(sketches, registers);
    writer.varint((sketches.length - start) * 2 + (registers === undefined ? 0 : 1));
  }
  writer.raw(sketches.bytes.subarray(0, sketches.length));
}

function readSizes(group: ByteReader, rows: number): Uint32Array {
  const sizes = new Uint32Array(rows);
  for (let i = 0; i < rows; i++) sizes[i] = group.varint();
  return sizes;
}

function readSketches(group: ByteReader, block: Sketches, from: number, sizes: Uint32Array): void {
  for (let i = 0; i < sizes.length; i++) {
    const row = from + i;
    const size = sizes[i]!;
    block.tokenStart[row + 1] = block.tokenStart[row]!;
    if ((size & 1) === 1) block.dense.set(row, readRegisters(group));
    else if (size > 0)
      block.tokenStart[row + 1] = readTokens(group, size >>> 1, block.tokens, block.tokenStart[row]!);
  }
}

/**
 * The first token as it is; each further one as the step from the one before, in two to five bytes: the lowest two
 * bits of the first byte tell how many follow the second. Steps between a few hashes need 26 to 31 bits, for which
 * LEB128 takes a byte more.
 */
function writeTokens(tokens: Uint32Array, start: number, end: number): void {
  if (start === end) return;
  sketches.u32(tokens[start]!);
  sketches.reserve((end - start) * 5);
  const { bytes } = sketches;
  let at = sketches.length;
  for (let i = start + 1; i < end; i++) {
    const step = tokens[i]! - tokens[i - 1]!;
    const more = step < 2 ** 14 ? 0 : step < 2 ** 22 ? 1 : step < 2 ** 30 ? 2 : 3;
    bytes[at++] = (step << 2) | more;
    bytes[at++] = step >>> 6;
    if (more > 0) bytes[at++] = step >>> 14;
    if (more > 1) bytes[at++] = step >>> 22;
    if (more > 2) bytes[at++] = step >>> 30;
  }
  sketches.length = at;
}

/** Reads the tokens of `size` bytes to `tokens` from `index` on; returns the index after the last. */
function readTokens(group: ByteReader, size: number, tokens: Uint32Array, index: number): number {
  let at = group.skip(size);
  const end = at + size;
  const { bytes } = group;
  if (size < 4) throw group.broken();
  let token = bytes.readUInt32LE(at);
  let next = index;
  tokens[next++] = token;
  for (at += 4; at < end;) {
    const first = bytes[at]!;
    const more = first & 3;
    let step = (first >>> 2) | (bytes[at + 1]! << 6);
    if (more > 0) step |= bytes[at + 2]! << 14;
    if (more > 1) step |= bytes[at + 3]! << 22;
    if (more > 2) step |= bytes[at + 4]! << 30;
    at += 2 + more;
    token = (token + step) >>> 0;
    tokens[next++] = token;
  }
  if (at !== end || next > tokens.length) throw group.broken();
  return next;
}
