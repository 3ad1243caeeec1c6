/** Building blocks of operations. */
import { ERROR_CODES, type ErrorCode } from "../../engine/errors.js";
import { HTTP_CODES, PROBLEM_TYPE, type ProblemCode } from "../problem.js";
import { ref, type JsonSchema } from "./json-schema.js";

export type Operation = Readonly<Record<string, unknown>>;
export type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

/** What every request may meet. */
const COMMON: readonly ProblemCode[] = ["invalid-request", "invalid-header", "internal"];
const GUARDED: readonly ProblemCode[] = [...COMMON, "unauthorized", "misdirected-request", "not-ready"];
const BODY: readonly ProblemCode[] = [
  "empty-body",
  "invalid-json",
  "invalid-utf8",
  "invalid-gzip",
  "unsupported-media-type",
  "payload-too-large",
  "overloaded",
  "request-timeout",
];

export const PROBLEMS = { common: COMMON, guarded: GUARDED, body: BODY } as const;

/** One response a status: the codes that it stands for. */
export function problems(...codes: readonly ProblemCode[]): Record<string, unknown> {
  const byStatus = new Map<number, string[]>();
  for (const code of new Set(codes)) {
    const { status, title } =
      code in HTTP_CODES ? HTTP_CODES[code as keyof typeof HTTP_CODES] : ERROR_CODES[code as ErrorCode];
    const known = byStatus.get(status) ?? [];
    byStatus.set(status, known);
    known.push(`\`${code}\`: ${title}.`);
  }
  const content = { [PROBLEM_TYPE]: { schema: ref("Problem") } };
  const statuses = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    statuses.map(([status, lines]) => [String(status), { description: lines.join(" "), content }]),
  );
}

export function jsonBody(schema: JsonSchema, examples: Readonly<Record<string, unknown>>): Operation {
  return { required: true, content: { "application/json": { schema, examples: named(examples) } } };
}

export function jsonResponse(
  description: string,
  schema: JsonSchema,
  options: { readonly example?: unknown; readonly headers?: Operation } = {},
): Operation {
  const { example, headers } = options;
  return {
    description,
    ...(headers === undefined ? {} : { headers }),
    content: { "application/json": { schema, ...(example === undefined ? {} : { example }) } },
  };
}

export function textResponse(description: string, mediaType: string): Operation {
  return { description, content: { [mediaType]: { schema: { type: "string" } } } };
}

/** `{ name: { value } }`, as OpenAPI has it. */
function named(examples: Readonly<Record<string, unknown>>): Record<string, { value: unknown }> {
  return Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
}

export function parameter(
  name: string,
  place: "query" | "header" | "path",
  description: string,
  rest: Readonly<Record<string, unknown>>,
): Operation {
  return { name, in: place, description, ...rest };
}
