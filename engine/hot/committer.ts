import type { SchedulerLike } from "rxjs";
import { CALENDAR_START_MS, QUARTER_MS } from "../calendar/grain.js";
import type { Position } from "../log.js";
import { UTC_CALENDAR } from "../store.js";
import type { Buckets } from "./buckets.js";
import type { Watermark } from "./watermark.js";

/** Late events wait this long for others of their bucket: one rewrite for all of them. */
const LATE_COMMIT_AFTER_MS = 10_000;

/**
 * After a commit, sealing waits this many times as long as it took: a backfill, which moves the watermark with every
 * batch, spends at most a fifth of its time on rewriting buckets. Answers do not wait: they include the deltas.
 */
const REST_FACTOR = 4;
/** After a failed commit: time for whatever was wrong to pass. */
const REST_AFTER_FAILURE_MS = 1000;

export interface CommitterOptions {
  readonly buckets: Buckets;
  readonly watermark: Watermark;
  readonly scheduler: SchedulerLike;
  readonly allowedLatenessMs: number;
  readonly maxHotCells: number;
  /** Oldest record whose ids or claims must be read again after a restart. */
  readonly dedupeFrom: () => Position;
}

/** Decides when deltas go to the store, and sees that only one commit is under way. */
export class Committer {
  readonly #options: CommitterOptions;
  #running: Promise<void> | undefined;
  #sealedQuarter: number;
  #restUntil = Number.NEGATIVE_INFINITY;
  #commits = 0;
  #lastError: Error | null = null;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#sealedQuarter = Math.max(CALENDAR_START_MS, options.buckets.sealedUntil(UTC_CALENDAR));
  }

  get commits(): number {
    return this.#commits;
  }

  get lastError(): Error | null {
    return this.#lastError;
  }

  /** Has the watermark sealed another quarter since the last commit? Cheap: asked after every batch. */
  isSealDue(): boolean {
    return this.#options.scheduler.now() >= this.#restUntil && this.#sealUntil() > this.#sealedQuarter;
  }

  /** Is there anything else to write: late events that have waited, or too many cells in memory? */
  isDue(): boolean {
    return this.isSealDue() || this.isOverfull() || this.#options.buckets.hasDelta(this.#hasWaited());
  }

  isOverfull(): boolean {
    return this.#options.buckets.hotCells > this.#options.maxHotCells;
  }

  /** Writes what is due, unless a commit is under way. Failures are kept in `lastError`; what was not written stays in memory. */
  async commitDue(): Promise<void> {
    if (this.#running !== undefined) return;
    const waited = this.#hasWaited();
    const overfull = this.isOverfull();
    await this.#run((quarterMs, since) => overfull || waited(quarterMs, since)).catch(() => undefined);
  }

  /** Writes everything, sealed or not, after any commit under way. Rejects when the store does. */
  async checkpoint(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
    await this.#run(() => true);
  }

  async #run(include: (quarterMs: number, since: number) => boolean): Promise<void> {
    const { buckets, watermark, dedupeFrom, scheduler } = this.#options;
    const begun = scheduler.now();
    const sealUntil = this.#sealUntil();
    const pause = (): Promise<void> => new Promise((resolve) => scheduler.schedule(() => resolve()));
    const reached = Number.isFinite(watermark.ms) ? watermark.ms : 0;
    const request = { include, sealUntil, watermark: reached, dedupeFrom: dedupeFrom(), pause };
    this.#running = buckets.commit(request);
    try {
      await this.#running;
      this.#sealedQuarter = sealUntil;
      this.#lastError = null;
      this.#commits++;
      this.#restUntil = scheduler.now() + (scheduler.now() - begun) * REST_FACTOR;
    } catch (error) {
      this.#lastError = error as Error;
      this.#restUntil = scheduler.now() + REST_AFTER_FAILURE_MS;
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  /** Whole quarters: the seal never stands within one. */
  #sealUntil(): number {
    const { watermark, allowedLatenessMs, scheduler } = this.#options;
    const until = watermark.advance(scheduler.now()) - allowedLatenessMs;
    return Math.max(CALENDAR_START_MS, Math.floor(until / QUARTER_MS) * QUARTER_MS);
  }

  #hasWaited(): (quarterMs: number, since: number) => boolean {
    const sealed = this.#options.buckets.sealedUntil(UTC_CALENDAR);
    const before = this.#options.scheduler.now() - LATE_COMMIT_AFTER_MS;
    return (quarterMs, since) => quarterMs + QUARTER_MS <= sealed && since <= before;
  }
}
