/** A thread that begins with the first work for it and ends after a while without. */
import { isMemoryScarce } from "./scarcity.js";
import { ThreadFailure, type WorkThread } from "./work-thread.js";

/** A thread that has just begun compiles for a second all that it does: it is kept for the next work, at some 30 MiB. */
const KEPT_MS = 30_000;

export interface ThreadOptions {
  /** How long it is kept without work, ms; where memory is scarce it is not. */
  readonly keptMs?: number;
  /** Where memory is scarce there is none at all. */
  readonly needsMemory?: boolean;
}

export class ThreadOnDemand<Request, Reply> {
  readonly #start: () => WorkThread<Request, Reply>;
  readonly #keptMs: number;
  #thread: WorkThread<Request, Reply> | undefined;
  #users = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasNone: boolean;

  constructor(
    start: () => WorkThread<Request, Reply>,
    { keptMs = KEPT_MS, needsMemory = false }: ThreadOptions = {},
  ) {
    const isScarce = isMemoryScarce();
    this.#start = start;
    this.#keptMs = isScarce ? 0 : keptMs;
    this.#hasNone = isScarce && needsMemory;
  }

  /** There can be no thread, or none any more. */
  get isOff(): boolean {
    return this.#hasNone;
  }

  get isRunning(): boolean {
    return this.#thread !== undefined;
  }

  /**
   * What `there` returns, or `here` where there can be no thread: an embedding program may be bundled, or may not be
   * allowed any.
   */
  async use<T>(
    there: (thread: WorkThread<Request, Reply>) => Promise<T>,
    here: () => Promise<T>,
  ): Promise<T> {
    if (this.#hasNone) return await here();
    this.#users++;
    clearTimeout(this.#timer);
    try {
      this.#thread ??= this.#start();
      return await there(this.#thread);
    } catch (error) {
      if (!(error instanceof ThreadFailure)) throw error;
      this.#hasNone = true;
      return await here();
    } finally {
      if (--this.#users === 0) await this.#unused();
    }
  }

  /** Takes no more work; what is under way is done by whoever asked for it. */
  async close(): Promise<void> {
    this.#hasNone = true;
    await this.#end();
  }

  async #unused(): Promise<void> {
    if (this.#keptMs === 0 || this.#hasNone) return await this.#end();
    this.#timer = setTimeout(() => void this.#end(), this.#keptMs).unref();
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.end();
  }
}
