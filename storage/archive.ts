/**
 * The cold archive: what a tier gives up, one file a chunk, which needs nothing else to be read. FORMAT.md,
 * "Archive file".
 */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { GRAINS } from "../engine/calendar/grain.js";
import type { LogEntry } from "../engine/log.js";
import type { BucketAddress, CellBlock, StoredBucket } from "../engine/store.js";
import type { Archive, ArchiveChunk } from "../engine/upkeep/archive.js";
import { decodeBlock, encodeBlock } from "./block-codec.js";
import type { ByteReader, ByteWriter } from "./bytes.js";
import { FIRST_VALUE_ID } from "./checks.js";
import { damaged } from "./errors.js";
import { frame, NO_KEY, unframe, type RecordKind } from "./frame.js";
import { decodeRecord, encodeRecord } from "./log-codec.js";
import { syncPath } from "./sync.js";

export const ARCHIVE_SUFFIX = ".tidemark";

const RAW: RecordKind = { magic: 0x61, version: 1 };
const BUCKETS: RecordKind = { magic: 0x62, version: 1 };

type RawChunk = Extract<ArchiveChunk, { kind: "raw" }>;
type BucketsChunk = Extract<ArchiveChunk, { kind: "buckets" }>;

/**
 * An archive in a directory, which is created if need be. A chunk that is written again replaces its file, so that
 * a crash between archive and store does no harm.
 */
export async function openArchive(directory: string): Promise<Archive> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    async write(chunk) {
      const path = join(directory, nameOf(chunk));
      await writeFile(`${path}.part`, encodeArchive(chunk), { mode: 0o600, flush: true });
      await rename(`${path}.part`, path);
      await syncPath(directory);
    },
  };
}

/** Rejects with `storage-damaged`, `storage-version`, or Node's error. */
export async function readArchive(path: string): Promise<ArchiveChunk> {
  return decodeArchive(await readFile(path), basename(path));
}

export function encodeArchive(chunk: ArchiveChunk): Uint8Array {
  return chunk.kind === "raw" ? encodeRaw(chunk) : encodeBuckets(chunk);
}

export function decodeArchive(bytes: Uint8Array, what: string): ArchiveChunk {
  if (bytes[0] === RAW.magic) return unframe(RAW, NO_KEY, bytes, what, readRaw);
  if (bytes[0] === BUCKETS.magic)
    return unframe(BUCKETS, NO_KEY, bytes, what, (reader) => readBuckets(reader, what));
  throw damaged(what, "is no archive of Tidemark");
}

function nameOf(chunk: ArchiveChunk): string {
  if (chunk.kind === "raw") {
    const [first, last] = [chunk.entries[0]!, chunk.entries.at(-1)!];
    return `raw-${first.position}-${last.position}${ARCHIVE_SUFFIX}`;
  }
  const { calendar, grain, startMs } = chunk.buckets[0]!.address;
  const start = new Date(startMs).toISOString().replaceAll(":", "");
  return `${calendar.replaceAll("/", "_")}-${grain}-${start}-${chunk.buckets.length}${ARCHIVE_SUFFIX}`;
}

function encodeRaw({ entries }: RawChunk): Uint8Array {
  const records = entries.map(({ position, record }) => encodeRecord(position, record));
  return frame(RAW, NO_KEY, (writer) => {
    writer.varint(entries.length);
    entries.forEach(({ position }, i) => {
      writer.varint(position);
      writeBytes(writer, records[i]!);
    });
  });
}

function readRaw(reader: ByteReader): RawChunk {
  const entries: LogEntry[] = [];
  for (let left = reader.count(2); left > 0; left--) {
    const position = reader.varint();
    entries.push({ position, record: decodeRecord(position, readBytes(reader)) });
  }
  return { kind: "raw", entries };
}

function encodeBuckets({ buckets, rollups, dims, values }: BucketsChunk): Uint8Array {
  const used = usedIds(buckets, dims, values.length);
  const blocks = buckets.map((bucket) =>
    bucket.blocks.map((block) => encodeBlock(renumbered(block, dims[block.rollup]!, used))),
  );
  return frame(BUCKETS, NO_KEY, (writer) => {
    writer.varint(rollups.length);
    rollups.forEach((name, rollup) => {
      writer.text(name);
      writer.varint(dims[rollup]!.length);
      for (const dimension of dims[rollup]!) writer.varint(dimension);
    });
    writer.varint(values.length);
    values.forEach((list, dimension) => {
      const ids = [...used[dimension]!.keys()];
      writer.varint(ids.length);
      for (const id of ids) writer.text(list[id - FIRST_VALUE_ID]!);
    });
    writer.varint(buckets.length);
    buckets.forEach(({ address, head }, i) => {
      writeAddress(writer, address);
      writer.varint(head.revision);
      writer.varint(head.position);
      writer.varint(blocks[i]!.length);
      for (const bytes of blocks[i]!) writeBytes(writer, bytes);
    });
  });
}

function readBuckets(reader: ByteReader, what: string): BucketsChunk {
  const rollups: string[] = [];
  const dims: number[][] = [];
  for (let left = reader.count(2); left > 0; left--) {
    rollups.push(reader.text());
    dims.push(Array.from({ length: reader.count(1) }, () => reader.varint()));
  }
  const values = Array.from({ length: reader.count(1) }, () =>
    Array.from({ length: reader.count(1) }, () => reader.text()),
  );
  const buckets: StoredBucket[] = [];
  for (let left = reader.count(11); left > 0; left--) {
    const address = readAddress(reader);
    const head = { revision: reader.varint(), position: reader.varint() };
    const blocks = Array.from({ length: reader.count(1) }, () => decodeBlock(readBytes(reader), what));
    buckets.push({ address, head, blocks });
  }
  return { kind: "buckets", buckets, rollups, dims, values };
}

/** Per dimension: the ids that blocks use → their numbers in the file, in the same order. */
function usedIds(
  buckets: readonly StoredBucket[],
  dims: BucketsChunk["dims"],
  dimensions: number,
): ReadonlyMap<number, number>[] {
  const used = Array.from({ length: dimensions }, () => new Set<number>());
  for (const { blocks } of buckets) {
    for (const { rollup, keys, arity } of blocks) {
      for (let i = 0; i < keys.length; i++) {
        if (keys[i]! >= FIRST_VALUE_ID) used[dims[rollup]![i % arity]!]!.add(keys[i]!);
      }
    }
  }
  return used.map((ids) => new Map([...ids].sort((a, b) => a - b).map((id, i) => [id, i + FIRST_VALUE_ID])));
}

/** Numbers keep their order, so that rows do. */
function renumbered(
  block: CellBlock,
  dims: readonly number[],
  used: readonly ReadonlyMap<number, number>[],
): CellBlock {
  const keys = block.keys.map((id, i) => (id < FIRST_VALUE_ID ? id : used[dims[i % block.arity]!]!.get(id)!));
  return { ...block, keys };
}

function writeAddress(writer: ByteWriter, { calendar, grain, startMs }: BucketAddress): void {
  writer.text(calendar);
  writer.u8(GRAINS.indexOf(grain));
  writer.f64(startMs);
}

function readAddress(reader: ByteReader): BucketAddress {
  const calendar = reader.text();
  const grain = GRAINS[reader.u8()];
  if (grain === undefined) throw reader.broken();
  return { calendar, grain, startMs: reader.f64() };
}

function writeBytes(writer: ByteWriter, bytes: Uint8Array): void {
  writer.varint(bytes.length);
  writer.raw(bytes);
}

function readBytes(reader: ByteReader): Uint8Array {
  const size = reader.count(1);
  const at = reader.skip(size);
  return reader.bytes.subarray(at, at + size);
}
