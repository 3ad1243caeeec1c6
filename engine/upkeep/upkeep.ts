import type { SchedulerLike } from "rxjs";
import { DAY_MS, GRAINS, HOUR_MS } from "../calendar/grain.js";
import { TidemarkError } from "../errors.js";
import type { Buckets } from "../hot/buckets.js";
import type { Health } from "../health.js";
import type { Committer } from "../hot/committer.js";
import type { Position } from "../log.js";
import { UTC_CALENDAR, addressName, type BucketAddress, type Storage } from "../store.js";
import type { Archive } from "./archive.js";
import { Findings } from "./findings.js";
import { createPause, type Ground } from "./ground.js";
import { dayRoots, type DayRoot } from "./merkle.js";
import type { Retention } from "./policy.js";
import { Prover } from "./prover.js";
import { Repairer, type Repaired } from "./repairer.js";
import { Retainer, type Expiry } from "./retainer.js";

/** Buckets made anew in one transaction: commits wait for it. */
const HEALED_AT_ONCE = 200;

export interface UpkeepOptions {
  readonly storage: Storage;
  readonly buckets: Buckets;
  readonly committer: Committer;
  readonly health: Health;
  readonly scheduler: SchedulerLike;
  readonly nextTurn: () => Promise<void>;
  readonly retention: Retention;
  readonly reconcileEveryMs: number;
  readonly maxSkewMs: number;
  readonly archive: Archive | undefined;
  readonly dedupeFrom: () => Position;
  /** Gives up refused events received before an instant, or only tells how many these are. */
  readonly expireQuarantine: (beforeMs: number, dryRun: boolean) => Promise<number>;
}

/** What a reconciliation found and did. */
export interface Reconciled {
  /** Whole UTC days, ms. */
  readonly range: readonly [number, number];
  readonly findings: Findings;
  /** Undefined where nothing was to be repaired, or was not asked for. */
  readonly repaired: Repaired | undefined;
}

/** Keeps the stored state true and small: compares, repairs, gives up. One task at a time. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #ground: Ground;
  readonly #prover: Prover;
  readonly #repairer: Repairer;
  readonly #retainer: Retainer;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Buckets that are to be made anew. */
  readonly #sick = new Map<string, BucketAddress>();
  #isHealing = false;
  /** The day that the background looks at next; goes backwards, and begins anew at the end. */
  #nextDayMs = Number.NEGATIVE_INFINITY;
  #nextAt: number;
  #mismatches = 0;
  #lastError: Error | null = null;

  constructor(options: UpkeepOptions) {
    const { storage, buckets, committer, scheduler } = options;
    this.#options = options;
    this.#ground = {
      log: storage.log,
      store: storage.store,
      buckets,
      now: () => scheduler.now(),
      pause: createPause(options.nextTurn),
    };
    this.#prover = new Prover(this.#ground);
    this.#repairer = new Repairer(this.#ground, this.#prover, committer);
    this.#retainer = new Retainer({ ...options, ground: this.#ground, prover: this.#prover });
    this.#nextAt = scheduler.now() + options.reconcileEveryMs;
  }

  /** Buckets that were found wrong since the start. */
  get mismatches(): number {
    return this.#mismatches;
  }

  get lastError(): Error | null {
    return this.#lastError;
  }

  /** Holds every bucket that ends in `(fromMs, toMs]` against what it is made of. */
  async reconcile(fromMs: number, toMs: number, repair: boolean): Promise<Reconciled> {
    return await this.#alone(() => this.#reconcile(fromMs, toMs, repair));
  }

  async retain(dryRun: boolean): Promise<Expiry[]> {
    return await this.#alone(() => this.#retainer.run(dryRun));
  }

  async dayRoots(fromMs: number, toMs: number): Promise<DayRoot[]> {
    return await this.#alone(() => dayRoots(this.#ground, fromMs, toMs));
  }

  /** Makes a bucket anew that could not be read, together with others that are found meanwhile. */
  heal(address: BucketAddress): void {
    if (!this.#isKnown(address)) return;
    this.#sick.set(addressName(address), address);
    if (!this.#isHealing) void this.#heal();
  }

  /** What is to be done now and then: retention, and one day compared. Failures are kept in `lastError`. */
  async inBackground(): Promise<void> {
    const { reconcileEveryMs, scheduler } = this.#options;
    try {
      await this.retain(false);
      if (reconcileEveryMs > 0 && scheduler.now() >= this.#nextAt) {
        this.#nextAt = scheduler.now() + reconcileEveryMs;
        await this.#nextDay();
      }
      this.#lastError = null;
    } catch (error) {
      this.#lastError = error as Error;
    }
  }

  /** Resolves when nothing is under way; nothing more is begun. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
  }

  async #reconcile(fromMs: number, toMs: number, repair: boolean): Promise<Reconciled> {
    const { buckets } = this.#options;
    const findings = new Findings(buckets.schema, buckets.dictionaries);
    const utc = buckets.calendars[0]!;
    const [from, to] = this.#clamp(fromMs, toMs);
    await this.#prover.quarters(from, to, findings);
    await this.#prover.composed(utc, "hour", from, to, findings);
    for (const zone of buckets.calendars) {
      for (const grain of ["day", "week", "month", "year"] as const) {
        await this.#prover.composed(zone, grain, from, to, findings);
      }
    }
    this.#mismatches += findings.wrong.length;
    if (!repair || findings.wrong.length === 0) return { range: [from, to], findings, repaired: undefined };
    return { range: [from, to], findings, repaired: await this.#repairer.repair(findings.wrong) };
  }

  /** To whole days around what there is: nobody pays for empty centuries. */
  #clamp(fromMs: number, toMs: number): [number, number] {
    const { storage, buckets, scheduler } = this.#options;
    const utc = buckets.calendars[0]!;
    const [first] = GRAINS.flatMap((grain) => {
      const [start] = storage.store.starts(
        UTC_CALENDAR,
        grain,
        Number.NEGATIVE_INFINITY,
        Number.POSITIVE_INFINITY,
      );
      return start === undefined ? [] : [start];
    }).sort((a, b) => a - b);
    const now = scheduler.now();
    const from = utc.startOf("day", Math.max(fromMs, Math.min(first ?? now, now)));
    const last = utc.endOf("day", Math.max(now, buckets.sealedUntil(UTC_CALENDAR)) + DAY_MS);
    return [from, utc.endOf("day", Math.max(from, Math.min(toMs, last) - 1))];
  }

  /** From the newest sealed day backwards, as far as raw reaches. */
  async #nextDay(): Promise<void> {
    const { buckets, storage } = this.#options;
    const utc = buckets.calendars[0]!;
    const sealed = buckets.sealedUntil(UTC_CALENDAR);
    const [first] = storage.store.starts(UTC_CALENDAR, "quarter", storage.log.completeFrom, sealed);
    if (first === undefined) return;
    const newest = utc.startOf("day", sealed - HOUR_MS);
    const day =
      this.#nextDayMs < utc.startOf("day", first) || this.#nextDayMs > newest ? newest : this.#nextDayMs;
    this.#nextDayMs = utc.startOf("day", day - 1);
    await this.reconcile(day, utc.endOf("day", day), false);
  }

  async #heal(): Promise<void> {
    this.#isHealing = true;
    try {
      while (this.#sick.size > 0) await this.#alone(() => this.#repairer.repair(this.#takeSick()));
    } catch (error) {
      this.#sick.clear();
      this.#lastError = error as Error;
    } finally {
      this.#isHealing = false;
    }
  }

  #takeSick(): BucketAddress[] {
    const taken = [...this.#sick.values()].slice(0, HEALED_AT_ONCE);
    for (const address of taken) this.#sick.delete(addressName(address));
    return taken;
  }

  #isKnown({ calendar }: BucketAddress): boolean {
    return this.#options.buckets.calendars.some(({ name }) => name === calendar);
  }

  async #alone<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      if (this.#isClosed) throw notReady();
      return task();
    });
    this.#last = done.catch((error: unknown) => this.#options.health.notice(error));
    return await done;
  }
}

function notReady(): TidemarkError {
  return new TidemarkError(
    "not-ready",
    "The engine is closing or opens its storage anew; try again in a few seconds.",
    {
      extra: { retryAfterS: 2 },
    },
  );
}
