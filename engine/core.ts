import { Subject, exhaustMap, interval, takeUntil } from "rxjs";
import { Buckets } from "./hot/buckets.js";
import { Committer } from "./hot/committer.js";
import { Images } from "./hot/images.js";
import { Dictionaries } from "./hot/dictionaries.js";
import { Watermark } from "./hot/watermark.js";
import { Health, damagedBucket } from "./health.js";
import { Ingestor } from "./ingest.js";
import type { Position } from "./log.js";
import type { Settings } from "./options.js";
import { Quarantine } from "./quarantine.js";
import { QuarantineDesk } from "./quarantine-desk.js";
import { Questions, type Moment } from "./query/index.js";
import { recover } from "./recovery.js";
import { TidemarkError } from "./errors.js";
import type { Schema } from "./schema.js";
import type { StoreMeta } from "./store.js";
import type { Tally } from "./tally.js";
import { createPause } from "./upkeep/ground.js";
import { Upkeep } from "./upkeep/upkeep.js";

/** How often is looked for windows that a seal, a late event or the clock has done away with, ms. */
const AHEAD_EVERY_MS = 1000;

/** While a commit is under way, memory may hold this many times the cells that start one. */
const OVERFULL_FACTOR = 3;

/**
 * Everything that an engine has in memory, worked out from what its storage has. When a write has failed and nobody
 * knows what is on disk, the engine drops its core and opens another one.
 */
export class Core {
  readonly buckets: Buckets;
  readonly watermark: Watermark;
  readonly committer: Committer;
  readonly images: Images;
  readonly ingestor: Ingestor;
  readonly quarantine: QuarantineDesk;
  readonly upkeep: Upkeep;
  readonly questions: Questions;
  readonly health = new Health();
  readonly closed$ = new Subject<void>();
  readonly #settings: Settings;

  private constructor(settings: Settings, meta: StoreMeta | undefined, tally: Tally) {
    const { schema, storage, calendars, scheduler } = settings;
    const dedupeFrom = (): Position => this.#dedupeFrom();
    this.#settings = settings;
    const dictionaries = new Dictionaries(schema, storage.store, settings.maxValuesPerDimension);
    this.buckets = new Buckets(schema, calendars, storage.store, dictionaries);
    this.watermark = new Watermark(settings.idleAfterMs);
    this.watermark.restore(meta?.watermark ?? 0, scheduler.now());
    const shared = { ...settings, buckets: this.buckets, watermark: this.watermark, health: this.health };
    this.committer = new Committer({
      ...shared,
      log: storage.log,
      dedupeFrom,
      hasImages: storage.images !== undefined,
    });
    this.images = new Images({ ...shared, log: storage.log, port: storage.images, dedupeFrom });
    const quarantine = new Quarantine(storage.quarantine, settings, scheduler.now());
    this.ingestor = new Ingestor({
      ...shared,
      log: storage.log,
      quarantinePort: storage.quarantine,
      quarantine,
      limits: settings,
      isOverfull: () => this.buckets.hotCells > settings.maxHotCells * OVERFULL_FACTOR,
      tally,
    });
    this.quarantine = new QuarantineDesk({ ...shared, quarantine, ingestor: this.ingestor });
    const expireQuarantine = this.quarantine.expire.bind(this.quarantine);
    this.upkeep = new Upkeep({ ...shared, committer: this.committer, dedupeFrom, expireQuarantine });
    this.questions = new Questions({
      ...shared,
      log: storage.log,
      moment: () => this.moment(),
      watched: (answer) => this.watched(answer),
      pause: createPause(settings.nextTurn),
      rest: (ms) => new Promise((resolve) => void scheduler.schedule(() => resolve(), ms)),
      epoch: scheduler.now().toString(36),
    });
  }

  /** Throws `schema-mismatch`, `storage-damaged`. */
  static async open(settings: Settings, tally: Tally): Promise<Core> {
    const meta = settings.storage.store.meta();
    checkSchema(settings.schema, meta);
    const core = new Core(settings, meta, tally);
    await core.#recover(meta);
    return core;
  }

  /** What an answer depends on beside the buckets, now. */
  moment(): Moment {
    const now = this.#settings.scheduler.now();
    return { now, watermarkMs: this.watermark.advance(now) };
  }

  /** What `answer` returns. A damaged bucket that it comes upon is made anew; the answer is refused meanwhile. */
  watched<T>(answer: () => T): T {
    try {
      return answer();
    } catch (error) {
      const bucket = damagedBucket(error);
      if (bucket !== undefined) this.health.damage$.next(bucket);
      throw error;
    }
  }

  /** Drops everything; what it had under way may still fail. */
  close(): void {
    this.questions.ahead.close();
    this.closed$.next();
  }

  /** Makes windows ahead of the questions, from now on. */
  runAhead(): void {
    interval(AHEAD_EVERY_MS, this.#settings.scheduler)
      .pipe(
        exhaustMap(() => this.questions.ahead.run()),
        takeUntil(this.closed$),
      )
      .subscribe();
  }

  async #recover(meta: StoreMeta | undefined): Promise<void> {
    const { storage, calendars, scheduler, dedupeWindowMs } = this.#settings;
    const claimsSince = scheduler.now() - dedupeWindowMs;
    const { buckets, ingestor, watermark } = this;
    const image = await this.images.read();
    await recover({ log: storage.log, buckets, ingestor, watermark, meta, image, claimsSince });
    this.health.damage$.pipe(takeUntil(this.closed$)).subscribe((address) => this.upkeep.heal(address));
    for (const address of storage.damagedBuckets ?? []) this.health.damage$.next(address);
    // A home zone that was not there before gets its days, weeks, months and years from what is stored.
    if (meta !== undefined && calendars.some(({ name }) => meta.sealedUntil[name] === undefined)) {
      await this.committer.checkpoint();
    }
  }

  #dedupeFrom(): Position {
    const froms = [this.ingestor.ids.from, this.ingestor.claims.from].filter((position) => position > 0);
    return froms.length === 0 ? 0 : Math.min(...froms);
  }
}

function checkSchema(schema: Schema, meta: StoreMeta | undefined): void {
  if (meta === undefined || meta.schema === schema.fingerprint) return;
  throw new TidemarkError(
    "schema-mismatch",
    `This store was written with the schema ${meta.schema}, not ${schema.fingerprint}. ` +
      "Start with the old schema, or send the events again to a new directory.",
  );
}
