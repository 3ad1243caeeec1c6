/** Reads a request's body: bounded while it arrives, and bounded again while it is unpacked. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createGunzip, type Gunzip } from "node:zlib";
import { TidemarkError } from "../engine/errors.js";
import { MOST_POOLED_BYTES } from "./buffer-pool.js";
import type { ByteLease } from "./byte-budget.js";
import { isGzip } from "./media-type.js";
import { HttpProblem } from "./problem.js";

export interface BodyLimits {
  /** Of the body as sent, and of the body unpacked. */
  readonly maxBytes: number;
  readonly lease: ByteLease;
}

/**
 * The whole body, unpacked, until the lease is released. Throws `payload-too-large` (at once when the declared length
 * says so), `unsupported-media-type`, `invalid-gzip` or `overloaded`, and leaves the rest of the body unread then.
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limits: BodyLimits,
): Promise<Buffer> {
  const gzip = isGzip(request.headers["content-encoding"]);
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limits.maxBytes) throw tooLarge(limits.maxBytes);
  limits.lease.admit(declared);
  if (request.headers.expect !== undefined) response.writeContinue();
  if (gzip) return new BodyReader(request, limits, createGunzip({ chunkSize: 64 * 1024 }), 0).done;
  return new BodyReader(request, limits, undefined, declared <= MOST_POOLED_BYTES ? declared : 0).done;
}

class BodyReader {
  readonly done: Promise<Buffer>;
  readonly #chunks: Buffer[] = [];
  /** Where the chunks of a body of known size are put together. */
  #whole: Buffer | undefined;
  #sentBytes = 0;
  #bodyBytes = 0;
  #resolve!: (body: Buffer) => void;
  #reject!: (error: Error) => void;

  constructor(
    readonly request: IncomingMessage,
    readonly limits: BodyLimits,
    readonly gunzip: Gunzip | undefined,
    /** Of the body, if they are known, and few enough for a borrowed buffer; 0 otherwise. */
    readonly knownBytes: number,
  ) {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    request
      .on("data", this.#onSent)
      .once("end", this.#onSentEnd)
      .once("error", this.#onCut)
      .once("close", this.#onCut);
    gunzip
      ?.on("data", this.#onBody)
      .on("drain", () => request.resume())
      .once("end", this.#finish)
      .on("error", () => this.#fail(damagedGzip()));
  }

  readonly #onSent = (chunk: Buffer): void => {
    this.#sentBytes += chunk.length;
    if (this.gunzip === undefined) return this.#onBody(chunk);
    if (this.#sentBytes > this.limits.maxBytes) return this.#fail(tooLarge(this.limits.maxBytes));
    if (!this.gunzip.write(chunk)) this.request.pause();
  };

  readonly #onBody = (chunk: Buffer): void => {
    this.#bodyBytes += chunk.length;
    if (this.#bodyBytes > this.limits.maxBytes) return this.#fail(tooLarge(this.limits.maxBytes));
    try {
      this.limits.lease.take(chunk.length);
    } catch (error) {
      return this.#fail(error as Error);
    }
    if (chunk.length === this.knownBytes || this.knownBytes === 0) this.#chunks.push(chunk);
    else this.#putTogether(chunk);
  };

  #putTogether(chunk: Buffer): void {
    // Not before something has arrived: to promise much costs nothing.
    this.#whole ??= this.limits.lease.borrow(this.knownBytes);
    chunk.copy(this.#whole, this.#bodyBytes - chunk.length);
  }

  readonly #onSentEnd = (): void => {
    if (this.gunzip === undefined || this.#sentBytes === 0) this.#finish();
    else this.gunzip.end();
  };

  readonly #onCut = (): void => {
    if (!this.request.complete) {
      this.#fail(
        new HttpProblem("invalid-request", "The connection was closed before the body had arrived."),
      );
    }
  };

  readonly #finish = (): void => {
    // Node ends the stream at the end of the gzip member and says nothing of what follows it.
    if (this.gunzip !== undefined && this.gunzip.bytesWritten < this.#sentBytes)
      return this.#fail(damagedGzip());
    this.#detach();
    this.#resolve(this.#body());
  };

  #body(): Buffer {
    if (this.#whole !== undefined) return this.#whole.subarray(0, this.#bodyBytes);
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#bodyBytes);
  }

  #fail(error: Error): void {
    this.#detach();
    this.#chunks.length = 0;
    this.request.pause();
    this.gunzip?.destroy();
    this.#reject(error);
  }

  #detach(): void {
    this.request
      .off("data", this.#onSent)
      .off("end", this.#onSentEnd)
      .off("error", this.#onCut)
      .off("close", this.#onCut);
    this.gunzip?.off("data", this.#onBody).off("end", this.#finish).removeAllListeners("drain");
  }
}

function tooLarge(maxBytes: number): TidemarkError {
  return new TidemarkError(
    "payload-too-large",
    `A body may have ${maxBytes} bytes, unpacked as well as packed; send it in parts.`,
    { extra: { limit_bytes: maxBytes } },
  );
}

function damagedGzip(): HttpProblem {
  return new HttpProblem(
    "invalid-gzip",
    "The gzip data is damaged, cut short, or followed by something else.",
  );
}
