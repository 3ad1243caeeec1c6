/** The bytes of a log record: FORMAT.md, "Log record". */
import { FLAG_ID, FLAG_VIEWER, type EventBatch, type LogRecord, type Position } from "../engine/log.js";
import { ByteReader, type ByteWriter } from "./bytes.js";
import { frame, unframe, type RecordKind } from "./frame.js";
import { logKey } from "./keys.js";

/** Version 1 had no backfill. */
const KIND: RecordKind = { magic: 0x4c, version: 2, oldest: 1 };

const HAS_IDS = 1;
const HAS_CLAIM = 2;
const IS_BACKFILL = 4;
/** By version: the bits that `has` may have. */
const KNOWN_BITS: Readonly<Record<number, number>> = { 1: 3, 2: 7 };

/** Flags of one event: four bits of a shared byte. */
const MAX_FLAGS = 15;
/** ms; so that the zigzag form of every difference of two times is a varint. */
const MAX_TIME_MS = 2 ** 51;
/** The least an event takes: one byte of its time. */
const LEAST_EVENT_BYTES = 1;

const FLAGS_SHARED = 0;
const FLAGS_PACKED = 1;

export function encodeRecord(position: Position, record: LogRecord): Uint8Array {
  return frame(KIND, logKey(position), (writer) => writeRecord(writer, record));
}

/** Throws `storage-damaged` or `storage-version`. The columns are exactly as long as the batch. */
export function decodeRecord(position: Position, bytes: Uint8Array): LogRecord {
  return unframe(KIND, logKey(position), bytes, `Log record ${position}`, readRecord);
}

function writeRecord(writer: ByteWriter, { receivedAt, events, claim, backfill }: LogRecord): void {
  writer.f64(receivedAt);
  writer.u8(
    (events.idLo === undefined ? 0 : HAS_IDS) |
      (claim === undefined ? 0 : HAS_CLAIM) |
      (backfill === true ? IS_BACKFILL : 0),
  );
  writer.varint(events.count);
  writer.varint(events.values.length);
  for (const values of events.values) {
    writer.varint(values.length);
    for (const value of values) writer.text(value);
  }
  writeFlags(writer, events);
  writeTimes(writer, events);
  events.values.forEach((values, d) => writeDimension(writer, events.dims[d]!, events.count, values.length));
  writeViewers(writer, events);
  if (events.idLo !== undefined) writeIds(writer, events, events.idLo, events.idHi!);
  if (claim === undefined) return;
  writer.text(claim.key);
  writer.text(claim.bodyHash);
  writer.text(claim.reply);
}

function readRecord(reader: ByteReader, version: number): LogRecord {
  const receivedAt = reader.f64();
  const content = reader.u8();
  if ((content & ~KNOWN_BITS[version]!) !== 0) throw reader.broken();
  const count = reader.count(LEAST_EVENT_BYTES);
  const values = readValues(reader);
  const flags = readFlags(reader, count);
  const ts = readTimes(reader, count);
  const dims = values.map((list) => readDimension(reader, count, list.length));
  const events = { count, flags, ts, dims, values, ...readViewers(reader, flags) };
  const batch = (content & HAS_IDS) === 0 ? events : { ...events, ...readIds(reader, flags) };
  const backfill = (content & IS_BACKFILL) === 0 ? {} : { backfill: true };
  if ((content & HAS_CLAIM) === 0) return { receivedAt, events: batch, ...backfill };
  const claim = { key: reader.text(), bodyHash: reader.text(), reply: reader.text() };
  return { receivedAt, events: batch, claim, ...backfill };
}

/** How many events a stored record has, and when it was received; its checksum is not looked at. */
export function peekRecord(position: Position, bytes: Uint8Array): { receivedAt: number; events: number } {
  const reader = new ByteReader(bytes, `Log record ${position}`, 2);
  const receivedAt = reader.f64();
  reader.skip(1);
  return { receivedAt, events: reader.varint() };
}

function readValues(reader: ByteReader): string[][] {
  const values: string[][] = [];
  for (let dimensions = reader.count(1); dimensions > 0; dimensions--) {
    const list: string[] = [];
    for (let left = reader.count(1); left > 0; left--) list.push(reader.text());
    values.push(list);
  }
  return values;
}

/** One byte when all events have the same flags, else two events to a byte, the first in the low half. */
function writeFlags(writer: ByteWriter, { flags, count }: EventBatch): void {
  let all = 0;
  let same = 1;
  for (let i = 0; i < count; i++) {
    all |= flags[i]!;
    same &= Number(flags[i] === flags[0]);
  }
  if (all > MAX_FLAGS) throw new Error(`BUG: unknown event flags ${all}`);
  writer.u8(same === 1 ? FLAGS_SHARED : FLAGS_PACKED);
  if (same === 1) {
    writer.u8(all);
    return;
  }
  writer.reserve(count);
  let at = writer.length;
  for (let i = 0; i + 1 < count; i += 2) writer.bytes[at++] = flags[i]! | (flags[i + 1]! << 4);
  if ((count & 1) === 1) writer.bytes[at++] = flags[count - 1]!;
  writer.length = at;
}

function readFlags(reader: ByteReader, count: number): Uint8Array {
  const flags = new Uint8Array(count);
  if (reader.u8() === FLAGS_SHARED) return flags.fill(reader.u8());
  const at = reader.skip((count + 1) >>> 1);
  for (let i = 0; i < count; i++) flags[i] = (reader.bytes[at + (i >>> 1)]! >>> ((i & 1) << 2)) & MAX_FLAGS;
  return flags;
}

/** Differences to the time before, the first to 0; zigzag, so that a small step back is small too. */
function writeTimes(writer: ByteWriter, { ts, count }: EventBatch): void {
  let before = 0;
  for (let i = 0; i < count; i++) {
    const time = ts[i]!;
    const step = time - before;
    before = time;
    if ((step & 63) === step) {
      writer.u8(step * 2);
      continue;
    }
    if (!Number.isInteger(time) || Math.abs(time) > MAX_TIME_MS)
      throw new Error(`BUG: ${time} is not a time in ms`);
    writer.varint(step < 0 ? -step * 2 - 1 : step * 2);
  }
}

function readTimes(reader: ByteReader, count: number): Float64Array {
  const ts = new Float64Array(count);
  let time = 0;
  for (let i = 0; i < count; i++) {
    const zigzag = reader.varint();
    time += zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    ts[i] = time;
  }
  return ts;
}

/** Bytes of one index into a dictionary of `values` values, of which 0 is "absent". */
function widthOf(values: number): 0 | 1 | 2 | 4 {
  if (values === 0) return 0;
  if (values < 1 << 8) return 1;
  return values < 1 << 16 ? 2 : 4;
}

function writeDimension(writer: ByteWriter, ids: Uint32Array, count: number, values: number): void {
  const width = widthOf(values);
  writer.reserve(count * width);
  const { bytes } = writer;
  let at = writer.length;
  let greatest = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    if (id > greatest) greatest = id;
    if (width === 1) bytes[at++] = id;
    else if (width === 2) {
      bytes[at] = id;
      bytes[at + 1] = id >>> 8;
      at += 2;
    } else if (width === 4) at = bytes.writeUInt32LE(id, at);
  }
  if (greatest > values) throw new Error(`BUG: an event has value ${greatest} of ${values}`);
  writer.length = at;
}

function readDimension(reader: ByteReader, count: number, values: number): Uint32Array {
  const ids = new Uint32Array(count);
  const width = widthOf(values);
  const { bytes } = reader;
  let at = reader.skip(count * width);
  if (width === 1) for (let i = 0; i < count; i++) ids[i] = bytes[at++]!;
  else if (width === 2) for (let i = 0; i < count; i++, at += 2) ids[i] = bytes[at]! | (bytes[at + 1]! << 8);
  else if (width === 4) for (let i = 0; i < count; i++, at += 4) ids[i] = bytes.readUInt32LE(at);
  return ids;
}

/** Six bytes for each event that has a viewer. */
function writeViewers(writer: ByteWriter, { flags, viewerLo, viewerHi, count }: EventBatch): void {
  writer.reserve(count * 6);
  const { bytes } = writer;
  let at = writer.length;
  for (let i = 0; i < count; i++) {
    if ((flags[i]! & FLAG_VIEWER) === 0) continue;
    writeWord(bytes, at, viewerLo[i]!);
    bytes[at + 4] = viewerHi[i]!;
    bytes[at + 5] = viewerHi[i]! >>> 8;
    at += 6;
  }
  writer.length = at;
}

function readViewers(
  reader: ByteReader,
  flags: Uint8Array,
): { viewerLo: Uint32Array; viewerHi: Uint16Array } {
  const viewerLo = new Uint32Array(flags.length);
  const viewerHi = new Uint16Array(flags.length);
  const { bytes } = reader;
  let at = reader.skip(6 * countFlag(flags, FLAG_VIEWER));
  for (let i = 0; i < flags.length; i++) {
    if ((flags[i]! & FLAG_VIEWER) === 0) continue;
    viewerLo[i] = readWord(bytes, at);
    viewerHi[i] = bytes[at + 4]! | (bytes[at + 5]! << 8);
    at += 6;
  }
  return { viewerLo, viewerHi };
}

/** Eight bytes for each event that has an id. */
function writeIds(
  writer: ByteWriter,
  { flags, count }: EventBatch,
  idLo: Uint32Array,
  idHi: Uint32Array,
): void {
  writer.reserve(count * 8);
  let at = writer.length;
  for (let i = 0; i < count; i++) {
    if ((flags[i]! & FLAG_ID) === 0) continue;
    writeWord(writer.bytes, at, idLo[i]!);
    writeWord(writer.bytes, at + 4, idHi[i]!);
    at += 8;
  }
  writer.length = at;
}

function readIds(reader: ByteReader, flags: Uint8Array): { idLo: Uint32Array; idHi: Uint32Array } {
  const idLo = new Uint32Array(flags.length);
  const idHi = new Uint32Array(flags.length);
  let at = reader.skip(8 * countFlag(flags, FLAG_ID));
  for (let i = 0; i < flags.length; i++) {
    if ((flags[i]! & FLAG_ID) === 0) continue;
    idLo[i] = readWord(reader.bytes, at);
    idHi[i] = readWord(reader.bytes, at + 4);
    at += 8;
  }
  return { idLo, idHi };
}

function countFlag(flags: Uint8Array, flag: number): number {
  let count = 0;
  for (let i = 0; i < flags.length; i++) if ((flags[i]! & flag) !== 0) count++;
  return count;
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
}

function readWord(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
