import type { LiveMessage } from "../../engine/api.js";
import type { Position } from "../../engine/log.js";
import { textFrame } from "./text-frame.js";

/** Prefixes kept with their frame: clients of one page name their subscriptions alike. */
const MAX_CACHED = 16;

/**
 * One live message for any number of sockets. It is serialised once; what differs from socket to socket (the id of
 * the subscription, the message before) stands at its front and is joined to the shared bytes.
 */
export class Frame {
  readonly type: LiveMessage["type"];
  readonly seq: Position;
  readonly #tail: Buffer;
  readonly #whole = new Map<string, Buffer>();

  constructor(message: LiveMessage) {
    this.type = message.type;
    this.seq = message.seq;
    const asOf = message.type === "snapshot" ? `"as_of":${JSON.stringify(message.payload.meta.as_of)},` : "";
    this.#tail = Buffer.from(`"seq":${message.seq},${asOf}"payload":${JSON.stringify(message.payload)}}`);
  }

  get sizeBytes(): number {
    return this.#tail.length;
  }

  /** The frame for a subscription whose id, as JSON, is `id` and whose last message had the position `prev`. */
  bytesFor(id: string, prev: Position): Buffer {
    const before = this.type === "delta" ? `"prev":${prev},` : "";
    const prefix = `{"type":"${this.type}","id":${id},${before}`;
    const known = this.#whole.get(prefix);
    if (known !== undefined) return known;
    const bytes = textFrame(Buffer.from(prefix), this.#tail);
    if (this.#whole.size < MAX_CACHED) this.#whole.set(prefix, bytes);
    return bytes;
  }
}
