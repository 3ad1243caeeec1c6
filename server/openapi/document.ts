/** `GET /openapi.json`: every address of the server, in OpenAPI 3.1, for the schema of this stream. */
import { ERROR_CODES } from "../../engine/errors.js";
import type { Schema } from "../../engine/schema.js";
import { HTTP_CODES } from "../problem.js";
import { VERSION } from "../version.js";
import { adminSchemas, publicSchemas } from "./admin.js";
import { answerSchemas, dictionarySchema, problemSchema } from "./answers.js";
import { eventSchemas } from "./events.js";
import type { JsonSchema } from "./json-schema.js";
import { questionSchemas } from "./questions.js";
import type { Paths } from "./operation.js";
import { aboutPaths, adminPaths, eventPaths, livePaths, publicPaths } from "./other-paths.js";
import { questionPaths } from "./question-paths.js";

export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: Readonly<Record<string, unknown>>;
  readonly servers: readonly unknown[];
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly security: readonly unknown[];
  readonly paths: Paths;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly securitySchemes: Readonly<Record<string, unknown>>;
  };
}

const DESCRIPTION = [
  "Streaming aggregation for blogs: views and unique viewers in any range and time zone.",
  "Every error is `application/problem+json` (RFC 9457) with a `type` of the closed list in `Problem`.",
  "GET is answered to HEAD as well, without the body. Any other method gets 405, any other address 404.",
].join(" ");

const TAGS = [
  { name: "Events", description: "What happened goes in." },
  { name: "Questions", description: "Any question, as JSON." },
  {
    name: "Questions, cacheable",
    description: "The same answers by GET, with `ETag` and `Cache-Control`: docs/http.md.",
  },
  { name: "Live", description: "Answers that follow what happens." },
  { name: "Operation", description: "For whoever keeps the server: docs/runbook.md." },
  { name: "About", description: "What is here, and how it is." },
] as const;

export function openApiDocument(schema: Schema, hasToken: boolean): OpenApiDocument {
  return {
    openapi: "3.1.1",
    info: {
      title: "Tidemark",
      version: VERSION,
      description: DESCRIPTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: TAGS,
    security: hasToken ? [{ bearer: [] }] : [],
    paths: {
      ...eventPaths(schema),
      ...questionPaths(schema),
      ...livePaths(),
      ...aboutPaths(),
      ...adminPaths(),
      ...publicPaths(),
    },
    components: {
      schemas: {
        ...eventSchemas(schema),
        ...questionSchemas(schema),
        ...answerSchemas(),
        DataDictionary: dictionarySchema(),
        ...adminSchemas(),
        ...publicSchemas(),
        Problem: problemSchema([...Object.keys(HTTP_CODES), ...Object.keys(ERROR_CODES)]),
      },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "The token of this server." },
      },
    },
  };
}
