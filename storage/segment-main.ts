/** The thread that packs a segment: nobody waits for it, so that it works without a pause. */
import { parentPort } from "node:worker_threads";
import { TidemarkError } from "../engine/errors.js";
import { atOnce } from "../engine/sliced.js";
import { decodeRecord } from "./log-codec.js";
import { SegmentBuilder } from "./segment-builder.js";
import { encodeSegment, type EncodedSegment } from "./segment-encoder.js";
import type { PackReply, PackRequest } from "./segment-thread.js";

let builder: SegmentBuilder | undefined;

function answer(request: PackRequest): PackReply {
  if (request.kind === "begin") builder = new SegmentBuilder(request.from, request.events);
  if (builder === undefined) throw new Error(`BUG: ${request.kind} before the beginning`);
  if (request.kind === "finish") return { kind: "segment", segment: atOnce(encodeSegment(builder.take())) };
  if (request.kind === "add") {
    for (const { position, bytes } of request.records) atOnce(builder.add(decodeRecord(position, bytes)));
  }
  return { kind: "done" };
}

function failed(error: unknown): PackReply {
  const code = error instanceof TidemarkError ? error.code : undefined;
  return { kind: "failed", message: (error as Error).message, code };
}

/** Each in a buffer of its own, which is handed over and not copied. */
function buffersOf({ header, sections }: EncodedSegment): ArrayBuffer[] {
  return [header, ...sections].map(({ buffer }) => buffer as ArrayBuffer);
}

parentPort!.on("message", (request: PackRequest) => {
  try {
    const reply = answer(request);
    parentPort!.postMessage(reply, reply.kind === "segment" ? buffersOf(reply.segment) : []);
  } catch (error) {
    parentPort!.postMessage(failed(error), []);
  }
});
