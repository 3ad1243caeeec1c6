/** What the client is given and gives; types only, so that nothing of it is left when it is built. */
import type { IngestReply, LiveMessage } from "../../engine/api.js";
import type {
  BatchResult,
  Metric,
  OverlapInput,
  OverlapResult,
  PeakInput,
  PeakResult,
  Question,
  QueryInput,
  QueryResult,
  QueryRow,
} from "../../engine/query-api.js";

export type * from "../../engine/query-api.js";
export type { IngestReply, LiveMessage };

export interface ClientOptions {
  /** Where the server is, like `https://stats.example.org` or with a path behind which it stands. */
  readonly url: string;
  readonly token?: string;
  /** The global one by default. */
  readonly fetch?: FetchLike;
  /** The global one by default; Node has one from version 22 on, before that hand in the package ws. */
  readonly WebSocket?: WebSocketClass;
  /** How often what may pass is tried again: 4 by default. */
  readonly retries?: number;
  /** Of one attempt, ms: 30,000 by default. */
  readonly timeoutMs?: number;
  /** A `Retry-After` beyond this is told instead of waited for, ms: 60,000 by default. */
  readonly maxWaitMs?: number;
  /** Ask by GET where the question fits into an address, so that a browser keeps the answer as long as it holds. */
  readonly cacheable?: boolean;
  /** How waiting is done, in tests. */
  readonly wait?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

export interface CallOptions {
  /** Rejects with the signal's reason; nothing is tried again then. */
  readonly signal?: AbortSignal;
}

export interface SendOptions extends CallOptions {
  /** One of its own, the same for all attempts, by default. */
  readonly idempotencyKey?: string;
  /** `none`: answered when the events are queued, not when they are on disk. */
  readonly wait?: "durable" | "none";
  /** Import of history: no event is too old. */
  readonly backfill?: boolean;
}

/** Either the members of an event, or several; dimensions are those of the server's schema. */
export interface ClientEvent {
  readonly type: "view" | "created";
  /** Milliseconds since 1970, or RFC 3339 with an offset; the server's clock when left out. */
  readonly ts?: number | string;
  readonly [member: string]: unknown;
}

/** The metrics of a query as it is written: a tuple where it names them, the default ones where it does not. */
export type MetricsOf<Q> = Q extends { readonly metrics: infer M extends readonly Metric[] }
  ? M
  : "metrics" extends keyof Q
    ? readonly Metric[]
    : readonly ["views", "viewers"];

type Each<M, T> = { readonly [K in keyof M]: T };
type PerMetric<Q, T> = Each<MetricsOf<Q>, T>;

/** A row with as many values as the query has metrics. */
export interface TypedRow<Q> extends Omit<QueryRow, "metrics" | "error" | "exact"> {
  readonly metrics: PerMetric<Q, number | null>;
  readonly error: PerMetric<Q, number>;
  readonly exact: PerMetric<Q, boolean>;
}

export interface TypedResult<Q> extends Omit<QueryResult, "results" | "total"> {
  readonly results: readonly TypedRow<Q>[];
  readonly total?: Omit<TypedRow<Q>, "dimensions">;
}

/** `GET /v1/schema`, as far as programs go by it. */
export interface DataDictionary {
  readonly version: string;
  readonly dimensions: readonly {
    readonly name: string;
    readonly subject: boolean;
    readonly remembered: boolean;
  }[];
  readonly identity: string;
  readonly rollups: readonly (readonly string[])[];
  readonly metrics: readonly {
    readonly name: string;
    readonly kind: "count" | "distinct" | "ratio";
    readonly unit: string;
    readonly additive: boolean;
    readonly exact: string;
    readonly description: string;
  }[];
  readonly limits: Readonly<Record<string, number>>;
  readonly errors: readonly { readonly code: string; readonly status: number; readonly title: string }[];
  readonly [member: string]: unknown;
}

export interface LiveSubscription {
  /** No message comes after it. */
  close(): void;
}

/** All methods reject with a `TidemarkClientError`. */
export interface TidemarkClient {
  query<const Q extends QueryInput>(query: Q, options?: CallOptions): Promise<TypedResult<Q>>;
  peak(input: PeakInput, options?: CallOptions): Promise<PeakResult>;
  overlap(input: OverlapInput, options?: CallOptions): Promise<OverlapResult>;
  /** Up to 64 questions of one state; each fails by itself. */
  batch(queries: readonly Question[], options?: CallOptions): Promise<BatchResult>;
  /** All rows of a query in pages of its `limit`, over one snapshot. */
  pages<const Q extends QueryInput>(query: Q, options?: CallOptions): AsyncGenerator<TypedResult<Q>, void>;
  schema(options?: CallOptions): Promise<DataDictionary>;
  /** Counted once, however often it has to be tried. */
  send(events: ClientEvent | readonly ClientEvent[], options?: SendOptions): Promise<IngestReply>;
  /**
   * Calls `listener` with a snapshot, and then with every change; after a lost connection with a new snapshot. What the
   * server does not answer goes to `onError`, and the subscription has ended then.
   */
  live(
    query: QueryInput,
    listener: (message: LiveMessage) => void,
    onError?: (error: Error) => void,
  ): LiveSubscription;
  /** Ends all live queries. */
  close(): void;
}

export interface FetchInit {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export type FetchLike = (
  url: string,
  init: FetchInit,
) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}>;

export type WebSocketClass = new (url: string, protocol: string) => WebSocketLike;

export interface WebSocketLike {
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(
    type: "close",
    listener: (event: { readonly code: number; readonly reason: string }) => void,
  ): void;
  send(text: string): void;
  close(): void;
}
