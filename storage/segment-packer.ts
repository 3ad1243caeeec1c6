/** Log records packed into a segment: a small one here, in slices, a large one in a thread of its own. */
import { Slices, inSlices } from "../engine/sliced.js";
import type { Position } from "../engine/log.js";
import { decodeRecord } from "./log-codec.js";
import { SegmentBuilder } from "./segment-builder.js";
import { encodeSegment, type EncodedSegment } from "./segment-encoder.js";
import { PackThread } from "./segment-thread.js";
import { TURNS } from "./write-queue.js";

/** A record as it lies in the log. */
export interface RecordBytes {
  readonly position: Position;
  readonly bytes: Uint8Array;
}

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
  const thread = await PackThread.start(from, events);
  // An embedding program may be bundled, or may not be allowed threads: it takes pauses of some ms then.
  return await (thread === undefined ? packHere(from, events, records) : packThere(thread, records));
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

async function packThere(thread: PackThread, records: Iterable<RecordBytes>): Promise<EncodedSegment> {
  try {
    let waiting: RecordBytes[] = [];
    let bytes = 0;
    for (const record of records) {
      waiting.push(record);
      bytes += record.bytes.length;
      if (bytes < HANDED_OVER_BYTES) continue;
      await thread.add(waiting);
      waiting = [];
      bytes = 0;
    }
    await thread.add(waiting);
    return await thread.finish();
  } finally {
    await thread.end();
  }
}
