/** Log records packed into a segment: a small one here, in slices, a large one in a thread of its own. */
import { Slices, inSlices } from "../engine/sliced.js";
import type { Position } from "../engine/log.js";
import { decodeRecord } from "./log-codec.js";
import { SegmentBuilder } from "./segment-builder.js";
import { encodeSegment, type EncodedSegment } from "./segment-encoder.js";
import type { PackRequest, RecordBytes } from "./segment-main.js";
import { ThreadFailure, WorkThread } from "./work-thread.js";
import { TURNS } from "./write-queue.js";

type PackThread = WorkThread<PackRequest, EncodedSegment | undefined>;

/** To start a thread takes as long as to pack some ten thousand events. */
const THREAD_FROM_EVENTS = 100_000;
/** Handed over at once, bytes: they are copied, some 0.1 ms. */
const HANDED_OVER_BYTES = 256 * 1024;

/** `events` is what the records, which are asked for one after the other, have together. Throws `storage-damaged`. */
export async function packSegment(
  from: Position,
  events: number,
  records: Iterable<RecordBytes>,
): Promise<EncodedSegment> {
  if (events < THREAD_FROM_EVENTS) return await packHere(from, events, records);
  try {
    return await packThere(new WorkThread("segment-main"), from, events, records);
  } catch (error) {
    // An embedding program may be bundled, or may not be allowed threads: it takes pauses of some ms then.
    if (!(error instanceof ThreadFailure)) throw error;
    return await packHere(from, events, records);
  }
}

async function packHere(
  from: Position,
  events: number,
  records: Iterable<RecordBytes>,
): Promise<EncodedSegment> {
  const slices = new Slices(TURNS);
  const builder = new SegmentBuilder(from, events);
  for (const { position, bytes } of records) {
    await inSlices(builder.add(decodeRecord(position, bytes)), slices);
  }
  return await inSlices(encodeSegment(builder.take()), slices);
}

async function packThere(
  thread: PackThread,
  from: Position,
  events: number,
  records: Iterable<RecordBytes>,
): Promise<EncodedSegment> {
  try {
    await thread.ask({ kind: "begin", from, events });
    for (const some of piecesOf(records)) await thread.ask({ kind: "add", records: some });
    return (await thread.ask({ kind: "finish" }))!;
  } finally {
    await thread.end();
  }
}

function* piecesOf(records: Iterable<RecordBytes>): Generator<RecordBytes[]> {
  let piece: RecordBytes[] = [];
  let bytes = 0;
  for (const record of records) {
    piece.push(record);
    bytes += record.bytes.length;
    if (bytes < HANDED_OVER_BYTES) continue;
    yield piece;
    piece = [];
    bytes = 0;
  }
  if (piece.length > 0) yield piece;
}
