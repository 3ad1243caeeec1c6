/** Log records packed into a segment: a small one here, in slices, a large one in a thread of its own. */
import { Slices, inSlices } from "../engine/sliced.js";
import type { Position } from "../engine/log.js";
import { decodeRecord } from "./log-codec.js";
import { SegmentBuilder } from "./segment-builder.js";
import { encodeSegment, type EncodedSegment } from "./segment-encoder.js";
import type { PackRequest, RecordBytes } from "./segment-main.js";
import { ThreadOnDemand } from "./thread-on-demand.js";
import { WorkThread } from "./work-thread.js";
import { TURNS } from "./write-queue.js";

type Packed = EncodedSegment | undefined;

/** To start a thread takes as long as to pack some ten thousand events. */
const THREAD_FROM_EVENTS = 100_000;
/** Beyond this rate, 1 M events in so long, the thread is kept: to pack them takes two seconds. */
const KEPT_MS = 5000;
/** Handed over at once, bytes: they are copied, some 0.1 ms. */
const HANDED_OVER_BYTES = 256 * 1024;

export function startPacking(): WorkThread<PackRequest, Packed> {
  return new WorkThread("segment-main");
}

/** Packs one segment at a time. */
export class SegmentPacker {
  readonly #thread: ThreadOnDemand<PackRequest, Packed>;

  constructor(
    thread: ThreadOnDemand<PackRequest, Packed> = new ThreadOnDemand(startPacking, { keptMs: KEPT_MS }),
  ) {
    this.#thread = thread;
  }

  /**
   * `events` is what the records have together, which are asked for one after the other; from the first on again, when
   * the thread fails. Throws `storage-damaged`.
   */
  async pack(from: Position, events: number, records: () => Iterable<RecordBytes>): Promise<EncodedSegment> {
    const here = (): Promise<EncodedSegment> => packHere(from, events, records);
    if (events < THREAD_FROM_EVENTS) return await here();
    return await this.#thread.use((thread) => packThere(thread, from, events, records), here);
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }
}

async function packHere(
  from: Position,
  events: number,
  records: () => Iterable<RecordBytes>,
): Promise<EncodedSegment> {
  const slices = new Slices(TURNS);
  const builder = new SegmentBuilder(from, events);
  for (const { position, bytes } of records()) {
    await inSlices(builder.add(decodeRecord(position, bytes)), slices);
  }
  return await inSlices(encodeSegment(builder.take()), slices);
}

async function packThere(
  thread: WorkThread<PackRequest, Packed>,
  from: Position,
  events: number,
  records: () => Iterable<RecordBytes>,
): Promise<EncodedSegment> {
  await thread.ask({ kind: "begin", from, events });
  for (const some of piecesOf(records())) await thread.ask({ kind: "add", records: some });
  return (await thread.ask({ kind: "finish" }))!;
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
