import type { SchedulerLike } from "rxjs";
import { CALENDAR_START_MS, QUARTER_MS } from "../calendar/grain.js";
import type { EventLog, Position } from "../log.js";
import { SLICE_MS, Slices, type Turns } from "../sliced.js";
import { UTC_CALENDAR } from "../store.js";
import type { Buckets, Amendments } from "./buckets.js";
import type { Health } from "../health.js";
import type { Watermark } from "./watermark.js";

/** Late events wait this long for others of their bucket: one rewrite for all of them. */
const LATE_COMMIT_AFTER_MS = 10_000;

/**
 * After a commit, sealing waits this many times as long as it took: a backfill, which moves the watermark with every
 * batch, spends at most a fifth of its time on rewriting buckets. Answers do not wait: they include the deltas.
 */
const REST_FACTOR = 4;
/** Of a slice of sealing, while cells come faster than they are sealed: twice as many as there should be have the most. */
const MAX_SLICE_FACTOR = 5;
const SLICE_FACTOR_OF_OVER = 4;
/** So many times as long a replay is risked before a commit is made that has not rested, or that an image makes needless. */
const REPLAY_AT_MOST = 4;
/** However long a commit took: buckets of a source that never pauses are sealed within so much of their time. */
const MAX_REST_MS = 60_000;
/** After a failed commit: time for whatever was wrong to pass. */
const REST_AFTER_FAILURE_MS = 1000;

export interface CommitterOptions extends Turns {
  readonly buckets: Buckets;
  readonly log: EventLog;
  readonly watermark: Watermark;
  readonly health: Health;
  readonly scheduler: SchedulerLike;
  readonly allowedLatenessMs: number;
  readonly maxHotCells: number;
  readonly maxReplayEvents: number;
  /** Do images bound what a restart folds again? */
  readonly hasImages: boolean;
  /** Oldest record whose ids or claims must be read again after a restart. */
  readonly dedupeFrom: () => Position;
}

/** Which quarters a commit takes. */
type Include = (quarterMs: number, since: number) => boolean;

/** Commits while no other may: see `Committer.exclusively`. */
export type Commit = (amendments: Amendments) => Promise<void>;

const EVERYTHING: Include = () => true;

/** Decides when deltas go to the store, and sees that only one commit is under way. */
export class Committer {
  readonly #options: CommitterOptions;
  #running: Promise<unknown> | undefined;
  #compacting: Promise<void> | undefined;
  #sealedQuarter: number;
  #restUntil = Number.NEGATIVE_INFINITY;
  #isClosing = false;
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
    return this.#hasRested() && this.#sealUntil() > this.#sealedQuarter;
  }

  /** Is there anything else to write: late events that have waited, too many cells in memory, too long a replay? */
  isDue(): boolean {
    if (this.isSealDue() || this.isPressing()) return true;
    return this.#hasRested() && this.#options.buckets.hasDelta(this.#hasWaited());
  }

  /** Asked after every batch too: must something be written, rested or not? */
  isPressing(): boolean {
    return this.#isOverfull() || this.#isReplayLong();
  }

  #isOverfull(): boolean {
    return this.#options.buckets.hotCells > this.#options.maxHotCells;
  }

  /** Writes what is due, unless a commit is under way. Failures are kept in `lastError`; what was not written stays in memory. */
  async commitDue(): Promise<void> {
    if (this.#running !== undefined) return;
    const waited = this.#hasWaited();
    const everything = this.isPressing();
    const include: Include = (quarterMs, since) => everything || waited(quarterMs, since);
    await this.exclusively(() => this.#commit(include)).catch(() => undefined);
  }

  /** Writes everything, sealed or not, after any commit under way. Rejects when the store does. */
  async checkpoint(): Promise<void> {
    await this.exclusively(() => this.#commit(EVERYTHING));
  }

  /** Writes everything, and begins nothing more: the log can be packed another time. Rejects when the store does. */
  async close(): Promise<void> {
    this.#isClosing = true;
    try {
      await this.checkpoint();
    } finally {
      await this.idle();
    }
  }

  /**
   * Does the work when no commit is under way, and lets none begin before it is done but those that the work makes
   * itself. They take all deltas.
   */
  async exclusively<T>(work: (commit: Commit) => Promise<T>): Promise<T> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
    const running = work((amendments) => this.#commit(EVERYTHING, amendments));
    this.#running = running;
    try {
      return await running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
    await this.#compacting;
  }

  async #commit(include: Include, amendments: Amendments = {}): Promise<void> {
    const { buckets, watermark, dedupeFrom, scheduler, health } = this.#options;
    health.check();
    const begun = scheduler.now();
    const sealUntil = this.#sealUntil();
    try {
      await buckets.commit({
        include,
        sealUntil,
        watermark: watermark.reached,
        dedupeFrom: dedupeFrom(),
        now: begun,
        amendments,
        slices: new Slices(this.#options, () => this.#sliceMs()),
      });
    } catch (error) {
      this.#lastError = error as Error;
      this.#restUntil = scheduler.now() + REST_AFTER_FAILURE_MS;
      health.report(error);
      throw error;
    }
    this.#sealedQuarter = sealUntil;
    this.#lastError = null;
    this.#commits++;
    const now = scheduler.now();
    this.#restUntil = now + Math.min(MAX_REST_MS, (now - begun) * REST_FACTOR);
    if (!this.#isClosing) this.#compacting ??= this.#compact();
  }

  /** What the store has will hardly be replayed. */
  async #compact(): Promise<void> {
    const { log, buckets, health } = this.#options;
    try {
      await log.compact(buckets.savedPosition + 1);
    } catch (error) {
      this.#lastError = error as Error;
      health.notice(error);
    } finally {
      this.#compacting = undefined;
    }
  }

  #hasRested(): boolean {
    return this.#options.scheduler.now() >= this.#restUntil;
  }

  /** Longer the more cells wait: up to `MAX_SLICE_FACTOR` times, when there are nearly too many. */
  #sliceMs(): number {
    const { buckets, maxHotCells } = this.#options;
    const over = buckets.hotCells / maxHotCells - 1;
    return SLICE_MS * Math.min(MAX_SLICE_FACTOR, Math.max(1, 1 + SLICE_FACTOR_OF_OVER * over));
  }

  /** While sealing rests, or an image is due, a longer replay is put up with, but no longer one than this. */
  #isReplayLong(): boolean {
    const { buckets, maxReplayEvents, hasImages } = this.#options;
    return buckets.unsavedEvents > maxReplayEvents * (this.#hasRested() && !hasImages ? 1 : REPLAY_AT_MOST);
  }

  /** Whole quarters: the seal never stands within one. */
  #sealUntil(): number {
    const { watermark, allowedLatenessMs, scheduler } = this.#options;
    const until = watermark.advance(scheduler.now()) - allowedLatenessMs;
    return Math.max(CALENDAR_START_MS, Math.floor(until / QUARTER_MS) * QUARTER_MS);
  }

  #hasWaited(): Include {
    const sealed = this.#options.buckets.sealedUntil(UTC_CALENDAR);
    const before = this.#options.scheduler.now() - LATE_COMMIT_AFTER_MS;
    return (quarterMs, since) => quarterMs + QUARTER_MS <= sealed && since <= before;
  }
}
