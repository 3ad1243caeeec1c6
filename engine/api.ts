/**
 * The engine's surface as its three kinds of users see it: the same objects in process, over HTTP and over
 * WebSocket. Member names are those of the wire, hence snake_case in what is sent or received.
 */
import type { Observable, SchedulerLike } from "rxjs";
import type { EventBatch, Position } from "./log.js";
import type { Schema, SchemaConfig } from "./schema.js";
import type { Storage } from "./store.js";

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
  readonly maxValuesPerDimension?: number;
  readonly maxQueuedBytes?: number;
  /** Unsealed cells in memory beyond which they are written out early. */
  readonly maxHotCells?: number;
  /** Clock and timers; virtual in tests. Default: RxJS's `asyncScheduler`. */
  readonly scheduler?: SchedulerLike;
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

export const METRICS = [
  "views",
  "viewers",
  "views_anonymous",
  "blogs_created",
  "blogs_total",
  "views_per_viewer",
] as const;
export type Metric = (typeof METRICS)[number];

/** See docs/queries.md. Unknown members are refused. */
export interface QueryInput {
  readonly date_range: string | readonly [string, string];
  readonly timezone?: string;
  readonly metrics?: readonly Metric[];
  /** `time` (auto), `time:quarter|hour|day|week|month|year`, and the dimensions of one rollup. */
  readonly dimensions?: readonly string[];
  /** All must hold: `["is", dimension, [values]]`. */
  readonly filters?: readonly (readonly [string, string, readonly (string | null)[]])[];
  readonly order_by?: readonly (readonly [string, "asc" | "desc"])[];
  readonly limit?: number;
  /** `zero` adds a row for every empty time bucket (only when time is the only dimension). */
  readonly fill?: "none" | "zero";
  readonly include?: { readonly total?: boolean; readonly time_labels?: boolean; readonly explain?: boolean };
}

/** partial: the bucket is open; provisional: past, may still change at once; final: sealed; revised: changed since. */
export type RowState = "partial" | "provisional" | "final" | "revised";

export interface QueryRow {
  /** One per asked dimension, in order; null where an event carried no value. */
  readonly dimensions: readonly (string | null)[];
  /** One per asked metric, in order; null where it is not defined (0/0). */
  readonly metrics: readonly (number | null)[];
  /** Standard error of each metric; 0 where it is exact. */
  readonly error: readonly number[];
  readonly exact: readonly boolean[];
  readonly state: RowState;
}

export interface QueryResult {
  readonly results: readonly QueryRow[];
  /** With `include.total`. */
  readonly total?: Omit<QueryRow, "dimensions">;
  readonly meta: {
    /** `[from, to)`, RFC 3339 in the zone of the query. */
    readonly range: readonly [string, string];
    readonly granularity: string | null;
    /** With `include.time_labels`: every time bucket of the range. */
    readonly time_labels?: readonly string[];
    readonly watermark: string | null;
    readonly as_of: string;
    /** Position in the log up to which everything is counted. */
    readonly seq: Position;
    /** Metrics whose rows do not add up to the total. */
    readonly non_additive: readonly Metric[];
    /** Rows cut off by `limit`. */
    readonly rows_left_off: number;
    readonly sources?: readonly { readonly tier: string; readonly buckets: number }[];
    readonly warnings: readonly string[];
  };
  /** The query as it was understood: defaults filled in, dates resolved. */
  readonly query: Record<string, unknown>;
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
  readonly queuedBytes: number;
  readonly events: Readonly<Record<"accepted" | "duplicate" | "late_accepted", number>>;
  readonly rejected: Readonly<Partial<Record<RejectionCode, number>>>;
  readonly commits: number;
  /** The last failure to write buckets, or null; they are kept in memory and tried again. */
  readonly lastCommitError: string | null;
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
  /** Throws `TidemarkError` with a pointer for what it cannot answer exactly. */
  query(query: QueryInput): QueryResult;
  /** Errors with `TidemarkError` at subscription; completes when the engine closes. */
  live$(query: QueryInput): Observable<LiveMessage>;
  stats(): EngineStats;
  /** Writes every hot cell to the store; after it a restart replays nothing. */
  checkpoint(): Promise<void>;
  /** The stored state, sorted, keys spelled out. Call `checkpoint()` first. */
  canonicalRows(): Iterable<CanonicalRow>;
  /** Refuses new batches, finishes those under way, checkpoints, completes the live queries. Idempotent. */
  close(): Promise<void>;
}
