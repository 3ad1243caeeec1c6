/** Keys, headers and dictionaries of segments: FORMAT.md, "Segment". */
import type { Position } from "../engine/log.js";
import type { ByteReader } from "./bytes.js";
import { damaged } from "./errors.js";
import { frame, unframe, type RecordKind } from "./frame.js";
import { logKey, positionOf } from "./keys.js";
import { malformed } from "./segment-model.js";

const HEADER: RecordKind = { magic: 0x53, version: 1 };
const GAP: RecordKind = { magic: 0x47, version: 1 };
const PART: RecordKind = { magic: 0x50, version: 1 };
const QUARANTINED: RecordKind = { magic: 0x51, version: 1 };
const INSTANT: RecordKind = { magic: 0x46, version: 1 };

/** First bytes of the keys of the `segments` database. */
export const HEADERS = 0;
export const BODIES = 1;
export const GAPS = 2;
export const QUARANTINE = 3;

/** Bytes of one value: LMDB needs free pages side by side for it, here 32. */
export const PART_BYTES = 128 * 1024 - 64;

/** Sections of a segment: the dictionary, then three of each block. */
export const DICTIONARY = 0;
export const RECORDS = 1;
export const VIEWERS = 2;
export const EVENTS = 3;
const BLOCK_SECTIONS = 3;

/** A block's section of a kind. */
export function sectionOf(block: number, kind: number): number {
  return block * BLOCK_SECTIONS + kind;
}

export interface BlockEntry {
  readonly records: number;
  readonly events: number;
  /** Viewers who appear first in this block. */
  readonly viewers: number;
  /** Times of its events; +∞ and −∞ when it has none. */
  readonly least: number;
  readonly greatest: number;
  /** Bytes of its sections, by kind − 1. */
  readonly sections: readonly number[];
}

/** What opening reads of a segment. */
export interface SegmentHeader {
  /** Positions `[from, to)`. */
  readonly from: Position;
  readonly to: Position;
  readonly events: number;
  readonly least: number;
  readonly greatest: number;
  /** Bytes of the dictionary. */
  readonly dictionary: number;
  readonly blocks: readonly BlockEntry[];
  /** Bytes of header and sections. */
  readonly sizeBytes: number;
}

/** Least bytes of a block in a header. */
const LEAST_BLOCK_BYTES = 3 + 16 + 3;

export function headerKey(from: Position): Uint8Array {
  return keyOf(HEADERS, from);
}

export function partKey(from: Position, section: number, part: number): Uint8Array {
  const tail = Buffer.alloc(6);
  tail.writeUInt32BE(section, 0);
  tail.writeUInt16BE(part, 4);
  return Buffer.concat([keyOf(BODIES, from), tail]);
}

export function gapKey(from: Position): Uint8Array {
  return keyOf(GAPS, from);
}

/** What had the key `key` and was damaged. */
export function quarantineKey(key: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(QUARANTINE), key]);
}

/** From the first to beyond the last key of a kind, or of what belongs to positions `[from, to)`. */
export function keyRange(
  kind: number,
  from?: Position,
  to?: Position,
): { start: Uint8Array; end: Uint8Array } {
  return {
    start: from === undefined ? Uint8Array.of(kind) : keyOf(kind, from),
    end: to === undefined ? Uint8Array.of(kind + 1) : keyOf(kind, to),
  };
}

/** The position in a key of any kind but `QUARANTINE`. */
export function fromOf(key: Uint8Array): Position {
  return positionOf(key.subarray(1));
}

function keyOf(kind: number, position: Position): Uint8Array {
  return Buffer.concat([Uint8Array.of(kind), logKey(position)]);
}

export function encodeHeader(header: Omit<SegmentHeader, "sizeBytes">): Uint8Array {
  return frame(HEADER, headerKey(header.from), (writer) => {
    writer.varint(header.to - header.from);
    writer.varint(header.events);
    writer.f64(header.least);
    writer.f64(header.greatest);
    writer.varint(header.dictionary);
    writer.varint(header.blocks.length);
    for (const block of header.blocks) {
      writer.varint(block.records);
      writer.varint(block.events);
      writer.varint(block.viewers);
      writer.f64(block.least);
      writer.f64(block.greatest);
      for (const bytes of block.sections) writer.varint(bytes);
    }
  });
}

export function decodeHeader(from: Position, bytes: Uint8Array): SegmentHeader {
  return unframe(HEADER, headerKey(from), bytes, `The segment at ${from}`, (reader) => {
    const records = reader.varint();
    const events = reader.varint();
    const [least, greatest] = [reader.f64(), reader.f64()];
    const dictionary = reader.varint();
    const blocks = Array.from({ length: reader.count(LEAST_BLOCK_BYTES) }, () => readBlock(reader));
    const header = { from, to: from + records, events, least, greatest, dictionary, blocks };
    if (sumOf(blocks, "records") !== records || sumOf(blocks, "events") !== events) throw malformed();
    return { ...header, sizeBytes: bytes.length + bodyBytes(header) };
  });
}

function readBlock(reader: ByteReader): BlockEntry {
  const [records, events, viewers] = [reader.varint(), reader.varint(), reader.varint()];
  const [least, greatest] = [reader.f64(), reader.f64()];
  const sections = Array.from({ length: BLOCK_SECTIONS }, () => reader.varint());
  return { records, events, viewers, least, greatest, sections };
}

function sumOf(blocks: readonly BlockEntry[], what: "records" | "events"): number {
  return blocks.reduce((sum, block) => sum + block[what], 0);
}

function bodyBytes({ dictionary, blocks }: Pick<SegmentHeader, "dictionary" | "blocks">): number {
  return blocks.reduce((sum, { sections }) => sum + sections.reduce((a, b) => a + b, 0), dictionary);
}

/** Bytes of a section. */
export function sectionBytes({ dictionary, blocks }: SegmentHeader, section: number): number {
  if (section === DICTIONARY) return dictionary;
  const block = blocks[Math.floor((section - 1) / BLOCK_SECTIONS)]!;
  return block.sections[(section - 1) % BLOCK_SECTIONS]!;
}

/** A section as values: at most `PART_BYTES` each, at least one. */
export function* partsOf(
  from: Position,
  section: number,
  bytes: Uint8Array,
): Generator<[Uint8Array, Uint8Array]> {
  for (let part = 0; part === 0 || part * PART_BYTES < bytes.length; part++) {
    const key = partKey(from, section, part);
    const content = bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
    yield [key, frame(PART, key, (writer) => writer.raw(content))];
  }
}

/** Puts a section together. `valueOf` gives the value of a key, or undefined when it is missing. */
export function readSection(
  header: SegmentHeader,
  section: number,
  valueOf: (key: Uint8Array) => Uint8Array | undefined,
): Uint8Array {
  const size = sectionBytes(header, section);
  const what = `Section ${section} of the segment at ${header.from}`;
  const bytes = new Uint8Array(size);
  for (let part = 0, at = 0; part === 0 || at < size; part++, at += PART_BYTES) {
    const key = partKey(header.from, section, part);
    const value = valueOf(key);
    if (value === undefined) throw damaged(what, "is missing");
    unframe(PART, key, value, what, (reader) => {
      const length = Math.min(PART_BYTES, size - at);
      const start = reader.skip(length);
      bytes.set(value.subarray(start, start + length), at);
    });
  }
  return bytes;
}

/** What was found damaged, as it was found. */
export function encodeQuarantined(key: Uint8Array, value: Uint8Array): Uint8Array {
  return frame(QUARANTINED, key, (writer) => writer.raw(value));
}

export interface GapRecord {
  readonly to: Position;
  readonly fromMs: number;
  readonly toMs: number;
}

export function encodeGap(from: Position, { to, fromMs, toMs }: GapRecord): Uint8Array {
  return frame(GAP, gapKey(from), (writer) => {
    writer.varint(to - from);
    writer.f64(fromMs);
    writer.f64(toMs);
  });
}

export function decodeGap(from: Position, bytes: Uint8Array): GapRecord {
  return unframe(GAP, gapKey(from), bytes, `The gap at ${from}`, (reader) => ({
    to: from + reader.varint(),
    fromMs: reader.f64(),
    toMs: reader.f64(),
  }));
}

export function encodeInstant(key: Uint8Array, ms: number): Uint8Array {
  return frame(INSTANT, key, (writer) => writer.f64(ms));
}

export function decodeInstant(key: Uint8Array, bytes: Uint8Array, what: string): number {
  return unframe(INSTANT, key, bytes, what, (reader) => reader.f64());
}
