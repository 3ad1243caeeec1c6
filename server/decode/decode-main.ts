/** The thread that decodes bodies of events. */
import { decodeNdjson, type Decoded } from "../../engine/body.js";
import type { DecodeSetup } from "../../engine/decode-port.js";
import type { TextHash } from "../../engine/event.js";
import type { EventBatch } from "../../engine/log.js";
import { Scanner } from "../../engine/scan/scanner.js";
import { viewerHash } from "../../engine/viewer-hash.js";
import { answerRequests } from "../../storage/answer-requests.js";
import type { Answered } from "../../storage/work-thread.js";

/** First one `begin`, which is answered with nothing. */
export type DecodeRequest =
  | { readonly kind: "begin"; readonly setup: DecodeSetup }
  | { readonly kind: "decode"; readonly buffer: ArrayBuffer; readonly bytes: number; readonly now: number };

/** The values of one dimension of a batch: those that were told before are only numbers. */
export interface ToldValues {
  /** Of the batch, in order of first appearance: places among all values that were told. */
  readonly numbers: Uint32Array;
  readonly added: readonly string[];
  /** What was told before is forgotten. */
  readonly beginsAnew: boolean;
}

export interface DecodedThere {
  readonly decoded: Omit<Decoded, "batch"> & { readonly batch: Omit<EventBatch, "values"> };
  /** By dimension. */
  readonly values: readonly ToldValues[];
}

/** What comes of a body, whose buffer is given back. */
export interface DecodeReply {
  readonly buffer: ArrayBuffer;
  readonly outcome: DecodedThere;
}

class ThereDecoder {
  readonly #setup: DecodeSetup;
  readonly #hashViewer: TextHash;
  readonly #scanner: Scanner;
  /** By dimension. */
  readonly #told: { generation: number; count: number }[];

  constructor(setup: DecodeSetup) {
    this.#setup = setup;
    this.#hashViewer = viewerHash(setup.viewerKey);
    this.#scanner = new Scanner(setup.schema, setup.hashSeed);
    this.#told = setup.schema.dimensions.map(() => ({ generation: 0, count: 0 }));
  }

  decode(body: Uint8Array, now: number): DecodedThere {
    const context = { schema: this.#setup.schema, now, hashViewer: this.#hashViewer };
    const { batch, ...rest } = decodeNdjson(body, context, this.#scanner);
    const { values: _, ...columns } = batch;
    return { decoded: { ...rest, batch: columns }, values: this.#told.map((told, d) => this.#tell(told, d)) };
  }

  #tell(told: { generation: number; count: number }, d: number): ToldValues {
    const { numbers, texts, generation } = this.#scanner.tables[d]!;
    const beginsAnew = told.generation !== generation;
    const added = texts.slice(beginsAnew ? 0 : told.count);
    told.generation = generation;
    told.count = texts.length;
    return { numbers: Uint32Array.from(numbers), added, beginsAnew };
  }
}

let decoder: ThereDecoder | undefined;

function answer(request: DecodeRequest): Answered<DecodeReply | undefined> {
  if (request.kind === "begin") {
    decoder = new ThereDecoder(request.setup);
    return [undefined, []];
  }
  if (decoder === undefined) throw new Error("BUG: a body before the beginning");
  const { buffer, bytes, now } = request;
  const outcome = decoder.decode(new Uint8Array(buffer, 0, bytes), now);
  const { batch, indexes } = outcome.decoded;
  return [{ buffer, outcome }, [buffer, batch.ts.buffer as ArrayBuffer, indexes.buffer as ArrayBuffer]];
}

answerRequests(answer);
