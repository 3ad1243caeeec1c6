/** The bytes of everything in the store but cell blocks: FORMAT.md. */
import type { BucketHead, StoreMeta } from "../engine/store.js";
import type { ByteReader, ByteWriter } from "./bytes.js";
import { frame, unframe, type RecordKind } from "./frame.js";

/** What a bucket's head knows of one of its blocks, so that a missing, old or foreign one is found out. */
export interface BlockEntry {
  readonly rollup: number;
  readonly rows: number;
  readonly sizeBytes: number;
  readonly checksum: number;
}

export interface HeadRecord extends BucketHead {
  readonly blocks: readonly BlockEntry[];
}

/** How much there is of what is found by ranges. */
export interface Counts {
  readonly buckets: number;
  /** Per dimension: values of the dictionary. */
  readonly values: readonly number[];
  /** Per dimension: pages of remembered ids. */
  readonly rememberedPages: readonly number[];
}

export interface MetaRecord {
  readonly meta: StoreMeta;
  readonly counts: Counts;
}

/** Values of one page of a dictionary. */
export const PAGE_VALUES = 256;
/** Subjects of one page of remembered ids. */
export const PAGE_SUBJECTS = 1024;

const HEAD: RecordKind = { magic: 0x48, version: 1 };
const META: RecordKind = { magic: 0x4d, version: 1 };
const NUMBER: RecordKind = { magic: 0x4e, version: 1 };
const TEXTS: RecordKind = { magic: 0x54, version: 1 };
const IDS: RecordKind = { magic: 0x49, version: 1 };

/** Least bytes of a block's entry in a head: rollup, rows, size, checksum. */
const LEAST_ENTRY_BYTES = 7;

export function encodeHead(key: Uint8Array, { revision, position, blocks }: HeadRecord): Uint8Array {
  return frame(HEAD, key, (writer) => {
    writer.varint(revision);
    writer.varint(position);
    writer.varint(blocks.length);
    for (const { rollup, rows, sizeBytes, checksum } of blocks) {
      writer.u8(rollup);
      writer.varint(rows);
      writer.varint(sizeBytes);
      writer.u32(checksum);
    }
  });
}

export function decodeHead(key: Uint8Array, bytes: Uint8Array, what: string): HeadRecord {
  return unframe(HEAD, key, bytes, what, (reader) => {
    const revision = reader.varint();
    const position = reader.varint();
    const blocks: BlockEntry[] = [];
    for (let left = reader.count(LEAST_ENTRY_BYTES); left > 0; left--) {
      const rollup = reader.u8();
      const rows = reader.varint();
      blocks.push({ rollup, rows, sizeBytes: reader.varint(), checksum: reader.u32() });
    }
    return { revision, position, blocks };
  });
}

export function encodeMeta(key: Uint8Array, { meta, counts }: MetaRecord): Uint8Array {
  return frame(META, key, (writer) => {
    writer.text(meta.schema);
    writer.varint(meta.generation);
    writer.varint(meta.position);
    writer.f64(meta.watermark);
    writer.varint(meta.dedupeFrom);
    const sealed = Object.entries(meta.sealedUntil);
    writer.varint(sealed.length);
    for (const [calendar, until] of sealed) {
      writer.text(calendar);
      writer.f64(until);
    }
    writer.varint(counts.buckets);
    writeVarints(writer, counts.values);
    writeVarints(writer, counts.rememberedPages);
  });
}

export function decodeMeta(key: Uint8Array, bytes: Uint8Array): MetaRecord {
  return unframe(META, key, bytes, "The store's meta record", (reader) => {
    const schema = reader.text();
    const generation = reader.varint();
    const position = reader.varint();
    const watermark = reader.f64();
    const dedupeFrom = reader.varint();
    const sealed: [string, number][] = [];
    for (let left = reader.count(9); left > 0; left--) sealed.push([reader.text(), reader.f64()]);
    const sealedUntil = Object.fromEntries(sealed);
    const buckets = reader.varint();
    const counts = { buckets, values: readVarints(reader), rememberedPages: readVarints(reader) };
    return { meta: { schema, generation, position, watermark, sealedUntil, dedupeFrom }, counts };
  });
}

/** A record that is one whole number: the generation, the log's first position. */
export function encodeNumber(key: Uint8Array, value: number): Uint8Array {
  return frame(NUMBER, key, (writer) => writer.varint(value));
}

export function decodeNumber(key: Uint8Array, bytes: Uint8Array, what: string): number {
  return unframe(NUMBER, key, bytes, what, (reader) => reader.varint());
}

/** A record that is a list of texts: a page of a dictionary, the names of the calendars. */
export function encodeTexts(key: Uint8Array, texts: readonly string[]): Uint8Array {
  return frame(TEXTS, key, (writer) => {
    writer.varint(texts.length);
    for (const text of texts) writer.text(text);
  });
}

export function decodeTexts(key: Uint8Array, bytes: Uint8Array, what: string): string[] {
  return unframe(TEXTS, key, bytes, what, (reader) => {
    const texts: string[] = [];
    for (let left = reader.count(1); left > 0; left--) texts.push(reader.text());
    return texts;
  });
}

/** A page of remembered ids: exactly `PAGE_SUBJECTS`. */
export function encodeIds(key: Uint8Array, ids: Uint32Array): Uint8Array {
  return frame(IDS, key, (writer) => {
    for (let i = 0; i < PAGE_SUBJECTS; i++) writer.varint(ids[i]!);
  });
}

export function decodeIds(key: Uint8Array, bytes: Uint8Array, what: string): Uint32Array {
  return unframe(IDS, key, bytes, what, (reader) => {
    const ids = new Uint32Array(PAGE_SUBJECTS);
    for (let i = 0; i < PAGE_SUBJECTS; i++) ids[i] = reader.varint();
    return ids;
  });
}

function writeVarints(writer: ByteWriter, values: readonly number[]): void {
  writer.varint(values.length);
  for (const value of values) writer.varint(value);
}

function readVarints(reader: ByteReader): number[] {
  const values: number[] = [];
  for (let left = reader.count(1); left > 0; left--) values.push(reader.varint());
  return values;
}
