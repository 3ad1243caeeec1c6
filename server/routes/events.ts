import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Engine, IngestOptions, IngestReply } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import { readBody } from "../body.js";
import { ByteLease, type ByteBudget } from "../byte-budget.js";
import { MAX_EVENTS_BODY_BYTES, MAX_IDEMPOTENCY_KEY_CHARS } from "../limits.js";
import { checkMediaType } from "../media-type.js";
import { checkParameters } from "../parameters.js";
import { HttpProblem, problemType } from "../problem.js";
import { Turnstile } from "../turnstile.js";

const FORMATS = new Map<string, "json" | "ndjson">([
  ["application/json", "json"],
  ["application/x-ndjson", "ndjson"],
  ["application/ndjson", "ndjson"],
  ["application/jsonl", "ndjson"],
]);

/**
 * `POST /v1/events`: one JSON object, an array, or NDJSON; gzip is read. 202 with the counts by outcome when any
 * event was accepted or known already, 422 `no-event-accepted` with the same counts when none was.
 */
export function addEventRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const turnstile = new Turnstile();
  app.post("/v1/events", async (request, reply) => {
    const options = ingestOptions(request);
    const type = checkMediaType(request.raw.headers["content-type"], [...FORMATS.keys()]);
    const lease = new ByteLease(budget);
    try {
      const limits = { maxBytes: MAX_EVENTS_BODY_BYTES, lease };
      const body = await readBody(request.raw, reply.raw, limits);
      const result = await turnstile.run(() => engine.ingestBytes(body, FORMATS.get(type)!, options));
      if (result.accepted + result.duplicate === 0) throw nothingAccepted(result);
      return await reply.code(202).send(onWire(result));
    } finally {
      lease.release();
    }
  });
}

function ingestOptions(request: FastifyRequest): IngestOptions {
  const parameters = checkParameters(request.query, ["wait", "backfill"]);
  const key = idempotencyKey(request.raw.headers["idempotency-key"]);
  return {
    wait: oneOf(parameters, "wait", { durable: "durable", none: "none" } as const) ?? "durable",
    backfill: oneOf(parameters, "backfill", { "1": true, true: true, "0": false, false: false }) ?? false,
    ...(key === undefined ? {} : { idempotencyKey: key }),
  };
}

function oneOf<T>(
  parameters: ReadonlyMap<string, string>,
  name: string,
  values: Readonly<Record<string, T>>,
): T | undefined {
  const given = parameters.get(name);
  if (given === undefined) return undefined;
  if (Object.hasOwn(values, given)) return values[given];
  const known = Object.keys(values).join(", ");
  throw new HttpProblem("invalid-parameter", `"${name}" is one of ${known}, not "${given.slice(0, 80)}".`);
}

/** The draft asks for a quoted string (RFC 8941, section 3.3.3); most clients send the key bare. Both are read. */
function idempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = String(header);
  const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/.exec(text)?.[1];
  const key = quoted === undefined ? text : quoted.replace(/\\(.)/g, "$1");
  const isBare = quoted !== undefined || /^[!#-+\--~]+$/.test(text);
  if (isBare && key.length >= 1 && key.length <= MAX_IDEMPOTENCY_KEY_CHARS) return key;
  throw new HttpProblem(
    "invalid-header",
    `Idempotency-Key is one string of 1 to ${MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters.`,
  );
}

function onWire(result: IngestReply): IngestReply & Record<string, unknown> {
  const errors = result.errors.map((error) => ({
    ...error,
    type: problemType(error.type) as typeof error.type,
  }));
  return { ...result, errors };
}

function nothingAccepted(result: IngestReply): TidemarkError {
  const first = result.errors[0]?.detail;
  const why = first === undefined ? "The batch holds no event." : `The first reason: ${first}`;
  return new TidemarkError("no-event-accepted", `No event was counted. ${why}`, { extra: onWire(result) });
}
