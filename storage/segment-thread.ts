/** The thread that packs a segment, seen from outside. */
import { Worker } from "node:worker_threads";
import { TidemarkError, type ErrorCode } from "../engine/errors.js";
import type { Position } from "../engine/log.js";
import type { EncodedSegment } from "./segment-encoder.js";
import type { RecordBytes } from "./segment-packer.js";

/** Each is answered once, in order. */
export type PackRequest =
  | { readonly kind: "begin"; readonly from: Position; readonly events: number }
  | { readonly kind: "add"; readonly records: readonly RecordBytes[] }
  | { readonly kind: "finish" };

export type PackReply =
  | { readonly kind: "done" }
  | { readonly kind: "segment"; readonly segment: EncodedSegment }
  /** `code`: of a `TidemarkError`. */
  | { readonly kind: "failed"; readonly message: string; readonly code: ErrorCode | undefined };

/** Whether this runs from its sources: in development. Then tsx reads them, in the thread too. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const ENTRY = new URL(IS_SOURCE ? "segment-main.ts" : "segment-main.js", import.meta.url);

export class PackThread {
  readonly #worker: Worker;
  #waiting: { resolve: (reply: PackReply) => void; reject: (error: unknown) => void } | undefined;
  #failure: unknown;

  private constructor() {
    this.#worker = IS_SOURCE
      ? new Worker(readingSources(), { eval: true, execArgv: [] })
      : new Worker(ENTRY, { execArgv: [] });
    this.#worker.on("message", (reply: PackReply) => this.#waiting?.resolve(reply));
    this.#worker.on("messageerror", (error) => this.#fail(error));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", (code) => this.#fail(new Error(`The packing thread ended with ${code}`)));
  }

  /** Undefined where there can be no such thread. */
  static async start(from: Position, events: number): Promise<PackThread | undefined> {
    let thread: PackThread | undefined;
    try {
      thread = new PackThread();
      await thread.#ask({ kind: "begin", from, events });
      return thread;
    } catch {
      await thread?.end();
      return undefined;
    }
  }

  /** Resolves when they are taken in. Throws `storage-damaged`. */
  async add(records: readonly RecordBytes[]): Promise<void> {
    await this.#ask({ kind: "add", records });
  }

  async finish(): Promise<EncodedSegment> {
    const reply = await this.#ask({ kind: "finish" });
    if (reply.kind !== "segment") throw new Error("BUG: a finished segment is sent");
    return reply.segment;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async #ask(request: PackRequest): Promise<PackReply> {
    const reply = await new Promise<PackReply>((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(request, []);
    });
    if (reply.kind !== "failed") return reply;
    const { code, message } = reply;
    throw code === undefined ? new Error(message) : new TidemarkError(code, message);
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
  }
}

/** A thread does not take tsx over from the one that starts it. */
function readingSources(): string {
  const tsx = import.meta.resolve("tsx/esm/api");
  return `import("${tsx}").then(({ register }) => { register(); return import("${ENTRY.href}"); });`;
}
