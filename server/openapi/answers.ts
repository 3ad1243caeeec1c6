/** Schemas of what is answered to questions: engine/query-api.ts in JSON Schema. */
import {
  array,
  choice,
  flag,
  instant,
  nullable,
  number,
  object,
  ref,
  text,
  tuple,
  whole,
  type JsonSchema,
} from "./json-schema.js";

const DAYS = 7;
const HOURS = 24;

const RANGE = tuple(instant(), instant());

export function answerSchemas(): Record<string, JsonSchema> {
  return {
    ...rowSchemas(),
    ...metaSchemas(),
    QueryResult: object(
      {
        results: array(ref("QueryRow")),
        total: ref("Total"),
        other: { ...ref("RowValues"), description: "All groups that `limit` cut off, as one." },
        meta: ref("QueryMeta"),
        query: ref("Echo"),
      },
      ["total", "other"],
    ),
    PeakResult: peakResult(),
    Estimate: object({
      value: { ...nullable(number()), description: "Null where the error bar exceeds the answer." },
      error: number("One standard error."),
      exact: flag(),
    }),
    OverlapResult: object({
      ...Object.fromEntries(
        ["a", "b", "both", "either", "only_a", "only_b"].map((name) => [name, ref("Estimate")]),
      ),
      meta: ref("OverlapMeta"),
      query: ref("Echo"),
    }),
    BatchResult: object({
      answers: array({
        anyOf: [ref("QueryResult"), ref("PeakResult"), ref("OverlapResult"), ref("AnswerError")],
      }),
      seq: whole("Position in the event log that all answers are of."),
    }),
    AnswerError: object({
      error: object({ code: text(), detail: text(), pointer: text("RFC 6901, into the question.") }, [
        "pointer",
      ]),
    }),
  };
}

function rowSchemas(): Record<string, JsonSchema> {
  const values = {
    metrics: array(nullable(number()), { description: "One per asked metric, in order." }),
    error: array(number(), { description: "Standard error of each; 0 where it is exact." }),
    exact: array(flag()),
  };
  const state = choice(["partial", "provisional", "final", "revised"]);
  const compared = nullable(ref("ComparedValues"));
  return {
    RowValues: object(values),
    ComparedValues: object({
      ...values,
      change: array(nullable(number()), { description: "0.25 is a quarter more." }),
    }),
    QueryRow: object(
      {
        dimensions: array(nullable(text()), { description: "One per asked dimension, in order." }),
        ...values,
        state,
        compare: compared,
      },
      ["compare"],
    ),
    Total: object({ ...values, state, compare: compared }, ["compare"]),
  };
}

function metaSchemas(): Record<string, JsonSchema> {
  const common = {
    time_labels: array(text()),
    compare_range: RANGE,
    compare_labels: array(nullable(text())),
    watermark: nullable(instant("The latest event time seen.")),
    as_of: instant("The server's clock."),
    seq: whole("Position in the event log up to which everything is counted."),
    next_cursor: nullable(text()),
    incomplete: array(tuple(nullable(instant()), nullable(instant())), {
      description: "Damage took events of these times.",
    }),
    sources: array(object({ tier: text(), buckets: whole() })),
    explain: ref("Explanation"),
    warnings: array(text()),
  };
  const optional = [
    "time_labels",
    "compare_range",
    "compare_labels",
    "next_cursor",
    "incomplete",
    "sources",
    "explain",
  ];
  return {
    QueryMeta: object(
      {
        range: RANGE,
        granularity: nullable(text()),
        ...common,
        non_additive: array(ref("Metric"), { description: "Metrics whose rows do not add up to the total." }),
        rows_left_off: whole("Rows that `limit` cut off, or that come after this page."),
      },
      optional,
    ),
    OverlapMeta: object({ ranges: object({ a: RANGE, b: RANGE }), ...common }, optional),
    Explanation: object({
      rollup: text("The rollup that was read; `raw` when the events were."),
      cover: array(
        object({ calendar: text(), grain: text(), from: instant(), to: instant(), buckets: whole() }),
      ),
      cache: choice(["hit", "miss"]),
      ms: number(),
    }),
    Echo: {
      type: "object",
      description:
        "The question as it was understood: defaults filled in, dates resolved. Itself a question.",
    },
  };
}

function peakResult(): JsonSchema {
  const week = (cell: JsonSchema, description: string): JsonSchema => ({
    ...array(array(cell, { minItems: HOURS, maxItems: HOURS }), { minItems: DAYS, maxItems: DAYS }),
    description,
  });
  const weekday = { ...whole("1 is Monday.", 1), maximum: DAYS };
  const hour = { ...whole(), maximum: HOURS - 1 };
  return object({
    matrix: week(
      nullable(number()),
      "Monday to Sunday × 24 hours: mean views; null for hours that did not occur.",
    ),
    hours_counted: week(whole(), "How many hours each mean is of."),
    top: array(object({ weekday, hour, views: number(), share: number() })),
    now: object({ weekday, hour }),
    meta: ref("QueryMeta"),
    query: ref("Echo"),
  });
}

/** `GET /v1/schema`. */
export function dictionarySchema(): JsonSchema {
  const described = object({ name: text(), description: text() });
  const formed = object({ name: text(), form: text(), description: text() });
  return object({
    version: text(),
    dimensions: array(object({ name: text(), subject: flag(), remembered: flag() })),
    identity: text("The event member whose distinct values are viewers."),
    subject: text(),
    rollups: array(array(text()), { description: "Sets of dimensions that can be asked for together." }),
    metrics: array(
      object({
        name: text(),
        kind: choice(["count", "distinct", "ratio"]),
        unit: text(),
        additive: flag(),
        exact: text(),
        description: text(),
      }),
    ),
    functions: array(object({ name: text(), form: text(), description: text(), along_time: flag() })),
    window_metrics: array(text()),
    rate_units: array(text()),
    grains: array(described),
    presets: array(described),
    preset_patterns: array(described),
    operators: array(formed),
    compare_modes: array(text()),
    includes: array(text()),
    states: array(described),
    time_zones: whole("How many IANA names are known."),
    limits: { type: "object", additionalProperties: whole() },
    errors: array(object({ code: text(), type: text(), status: whole(), title: text() })),
  });
}

/** RFC 9457. */
export function problemSchema(codes: readonly string[]): JsonSchema {
  return {
    ...object(
      {
        type: choice(
          codes.map((code) => `/errors/${code}`),
          "Explained at this address of the server.",
        ),
        title: text(),
        status: whole(),
        detail: text("What is wrong, and what to do."),
        instance: text("The path that was asked."),
        trace: text("The server's log has the same."),
        errors: array(
          object(
            {
              pointer: text("RFC 6901, into the body, or `/` and a parameter."),
              index: whole(),
              type: text(),
              detail: text(),
            },
            ["pointer", "index", "type", "detail"],
          ),
        ),
        nearest: { description: "What can be answered, or may have been meant." },
      },
      ["instance", "trace", "errors", "nearest"],
    ),
    additionalProperties: true,
  };
}
