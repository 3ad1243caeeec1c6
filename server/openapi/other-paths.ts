/** Operations that do not ask: events in, live updates, the operator's, and what is told without a token. */
import { MAX_IDEMPOTENCY_KEY_CHARS } from "../limits.js";
import { SUBPROTOCOL } from "../live/protocol.js";
import type { Schema } from "../../engine/schema.js";
import { ANSWERS } from "./examples.js";
import { choice, instant, ref, text, whole } from "./json-schema.js";
import {
  PROBLEMS,
  jsonBody,
  jsonResponse,
  parameter,
  problems,
  textResponse,
  type Operation,
  type Paths,
} from "./operation.js";
import { quarantinePaths } from "./quarantine.js";
import { ifNoneMatch } from "./question-paths.js";

const OPEN = { security: [] } as const;
const NOT_MODIFIED = { "304": { description: "What `If-None-Match` names is still so." } } as const;

export function eventPaths(schema: Schema): Paths {
  const event = { type: "view", [schema.dimensions[schema.subject]!]: "hello", [schema.identity]: "u1" };
  const wait = choice(["durable", "none"]);
  const responses = {
    "202": jsonResponse("Counts by outcome.", ref("IngestReply"), { example: ANSWERS.ingest }),
    ...problems(
      ...PROBLEMS.guarded,
      ...PROBLEMS.body,
      "invalid-parameter",
      "too-many-events",
      "no-event-accepted",
      "idempotency-conflict",
      "idempotency-in-flight",
      "storage-failed",
      "storage-full",
    ),
  };
  return {
    "/v1/events": {
      post: {
        operationId: "send",
        tags: ["Events"],
        summary: "Send events",
        description:
          "One JSON object, an array, or NDJSON; gzip is read. Each event is judged by itself: 202 when any was accepted or known already.",
        parameters: [
          parameter(
            "wait",
            "query",
            "`durable`: answered when the batch is on disk. `none`: when it is queued.",
            {
              schema: { ...wait, default: "durable" },
            },
          ),
          parameter("backfill", "query", "Import of history: no event is too old.", {
            schema: choice(["1", "true", "0", "false"]),
          }),
          parameter("Idempotency-Key", "header", "A retry with the same key and body gets the first reply.", {
            schema: { type: "string", minLength: 1, maxLength: MAX_IDEMPOTENCY_KEY_CHARS },
          }),
        ],
        requestBody: {
          required: true,
          content: {
            "application/json": {
              schema: ref("Events"),
              examples: {
                one: { value: event },
                several: { value: [event, { ...event, ts: "2026-11-23T14:03:11Z" }] },
              },
            },
            "application/x-ndjson": { schema: text("One event a line.") },
          },
        },
        responses,
      },
    },
  };
}

export function livePaths(): Paths {
  return {
    "/v1/live": {
      get: {
        operationId: "live",
        tags: ["Live"],
        summary: "Queries kept up to date, over WebSocket",
        description: [
          `Upgrades to the WebSocket subprotocol \`${SUBPROTOCOL}\`; one JSON object a text frame.`,
          "The client sends `connection_init` (with `payload.token` where the handshake had no Authorization header), then",
          "`subscribe` with an `id` and `payload.query`, a QueryInput. It gets `snapshot` (a QueryResult), then `delta` with",
          "absolute values and `rollover` at each new hour; `unsubscribe` is answered by `complete`, what cannot be answered by",
          "`error` with a Problem. A `delta` whose `prev` is not the `seq` before calls for `resync`.",
        ].join(" "),
        responses: {
          "101": { description: "The connection is a WebSocket from here on." },
          ...problems(
            ...PROBLEMS.guarded,
            "upgrade-required",
            "forbidden-origin",
            "overloaded",
            "invalid-parameter",
          ),
        },
      },
    },
  };
}

export function adminPaths(): Paths {
  const day = (name: string): Operation =>
    parameter(name, "query", "RFC 3339; a whole UTC day.", { required: true, schema: instant() });
  const refusals = problems(...PROBLEMS.guarded, "invalid-parameter", "invalid-query", "invalid-range");
  const posted = problems(
    ...PROBLEMS.guarded,
    ...PROBLEMS.body,
    "invalid-query",
    "invalid-range",
    "storage-failed",
    "storage-full",
  );
  const admin = (operationId: string, summary: string, rest: Operation): Operation => ({
    operationId,
    tags: ["Operation"],
    summary,
    ...rest,
  });
  return {
    "/v1/admin/storage": {
      get: admin("storage", "How much is stored of what", {
        responses: { "200": jsonResponse("Sizes by tier.", ref("StorageReport")), ...refusals },
      }),
    },
    "/v1/admin/stats": {
      get: admin("stats", "What the engine has counted since it started", {
        responses: { "200": jsonResponse("Counters.", ref("StatsReport")), ...refusals },
      }),
    },
    "/v1/admin/revisions": {
      get: admin("revisions", "What changed in sealed buckets, oldest first", {
        parameters: [
          parameter("after", "query", "Only revisions after this number.", { schema: whole() }),
          parameter("limit", "query", "At most so many.", { schema: { ...whole(), default: 1000 } }),
        ],
        responses: { "200": jsonResponse("Revisions.", ref("RevisionsReport")), ...refusals },
      }),
    },
    "/v1/admin/merkle": {
      get: admin("merkle", "One hash a UTC day, to compare two stores by", {
        parameters: [day("from"), day("to")],
        responses: { "200": jsonResponse("Roots of days.", ref("MerkleReport")), ...refusals },
      }),
    },
    "/v1/admin/reconcile": {
      post: admin("reconcile", "Hold stored buckets against raw events and finer grains", {
        requestBody: jsonBody(ref("ReconcileInput"), {
          all: {},
          week: { from: "2026-11-16T00:00:00Z", to: "2026-11-23T00:00:00Z", repair: true },
        }),
        responses: { "200": jsonResponse("What differs.", ref("ReconcileReport")), ...posted },
      }),
    },
    "/v1/admin/retention": {
      post: admin("retention", "Give up what is older than its tier keeps", {
        requestBody: jsonBody(ref("RetentionInput"), { ask: { dry_run: true } }),
        responses: { "200": jsonResponse("What went, or would go.", ref("RetentionReport")), ...posted },
      }),
    },
    ...quarantinePaths(),
    "/v1/admin/checkpoint": {
      post: admin("checkpoint", "Write down everything that is in memory", {
        requestBody: jsonBody(ref("Empty"), { now: {} }),
        responses: { "200": jsonResponse("Up to where.", ref("Position")), ...posted },
      }),
    },
  };
}

export function publicPaths(): Paths {
  const refusals = problems(...PROBLEMS.common);
  const open = (operationId: string, summary: string, responses: Operation): Operation => ({
    operationId,
    tags: ["About"],
    summary,
    ...OPEN,
    responses: { ...responses, ...refusals },
  });
  return {
    "/": { get: open("index", "What is here", { "200": jsonResponse("Addresses.", ref("Index")) }) },
    "/healthz": { get: open("healthz", "Alive?", { "200": jsonResponse("It is.", ref("Alive")) }) },
    "/readyz": {
      get: open("readyz", "Ready for events and questions?", {
        "200": jsonResponse("It is.", ref("Ready")),
        ...problems("not-ready"),
      }),
    },
    "/errors/{code}": {
      get: {
        ...open("error", "What an error means", {
          "200": textResponse("In plain words.", "text/plain; charset=utf-8"),
          ...problems("not-found"),
        }),
        parameters: [
          parameter("code", "path", "The last part of a problem's `type`.", {
            required: true,
            schema: text(),
            example: "invalid-timezone",
          }),
        ],
      },
    },
    "/docs": {
      get: open("docs", "This document as a page", {
        "200": textResponse("A page.", "text/html; charset=utf-8"),
      }),
    },
    "/docs/docs.js": {
      get: open("docs_script", "The page's script", {
        "200": textResponse("A script.", "text/javascript; charset=utf-8"),
      }),
    },
    "/docs/docs.css": {
      get: open("docs_style", "The page's style", {
        "200": textResponse("A style sheet.", "text/css; charset=utf-8"),
      }),
    },
  };
}

export function aboutPaths(): Paths {
  const about = (operationId: string, summary: string, ok: Operation): Operation => ({
    operationId,
    tags: ["About"],
    summary,
    parameters: [ifNoneMatch()],
    responses: { "200": ok, ...NOT_MODIFIED, ...problems(...PROBLEMS.guarded, "invalid-parameter") },
  });
  return {
    "/v1/schema": {
      get: about(
        "schema",
        "What may be sent and asked: dimensions, metrics, presets, limits, errors",
        jsonResponse("The data dictionary.", ref("DataDictionary")),
      ),
    },
    "/openapi.json": {
      get: about("openapi", "This document", jsonResponse("OpenAPI 3.1.", { type: "object" })),
    },
    "/docs/operations": {
      get: about(
        "docs_operations",
        "The page's content, for who has the token",
        textResponse("A part of a page.", "text/html; charset=utf-8"),
      ),
    },
  };
}
