/** Bodies of events decoded in a thread: a fifth of what they cost the engine's own. */
import { decodeNdjson, type Decoded } from "../../engine/body.js";
import type { BodyDecoder, DecodeSetup } from "../../engine/decode-port.js";
import { viewerHash } from "../../engine/viewer-hash.js";
import { ThreadOnDemand } from "../../storage/thread-on-demand.js";
import { WorkThread } from "../../storage/work-thread.js";
import { BufferPool, MOST_POOLED_BYTES } from "../buffer-pool.js";
import type { DecodedThere, DecodeReply, DecodeRequest, ToldValues } from "./decode-main.js";

type Thread = WorkThread<DecodeRequest, DecodeReply | undefined>;

/** A body of some 300 events takes 0.2 ms to decode, and to hand over and back half of that. */
const LEAST_BODY_BYTES = 32 * 1024;

/** For one engine. */
export class ThreadDecoder implements BodyDecoder {
  readonly #thread = new ThreadOnDemand(start, { needsMemory: true });
  readonly #pool = new BufferPool();
  /** The thread that knows the setup. */
  #begun: Thread | undefined;
  /** By dimension: the values that it told of. */
  #values: string[][] = [];

  decode(body: Uint8Array, now: number, setup: DecodeSetup): Promise<Decoded> | undefined {
    if (this.#thread.isOff || body.length < LEAST_BODY_BYTES) return undefined;
    return this.#thread.use(
      (thread) => this.#decodeThere(thread, body, now, setup),
      async () => decodeHere(body, now, setup),
    );
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }

  async #decodeThere(thread: Thread, body: Uint8Array, now: number, setup: DecodeSetup): Promise<Decoded> {
    if (this.#begun !== thread) this.#begin(thread, setup);
    const copy = this.#pool.take(body.length);
    copy.set(body);
    const buffer = copy.buffer as ArrayBuffer;
    const reply = await thread.ask({ kind: "decode", buffer, bytes: body.length, now }, [buffer]);
    if (reply!.buffer.byteLength <= MOST_POOLED_BYTES) this.#pool.giveBack(Buffer.from(reply!.buffer));
    return this.#decoded(reply!.outcome);
  }

  #begin(thread: Thread, setup: DecodeSetup): void {
    this.#begun = thread;
    this.#values = setup.schema.dimensions.map(() => []);
    // When it fails, so does what is asked after it.
    thread.ask({ kind: "begin", setup }).catch(() => undefined);
  }

  /** Replies are read in the order that they were given in. */
  #decoded({ decoded, values }: DecodedThere): Decoded {
    const batch = { ...decoded.batch, values: values.map((told, d) => this.#valuesOf(told, d)) };
    return { ...decoded, batch };
  }

  #valuesOf({ numbers, added, beginsAnew }: ToldValues, d: number): string[] {
    if (beginsAnew) this.#values[d] = [];
    const known = this.#values[d]!;
    for (const value of added) known.push(value);
    return Array.from(numbers, (number) => known[number]!);
  }
}

function start(): Thread {
  return new WorkThread("decode-main", import.meta.url);
}

function decodeHere(body: Uint8Array, now: number, { schema, viewerKey }: DecodeSetup): Decoded {
  return decodeNdjson(body, { schema, now, hashViewer: viewerHash(viewerKey) });
}
