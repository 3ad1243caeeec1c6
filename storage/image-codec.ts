/** The bytes of an image of the hot cells: FORMAT.md, "Image of the hot cells". */
import type { DeltaImage, HotImage, TableImage } from "../engine/image-port.js";
import type { Sliced } from "../engine/sliced.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { DENSE_REGISTERS } from "./checks.js";
import { crc32c } from "./crc32c.js";
import { damaged } from "./errors.js";
import { frame, NO_KEY, unframe, type RecordKind } from "./frame.js";

type Column = Uint8Array | Uint32Array | Float64Array;

const HEADER: RecordKind = { magic: 0x47, version: 1 };
const WHAT = "The image of the hot cells";
/** Columns begin at multiples of this, so that they can be used where they lie. */
const ALIGNMENT = 8;
const PADDING = new Uint8Array(ALIGNMENT);
/** Of a column between two yields, and how many take as long as a row. */
const SUMMED_AT_ONCE = 1 << 18;
const BYTES_SUMMED_OF_ROW = 64;
const TEXTS_AT_ONCE = 1024;

const BACKFILL = 1;
const ANONYMOUS = 2;
const CREATED = 4;

/** The image's bytes in pieces, of which it keeps the columns as they are. */
export function* encodeImage(image: HotImage): Sliced<Uint8Array[]> {
  const texts = yield* encodeTexts(image);
  const body: Uint8Array[] = [];
  let bodyBytes = 0;
  let checksum = 0;
  const add = (piece: Uint8Array): void => {
    body.push(piece);
    bodyBytes += piece.length;
  };
  for (const column of [...texts, ...columnsOf(image)]) {
    const bytes = new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
    for (let from = 0; from < bytes.length; from += SUMMED_AT_ONCE) {
      const to = Math.min(from + SUMMED_AT_ONCE, bytes.length);
      checksum = crc32c(bytes, from, to, checksum);
      yield (to - from) / BYTES_SUMMED_OF_ROW;
    }
    add(bytes);
    const padding = PADDING.subarray(0, paddingOf(bytes.length));
    checksum = crc32c(padding, 0, padding.length, checksum);
    add(padding);
  }
  const textBytes = texts.map(({ length }) => length);
  const header = frame(HEADER, NO_KEY, (writer) => {
    writeHeader(writer, image, textBytes);
    writer.varint(bodyBytes);
    writer.u32(checksum);
  });
  const before = new Uint8Array(ALIGNMENT);
  Buffer.from(before.buffer).writeUInt32LE(header.length);
  return [before, header, PADDING.subarray(0, paddingOf(header.length)), ...body];
}

/**
 * `bytes` must begin at a multiple of 8 of their buffer; the columns of the image are views of it. Throws
 * `storage-damaged` or `storage-version`.
 */
export function decodeImage(bytes: Uint8Array): HotImage {
  const before = new ByteReader(bytes, WHAT);
  const headerBytes = before.u32();
  before.skip(ALIGNMENT - 4);
  const at = before.skip(headerBytes);
  const bodyAt = at + headerBytes + paddingOf(headerBytes);
  return unframe(HEADER, NO_KEY, bytes.subarray(at, at + headerBytes), WHAT, (reader) => {
    const columns = new Columns(bytes, bodyAt);
    const image = readHeader(reader, columns);
    const size = reader.varint();
    if (size !== bytes.length - bodyAt || columns.at !== bytes.length) throw reader.broken();
    if (crc32c(bytes, bodyAt) !== reader.u32()) throw damaged(WHAT, "fails its checksum");
    return image();
  });
}

function paddingOf(size: number): number {
  return -size & (ALIGNMENT - 1);
}

function* encodeTexts({ values }: HotImage): Sliced<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (const { values: texts } of values) {
    const writer = new ByteWriter();
    for (const [i, text] of texts.entries()) {
      writer.text(text);
      if (i % TEXTS_AT_ONCE === 0) yield TEXTS_AT_ONCE;
    }
    pieces.push(writer.take());
  }
  return pieces;
}

function* columnsOf({ remembered, deltas }: HotImage): Generator<Column> {
  for (const { subjects, ids } of remembered) {
    yield subjects;
    yield ids;
  }
  for (const { table } of deltas) {
    const { keys, rollups, views, anonymous, created, sketches } = table;
    yield views;
    if (anonymous !== undefined) yield anonymous;
    if (created !== undefined) yield created;
    yield keys;
    yield sketches.refs;
    yield sketches.free;
    yield* sketches.chunks;
    yield rollups;
    yield sketches.forms;
    yield* sketches.dense;
  }
}

function writeHeader(writer: ByteWriter, image: HotImage, textBytes: readonly number[]): void {
  const { schema, position, record, watermark, dedupeFrom, values, remembered, deltas } = image;
  writer.text(schema);
  writer.varint(position);
  writer.text(record);
  writer.f64(watermark);
  writer.varint(dedupeFrom);
  writer.varint(values.length);
  for (const [i, { dimension, firstId, values: texts }] of values.entries()) {
    writer.varint(dimension);
    writer.varint(firstId);
    writer.varint(texts.length);
    writer.varint(textBytes[i]!);
  }
  writer.varint(remembered.length);
  for (const { dimension, subjects } of remembered) {
    writer.varint(dimension);
    writer.varint(subjects.length);
  }
  writer.varint(deltas.length);
  for (const delta of deltas) writeDelta(writer, delta);
}

function writeDelta(writer: ByteWriter, { table, ...delta }: DeltaImage): void {
  const { arity, count, anonymous, created, sketches } = table;
  writer.f64(delta.quarterMs);
  writer.varint(delta.firstPosition);
  writer.varint(delta.through);
  writer.f64(delta.since);
  const backfill = delta.backfill ? BACKFILL : 0;
  const columns = (anonymous === undefined ? 0 : ANONYMOUS) | (created === undefined ? 0 : CREATED);
  writer.u8(backfill | columns);
  writer.varint(arity);
  writer.varint(count);
  writer.varint(sketches.free.length);
  writer.varint(sketches.chunks.length);
  for (const { length } of sketches.chunks) writer.varint(length);
  writer.varint(sketches.dense.length);
}

/** Takes columns out of the body, in the order of `columnsOf`. */
class Columns {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  words(count: number): Uint32Array {
    return new Uint32Array(this.#bytes.buffer, this.#take(4 * count), count);
  }

  numbers(count: number): Float64Array {
    return new Float64Array(this.#bytes.buffer, this.#take(8 * count), count);
  }

  raw(count: number): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, this.#take(count), count);
  }

  /** Where in the buffer a column of so many bytes begins. */
  #take(size: number): number {
    const start = this.at;
    if (!(size <= this.#bytes.length - start)) throw damaged(WHAT, "is too short");
    this.at = start + size + paddingOf(size);
    return this.#bytes.byteOffset + start;
  }
}

/** The columns are where they are once the header is read; what they hold is read when the checksum is known. */
function readHeader(reader: ByteReader, columns: Columns): () => HotImage {
  const schema = reader.text();
  const position = reader.varint();
  const record = reader.text();
  const watermark = reader.f64();
  const dedupeFrom = reader.varint();
  const texts = list(reader, 4, () => ({
    dimension: reader.varint(),
    firstId: reader.varint(),
    count: reader.varint(),
    bytes: columns.raw(reader.varint()),
  }));
  const remembered = list(reader, 2, () => {
    const dimension = reader.varint();
    const count = reader.varint();
    return { dimension, subjects: columns.words(count), ids: columns.words(count) };
  });
  const deltas = list(reader, 24, () => readDelta(reader, columns));
  return () => {
    const values = texts.map(({ dimension, firstId, count, bytes }) => {
      const from = new ByteReader(bytes, WHAT);
      return { dimension, firstId, values: Array.from({ length: count }, () => from.text()) };
    });
    return { schema, position, record, watermark, dedupeFrom, values, remembered, deltas };
  };
}

function readDelta(reader: ByteReader, columns: Columns): DeltaImage {
  const quarterMs = reader.f64();
  const firstPosition = reader.varint();
  const through = reader.varint();
  const since = reader.f64();
  const flags = reader.u8();
  const backfill = (flags & BACKFILL) !== 0;
  return { quarterMs, firstPosition, through, since, backfill, table: readTable(reader, columns, flags) };
}

function readTable(reader: ByteReader, columns: Columns, flags: number): TableImage {
  const arity = reader.varint();
  const count = reader.varint();
  const freeLength = reader.varint();
  const chunkLengths = list(reader, 1, () => reader.varint());
  const dense = reader.varint();
  const views = columns.numbers(count);
  const anonymous = (flags & ANONYMOUS) === 0 ? undefined : columns.numbers(count);
  const created = (flags & CREATED) === 0 ? undefined : columns.numbers(count);
  const keys = columns.words(count * arity);
  const refs = columns.words(count);
  const free = columns.words(freeLength);
  const chunks = chunkLengths.map((length) => columns.words(length));
  const rollups = columns.raw(count);
  const forms = columns.raw(count);
  const sketches = {
    refs,
    forms,
    chunks,
    free,
    dense: Array.from({ length: dense }, () => columns.raw(DENSE_REGISTERS)),
  };
  return { arity, count, keys, rollups, views, anonymous, created, sketches };
}

function list<T>(reader: ByteReader, leastBytes: number, read: () => T): T[] {
  return Array.from({ length: reader.count(leastBytes) }, read);
}
