/**
 * The engine's surface as its three kinds of users see it: the same objects in process, over HTTP and over
 * WebSocket. Member names are those of the wire, hence snake_case in what is sent or received.
 */
import type { Observable, SchedulerLike } from "rxjs";
import type { BodyDecoder } from "./decode-port.js";
import type { EventBatch, LogSizes, Position } from "./log.js";
import type {
  Answer,
  BatchResult,
  Freshness,
  OverlapInput,
  OverlapResult,
  PeakInput,
  PeakResult,
  Question,
  QueryInput,
  QueryResult,
  RowState,
} from "./query-api.js";
import type { QuarantineId, QuarantineReason } from "./quarantine-port.js";
import type { Schema, SchemaConfig } from "./schema.js";
import type { RevisionReason, Storage } from "./store.js";
import type { Archive } from "./upkeep/archive.js";
import type { CellValues } from "./upkeep/compare.js";
import type { RetentionOptions } from "./upkeep/policy.js";

export * from "./query-api.js";

export interface EngineOptions {
  readonly storage: Storage;
  readonly schema?: SchemaConfig;
  /** Zones whose days, weeks, months and years are stored beside those of UTC. The first is the default zone. */
  readonly homeZones?: readonly string[];
  /** How long after its end a bucket stays hot, ms. Later events are merged into the sealed bucket. */
  readonly allowedLatenessMs?: number;
  /** Events older than this against the clock are refused, unless sent as a backfill, ms. */
  readonly maxLatenessMs?: number;
  /** Events further ahead of the clock than this are refused, ms. */
  readonly maxSkewMs?: number;
  /** After so long without an event the clock moves the watermark, ms. */
  readonly idleAfterMs?: number;
  /** Least time between two pushes of one live query, ms. */
  readonly pushIntervalMs?: number;
  /** An event id, or a batch's key, is remembered so long after it was received, ms. */
  readonly dedupeWindowMs?: number;
  /** 16 bytes: viewers are hashed under this key, so that nobody can recompute or forge the hashes. */
  readonly viewerKey?: Uint8Array;
  /** Decodes large NDJSON bodies in another thread. Default: they are decoded in this one. */
  readonly decoder?: BodyDecoder;
  readonly maxValuesPerDimension?: number;
  readonly maxQueuedBytes?: number;
  /** Unsealed cells in memory beyond which they are written out early. */
  readonly maxHotCells?: number;
  /** Events that a restart may have to fold again, about: beyond, an image of the hot cells is kept. */
  readonly maxReplayEvents?: number;
  /** Ids and keys remembered at most; beyond, batches that carry some are refused as overload. */
  readonly maxDedupeEntries?: number;
  /** Refused events kept to be looked at and counted after all; beyond, the oldest are given up. 0: they are only counted. */
  readonly maxQuarantinedEvents?: number;
  /** Bytes of them, at most. */
  readonly maxQuarantinedBytes?: number;
  /** A random whole number, so that senders cannot choose ids that collide in memory. */
  readonly hashSeed?: number;
  /** How long each tier is kept, ms; null for ever. Default: raw 30 days, quarters 90, hours 400, days 10 years. */
  readonly retention?: RetentionOptions;
  /** Takes what a tier gives up, before it does. */
  readonly archive?: Archive;
  /** One day of the raw log is compared with the buckets so often, ms; 0 for never. */
  readonly reconcileEveryMs?: number;
  /** Bytes of answers that are kept to be given again; 0 for none. */
  readonly maxCacheBytes?: number;
  /** A clock finer than the scheduler's, ms from any start, for `explain`. */
  readonly stopwatch?: () => number;
  /** Clock and timers; virtual in tests. Default: RxJS's `asyncScheduler`. */
  readonly scheduler?: SchedulerLike;
  /**
   * Resolves when everything that waits has run: asked for between two slices of long work. Default: a timer of the
   * scheduler, which under a real clock loses a millisecond each time; in Node, `setImmediate` loses none.
   */
  readonly nextTurn?: () => Promise<void>;
}

export interface IngestOptions {
  /** `durable` (default): answer when the batch is on disk. `none`: answer when it is queued. */
  readonly wait?: "durable" | "none";
  /** Import of history: no lateness limit. */
  readonly backfill?: boolean;
  /** A retry with the same key gets the first reply and is not counted again. 1–255 characters. */
  readonly idempotencyKey?: string;
}

/** Why one event was not counted. */
export type RejectionCode =
  | "invalid-json"
  | "invalid-utf8"
  | "not-an-object"
  | "unknown-field"
  | "invalid-type"
  | "invalid-timestamp"
  | "missing-value"
  | "invalid-value"
  | "value-too-long"
  | "too-old"
  | "too-far-ahead";

export interface EventError {
  /** Index of the event in the array, or of the line, from 0. */
  readonly index: number;
  readonly type: RejectionCode;
  /** What is wrong and what to do. */
  readonly detail: string;
}

/** `accepted + duplicate + late_rejected + future_rejected + invalid` is the number of events sent. */
export interface IngestReply {
  /** Counted, the late ones included. */
  readonly accepted: number;
  /** Not counted again: their id was seen within the dedupe window. */
  readonly duplicate: number;
  /** Of the accepted: those whose bucket was sealed already. */
  readonly late_accepted: number;
  readonly late_rejected: number;
  readonly future_rejected: number;
  readonly invalid: number;
  /** The first 100; the counts are complete. */
  readonly errors: readonly EventError[];
  /** RFC 3339, or null before the first event. */
  readonly watermark: string | null;
  /** Place of the batch in the log; null when nothing was accepted. */
  readonly position: Position | null;
  readonly durable: boolean;
}

export interface LiveOptions {
  /**
   * Asked after each message: resolves when the reader can take the next. What changes meanwhile is told together, so that
   * a slow reader is told less often and nothing piles up. Default: a message every `pushIntervalMs` at most.
   */
  readonly ready?: () => Promise<unknown>;
}

/** What a live query emits: first a snapshot, then absolute values; losing one costs freshness only. */
export type LiveMessage =
  | { readonly type: "snapshot"; readonly seq: Position; readonly payload: QueryResult }
  | {
      readonly type: "delta";
      readonly seq: Position;
      /** `seq` of the message before; a gap means that the client should ask for a snapshot. */
      readonly prev: Position;
      readonly payload: {
        readonly set: readonly (readonly [readonly (string | null)[], readonly (number | null)[]])[];
      };
    }
  | {
      readonly type: "rollover";
      readonly seq: Position;
      readonly payload: { readonly closed: string; readonly opened: string; readonly state: RowState };
    };

export interface EngineStats {
  readonly ready: boolean;
  readonly position: Position;
  readonly watermarkMs: number | null;
  readonly hotCells: number;
  readonly hotBuckets: number;
  /** Events that a restart would fold again, at most. */
  readonly unsavedEvents: number;
  readonly queuedBytes: number;
  readonly events: Readonly<Record<"accepted" | "duplicate" | "late_accepted", number>>;
  readonly rejected: Readonly<Partial<Record<RejectionCode, number>>>;
  readonly quarantine: QuarantineTotals;
  readonly commits: number;
  /** Answers that were kept and given again, those that were not, and what is kept. */
  readonly cache: {
    readonly hits: number;
    readonly misses: number;
    readonly entries: number;
    readonly bytes: number;
    /** Windows whose sealed part was made before anybody asked. */
    readonly ahead: number;
  };
  /** The last failure to write buckets, or null; they are kept in memory and tried again. */
  readonly lastCommitError: string | null;
  /** Why nothing can be written at the moment, or null. It is tried again and again. */
  readonly failure: string | null;
  /** Buckets that were found to differ from what they are made of, since the start. */
  readonly mismatches: number;
  /** The last failure of what runs in the background (retention, a comparison, an image of hot cells), or null. */
  readonly lastUpkeepError: string | null;
}

/** A bucket in reports. */
export interface BucketName {
  readonly calendar: string;
  readonly grain: string;
  /** RFC 3339, UTC. */
  readonly start: string;
}

export interface RevisionsOptions {
  /** Only revisions after this number; 0 for all that are kept. */
  readonly after?: number;
  /** At most so many, 1,000 by default and at most. */
  readonly limit?: number;
}

/** One change of a sealed bucket: which, when, by how much and why. */
export interface RevisionEntry {
  readonly seq: number;
  readonly at: string;
  readonly bucket: BucketName;
  readonly revision: number;
  readonly reason: RevisionReason;
  readonly position: Position;
  /** What its total changed by. */
  readonly views: number;
  readonly created: number;
  /** Cells that changed, of all rollups. */
  readonly cells: number;
}

export interface RevisionsReport {
  readonly revisions: readonly RevisionEntry[];
  /** Number of the newest revision of all. */
  readonly last: number;
}

export interface ReconcileOptions {
  /** RFC 3339; the first event by default. */
  readonly from?: string;
  /** RFC 3339; now by default. */
  readonly to?: string;
  /** Makes anew what is wrong. */
  readonly repair?: boolean;
}

export interface ReconcileReport {
  /** Whole UTC days; buckets that end in it were compared. */
  readonly range: readonly [string, string];
  readonly compared: number;
  /** Buckets that nothing finer is left of to compare with. */
  readonly unproven: number;
  /** Buckets that differ, are missing or cannot be read. */
  readonly wrong: number;
  readonly mismatched_cells: number;
  /** The first 100 cells that differ, with both values. */
  readonly mismatches: readonly {
    readonly bucket: BucketName;
    readonly rollup: string;
    readonly key: readonly (string | null)[];
    readonly stored: CellValues | null;
    readonly recomputed: CellValues | null;
  }[];
  /** What could not be read, as sentences. */
  readonly damaged: readonly string[];
  readonly repaired: number;
  /** What was repaired as far as possible, but with events missing. */
  readonly incomplete: readonly IncompleteRange[];
}

/** Events are missing here; null where the border is not known. */
export interface IncompleteRange {
  /** Calendar and grain; null for all. */
  readonly tier: string | null;
  readonly from: string | null;
  readonly to: string | null;
}

export interface RetentionReport {
  readonly dry_run: boolean;
  readonly tiers: readonly {
    readonly tier: string;
    /** What lies before is given up; null when nothing is due. */
    readonly before: string | null;
    /** Buckets, or log records. */
    readonly count: number;
    readonly blocked: string | null;
  }[];
}

export interface MerkleReport {
  readonly days: readonly {
    readonly day: string;
    readonly root: string;
    readonly leaves: readonly { readonly bucket: BucketName; readonly hash: string }[];
  }[];
}

/** How many refused events are kept, and what became of the others. Over the store's life, not since the start. */
export interface QuarantineTotals {
  readonly held: number;
  /** Of these, at most. */
  readonly bytes: number;
  /** The oldest, given up because there was no room for newer ones. */
  readonly dropped: number;
  /** Given up with the raw events of their time. */
  readonly expired: number;
  /** Counted after all: by a replay, or sent again under the same id and accepted. */
  readonly released: number;
  /** Given up by the operator. */
  readonly discarded: number;
  /** Stored values that cannot be read; how many events were in them, nobody knows. */
  readonly damaged: number;
}

export interface QuarantineOptions {
  /** Only events whose id is greater; 0 for all. */
  readonly after?: number;
  /** At most so many, 100 by default, 1,000 at most. */
  readonly limit?: number;
}

/** An event that was refused for its time. */
export interface QuarantinedEvent {
  /** Counts from 1 over the whole store. */
  readonly id: QuarantineId;
  readonly reason: QuarantineReason;
  /** RFC 3339. */
  readonly received_at: string;
  /** `type`, `ts` and the dimensions that it has, as it was sent. */
  readonly event: Readonly<Record<string, string>>;
  /** 12 hexadecimal digits; null without a viewer. */
  readonly viewer_hash: string | null;
  /** 16 hexadecimal digits; null without an id. */
  readonly id_hash: string | null;
}

export interface QuarantineReport extends QuarantineTotals {
  /** Oldest first. */
  readonly events: readonly QuarantinedEvent[];
  /** `after` of the next page; null when there is none. */
  readonly next: QuarantineId | null;
}

export interface QuarantineSelection {
  /** Which events, at most 10,000 ids; all that are held when it is left out. */
  readonly ids?: readonly QuarantineId[];
}

export interface ReplayReport {
  /** Counted now, the late ones included, and taken out of quarantine. */
  readonly accepted: number;
  /** Counted before under the same id; taken out, too. */
  readonly duplicate: number;
  /** Of the accepted: those whose bucket was sealed already. */
  readonly late_accepted: number;
  /** Still too far ahead of the clock: they stay. */
  readonly kept: number;
  /** Of the ids that were given: those that are not, or no longer, in quarantine. */
  readonly missing: number;
  /** Place of the last of them in the log; null when nothing was accepted. */
  readonly position: Position | null;
}

export interface DiscardReport {
  readonly discarded: number;
  /** As in `ReplayReport`. */
  readonly missing: number;
}

/** How much is stored of what. */
export interface StorageReport {
  readonly raw: LogSizes & {
    /** Raw events are complete from here on; null when nothing was given up. */
    readonly complete_from: string | null;
    readonly gaps: readonly IncompleteRange[];
  };
  readonly tiers: readonly {
    readonly tier: string;
    readonly buckets: number;
    readonly cells: number;
    readonly bytes: number;
    readonly bytes_per_cell: number | null;
    /** Buckets that begin before were given up; null when none was. */
    readonly reach: string | null;
  }[];
  readonly incomplete: readonly IncompleteRange[];
}

/** One line of the canonical form of a stored state: independent of arrival order, batching and interning. */
export type CanonicalRow = string;

export interface Engine {
  readonly schema: Schema;
  /** Objects as parsed from JSON; each is judged by itself. */
  ingest(events: readonly unknown[], options?: IngestOptions): Promise<IngestReply>;
  /** A body: NDJSON lines, or one JSON object or array. Throws `invalid-json`, `empty-body`, … for a bad whole. */
  ingestBytes(body: Uint8Array, format: "json" | "ndjson", options?: IngestOptions): Promise<IngestReply>;
  /** Already decoded columns (importers, benchmarks). */
  ingestBatch(batch: EventBatch, options?: IngestOptions): Promise<IngestReply>;
  /** Rejects with a `TidemarkError` with a pointer for what it cannot answer exactly. */
  query(query: QueryInput): Promise<QueryResult>;
  /** As `query`, but at once and from stored buckets only: where raw events are needed it throws. */
  queryNow(query: QueryInput): QueryResult;
  /** Views by weekday and hour. */
  peak(input: PeakInput): Promise<PeakResult>;
  /** Viewers that two sets share. */
  overlap(input: OverlapInput): Promise<OverlapResult>;
  /** Up to 64 questions of one state; each fails by itself. */
  batch(questions: readonly Question[]): Promise<BatchResult>;
  /** How long an answer of this engine stays as it is; undefined for one that cannot be kept (a page, raw events). */
  freshness(answer: Answer): Freshness | undefined;
  /** Errors with `TidemarkError` at subscription; completes when the engine closes. */
  live$(query: QueryInput, options?: LiveOptions): Observable<LiveMessage>;
  stats(): EngineStats;
  /** Writes every hot cell to the store; after it a restart replays nothing. */
  checkpoint(): Promise<void>;
  /** What changed in sealed buckets, oldest first. */
  revisions(options?: RevisionsOptions): RevisionsReport;
  /** Holds stored buckets against the raw events and the finer grains, bit for bit, and repairs them if asked to. */
  reconcile(options?: ReconcileOptions): Promise<ReconcileReport>;
  /** Gives up what is older than its tier keeps; with `dryRun`, only says what. Runs by itself every hour. */
  retain(options?: { readonly dryRun?: boolean }): Promise<RetentionReport>;
  /** One hash a UTC day: two stores with equal roots hold equal buckets. RFC 3339 instants, whole days. */
  merkle(from: string, to: string): Promise<MerkleReport>;
  storage(): StorageReport;
  /** Events that were refused for their time, as they are on disk, oldest first. */
  quarantine(options?: QuarantineOptions): QuarantineReport;
  /**
   * Counts events that wait in quarantine, those that were too old as a backfill, and takes them out of it in the same
   * transaction: each is counted once, whatever happens. When it rejects, part of it may be done; ask again.
   */
  replayQuarantine(selection?: QuarantineSelection): Promise<ReplayReport>;
  /** Gives up events that wait in quarantine. */
  discardQuarantine(selection?: QuarantineSelection): Promise<DiscardReport>;
  /** The stored state, sorted, keys spelled out. Call `checkpoint()` first. */
  canonicalRows(): Iterable<CanonicalRow>;
  /** Refuses new batches, finishes those under way, checkpoints, completes the live queries. Idempotent. */
  close(): Promise<void>;
}
