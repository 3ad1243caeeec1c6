import {
  BehaviorSubject,
  EMPTY,
  Subject,
  catchError,
  concatMap,
  defer,
  retry,
  switchMap,
  takeUntil,
  throwError,
  timer,
  type Observable,
} from "rxjs";
import type {
  Answer,
  BatchResult,
  CanonicalRow,
  DiscardReport,
  Engine,
  EngineOptions,
  EngineStats,
  Freshness,
  IngestOptions,
  IngestReply,
  LiveMessage,
  LiveOptions,
  MerkleReport,
  OverlapInput,
  OverlapResult,
  PeakInput,
  PeakResult,
  QuarantineOptions,
  QuarantineReport,
  QuarantineSelection,
  Question,
  QueryInput,
  QueryResult,
  ReconcileOptions,
  ReconcileReport,
  ReplayReport,
  RetentionReport,
  RevisionsOptions,
  RevisionsReport,
  StorageReport,
} from "./api.js";
import { CALENDAR_END_MS, CALENDAR_START_MS } from "./calendar/grain.js";
import { canonicalRows } from "./canonical.js";
import { Core } from "./core.js";
import { TidemarkError } from "./errors.js";
import { LiveView } from "./live.js";
import type { EventBatch } from "./log.js";
import { resolveOptions, type Settings } from "./options.js";
import { commits$, images$, live$, upkeep$, type PipelineOptions } from "./pipeline.js";
import { execute, prepareLive, type Questions } from "./query/index.js";
import {
  instantOf,
  merkleReport,
  reconcileReport,
  retentionReport,
  revisionsReport,
  storageReport,
} from "./reports.js";
import type { Schema } from "./schema.js";
import { Tally } from "./tally.js";

/** After a failed write the storage is opened anew: at once, then after a second, two, four … */
const RENEW_AFTER_MS = 1000;
const MAX_RENEW_AFTER_MS = 30_000;

/**
 * Opens an engine on a storage and brings it to where it was: dictionaries, watermark, claims, then the log's
 * tail. The engine owns the storage from here on and closes it.
 *
 * Throws `invalid-config`, `invalid-schema`, `schema-mismatch`, `storage-damaged`.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const settings = resolveOptions(options);
  const tally = new Tally();
  return new TidemarkEngine(settings, await Core.open(settings, tally), tally);
}

class TidemarkEngine implements Engine {
  readonly schema: Schema;
  readonly #settings: Settings;
  readonly #tally: Tally;
  readonly #core$: BehaviorSubject<Core>;
  readonly #closed$ = new Subject<void>();
  #state: "open" | "renewing" | "closing" = "open";
  #closing: Promise<void> | undefined;
  /** The last attempt to replace the core. */
  #renewal: Promise<void> | undefined;

  constructor(settings: Settings, core: Core, tally: Tally) {
    this.schema = settings.schema;
    this.#settings = settings;
    this.#tally = tally;
    this.#core$ = new BehaviorSubject(core);
    this.#core$.pipe(takeUntil(this.#closed$)).subscribe((current) => this.#run(current));
    this.#renewals$().subscribe();
  }

  async ingest(events: readonly unknown[], options: IngestOptions = {}): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#core.ingestor.ingest(events, options);
  }

  async ingestBytes(
    body: Uint8Array,
    format: "json" | "ndjson",
    options: IngestOptions = {},
  ): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#core.ingestor.ingestBytes(body, format, options);
  }

  async ingestBatch(batch: EventBatch, options: IngestOptions = {}): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#core.ingestor.ingestBatch(batch, options);
  }

  async query(query: QueryInput): Promise<QueryResult> {
    return await this.#ask((questions) => questions.query(query));
  }

  queryNow(query: QueryInput): QueryResult {
    return this.#ask((questions) => questions.queryNow(query));
  }

  async peak(input: PeakInput): Promise<PeakResult> {
    return this.#ask((questions) => questions.peak(input));
  }

  async overlap(input: OverlapInput): Promise<OverlapResult> {
    return this.#ask((questions) => questions.overlap(input));
  }

  async batch(questions: readonly Question[]): Promise<BatchResult> {
    return await this.#ask((all) => all.batch(questions));
  }

  freshness(answer: Answer): Freshness | undefined {
    return this.#core.questions.freshness(answer);
  }

  live$(query: QueryInput, options: LiveOptions = {}): Observable<LiveMessage> {
    const view = (): LiveView => {
      this.#requireOpen();
      const { schema } = this;
      const prepared = prepareLive(query, { schema, defaultZone: this.#settings.defaultZone });
      const answer = (): QueryResult => {
        this.#requireOpen();
        const core = this.#core;
        return core.watched(() => execute(prepared, core.buckets, core.moment()));
      };
      const position = (): number => this.#core.buckets.position;
      return new LiveView({ answer, position, now: () => this.#settings.scheduler.now() }, query);
    };
    const { pushIntervalMs } = this.#settings;
    return live$(view, { pushIntervalMs, ...options }, this.#pipeline()).pipe(
      // An engine that closes in the middle of a push has nothing more to say.
      catchError((error: unknown) => (this.#state === "closing" ? EMPTY : throwError(() => error))),
    );
  }

  stats(): EngineStats {
    const { buckets, watermark, committer, ingestor, upkeep, health, questions, quarantine, images } =
      this.#core;
    const { cache } = questions;
    return {
      ready: this.#state === "open" && health.failure === undefined,
      position: buckets.position,
      watermarkMs: Number.isFinite(watermark.ms) ? watermark.ms : null,
      hotCells: buckets.hotCells,
      hotBuckets: buckets.hotBuckets,
      unsavedEvents: buckets.unsavedEvents,
      queuedBytes: ingestor.queuedBytes,
      events: this.#tally.events,
      rejected: this.#tally.rejected,
      quarantine: quarantine.totals,
      commits: committer.commits,
      cache: {
        hits: cache.hits,
        misses: cache.misses,
        entries: cache.entries,
        bytes: cache.sizeBytes,
        ahead: questions.ahead.made,
      },
      lastCommitError: committer.lastError?.message ?? null,
      failure: health.failure?.message ?? null,
      mismatches: upkeep.mismatches,
      lastUpkeepError: (upkeep.lastError ?? images.lastError)?.message ?? null,
    };
  }

  revisions({ after = 0, limit = 1000 }: RevisionsOptions = {}): RevisionsReport {
    this.#requireOpen();
    return revisionsReport(this.#settings.storage.store, after, limit);
  }

  async reconcile({ from, to, repair = false }: ReconcileOptions = {}): Promise<ReconcileReport> {
    this.#requireOpen();
    const fromMs = instantOf(from, CALENDAR_START_MS, "/from");
    const toMs = instantOf(to, CALENDAR_END_MS, "/to");
    return reconcileReport(await this.#core.upkeep.reconcile(fromMs, toMs, repair));
  }

  async retain({ dryRun = false }: { readonly dryRun?: boolean } = {}): Promise<RetentionReport> {
    this.#requireOpen();
    return retentionReport(dryRun, await this.#core.upkeep.retain(dryRun));
  }

  async merkle(from: string, to: string): Promise<MerkleReport> {
    this.#requireOpen();
    const fromMs = instantOf(from, CALENDAR_START_MS, "/from");
    return merkleReport(await this.#core.upkeep.dayRoots(fromMs, instantOf(to, CALENDAR_END_MS, "/to")));
  }

  storage(): StorageReport {
    this.#requireOpen();
    return storageReport(this.#settings.storage, this.#core.buckets);
  }

  quarantine(options: QuarantineOptions = {}): QuarantineReport {
    this.#requireOpen();
    return this.#core.quarantine.list(options);
  }

  async replayQuarantine(selection: QuarantineSelection = {}): Promise<ReplayReport> {
    this.#requireOpen();
    return await this.#core.quarantine.replay(selection);
  }

  async discardQuarantine(selection: QuarantineSelection = {}): Promise<DiscardReport> {
    this.#requireOpen();
    return await this.#core.quarantine.discard(selection);
  }

  async checkpoint(): Promise<void> {
    this.#requireOpen();
    const { ingestor, committer } = this.#core;
    await ingestor.arrived();
    await committer.checkpoint();
  }

  canonicalRows(): Iterable<CanonicalRow> {
    const { storage, calendars } = this.#settings;
    const names = new Set(calendars.map(({ name }) => name));
    return canonicalRows(this.schema, storage.store, this.#core.buckets.dictionaries, names);
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = "closing";
    await this.#renewal?.catch(() => undefined);
    const { ingestor, committer, upkeep, quarantine, images } = this.#core;
    await quarantine.close();
    await ingestor.arrived();
    this.#closed$.next();
    this.#core.close();
    await upkeep.close();
    try {
      await images.idle();
      await committer.close();
      await images.renew();
    } finally {
      await this.#settings.storage.close();
    }
  }

  #isClosing(): boolean {
    return this.#state === "closing";
  }

  get #core(): Core {
    return this.#core$.value;
  }

  /** Starts what a core does by itself. */
  #run(core: Core): void {
    core.runAhead();
    const {
      committer,
      upkeep,
      images,
      ingestor: { folded$ },
      closed$,
    } = core;
    const { scheduler } = this.#settings;
    commits$(committer, { folded$, closed$, scheduler }).subscribe();
    images$(images, { folded$, closed$, scheduler }).subscribe();
    upkeep$(upkeep, { closed$, scheduler }).subscribe();
  }

  /** A core whose storage failed it is replaced by a new one. */
  #renewals$(): Observable<void> {
    const { scheduler } = this.#settings;
    const delay = (_: unknown, attempt: number): Observable<unknown> =>
      timer(Math.min(MAX_RENEW_AFTER_MS, RENEW_AFTER_MS * 2 ** (attempt - 1)), scheduler);
    return this.#core$.pipe(
      switchMap(({ health }) => health.failed$),
      concatMap(() => defer(() => (this.#renewal = this.#renew())).pipe(retry({ delay }))),
      takeUntil(this.#closed$),
    );
  }

  /**
   * Opens the storage anew and works everything out from it again. Until the storage is open, old answers are given;
   * while the new core is made, none.
   */
  async #renew(): Promise<void> {
    const { ingestor, committer, upkeep, images } = this.#core;
    await ingestor.arrived();
    await committer.idle();
    await images.idle();
    await upkeep.close();
    if (this.#isClosing()) return;
    await this.#settings.storage.recover();
    if (this.#isClosing()) return;
    this.#state = "renewing";
    const core = await Core.open(this.#settings, this.#tally);
    if (this.#isClosing()) return;
    this.#core.close();
    this.#state = "open";
    this.#core$.next(core);
  }

  #ask<T>(question: (questions: Questions) => T): T {
    this.#requireOpen();
    const core = this.#core;
    return core.watched(() => question(core.questions));
  }

  #pipeline(): PipelineOptions {
    const folded$ = this.#core$.pipe(switchMap(({ ingestor }) => ingestor.folded$));
    return { folded$, closed$: this.#closed$, scheduler: this.#settings.scheduler };
  }

  #requireOpen(): void {
    if (this.#state === "open") return;
    throw new TidemarkError("not-ready", `The engine is ${this.#state}; try again in a few seconds.`, {
      extra: { retryAfterS: 2 },
    });
  }
}
