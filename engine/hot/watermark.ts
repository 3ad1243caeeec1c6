/**
 * The greatest event time seen, moved on by the clock while the source is idle. It decides when buckets are
 * sealed and which events are called late; it never changes a count.
 */
export class Watermark {
  /** ms; −Infinity before the first event. */
  #ms = Number.NEGATIVE_INFINITY;
  #lastEventAt = Number.NEGATIVE_INFINITY;
  readonly #idleAfterMs: number;

  constructor(idleAfterMs: number) {
    this.#idleAfterMs = idleAfterMs;
  }

  get ms(): number {
    return this.#ms;
  }

  /** As `restore` takes it: 0 before the first event. */
  get reached(): number {
    return Number.isFinite(this.#ms) ? this.#ms : 0;
  }

  /** An event of time `ts`, received at `receivedAt`. */
  observe(ts: number, receivedAt: number): void {
    if (ts > this.#ms) this.#ms = ts;
    if (receivedAt > this.#lastEventAt) this.#lastEventAt = receivedAt;
  }

  /**
   * Takes over what was reached before a restart; 0 is nothing. The idle time begins anew: nobody knows what the
   * source did meanwhile, and one that lags behind must not be called late for it.
   */
  restore(ms: number, now: number): void {
    this.reach(ms);
    this.#lastEventAt = now;
  }

  /** It had come so far; 0 is nothing. */
  reach(ms: number): void {
    if (ms > 0 && ms > this.#ms) this.#ms = ms;
  }

  /** Moves on with the clock when nothing has come for the idle time; returns the watermark. */
  advance(now: number): number {
    const idle = now - this.#lastEventAt >= this.#idleAfterMs;
    if (idle && Number.isFinite(this.#ms)) this.#ms = Math.max(this.#ms, now - this.#idleAfterMs);
    return this.#ms;
  }
}
