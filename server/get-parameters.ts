/** The GET forms of questions and their parameters, as data: what is read (get-questions.ts) and what is told of it. */
import { GRAINS } from "../engine/calendar/index.js";
import { INCLUDES } from "../engine/query/types.js";

export interface ParameterInfo {
  readonly description: string;
  /** JSON Schema of the value as it stands in the address. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example?: string;
}

const TEXT = { type: "string" } as const;
const WHOLE = { type: "integer", minimum: 1 } as const;
const FLAG = { type: "string", enum: ["true", "false"] } as const;

const RANGE: ParameterInfo = {
  description: "A preset, or `from..to`: two dates, both in it, or two instants, the second not in it.",
  schema: TEXT,
  example: "7d",
};
const FILTERS: ParameterInfo = {
  description: "Further filters, as the JSON list of `POST /v1/query`. All must hold.",
  schema: TEXT,
  example: '[["is_not","country",["PT"]]]',
};

export const PARAMETERS = {
  q: {
    description: "The question as JSON, the very body of `POST /v1/query`.",
    schema: TEXT,
    example: '{"date_range":"7d"}',
  },
  range: RANGE,
  tz: {
    description: "IANA time zone; by default the first home zone.",
    schema: TEXT,
    example: "Asia/Kolkata",
  },
  metrics: {
    description: "Metrics with commas between; with functions among them, a JSON list.",
    schema: { type: "string", default: "views,viewers" },
    example: "views,viewers",
  },
  grain: {
    description: "Length of the time buckets; `auto` suits them to the range.",
    schema: { type: "string", enum: ["auto", ...GRAINS] },
    example: "day",
  },
  by: {
    description: "Dimensions to group by, with commas between. One rollup must hold them all.",
    schema: TEXT,
    example: "country",
  },
  n: { description: "How many rows; 10 by default.", schema: WHOLE, example: "3" },
  limit: { description: "At most so many rows.", schema: WHOLE, example: "100" },
  cursor: {
    description:
      "Pages of `limit` rows over one snapshot: empty for the first, then `meta.next_cursor`. The `Link` header has the address.",
    schema: TEXT,
  },
  order: {
    description:
      "`name:asc` or `name:desc` with commas between; with functions among them, the JSON of `order_by`.",
    schema: TEXT,
    example: "views:desc",
  },
  fill: {
    description: "`zero`: a row for every time bucket, where time is the only dimension.",
    schema: { type: "string", enum: ["none", "zero"] },
    example: "none",
  },
  compare: {
    description: "`previous_period`, `year_over_year`, or another range.",
    schema: TEXT,
    example: "previous_period",
  },
  match: {
    description: "`weekday`: Mondays are compared with Mondays. `date` by default.",
    schema: { type: "string", enum: ["weekday", "date"] },
    example: "weekday",
  },
  whole: {
    description:
      "`true`: a range that is under way is compared with all of the other, not with the same part.",
    schema: FLAG,
    example: "true",
  },
  include: {
    description: `What to tell besides the rows, with commas between: ${INCLUDES.join(", ")}.`,
    schema: TEXT,
    example: "total",
  },
  include_today: {
    description: "`false`: presets such as `7d` end with yesterday.",
    schema: FLAG,
    example: "false",
  },
  source: {
    description: "`buckets` or `raw`: only from these.",
    schema: { type: "string", enum: ["auto", "buckets", "raw"] },
    example: "buckets",
  },
  filters: FILTERS,
  "a.range": { ...RANGE, description: "Range of the first set, where it has one of its own." },
  "a.filters": { ...FILTERS, description: "Filters of the first set, as JSON." },
  "b.range": { ...RANGE, description: "Range of the second set, where it has one of its own." },
  "b.filters": { ...FILTERS, description: "Filters of the second set, as JSON." },
} as const satisfies Record<string, ParameterInfo>;

export type ParameterName = keyof typeof PARAMETERS;

export interface GetForm {
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly ParameterName[];
  readonly required: readonly ParameterName[];
  /** Each declared dimension is a parameter of its own name behind each of these. */
  readonly dimensionPrefixes: readonly string[];
  /** Addresses to try, behind the path. */
  readonly examples: readonly string[];
}

const ROWS = ["metrics", "order", "compare", "match", "whole", "include", "include_today", "source"] as const;

/** `GET /v1/<name>`. */
export const GET_FORMS = {
  query: {
    summary: "Ask a question, as JSON in the address",
    description: "The answer of `POST /v1/query` to the same JSON.",
    parameters: ["q"],
    required: ["q"],
    dimensionPrefixes: [],
    examples: ["?q=%7B%22date_range%22%3A%227d%22%7D"],
  },
  timeseries: {
    summary: "Metrics over time",
    description:
      "One row per time bucket, of `grain` (`auto` by default). Without `by` empty buckets have rows too (`fill=zero`).",
    parameters: ["range", "tz", "grain", "by", ...ROWS, "fill", "limit", "cursor", "filters"],
    required: ["range"],
    dimensionPrefixes: [""],
    examples: [
      "?range=7d&grain=day&metrics=views",
      "?range=2026-11-01..2026-11-22&by=country&tz=Asia/Kolkata",
    ],
  },
  breakdown: {
    summary: "Metrics by one or several dimensions",
    description: "One row per group of the dimensions in `by`, greatest first.",
    parameters: ["range", "tz", "by", ...ROWS, "limit", "cursor", "filters"],
    required: ["range", "by"],
    dimensionPrefixes: [""],
    examples: ["?range=30d&by=country", "?range=30d&by=blog,country&country=PT&country=IN&limit=100"],
  },
  top: {
    summary: "The first n groups, the total, and the rest as one",
    description: "A breakdown with `n=10` and `include=total,other` by default.",
    parameters: ["range", "tz", "by", "n", "limit", ...ROWS, "filters"],
    required: ["range", "by"],
    dimensionPrefixes: [""],
    examples: ["?range=30d&by=blog&n=3"],
  },
  compare: {
    summary: "A range beside another one",
    description:
      "The whole range as one row, or rows of `grain` and `by`, each with the other range's values and the change. `compare` is `previous_period` by default.",
    parameters: ["range", "tz", "grain", "by", ...ROWS, "fill", "limit", "cursor", "filters"],
    required: ["range"],
    dimensionPrefixes: [""],
    examples: ["?range=7d", "?range=month&compare=year_over_year&match=weekday&metrics=views"],
  },
  peak: {
    summary: "When readers come: weekday by hour",
    description: "Mean views of each hour of the week, by the zone's clock.",
    parameters: ["range", "tz", "n", "limit", "filters"],
    required: ["range"],
    dimensionPrefixes: [""],
    examples: ["?range=91d&tz=Asia/Kolkata"],
  },
  overlap: {
    summary: "Viewers that two sets share",
    description: "What is behind `a.` belongs to the first set, what is behind `b.` to the second.",
    parameters: ["range", "tz", "a.range", "a.filters", "b.range", "b.filters"],
    required: [],
    dimensionPrefixes: ["a.", "b."],
    examples: ["?range=30d&a.country=PT&b.country=IN"],
  },
} as const satisfies Record<string, GetForm>;

export type GetFormName = keyof typeof GET_FORMS;

/** The dimensions that have a parameter behind `prefix`: where a parameter has that name already, it wins. */
export function dimensionParameters(form: GetForm, prefix: string, dimensions: readonly string[]): string[] {
  const taken: readonly string[] = form.parameters;
  return dimensions.filter((dimension) => !taken.includes(prefix + dimension));
}
