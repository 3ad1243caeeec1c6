/** A thread of this process that answers requests, one after the other; seen from outside. */
import { Worker, type Transferable } from "node:worker_threads";
import { TidemarkError, type ErrorCode } from "../engine/errors.js";

/** Whether this runs from its sources: in development. Then tsx reads them, in the thread too. */
const IS_SOURCE = import.meta.url.endsWith(".ts");

/** What is worked on lies in buffers: of objects, which a thread has room of its own for, there are few. */
const YOUNG_MIB = 4;

export type Outcome<Reply> =
  | { readonly reply: Reply }
  /** `code` and `extra`: of a `TidemarkError`. */
  | {
      readonly message: string;
      readonly code: ErrorCode | undefined;
      readonly extra: Readonly<Record<string, unknown>>;
    };

interface Waiting<Reply> {
  readonly resolve: (outcome: Outcome<Reply>) => void;
  readonly reject: (error: unknown) => void;
}

/** The thread itself has failed, or there could be none: whoever asked does the work here. */
export class ThreadFailure extends Error {}

export class WorkThread<Request, Reply> {
  readonly #worker: Worker;
  readonly #waiting: Waiting<Reply>[] = [];
  #failure: ThreadFailure | undefined;

  /**
   * `entry`: name of a module beside that of the url, without its extension, which calls `answerRequests`. Throws a
   * `ThreadFailure`.
   */
  constructor(entry: string, url: string = import.meta.url) {
    this.#worker = startWorker(entry, url);
    this.#worker.on("message", (outcome: Outcome<Reply>) => this.#waiting.shift()?.resolve(outcome));
    this.#worker.on("messageerror", (error) => this.#fail(error.message));
    this.#worker.on("error", (error) => this.#fail(error.message));
    this.#worker.on("exit", (code) => this.#fail(`it ended with ${code}`));
    this.#worker.unref();
  }

  /**
   * Rejects with what was thrown there, or with a `ThreadFailure`. What is asked keeps the process alive. `transfer`:
   * buffers of the request that are handed over instead of copied.
   */
  async ask(request: Request, transfer: readonly Transferable[] = []): Promise<Reply> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#waiting.length === 0) this.#worker.ref();
    try {
      const outcome = await new Promise<Outcome<Reply>>((resolve, reject) => {
        this.#worker.postMessage(request, transfer);
        this.#waiting.push({ resolve, reject });
      });
      if ("reply" in outcome) return outcome.reply;
      const { code, message, extra } = outcome;
      throw code === undefined ? new Error(message) : new TidemarkError(code, message, { extra });
    } finally {
      if (this.#waiting.length === 0) this.#worker.unref();
    }
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(why: string): void {
    this.#failure ??= new ThreadFailure(`A thread of the storage has failed: ${why}`);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

function startWorker(entry: string, url: string): Worker {
  try {
    const options = { execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB } };
    const module = new URL(`${entry}.${IS_SOURCE ? "ts" : "js"}`, url);
    return IS_SOURCE
      ? new Worker(readingSources(module), { ...options, eval: true })
      : new Worker(module, options);
  } catch (error) {
    throw new ThreadFailure("There can be no thread of the storage", { cause: error });
  }
}

/** A thread does not take tsx over from the one that starts it. */
function readingSources({ href }: URL): string {
  const tsx = import.meta.resolve("tsx/esm/api");
  return `import("${tsx}").then(({ register }) => { register(); return import("${href}"); });`;
}

/** An answer, and those of its buffers that are handed over instead of copied. */
export type Answered<Reply> = readonly [reply: Reply, transfer: readonly Transferable[]];
