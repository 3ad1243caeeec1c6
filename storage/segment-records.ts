/** What the records of one block are besides their events: FORMAT.md, "Segment". */
import type { BatchClaim, LogClaims, Position } from "../engine/log.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { malformed, unzigzag, zigzag } from "./segment-model.js";
import { readTexts, writeTexts } from "./segment-texts.js";
import {
  decodeNumber,
  decodeTree,
  encodeNumber,
  encodeTree,
  numberProbabilities,
  RangeDecoder,
  RangeEncoder,
  treeProbabilities,
} from "./range-coder.js";

const HAS_IDS = 1;
const HAS_CLAIM = 2;
const IS_BACKFILL = 4;
const BITS = 3;

/** Times of receipt as steps in ms, or, when they are no whole numbers, as they are. */
const TIMES_STEPS = 0;
const TIMES_EXACT = 1;
/** As in log records. */
const MAX_TIME_MS = 2 ** 51;

/** Bytes of an id. */
const ID_BYTES = 8;
/** Texts of a claim. */
const CLAIM_TEXTS = 3;
/** Records written or read in one step: about 1 ms. */
const STEP_RECORDS = 2048;

/** One record without its events. */
export interface RecordRow {
  readonly receivedAt: number;
  readonly count: number;
  readonly dimensions: number;
  readonly isBackfill: boolean;
  readonly claim: BatchClaim | undefined;
  /** Of those events that have an id; absent when the batch has no ids. */
  readonly idLo: Uint32Array | undefined;
  readonly idHi: Uint32Array | undefined;
}

export function* writeRecords(writer: ByteWriter, rows: readonly RecordRow[]): Generator<undefined> {
  const table = new ByteWriter();
  yield* writeTable(table, rows);
  writer.varint(table.length);
  writer.raw(table.bytes.subarray(0, table.length));
  for (const { idLo, idHi } of rows) {
    if (idLo === undefined) continue;
    writer.reserve(idLo.length * ID_BYTES);
    for (let i = 0; i < idLo.length; i++) {
      writer.length = writer.bytes.writeUInt32LE(idLo[i]!, writer.length);
      writer.length = writer.bytes.writeUInt32LE(idHi![i]!, writer.length);
    }
  }
  yield* writeTexts(writer, claimTexts(rows));
}

function* claimTexts(rows: readonly RecordRow[]): Generator<string> {
  for (const { claim } of rows) {
    if (claim !== undefined) yield* [claim.key, claim.bodyHash, claim.reply];
  }
}

function* writeTable(writer: ByteWriter, rows: readonly RecordRow[]): Generator<undefined> {
  const isExact = rows.some(({ receivedAt }) => !isWholeTime(receivedAt));
  writer.u8(isExact ? TIMES_EXACT : TIMES_STEPS);
  if (isExact) for (const { receivedAt } of rows) writer.f64(receivedAt);
  const encoder = new RangeEncoder(writer);
  const model = new TableModel();
  let before = 0;
  for (const [i, row] of rows.entries()) {
    const hasIds = row.idLo !== undefined;
    const bits =
      (hasIds ? HAS_IDS : 0) | (row.claim === undefined ? 0 : HAS_CLAIM) | (row.isBackfill ? IS_BACKFILL : 0);
    encodeTree(encoder, model.bits, bits, BITS);
    encodeNumber(encoder, model.counts, row.count);
    encodeNumber(encoder, model.dimensions, row.dimensions);
    if (!isExact) encodeNumber(encoder, model.times, zigzag(row.receivedAt - before));
    before = row.receivedAt;
    if (hasIds) encodeNumber(encoder, model.ids, row.idLo.length);
    if (i % STEP_RECORDS === STEP_RECORDS - 1) yield;
  }
  encoder.finish();
}

class TableModel {
  readonly bits = treeProbabilities(BITS);
  readonly counts = numberProbabilities();
  readonly dimensions = numberProbabilities();
  readonly times = numberProbabilities();
  readonly ids = numberProbabilities();
}

function isWholeTime(time: number): boolean {
  return Number.isInteger(time) && Math.abs(time) <= MAX_TIME_MS / 2 && !Object.is(time, -0);
}

interface TableRow {
  readonly receivedAt: number;
  readonly count: number;
  readonly dimensions: number;
  readonly bits: number;
  readonly ids: number;
}

/** `events` is what all records have together. */
export function* readRecords(
  bytes: Uint8Array,
  records: number,
  events: number,
): Generator<undefined, RecordRow[]> {
  const reader = new ByteReader(bytes, "A segment");
  const size = reader.varint();
  const at = reader.skip(size);
  const table = yield* readTable(new ByteReader(bytes, "A segment", at, at + size), records, events);
  let left = table.reduce((sum, { ids }) => sum + ids, 0) * ID_BYTES;
  let idsAt = reader.skip(left);
  const texts = yield* readTexts(reader);
  reader.finish();
  let textsAt = 0;
  const rows: RecordRow[] = [];
  for (const { receivedAt, count, dimensions, bits, ids } of table) {
    let claim: BatchClaim | undefined;
    if ((bits & HAS_CLAIM) !== 0) {
      if (textsAt + CLAIM_TEXTS > texts.length) throw malformed();
      claim = { key: texts[textsAt]!, bodyHash: texts[textsAt + 1]!, reply: texts[textsAt + 2]! };
      textsAt += CLAIM_TEXTS;
    }
    const hasIds = (bits & HAS_IDS) !== 0;
    const columns = hasIds ? readIds(reader.bytes, idsAt, ids) : { idLo: undefined, idHi: undefined };
    idsAt += ids * ID_BYTES;
    left -= ids * ID_BYTES;
    rows.push({ receivedAt, count, dimensions, isBackfill: (bits & IS_BACKFILL) !== 0, claim, ...columns });
    if (rows.length % STEP_RECORDS === 0) yield;
  }
  if (textsAt !== texts.length || left !== 0) throw malformed();
  return rows;
}

function* readTable(reader: ByteReader, records: number, events: number): Generator<undefined, TableRow[]> {
  const mode = reader.u8();
  if (mode > TIMES_EXACT) throw malformed();
  const exact = mode === TIMES_EXACT ? Float64Array.from({ length: records }, () => reader.f64()) : undefined;
  const decoder = new RangeDecoder(reader.bytes, reader.at, reader.end);
  const model = new TableModel();
  const rows: TableRow[] = [];
  let time = 0;
  let left = events;
  for (let i = 0; i < records; i++) {
    const bits = decodeTree(decoder, model.bits, BITS);
    const count = decodeNumber(decoder, model.counts);
    const dimensions = decodeNumber(decoder, model.dimensions);
    time = exact === undefined ? time + unzigzag(decodeNumber(decoder, model.times)) : exact[i]!;
    const ids = (bits & HAS_IDS) === 0 ? 0 : decodeNumber(decoder, model.ids);
    left -= count;
    if (left < 0 || ids > count) throw malformed();
    rows.push({ receivedAt: time, count, dimensions, bits, ids });
    if (i % STEP_RECORDS === STEP_RECORDS - 1) yield;
  }
  decoder.finish();
  if (left !== 0) throw malformed();
  return rows;
}

function readIds(bytes: Buffer, from: number, count: number): { idLo: Uint32Array; idHi: Uint32Array } {
  const idLo = new Uint32Array(count);
  const idHi = new Uint32Array(count);
  for (let i = 0, at = from; i < count; i++, at += ID_BYTES) {
    idLo[i] = bytes.readUInt32LE(at);
    idHi[i] = bytes.readUInt32LE(at + 4);
  }
  return { idLo, idHi };
}

export function claimsOf(position: Position, row: RecordRow): LogClaims {
  const ids = { idLo: row.idLo ?? new Uint32Array(0), idHi: row.idHi ?? new Uint32Array(0) };
  const { receivedAt, claim } = row;
  return claim === undefined ? { position, receivedAt, ...ids } : { position, receivedAt, claim, ...ids };
}
