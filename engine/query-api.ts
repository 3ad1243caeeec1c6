/** What may be asked and what is answered: docs/queries.md. Member names are those of the wire. */
import type { Position } from "./log.js";

/** Counts and distinct counts that are worked out of the cells of a group. */
export const BASE_METRICS = [
  "views",
  "viewers",
  "views_anonymous",
  "blogs_created",
  "blogs_total",
  "views_per_viewer",
  "new_viewers",
  "returning_viewers",
] as const;
export type BaseMetric = (typeof BASE_METRICS)[number];

/** Units of `["rate", metric, unit]`. */
export const RATE_UNITS = ["second", "minute", "hour", "day"] as const;
export type RateUnit = (typeof RATE_UNITS)[number];

/**
 * A base metric by its name, or a function of another metric along time. All functions but `ratio` need `time` among
 * the dimensions.
 */
export type Metric =
  | BaseMetric
  /** Of the `n` time buckets that end with the row's. Viewers are the union, not the sum. */
  | readonly ["rolling", "views" | "viewers" | "views_anonymous" | "blogs_created", number]
  /** Sum from the beginning of the range. Viewers: the union. */
  | readonly ["cumulative", "views" | "viewers" | "views_anonymous" | "blogs_created"]
  /** Per unit of time that has passed of the bucket. */
  | readonly ["rate", Metric, RateUnit]
  /** Mean of the `n` buckets that end with the row's. */
  | readonly ["moving_average", Metric, number]
  /** Relative to the bucket before: 0.25 is a quarter more; null where that was zero. */
  | readonly ["change", Metric]
  /** First by second; null where that is zero. */
  | readonly ["ratio", Metric, Metric];

/** Names of all metrics that need no function. */
export const METRICS = BASE_METRICS;

/** A metric as it is asked for, or the name of a dimension: `time` stands for `time:day` and the like. */
export type OrderKey = Metric | (string & {});

type Values = readonly (string | null)[];

/**
 * `is` and `in` are one: the dimension has one of the values (null: none). `contains` looks for a part of the value,
 * with letters as they are.
 */
export type FilterInput =
  | readonly ["is" | "in" | "is_not" | "not_in", string, Values]
  | readonly ["contains" | "contains_not", string, readonly string[]]
  | readonly ["and" | "or", readonly FilterInput[]]
  | readonly ["not", FilterInput];

export type RangeInput = string | readonly [string, string];

export interface CompareInput {
  readonly mode: "previous_period" | "year_over_year" | "custom";
  /** With `custom`: the other range. */
  readonly date_range?: RangeInput;
  /** Mondays with Mondays: the other range is a whole number of weeks before. */
  readonly match_day_of_week?: boolean;
  /** By default a range that is under way is compared with the same part of the other one. */
  readonly whole?: boolean;
}

/** See docs/queries.md. Unknown members are refused. */
export interface QueryInput {
  readonly date_range: RangeInput;
  readonly timezone?: string;
  readonly metrics?: readonly Metric[];
  /** `time` (auto), `time:quarter|hour|day|week|month|year`, and the dimensions of one rollup. */
  readonly dimensions?: readonly string[];
  /** All must hold. */
  readonly filters?: readonly FilterInput[];
  readonly compare?: CompareInput;
  readonly order_by?: readonly (readonly [OrderKey, "asc" | "desc"])[];
  readonly limit?: number;
  /** Null asks for pages of `limit` rows over one snapshot; then give `meta.next_cursor` of the page before. */
  readonly cursor?: string | null;
  /** `zero` adds a row for every empty time bucket (only when time is the only dimension). */
  readonly fill?: "none" | "zero";
  /** False: presets such as `7d` end with yesterday. */
  readonly include_today?: boolean;
  /** `auto`: stored buckets, and raw events for what only they can tell; `buckets`, `raw`: only these. */
  readonly source?: "auto" | "buckets" | "raw";
  readonly include?: {
    readonly total?: boolean;
    /** A last row for everything that `limit` cut off, as one group. */
    readonly other?: boolean;
    readonly time_labels?: boolean;
    readonly explain?: boolean;
  };
}

/** partial: the bucket is open; provisional: past, may still change at once; final: sealed; revised: changed since. */
export type RowState = "partial" | "provisional" | "final" | "revised";

export interface RowValues {
  /** One per asked metric, in order; null where it is not defined (0/0), or where its error exceeds it. */
  readonly metrics: readonly (number | null)[];
  /** Standard error of each metric; 0 where it is exact. */
  readonly error: readonly number[];
  readonly exact: readonly boolean[];
}

export interface ComparedValues extends RowValues {
  /** Relative change of each metric: 0.25 is a quarter more; null where there is nothing to compare with. */
  readonly change: readonly (number | null)[];
}

export interface QueryRow extends RowValues {
  /** One per asked dimension, in order; null where an event carried no value. */
  readonly dimensions: readonly (string | null)[];
  readonly state: RowState;
  /** With `compare`; null where the other period has no such bucket (29 February). */
  readonly compare?: ComparedValues | null;
}

/** Stored buckets of one grain in a row that were read, or hot quarter-hours. */
export interface CoverPart {
  readonly calendar: string;
  readonly grain: string;
  readonly from: string;
  readonly to: string;
  readonly buckets: number;
}

export interface Explanation {
  /** The rollup that was read; `raw` when the events were. */
  readonly rollup: string;
  /** What covers the range, and what was read beside it (before the range, to compare with). */
  readonly cover: readonly CoverPart[];
  readonly cache: "hit" | "miss";
  /** Time that the answer took to be worked out, ms. */
  readonly ms: number;
}

export interface QueryMeta {
  /** `[from, to)`, RFC 3339 in the zone of the query. */
  readonly range: readonly [string, string];
  readonly granularity: string | null;
  /** With `include.time_labels`: every time bucket of the range. */
  readonly time_labels?: readonly string[];
  /** With `compare`. */
  readonly compare_range?: readonly [string, string];
  /** With both: the bucket that each time label is compared with, or null. */
  readonly compare_labels?: readonly (string | null)[];
  readonly watermark: string | null;
  readonly as_of: string;
  /** Position in the log up to which everything is counted. */
  readonly seq: Position;
  /** Metrics whose rows do not add up to the total. */
  readonly non_additive: readonly Metric[];
  /** Rows cut off by `limit`, or that come after this page. */
  readonly rows_left_off: number;
  /** With `cursor`: of the next page; null after the last. */
  readonly next_cursor?: string | null;
  /** Damage took events of these times: numbers that cover them may be too small. Absent when all is well. */
  readonly incomplete?: readonly (readonly [string | null, string | null])[];
  readonly sources?: readonly { readonly tier: string; readonly buckets: number }[];
  readonly explain?: Explanation;
  readonly warnings: readonly string[];
}

export interface QueryResult {
  readonly results: readonly QueryRow[];
  /** With `include.total`: the same query without dimensions. */
  readonly total?: Omit<QueryRow, "dimensions">;
  /** With `include.other`: all groups that `limit` cut off, as one; absent where none was. */
  readonly other?: RowValues;
  readonly meta: QueryMeta;
  /** The query as it was understood: defaults filled in, dates resolved. */
  readonly query: Record<string, unknown>;
}

/** When readers come: views by weekday and hour of the zone's clock. */
export interface PeakInput {
  readonly date_range: RangeInput;
  readonly timezone?: string;
  readonly filters?: readonly FilterInput[];
  /** Cells in `top`, 3 by default, 168 at most. */
  readonly limit?: number;
}

export interface PeakResult {
  /** Monday to Sunday × 24 hours: mean views of those hours that really occurred, in full; null where none did. */
  readonly matrix: readonly (readonly (number | null)[])[];
  /** How many hours each mean is of. */
  readonly hours_counted: readonly (readonly number[])[];
  /** Weekday 1 is Monday. `share` of the sum of the whole matrix. */
  readonly top: readonly {
    readonly weekday: number;
    readonly hour: number;
    readonly views: number;
    readonly share: number;
  }[];
  readonly now: { readonly weekday: number; readonly hour: number };
  readonly meta: QueryMeta;
  readonly query: Record<string, unknown>;
}

/** One of the two sets of viewers of `overlap`. */
export interface AudienceInput {
  /** Default: that of the question. */
  readonly date_range?: RangeInput;
  readonly filters?: readonly FilterInput[];
}

/** Who is in both of two sets of viewers: readers of two blogs, of this month and the last. */
export interface OverlapInput {
  readonly date_range?: RangeInput;
  readonly timezone?: string;
  readonly a: AudienceInput;
  readonly b: AudienceInput;
}

export interface Estimate {
  /** Null where the error bar exceeds the answer. */
  readonly value: number | null;
  /** One standard error. */
  readonly error: number;
  readonly exact: boolean;
}

export interface OverlapResult {
  readonly a: Estimate;
  readonly b: Estimate;
  readonly both: Estimate;
  readonly either: Estimate;
  readonly only_a: Estimate;
  readonly only_b: Estimate;
  readonly meta: Omit<QueryMeta, "granularity" | "range" | "non_additive" | "rows_left_off"> & {
    readonly ranges: { readonly a: readonly [string, string]; readonly b: readonly [string, string] };
  };
  readonly query: Record<string, unknown>;
}

/** One question of a batch: an object with one member, the kind. */
export type Question =
  | { readonly query: QueryInput }
  | { readonly peak: PeakInput }
  | { readonly overlap: OverlapInput };

export type Answer = QueryResult | PeakResult | OverlapResult;

/** What an answer that cannot be given says, in a batch. */
export interface AnswerError {
  readonly code: string;
  readonly detail: string;
  readonly pointer?: string;
}

export interface BatchResult {
  /** In the order of the questions, all of one state of the engine. */
  readonly answers: readonly (Answer | { readonly error: AnswerError })[];
  readonly seq: Position;
}

/** How long an answer stays as it is: for caches. */
export interface Freshness {
  /** Answers of one token are equal, but for `as_of`, `watermark` and `seq` of their meta. */
  readonly version: string;
  /** `sealed`: changes only by a late event; `settled`: older than events are taken, changes only by an import. */
  readonly state: "open" | "sealed" | "settled";
}
