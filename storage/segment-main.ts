/** The thread that packs a segment: nobody waits for it, so that it works without a pause. */
import { atOnce } from "../engine/sliced.js";
import type { Position } from "../engine/log.js";
import { answerRequests, stayInBackground } from "./answer-requests.js";
import { decodeRecord } from "./log-codec.js";
import { SegmentBuilder } from "./segment-builder.js";
import { encodeSegment, type EncodedSegment } from "./segment-encoder.js";
import type { Answered } from "./work-thread.js";

/** A record as it lies in the log. */
export interface RecordBytes {
  readonly position: Position;
  readonly bytes: Uint8Array;
}

/** First one `begin`, then the records, then `finish`, which alone is answered with something. */
export type PackRequest =
  | { readonly kind: "begin"; readonly from: Position; readonly events: number }
  | { readonly kind: "add"; readonly records: readonly RecordBytes[] }
  | { readonly kind: "finish" };

/** Of the segment under way; what was not finished goes with the next beginning, or with the thread. */
let builder: SegmentBuilder | undefined;

function answer(request: PackRequest): Answered<EncodedSegment | undefined> {
  if (request.kind === "begin") builder = new SegmentBuilder(request.from, request.events);
  if (builder === undefined) throw new Error(`BUG: ${request.kind} before the beginning`);
  if (request.kind === "finish") {
    const gathered = builder.take();
    builder = undefined;
    const segment = atOnce(encodeSegment(gathered));
    // Each in a buffer of its own.
    return [segment, [segment.header, ...segment.sections].map(({ buffer }) => buffer as ArrayBuffer)];
  }
  if (request.kind === "add") {
    for (const { position, bytes } of request.records) atOnce(builder.add(decodeRecord(position, bytes)));
  }
  return [undefined, []];
}

stayInBackground();
answerRequests(answer);
