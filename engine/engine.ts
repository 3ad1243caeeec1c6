import { EMPTY, Subject, catchError, throwError, type Observable } from "rxjs";
import type {
  CanonicalRow,
  Engine,
  EngineOptions,
  EngineStats,
  IngestOptions,
  IngestReply,
  LiveMessage,
  QueryInput,
  QueryResult,
} from "./api.js";
import { canonicalRows } from "./canonical.js";
import { TidemarkError } from "./errors.js";
import { Buckets } from "./hot/buckets.js";
import { Committer } from "./hot/committer.js";
import { Dictionaries } from "./hot/dictionaries.js";
import { Watermark } from "./hot/watermark.js";
import { Ingestor } from "./ingest.js";
import { LiveView } from "./live.js";
import type { EventBatch } from "./log.js";
import { resolveOptions, type Settings } from "./options.js";
import { commits$, live$, type PipelineOptions } from "./pipeline.js";
import { execute, prepareQuery, type Moment, type PreparedQuery } from "./query/index.js";
import { recover } from "./recovery.js";
import type { Schema } from "./schema.js";
import type { StoreMeta } from "./store.js";

/** While a commit is under way, memory may hold this many times the cells that start one. */
const OVERFULL_FACTOR = 3;

/**
 * Opens an engine on a storage and brings it to where it was: dictionaries, watermark, claims, then the log's
 * tail. The engine owns the storage from here on and closes it.
 *
 * Throws `invalid-config`, `invalid-schema`, `schema-mismatch`, `storage-damaged`.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const settings = resolveOptions(options);
  const meta = settings.storage.store.meta();
  checkSchema(settings.schema, meta);
  const engine = new TidemarkEngine(settings, meta);
  await engine.start(meta);
  return engine;
}

class TidemarkEngine implements Engine {
  readonly schema: Schema;
  readonly #settings: Settings;
  readonly #buckets: Buckets;
  readonly #watermark: Watermark;
  readonly #committer: Committer;
  readonly #ingestor: Ingestor;
  readonly #closed$ = new Subject<void>();
  #state: "starting" | "open" | "closing" = "starting";
  #closing: Promise<void> | undefined;

  constructor(settings: Settings, meta: StoreMeta | undefined) {
    const { schema, storage, calendars, scheduler } = settings;
    this.schema = schema;
    this.#settings = settings;
    const dictionaries = new Dictionaries(schema, storage.store, settings.maxValuesPerDimension);
    this.#buckets = new Buckets(schema, calendars, storage.store, dictionaries);
    this.#watermark = new Watermark(settings.idleAfterMs);
    if (meta !== undefined) this.#watermark.restore(meta.watermark);
    this.#committer = new Committer({
      buckets: this.#buckets,
      watermark: this.#watermark,
      scheduler,
      allowedLatenessMs: settings.allowedLatenessMs,
      maxHotCells: settings.maxHotCells,
      dedupeFrom: () => this.#dedupeFrom(),
    });
    this.#ingestor = new Ingestor({
      log: storage.log,
      buckets: this.#buckets,
      watermark: this.#watermark,
      scheduler,
      hashViewer: settings.hashViewer,
      limits: settings,
      dedupeWindowMs: settings.dedupeWindowMs,
      maxQueuedBytes: settings.maxQueuedBytes,
      isOverfull: () => this.#buckets.hotCells > settings.maxHotCells * OVERFULL_FACTOR,
    });
  }

  async start(meta: StoreMeta | undefined): Promise<void> {
    const { storage, calendars, scheduler, dedupeWindowMs } = this.#settings;
    const claimsSince = scheduler.now() - dedupeWindowMs;
    await recover({ log: storage.log, buckets: this.#buckets, ingestor: this.#ingestor, meta, claimsSince });
    // A home zone that was not there before gets its days, weeks, months and years from what is stored.
    if (meta !== undefined && calendars.some(({ name }) => meta.sealedUntil[name] === undefined)) {
      await this.#committer.checkpoint();
    }
    commits$(this.#committer, this.#pipeline()).subscribe();
    this.#state = "open";
  }

  async ingest(events: readonly unknown[], options: IngestOptions = {}): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#ingestor.ingest(events, options);
  }

  async ingestBytes(
    body: Uint8Array,
    format: "json" | "ndjson",
    options: IngestOptions = {},
  ): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#ingestor.ingestBytes(body, format, options);
  }

  async ingestBatch(batch: EventBatch, options: IngestOptions = {}): Promise<IngestReply> {
    this.#requireOpen();
    return await this.#ingestor.ingestBatch(batch, options);
  }

  query(query: QueryInput): QueryResult {
    this.#requireOpen();
    return execute(this.#prepare(query), this.#buckets, this.#moment());
  }

  live$(query: QueryInput): Observable<LiveMessage> {
    const view = (): LiveView => {
      this.#requireOpen();
      const prepared = this.#prepare(query);
      const answer = (): QueryResult => {
        this.#requireOpen();
        return execute(prepared, this.#buckets, this.#moment());
      };
      const position = (): number => this.#buckets.position;
      return new LiveView({ answer, position, now: () => this.#settings.scheduler.now() }, query);
    };
    return live$(view, this.#settings.pushIntervalMs, this.#pipeline()).pipe(
      // An engine that closes in the middle of a push has nothing more to say.
      catchError((error: unknown) => (this.#state === "closing" ? EMPTY : throwError(() => error))),
    );
  }

  stats(): EngineStats {
    const { ms } = this.#watermark;
    return {
      ready: this.#state === "open" && this.#ingestor.failure === undefined,
      position: this.#buckets.position,
      watermarkMs: Number.isFinite(ms) ? ms : null,
      hotCells: this.#buckets.hotCells,
      hotBuckets: this.#buckets.hotBuckets,
      queuedBytes: this.#ingestor.queuedBytes,
      events: { ...this.#ingestor.accepted },
      rejected: { ...this.#ingestor.rejected },
      commits: this.#committer.commits,
      lastCommitError: this.#committer.lastError?.message ?? null,
    };
  }

  async checkpoint(): Promise<void> {
    this.#requireOpen();
    await this.#ingestor.arrived();
    await this.#committer.checkpoint();
  }

  canonicalRows(): Iterable<CanonicalRow> {
    const { storage, calendars } = this.#settings;
    const names = new Set(calendars.map(({ name }) => name));
    return canonicalRows(this.schema, storage.store, this.#buckets.dictionaries, names);
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = "closing";
    await this.#ingestor.arrived();
    this.#closed$.next();
    try {
      await this.#committer.checkpoint();
    } finally {
      await this.#settings.storage.close();
    }
  }

  #prepare(query: QueryInput): PreparedQuery {
    return prepareQuery(query, { schema: this.schema, defaultZone: this.#settings.defaultZone });
  }

  #moment(): Moment {
    const now = this.#settings.scheduler.now();
    return { now, watermarkMs: this.#watermark.advance(now) };
  }

  #pipeline(): PipelineOptions {
    return { folded$: this.#ingestor.folded$, closed$: this.#closed$, scheduler: this.#settings.scheduler };
  }

  #dedupeFrom(): number {
    const froms = [this.#ingestor.ids.from, this.#ingestor.claims.from].filter((position) => position > 0);
    return froms.length === 0 ? 0 : Math.min(...froms);
  }

  #requireOpen(): void {
    if (this.#state === "open") return;
    throw new TidemarkError("not-ready", `The engine is ${this.#state}; try again in a few seconds.`, {
      extra: { retryAfterS: 2 },
    });
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
