/** `GET /v1/schema`: everything that may be sent and asked, for programs. */
import {
  BASE_METRICS,
  RATE_UNITS,
  type BaseMetric,
  type Engine,
  type Metric,
  type RowState,
} from "../engine/api.js";
import { GRAINS, supportedZones, type Grain } from "../engine/calendar/index.js";
import { ERROR_CODES } from "../engine/errors.js";
import { MAX_BATCH_EVENTS, MAX_ID_BYTES, MAX_QUERY_ROWS, MAX_TIME_BUCKETS } from "../engine/limits.js";
import { COMPARE_MODES, DEFAULT_LIMIT } from "../engine/query/parse.js";
import type { FILTER_OPERATORS } from "../engine/query/parse-filters.js";
import { WINDOW_METRICS } from "../engine/query/parse-metrics.js";
import { PRESET_NAMES } from "../engine/query/range.js";
import { INCLUDES } from "../engine/query/types.js";
import { MAX_EVENTS_BODY_BYTES, MAX_QUERY_BODY_BYTES } from "./limits.js";
import { HTTP_CODES, problemType } from "./problem.js";
import { VERSION } from "./version.js";

interface MetricInfo {
  /** count: a sum; distinct: a union; ratio: a quotient. */
  readonly kind: "count" | "distinct" | "ratio";
  readonly unit: string;
  /** Rows of different groups, and of different time buckets, may be summed. */
  readonly additive: boolean;
  readonly exact: string;
  readonly description: string;
}

const ALWAYS = "always";
const UNTIL_1024 = "up to 1,024 viewers; beyond, `error` has the standard error";

const METRIC_INFO: Readonly<Record<BaseMetric, MetricInfo>> = {
  views: count("views", "Events of the type view."),
  viewers: distinct("Different viewers among the views that have one."),
  views_anonymous: count("views", "Views without a viewer."),
  blogs_created: count("blogs", "Events of the type created."),
  blogs_total: {
    ...count("blogs", "Blogs created from the beginning up to the end of the row's bucket."),
    additive: false,
  },
  views_per_viewer: {
    kind: "ratio",
    unit: "views per viewer",
    additive: false,
    exact: UNTIL_1024,
    description: "Views that have a viewer, by viewers. Null without viewers.",
  },
  new_viewers: distinct("Viewers who never came before the row's bucket, as far as sketches are kept."),
  returning_viewers: distinct("viewers − new_viewers."),
};

type FunctionName = Extract<Metric, readonly unknown[]>[0];

const FUNCTION_INFO: Readonly<Record<FunctionName, readonly [form: string, description: string]>> = {
  rolling: ['["rolling", metric, n]', "Of the n time buckets that end with the row's; viewers as a union."],
  cumulative: ['["cumulative", metric]', "From the beginning of the range; viewers as a union."],
  rate: ['["rate", metric, unit]', "Per unit of the time of the bucket that has passed."],
  moving_average: ['["moving_average", metric, n]', "Mean of the n buckets that end with the row's."],
  change: ['["change", metric]', "Relative to the bucket before: 0.25 is a quarter more."],
  ratio: ['["ratio", metric, metric]', "The first by the second; null where that is zero."],
};

const OPERATOR_INFO: Readonly<Record<(typeof FILTER_OPERATORS)[number], readonly [string, string]>> = {
  is: ['["is", dimension, [values]]', "The dimension has one of the values; null is no value."],
  is_not: ['["is_not", dimension, [values]]', "It has none of them."],
  in: ['["in", dimension, [values]]', "The same as is."],
  not_in: ['["not_in", dimension, [values]]', "The same as is_not."],
  contains: ['["contains", dimension, [parts]]', "The value has one of the parts, letters as they are."],
  contains_not: ['["contains_not", dimension, [parts]]', "It has none of them."],
  and: ['["and", [filters]]', "All hold."],
  or: ['["or", [filters]]', "At least one holds."],
  not: ['["not", filter]', "It does not hold."],
};

const PRESET_INFO: Readonly<Record<string, string>> = {
  current_hour: "the local hour that is under way",
  today: "the local day that is under way",
  day: "the same as today",
  yesterday: "the local day before",
  week: "from Monday to the end of today",
  last_week: "the seven days before this week",
  month: "from the first of the month to the end of today",
  last_month: "the calendar month before",
  year: "from 1 January to the end of today",
  last_year: "the calendar year before",
  all: "from the first event to the end of today",
};

/** Any whole number may stand for n. */
const LAST_INFO = {
  "<n>h": "n hours that end with the one under way",
  "<n>d": "n local days, today included",
  "<n>w": "n weeks, this one included",
  "<n>mo": "n calendar months, this one included",
  "<n>y": "n calendar years, this one included",
} as const;

const GRAIN_INFO: Readonly<Record<Grain, string>> = {
  quarter: "a quarter-hour of the zone's clock",
  hour: "an hour of the zone's clock",
  day: "a local day of 23 to 25 hours",
  week: "Monday to Sunday, as ISO 8601 numbers them",
  month: "a calendar month",
  year: "a calendar year",
};

const STATE_INFO: Readonly<Record<RowState, string>> = {
  partial: "the bucket has not ended; the numbers will grow",
  provisional: "ended, but not sealed: late events are expected",
  final: "sealed; changes only by an event later than the allowed lateness",
  revised: "sealed, and changed since by such an event",
};

/** The whole dictionary; it does not change while the server runs. */
export function dataDictionary({ schema }: Pick<Engine, "schema">): Record<string, unknown> {
  return {
    version: VERSION,
    dimensions: schema.dimensions.map((name, index) => ({
      name,
      subject: index === schema.subject,
      remembered: schema.remembered.includes(index),
    })),
    identity: schema.identity,
    subject: schema.dimensions[schema.subject],
    rollups: schema.rollups.map((rollup) => rollup.dims.map((d) => schema.dimensions[d])),
    metrics: BASE_METRICS.map((name) => ({ name, ...METRIC_INFO[name] })),
    functions: listForms(FUNCTION_INFO).map((each) => ({ ...each, along_time: each.name !== "ratio" })),
    window_metrics: WINDOW_METRICS,
    rate_units: RATE_UNITS,
    grains: GRAINS.map((name) => ({ name, description: GRAIN_INFO[name] })),
    presets: PRESET_NAMES.map((name) => ({ name, description: PRESET_INFO[name] ?? "" })),
    preset_patterns: listTexts(LAST_INFO),
    operators: listForms(OPERATOR_INFO),
    compare_modes: COMPARE_MODES,
    includes: INCLUDES,
    states: listTexts(STATE_INFO),
    time_zones: supportedZones().length,
    limits: {
      events_per_batch: MAX_BATCH_EVENTS,
      bytes_per_body: MAX_EVENTS_BODY_BYTES,
      bytes_per_query: MAX_QUERY_BODY_BYTES,
      bytes_per_value: MAX_ID_BYTES,
      rows_per_answer: MAX_QUERY_ROWS,
      rows_by_default: DEFAULT_LIMIT,
      time_buckets_per_answer: MAX_TIME_BUCKETS,
    },
    errors: Object.entries({ ...HTTP_CODES, ...ERROR_CODES }).map(([code, { status, title }]) => ({
      code,
      type: problemType(code),
      status,
      title,
    })),
  };
}

function count(unit: string, description: string): MetricInfo {
  return { kind: "count", unit, additive: true, exact: ALWAYS, description };
}

function distinct(description: string): MetricInfo {
  return { kind: "distinct", unit: "viewers", additive: false, exact: UNTIL_1024, description };
}

function listTexts(
  texts: Readonly<Record<string, string>>,
): { readonly name: string; readonly description: string }[] {
  return Object.entries(texts).map(([name, description]) => ({ name, description }));
}

function listForms(
  forms: Readonly<Record<string, readonly [string, string]>>,
): { readonly name: string; readonly form: string; readonly description: string }[] {
  return Object.entries(forms).map(([name, [form, description]]) => ({ name, form, description }));
}
