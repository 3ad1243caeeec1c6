import type { Metric } from "../api.js";
import type { Grain, Zone } from "../calendar/index.js";
import type { Schema } from "../schema.js";

export interface QueryContext {
  readonly schema: Schema;
  /** IANA name, for queries that name none. */
  readonly defaultZone: string;
  /** The engine's clock, ms. */
  readonly now: number;
}

/** What a query's answer depends on beside the buckets. */
export interface Moment {
  /** The engine's clock, ms. */
  readonly now: number;
  /** −Infinity before the first event, ms. */
  readonly watermarkMs: number;
}

/** A range as it was asked for; all but `fixed` move with the clock. */
export type RangeSpec =
  | { readonly kind: "preset"; readonly name: "current_hour" | "today" | "month" | "year" | "all" }
  | { readonly kind: "last"; readonly count: number; readonly unit: "hour" | "day" | "month" }
  | { readonly kind: "fixed"; readonly fromMs: number; readonly toMs: number };

/** A column of the answer: the time bucket, or an index into `Schema.dimensions`. */
export type Column = "time" | number;

export interface Filter {
  readonly dimension: number;
  /** Null stands for "no value". */
  readonly values: readonly (string | null)[];
}

export interface Order {
  readonly by: { readonly metric: Metric } | { readonly column: number };
  readonly descending: boolean;
}

export interface ParsedQuery {
  readonly zone: Zone;
  readonly range: RangeSpec;
  readonly metrics: readonly Metric[];
  readonly columns: readonly Column[];
  /** Null where time is no column. */
  readonly grain: Grain | "auto" | null;
  /** All must hold. */
  readonly filters: readonly Filter[];
  readonly order: readonly Order[];
  readonly limit: number;
  readonly fill: "none" | "zero";
  readonly include: { readonly total: boolean; readonly time_labels: boolean; readonly explain: boolean };
}
