import type { CompareInput, Metric } from "../api.js";
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

export type PresetName =
  | "current_hour"
  | "today"
  | "yesterday"
  | "week"
  | "last_week"
  | "month"
  | "last_month"
  | "year"
  | "last_year"
  | "all";

/** A range as it was asked for; all but `fixed` move with the clock. `untilYesterday`: today is left out. */
export type RangeSpec =
  | { readonly kind: "preset"; readonly name: PresetName; readonly untilYesterday: boolean }
  | {
      readonly kind: "last";
      readonly count: number;
      readonly unit: "hour" | "day" | "week" | "month" | "year";
      readonly untilYesterday: boolean;
    }
  | { readonly kind: "fixed"; readonly fromMs: number; readonly toMs: number };

/** A column of the answer: the time bucket, or an index into `Schema.dimensions`. */
export type Column = "time" | number;

/** A condition on the values of an event's dimensions. */
export type Filter =
  | {
      readonly kind: "is";
      readonly dimension: number;
      /** Null stands for "no value". */
      readonly values: readonly (string | null)[];
    }
  | { readonly kind: "contains"; readonly dimension: number; readonly values: readonly string[] }
  | { readonly kind: "and" | "or"; readonly filters: readonly Filter[] }
  | { readonly kind: "not"; readonly filter: Filter };

export interface Order {
  /** Index of the metric or of the column that is asked for. */
  readonly by: { readonly metric: number } | { readonly column: number };
  readonly descending: boolean;
}

export interface Compare {
  readonly mode: CompareInput["mode"];
  /** Of `custom`. */
  readonly range: RangeSpec | undefined;
  readonly matchWeekday: boolean;
  readonly whole: boolean;
}

export const INCLUDES = ["total", "other", "time_labels", "explain"] as const;

export interface ParsedQuery {
  readonly zone: Zone;
  readonly range: RangeSpec;
  readonly metrics: readonly Metric[];
  readonly columns: readonly Column[];
  /** Null where time is no column. */
  readonly grain: Grain | "auto" | null;
  /** All must hold. */
  readonly filters: readonly Filter[];
  readonly compare: Compare | undefined;
  readonly order: readonly Order[];
  readonly limit: number;
  /** Undefined where no pages are asked for, null for the first one. */
  readonly cursor: string | null | undefined;
  readonly fill: "none" | "zero";
  readonly source: "auto" | "buckets" | "raw";
  readonly include: Readonly<Record<(typeof INCLUDES)[number], boolean>>;
}
