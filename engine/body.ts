import type { EventError, RejectionCode } from "./api.js";
import { TidemarkError } from "./errors.js";
import { BatchBuilder, type BytesHash, type Rejection, type TextHash } from "./event.js";
import { MAX_BATCH_EVENTS, MAX_REPORTED_ERRORS } from "./limits.js";
import type { EventBatch } from "./log.js";
import { Scanner } from "./scan/scanner.js";
import { decodeText, decodeValue } from "./scan/text.js";
import type { Schema } from "./schema.js";
import { hashBytes, hashText } from "./sketch/murmur3.js";

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
  // Before anything is allocated.
  if (events.length > MAX_BATCH_EVENTS) throw tooMany(events.length);
  const { schema, now, hashViewer } = context;
  const decoder = new Decoder(new BatchBuilder(schema, events.length, now, hashViewer));
  for (let i = 0; i < events.length; i++) decoder.add(i, events[i]);
  return decoder.finish();
}

/**
 * Lines of JSON, each judged by itself; blank lines are passed over. `scanner`, of the same schema, may be one that
 * served other bodies before; the result is the same.
 */
export function decodeNdjson(
  body: Uint8Array,
  { schema, now, hashViewer }: DecodeContext,
  scanner: Scanner = new Scanner(schema),
): Decoded {
  scanner.begin(body, now, hashOfBytes(hashViewer));
  const decoder = new Decoder(new BatchBuilder(schema, 0, now, hashViewer, scanner));
  try {
    readLines(body, scanner, decoder);
  } finally {
    scanner.release();
  }
  return decoder.finish();
}

function readLines(body: Uint8Array, scanner: Scanner, decoder: Decoder): void {
  let start = 0;
  for (let index = 0; start < body.length; index++) {
    let end = scanner.scan(start, index);
    if (end < 0) {
      const newline = body.indexOf(LINE_FEED, start);
      end = newline < 0 ? body.length : newline;
      decoder.addLine(index, body.subarray(start, end));
    }
    // A line more than the limit is one too many only if it holds an event; two are, so that nobody sends blank lines.
    if (index >= MAX_BATCH_EVENTS && (end < body.length || decoder.judged > MAX_BATCH_EVENTS)) {
      throw tooMany(countLines(body));
    }
    start = end + 1;
  }
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

function countLines(body: Uint8Array): number {
  let lines = body.at(-1) === LINE_FEED ? 0 : 1;
  for (let at = body.indexOf(LINE_FEED); at >= 0; at = body.indexOf(LINE_FEED, at + 1)) lines++;
  return lines;
}

function hashOfBytes(hash: TextHash): BytesHash {
  if (hash === hashText) return hashBytes;
  return (
    hash.ofBytes ?? ((bytes, start, end, out, offset) => hash(decodeValue(bytes, start, end), out, offset))
  );
}

class Decoder {
  readonly #builder: BatchBuilder;
  readonly #errors: EventError[] = [];
  #invalid = 0;
  readonly #invalidByType = new Map<RejectionCode, number>();

  constructor(builder: BatchBuilder) {
    this.#builder = builder;
  }

  /** Events that were taken or refused. */
  get judged(): number {
    return this.#builder.rows.count + this.#invalid;
  }

  addLine(index: number, bytes: Uint8Array): void {
    const line = decodeText(bytes);
    if (line === undefined) {
      this.#reject(index, { type: "invalid-utf8", detail: "The line holds bytes that are not UTF-8." });
      return;
    }
    if (BLANK.test(line)) return;
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch (error) {
      this.#reject(index, { type: "invalid-json", detail: `Not JSON: ${(error as Error).message}.` });
      return;
    }
    this.add(index, event);
  }

  add(index: number, event: unknown): void {
    const { rows } = this.#builder;
    const rejection = this.#builder.add(event);
    if (rejection !== undefined) this.#reject(index, rejection);
    else rows.indexes[rows.count - 1] = index;
  }

  #reject(index: number, rejection: Rejection): void {
    this.#invalid++;
    this.#invalidByType.set(rejection.type, (this.#invalidByType.get(rejection.type) ?? 0) + 1);
    if (this.#errors.length < MAX_REPORTED_ERRORS) this.#errors.push({ index, ...rejection });
  }

  finish(): Decoded {
    const { rows } = this.#builder;
    return {
      batch: this.#builder.build(),
      indexes: rows.indexes.slice(0, rows.count),
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
