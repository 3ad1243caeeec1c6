import type { EventError, RejectionCode } from "../../engine/api.js";
import type { DecodeContext, Decoded } from "../../engine/body.js";
import { TidemarkError } from "../../engine/errors.js";
import { BatchBuilder, type Rejection } from "../../engine/event.js";
import { MAX_BATCH_EVENTS, MAX_REPORTED_ERRORS } from "../../engine/limits.js";

/** NDJSON by `JSON.parse` alone, line by line and object by object: what the engine's scanner must equal. */
export function parseLines(body: Uint8Array, { schema, now, hashViewer }: DecodeContext): Decoded {
  const lines = linesOf(body);
  const tooMany = (events: number): TidemarkError =>
    new TidemarkError(
      "too-many-events",
      `A batch holds at most ${MAX_BATCH_EVENTS} events; send ${events} or more in several.`,
      { extra: { limit: MAX_BATCH_EVENTS } },
    );
  // One more than the limit, since the line feed that ends a file is no event.
  if (lines.length > MAX_BATCH_EVENTS + 1) throw tooMany(lines.length - (lines.at(-1)!.length === 0 ? 1 : 0));
  const builder = new BatchBuilder(schema, lines.length, now, hashViewer);
  const indexes: number[] = [];
  const errors: EventError[] = [];
  const invalidByType = new Map<RejectionCode, number>();
  let invalid = 0;
  for (const [index, line] of lines.entries()) {
    const rejection = judge(line, builder);
    if (rejection === "blank") continue;
    if (rejection === undefined) indexes.push(index);
    else {
      invalid++;
      invalidByType.set(rejection.type, (invalidByType.get(rejection.type) ?? 0) + 1);
      if (errors.length < MAX_REPORTED_ERRORS) errors.push({ index, ...rejection });
    }
    if (indexes.length + invalid > MAX_BATCH_EVENTS) throw tooMany(indexes.length + invalid);
  }
  return { batch: builder.build(), indexes: Uint32Array.from(indexes), invalid, invalidByType, errors };
}

function linesOf(body: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  for (let end = body.indexOf(10); end >= 0; end = body.indexOf(10, start)) {
    lines.push(body.subarray(start, end));
    start = end + 1;
  }
  lines.push(body.subarray(start));
  return lines;
}

function judge(line: Uint8Array, builder: BatchBuilder): Rejection | "blank" | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return { type: "invalid-utf8", detail: "The line holds bytes that are not UTF-8." };
  }
  if (/^[ \t\r]*$/.test(text)) return "blank";
  let event: unknown;
  try {
    event = JSON.parse(text);
  } catch (error) {
    return { type: "invalid-json", detail: `Not JSON: ${(error as Error).message}.` };
  }
  return builder.add(event);
}
