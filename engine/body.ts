import type { EventError, RejectionCode } from "./api.js";
import { TidemarkError } from "./errors.js";
import { BatchBuilder, type Rejection, type TextHash } from "./event.js";
import { MAX_BATCH_EVENTS, MAX_REPORTED_ERRORS } from "./limits.js";
import type { EventBatch } from "./log.js";
import type { Schema } from "./schema.js";

const LINE_FEED = 10;
const BLANK = /^[ \t\r]*$/;

export interface Decoded {
  readonly batch: EventBatch;
  /** Index, in what was sent, of each row of the batch. */
  readonly indexes: Uint32Array;
  readonly invalid: number;
  readonly invalidByType: ReadonlyMap<RejectionCode, number>;
  /** The first `MAX_REPORTED_ERRORS`. */
  readonly errors: readonly EventError[];
}

/** What decoding needs to know of the engine. */
export interface DecodeContext {
  readonly schema: Schema;
  /** Event time of events that carry none, ms. */
  readonly now: number;
  readonly hashViewer: TextHash;
}

export function decodeEvents(events: readonly unknown[], context: DecodeContext): Decoded {
  const decoder = new Decoder(events.length, context);
  for (let i = 0; i < events.length; i++) decoder.add(i, events[i]);
  return decoder.finish();
}

/** Lines of JSON, each judged by itself; blank lines are passed over. */
export function decodeNdjson(body: Uint8Array, context: DecodeContext): Decoded {
  const decoder = new Decoder(countLines(body), context);
  const text = decodeText(body);
  if (text === undefined) decodeLines(body, decoder);
  else {
    let start = 0;
    for (let index = 0; start < text.length; index++) {
      const newline = text.indexOf("\n", start);
      const end = newline < 0 ? text.length : newline;
      decoder.addLine(index, text.slice(start, end));
      start = end + 1;
    }
  }
  return decoder.finish();
}

/** One JSON document: an array of events, or one event. */
export function decodeJson(body: Uint8Array, context: DecodeContext): Decoded {
  const text = decodeText(body);
  if (text === undefined) {
    throw new TidemarkError("invalid-utf8", "The body holds bytes that are not UTF-8; encode it as UTF-8.");
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new TidemarkError("invalid-json", `Not JSON: ${(error as Error).message}. Nothing was taken.`);
  }
  return decodeEvents(Array.isArray(document) ? document : [document], context);
}

/** The body as text, or undefined when it is not UTF-8. */
function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Line by line, so that one line of broken UTF-8 does not spoil the others. */
function decodeLines(body: Uint8Array, decoder: Decoder): void {
  let start = 0;
  for (let index = 0; start < body.length; index++) {
    const newline = body.indexOf(LINE_FEED, start);
    const end = newline < 0 ? body.length : newline;
    const text = decodeText(body.subarray(start, end));
    if (text === undefined) {
      decoder.reject(index, { type: "invalid-utf8", detail: "The line holds bytes that are not UTF-8." });
    } else decoder.addLine(index, text);
    start = end + 1;
  }
}

function countLines(body: Uint8Array): number {
  let lines = 1;
  for (let at = body.indexOf(LINE_FEED); at >= 0; at = body.indexOf(LINE_FEED, at + 1)) lines++;
  return lines;
}

class Decoder {
  readonly #builder: BatchBuilder;
  readonly #indexes: Uint32Array;
  readonly #errors: EventError[] = [];
  #rows = 0;
  #invalid = 0;
  readonly #invalidByType = new Map<RejectionCode, number>();

  constructor(events: number, { schema, now, hashViewer }: DecodeContext) {
    // Before anything is allocated; one more than the limit, since the line feed that ends a file is no event.
    if (events > MAX_BATCH_EVENTS + 1) throw tooMany(events);
    this.#builder = new BatchBuilder(schema, events, now, hashViewer);
    this.#indexes = new Uint32Array(events);
  }

  addLine(index: number, line: string): void {
    if (BLANK.test(line)) return;
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch (error) {
      this.reject(index, { type: "invalid-json", detail: `Not JSON: ${(error as Error).message}.` });
      return;
    }
    this.add(index, event);
  }

  add(index: number, event: unknown): void {
    const rejection = this.#builder.add(event);
    if (rejection !== undefined) this.reject(index, rejection);
    else {
      this.#indexes[this.#rows++] = index;
      this.#checkCount();
    }
  }

  reject(index: number, rejection: Rejection): void {
    this.#invalid++;
    this.#invalidByType.set(rejection.type, (this.#invalidByType.get(rejection.type) ?? 0) + 1);
    this.#checkCount();
    if (this.#errors.length < MAX_REPORTED_ERRORS) this.#errors.push({ index, ...rejection });
  }

  #checkCount(): void {
    const judged = this.#rows + this.#invalid;
    if (judged > MAX_BATCH_EVENTS) throw tooMany(judged);
  }

  finish(): Decoded {
    return {
      batch: this.#builder.build(),
      indexes: this.#indexes.subarray(0, this.#rows),
      invalid: this.#invalid,
      invalidByType: this.#invalidByType,
      errors: this.#errors,
    };
  }
}

function tooMany(events: number): TidemarkError {
  const detail = `A batch holds at most ${MAX_BATCH_EVENTS} events; send ${events} or more in several.`;
  return new TidemarkError("too-many-events", detail, { extra: { limit: MAX_BATCH_EVENTS } });
}
