/** Schemas of what is asked: engine/query-api.ts in JSON Schema. */
import { BASE_METRICS, RATE_UNITS } from "../../engine/api.js";
import { GRAINS } from "../../engine/calendar/index.js";
import { MAX_QUERY_ROWS } from "../../engine/limits.js";
import { COMPARE_MODES, DEFAULT_LIMIT } from "../../engine/query/parse.js";
import { WINDOW_METRICS } from "../../engine/query/parse-metrics.js";
import { INCLUDES } from "../../engine/query/types.js";
import type { Schema } from "../../engine/schema.js";
import {
  array,
  choice,
  closed,
  constant,
  flag,
  nullable,
  oneOf,
  ref,
  text,
  tuple,
  whole,
  type JsonSchema,
} from "./json-schema.js";

/** Cells of the week. */
const MAX_PEAK_CELLS = 168;

const MAX_WINDOW = 366;
const MAX_BATCH_QUESTIONS = 64;

const ZONE = text("IANA time zone; by default the first home zone.");
const FILTERS = array(ref("Filter"), { description: "All must hold." });

export function questionSchemas({ dimensions }: Schema): Record<string, JsonSchema> {
  const dimension = choice(dimensions);
  const columns = ["time", ...GRAINS.map((grain) => `time:${grain}`), ...dimensions];
  return {
    DateRange: dateRange(),
    Metric: metric(),
    Filter: filter(dimension),
    QueryInput: queryInput(columns),
    CompareInput: closed(
      {
        mode: choice(COMPARE_MODES),
        date_range: { ...ref("DateRange"), description: "With `custom`: the other range." },
        match_day_of_week: flag("Mondays with Mondays: the other range lies a whole number of weeks before."),
        whole: flag("A range under way is compared with all of the other, not with the same part of it."),
      },
      ["mode"],
    ),
    PeakInput: closed(
      {
        date_range: ref("DateRange"),
        timezone: ZONE,
        filters: FILTERS,
        limit: { ...whole("Cells in `top`.", 1), maximum: MAX_PEAK_CELLS, default: 3 },
      },
      ["date_range"],
    ),
    AudienceInput: closed({ date_range: ref("DateRange"), filters: FILTERS }, []),
    OverlapInput: closed(
      { date_range: ref("DateRange"), timezone: ZONE, a: ref("AudienceInput"), b: ref("AudienceInput") },
      ["a", "b"],
    ),
    Question: oneOf(
      ...(["query", "peak", "overlap"] as const).map((kind) => {
        const name = { query: "QueryInput", peak: "PeakInput", overlap: "OverlapInput" }[kind];
        return closed({ [kind]: ref(name) }, [kind]);
      }),
    ),
    BatchInput: closed({ queries: array(ref("Question"), { maxItems: MAX_BATCH_QUESTIONS }) }, ["queries"]),
  };
}

function dateRange(): JsonSchema {
  return {
    description:
      "A preset (`GET /v1/schema` lists them), two dates (both in it) or two instants (the second not in it).",
    oneOf: [
      { type: "string", examples: ["today", "24h", "7d", "month", "12mo", "all"] },
      tuple(text(), text()),
    ],
  };
}

function metric(): JsonSchema {
  const inner = ref("Metric");
  const window = choice(WINDOW_METRICS);
  const buckets: JsonSchema = { ...whole("Time buckets.", 1), maximum: MAX_WINDOW };
  return {
    description: "A base metric, or a function of another one along time (docs/queries.md).",
    oneOf: [
      choice(BASE_METRICS),
      tuple(constant("rolling"), window, buckets),
      tuple(constant("cumulative"), window),
      tuple(constant("rate"), inner, choice(RATE_UNITS)),
      tuple(constant("moving_average"), inner, buckets),
      tuple(constant("change"), inner),
      tuple(constant("ratio"), inner, inner),
    ],
  };
}

function filter(dimension: JsonSchema): JsonSchema {
  const values = array(nullable(text()), { minItems: 1 });
  const filters = array(ref("Filter"), { minItems: 1 });
  return {
    description: "`[operator, dimension, values]`; null stands for no value.",
    oneOf: [
      tuple(choice(["is", "in", "is_not", "not_in"]), dimension, values),
      tuple(choice(["contains", "contains_not"]), dimension, array(text(), { minItems: 1 })),
      tuple(choice(["and", "or"]), filters),
      tuple(constant("not"), ref("Filter")),
    ],
  };
}

function queryInput(columns: readonly string[]): JsonSchema {
  return closed(
    {
      date_range: ref("DateRange"),
      timezone: ZONE,
      metrics: array(ref("Metric"), { minItems: 1, default: ["views", "viewers"] }),
      dimensions: array(choice(columns), {
        description: "`time` at most once; one rollup must hold the others.",
      }),
      filters: FILTERS,
      compare: ref("CompareInput"),
      order_by: array(tuple(oneOf(choice(columns), ref("Metric")), choice(["asc", "desc"])), {
        description: "Metrics and dimensions that are asked for.",
      }),
      limit: { ...whole("Rows at most.", 1), maximum: MAX_QUERY_ROWS, default: DEFAULT_LIMIT },
      cursor: nullable(
        text("Null asks for pages of `limit` rows; then give `meta.next_cursor` of the page before."),
      ),
      fill: choice(
        ["none", "zero"],
        "`zero`: a row for every time bucket, where time is the only dimension.",
      ),
      include_today: flag("False: presets such as `7d` end with yesterday."),
      source: choice(["auto", "buckets", "raw"], "From where the answer may come."),
      include: closed(Object.fromEntries(INCLUDES.map((name) => [name, flag()])), []),
    },
    ["date_range"],
  );
}
