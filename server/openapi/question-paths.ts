/** Operations that ask. */
import type { Schema } from "../../engine/schema.js";
import type { ProblemCode } from "../problem.js";
import {
  GET_FORMS,
  PARAMETERS,
  dimensionParameters,
  type GetForm,
  type GetFormName,
} from "../get-parameters.js";
import { ANSWERS } from "./examples.js";
import { ref, text } from "./json-schema.js";
import {
  PROBLEMS,
  jsonBody,
  jsonResponse,
  parameter,
  problems,
  type Operation,
  type Paths,
} from "./operation.js";

const REFUSALS: readonly ProblemCode[] = [
  "invalid-query",
  "invalid-timezone",
  "invalid-range",
  "range-not-aligned",
  "range-too-wide",
  "dimension-set-not-materialised",
  "raw-expired",
  "cursor-expired",
  "storage-damaged",
  "overloaded",
];

const ASK = [...PROBLEMS.guarded, ...REFUSALS, "invalid-parameter", "uri-too-long"] as const;
const POSTED = problems(...ASK, ...PROBLEMS.body);

const POSTS = {
  query: {
    summary: "Ask for metrics in a range of time",
    description: "docs/queries.md. The same JSON is a live subscription over WebSocket.",
    input: "QueryInput",
    output: "QueryResult",
    examples: {
      today: { date_range: "today" },
      days: {
        date_range: "7d",
        timezone: "Asia/Kolkata",
        metrics: ["views", "viewers"],
        dimensions: ["time:day", "country"],
        include: { total: true },
      },
      filtered: {
        date_range: "30d",
        filters: [["is", "country", ["PT", null]]],
        dimensions: ["blog"],
        limit: 10,
      },
      rolling: {
        date_range: "28d",
        dimensions: ["time:day"],
        metrics: ["viewers", ["rolling", "viewers", 7]],
      },
    },
  },
  batch: {
    summary: "Ask up to 64 questions of one state",
    description: "Answers in the order of the questions; each fails by itself.",
    input: "BatchInput",
    output: "BatchResult",
    examples: {
      two: { queries: [{ query: { date_range: "today" } }, { peak: { date_range: "91d" } }] },
    },
  },
  peak: {
    summary: GET_FORMS.peak.summary,
    description: GET_FORMS.peak.description,
    input: "PeakInput",
    output: "PeakResult",
    examples: { quarter: { date_range: "91d", timezone: "Asia/Kolkata" } },
  },
  overlap: {
    summary: GET_FORMS.overlap.summary,
    description: "Readers of two blogs, of this month and the last, of two countries.",
    input: "OverlapInput",
    output: "OverlapResult",
    examples: {
      countries: {
        date_range: "30d",
        a: { filters: [["is", "country", ["PT"]]] },
        b: { filters: [["is", "country", ["IN"]]] },
      },
      months: { a: { date_range: "last_month" }, b: { date_range: "month" } },
    },
  },
} as const;

type PostName = keyof typeof POSTS;

export function questionPaths({ dimensions }: Schema): Paths {
  const paths: Record<string, Record<string, Operation>> = {};
  for (const name of Object.keys(POSTS) as PostName[]) paths[`/v1/${name}`] = { post: posted(name) };
  for (const name of Object.keys(GET_FORMS) as GetFormName[]) {
    paths[`/v1/${name}`] = { ...paths[`/v1/${name}`], get: gotten(name, dimensions) };
  }
  return paths;
}

function posted(name: PostName): Operation {
  const { summary, description, input, output, examples } = POSTS[name];
  return {
    operationId: name,
    tags: ["Questions"],
    summary,
    description,
    requestBody: jsonBody(ref(input), examples),
    responses: {
      "200": jsonResponse("The answer.", ref(output), { example: ANSWERS[name] }),
      ...POSTED,
    },
  };
}

const CACHE_HEADERS = {
  ETag: { description: "Of these very bytes; send it back in `If-None-Match`.", schema: text() },
  "Cache-Control": {
    description:
      "`no-store`, or for browsers only: `no-cache`, a minute for sealed ranges, a day for settled ones.",
    schema: text(),
  },
  Link: { description: 'With `cursor`: `rel="next"` is the page behind this one.', schema: text() },
} as const;

function gotten(name: GetFormName, dimensions: readonly string[]): Operation {
  const form: GetForm = GET_FORMS[name];
  const kind = name === "peak" || name === "overlap" ? name : "query";
  return {
    operationId: `get_${name}`,
    tags: ["Questions, cacheable"],
    summary: form.summary,
    description: `${form.description} Try: ${form.examples.map((each) => `\`/v1/${name}${each}\``).join(", ")}.`,
    parameters: [...formParameters(form), ...dimensionFilters(form, dimensions), ifNoneMatch()],
    responses: {
      "200": jsonResponse("The answer.", ref(POSTS[kind].output), {
        example: ANSWERS[kind],
        headers: CACHE_HEADERS,
      }),
      "304": { description: "What `If-None-Match` names is still the answer." },
      ...problems(...ASK),
    },
  };
}

function formParameters(form: GetForm): Operation[] {
  return form.parameters.map((name) => {
    const info: (typeof PARAMETERS)[typeof name] = PARAMETERS[name];
    const { description, schema } = info;
    const example = "example" in info ? { example: sample(info.example, schema) } : {};
    return parameter(name, "query", description, {
      required: form.required.includes(name),
      schema,
      ...example,
    });
  });
}

/** What stands in the address as digits is a number to the schema. */
function sample(example: string, schema: Readonly<Record<string, unknown>>): string | number {
  return schema["type"] === "integer" ? Number(example) : example;
}

function dimensionFilters(form: GetForm, dimensions: readonly string[]): Operation[] {
  return form.dimensionPrefixes.flatMap((prefix) =>
    dimensionParameters(form, prefix, dimensions).map((dimension) =>
      parameter(
        prefix + dimension,
        "query",
        `Only events of this ${dimension}; given again, any of them. Empty: those without one.`,
        {
          schema: { type: "array", items: { type: "string" } },
          style: "form",
          explode: true,
          allowEmptyValue: true,
        },
      ),
    ),
  );
}

export function ifNoneMatch(): Operation {
  return parameter("If-None-Match", "header", "An `ETag` that was served before.", { schema: text() });
}
