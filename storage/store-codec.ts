/** The bytes of everything in the store but cell blocks: FORMAT.md. */
import { GRAINS } from "../engine/calendar/grain.js";
import type { BucketHead, Incomplete, Revision, RevisionReason, StoreMeta } from "../engine/store.js";
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
  /** Sum of the CRC32Cs of the keys of all bucket heads, modulo 2^32: a key that is damaged is another bucket's. */
  readonly headKeys: number;
  /** Per dimension: values of the dictionary. */
  readonly values: readonly number[];
  /** Per dimension: pages of remembered ids. */
  readonly rememberedPages: readonly number[];
  /** Numbers of the revisions that are kept: from the first to before the next. */
  readonly revisions: { readonly first: number; readonly next: number };
}

export interface MetaRecord {
  readonly meta: StoreMeta;
  readonly counts: Counts;
}

/** As read: before version 3 there was no sum of keys. */
export interface StoredMetaRecord {
  readonly meta: StoreMeta;
  readonly counts: Omit<Counts, "headKeys"> & { readonly headKeys: number | undefined };
}

/** Values of one page of a dictionary. */
export const PAGE_VALUES = 256;
/** Subjects of one page of remembered ids. */
export const PAGE_SUBJECTS = 1024;

const HEAD: RecordKind = { magic: 0x48, version: 1 };
/** Version 1 had neither reach nor revisions, version 2 no sum of keys. */
const META: RecordKind = { magic: 0x4d, version: 3, oldest: 1 };
const NUMBER: RecordKind = { magic: 0x4e, version: 1 };
const TEXTS: RecordKind = { magic: 0x54, version: 1 };
const IDS: RecordKind = { magic: 0x49, version: 1 };
const REVISION: RecordKind = { magic: 0x52, version: 1 };

/** By the number that stands for them. */
const REASONS: readonly RevisionReason[] = ["late", "backfill", "repair"];

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
    writeInstants(writer, meta.sealedUntil);
    writer.varint(counts.buckets);
    writeVarints(writer, counts.values);
    writeVarints(writer, counts.rememberedPages);
    writeInstants(writer, meta.reach);
    writeIncomplete(writer, meta.incomplete);
    writer.varint(counts.revisions.first);
    writer.varint(counts.revisions.next);
    writer.u32(counts.headKeys);
  });
}

export function decodeMeta(key: Uint8Array, bytes: Uint8Array): StoredMetaRecord {
  return unframe(META, key, bytes, "The store's meta record", (reader, version) => {
    const schema = reader.text();
    const generation = reader.varint();
    const position = reader.varint();
    const watermark = reader.f64();
    const dedupeFrom = reader.varint();
    const sealedUntil = readInstants(reader);
    const buckets = reader.varint();
    const values = readVarints(reader);
    const rememberedPages = readVarints(reader);
    const reach = version === 1 ? {} : readInstants(reader);
    const incomplete = version === 1 ? [] : readIncomplete(reader);
    const revisions = version === 1 ? NO_REVISIONS : { first: reader.varint(), next: reader.varint() };
    const headKeys = version < 3 ? undefined : reader.u32();
    const counts = { buckets, headKeys, values, rememberedPages, revisions };
    const meta = { schema, generation, position, watermark, sealedUntil, dedupeFrom, reach, incomplete };
    return { meta, counts };
  });
}

export const NO_REVISIONS: Counts["revisions"] = { first: 1, next: 1 };

/** `calendars`: the names that stand for numbers in keys. */
export function encodeRevision(
  key: Uint8Array,
  revision: Revision,
  calendars: readonly string[],
): Uint8Array {
  const { at, address, position, views, created, cells } = revision;
  return frame(REVISION, key, (writer) => {
    writer.f64(at);
    writer.varint(calendars.indexOf(address.calendar));
    writer.u8(GRAINS.indexOf(address.grain));
    writer.f64(address.startMs);
    writer.varint(revision.revision);
    writer.u8(REASONS.indexOf(revision.reason));
    writer.varint(position);
    writer.f64(views);
    writer.f64(created);
    writer.varint(cells);
  });
}

export function decodeRevision(
  key: Uint8Array,
  bytes: Uint8Array,
  seq: number,
  calendars: readonly string[],
): Revision {
  return unframe(REVISION, key, bytes, `Revision ${seq}`, (reader) => {
    const at = reader.f64();
    const calendar = calendars[reader.varint()];
    const grain = GRAINS[reader.u8()];
    const startMs = reader.f64();
    const revision = reader.varint();
    const reason = REASONS[reader.u8()];
    if (calendar === undefined || grain === undefined || reason === undefined) throw reader.broken();
    const address = { calendar, grain, startMs };
    const position = reader.varint();
    const views = reader.f64();
    const created = reader.f64();
    return { seq, at, address, revision, reason, position, views, created, cells: reader.varint() };
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

function writeInstants(writer: ByteWriter, instants: Readonly<Record<string, number>>): void {
  const entries = Object.entries(instants);
  writer.varint(entries.length);
  for (const [name, ms] of entries) {
    writer.text(name);
    writer.f64(ms);
  }
}

function readInstants(reader: ByteReader): Record<string, number> {
  const entries: [string, number][] = [];
  for (let left = reader.count(9); left > 0; left--) entries.push([reader.text(), reader.f64()]);
  return Object.fromEntries(entries);
}

/** The empty text stands for every tier. */
function writeIncomplete(writer: ByteWriter, list: readonly Incomplete[]): void {
  writer.varint(list.length);
  for (const { tier, fromMs, toMs } of list) {
    writer.text(tier ?? "");
    writer.f64(fromMs);
    writer.f64(toMs);
  }
}

function readIncomplete(reader: ByteReader): Incomplete[] {
  const list: Incomplete[] = [];
  for (let left = reader.count(17); left > 0; left--) {
    const tier = reader.text();
    list.push({ tier: tier === "" ? null : tier, fromMs: reader.f64(), toMs: reader.f64() });
  }
  return list;
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
