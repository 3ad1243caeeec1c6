import { isUtf8 } from "node:buffer";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { METRICS, type Engine, type QueryInput } from "../../engine/api.js";
import { GRAINS } from "../../engine/calendar/index.js";
import { TidemarkError } from "../../engine/errors.js";
import { MAX_BATCH_EVENTS, MAX_ID_BYTES, MAX_QUERY_ROWS, MAX_TIME_BUCKETS } from "../../engine/limits.js";
import { readBody } from "../body.js";
import { ByteLease, type ByteBudget } from "../byte-budget.js";
import { MAX_EVENTS_BODY_BYTES, MAX_QUERY_BODY_BYTES } from "../limits.js";
import { checkMediaType } from "../media-type.js";
import { checkParameters } from "../parameters.js";

/** `POST /v1/query` answers with the engine's result as it is; `GET /v1/schema` says what may be asked. */
export function addQueryRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const parseJson = app.getDefaultJsonParser("error", "error");

  app.post("/v1/query", async (request, reply) => {
    checkParameters(request.query, []);
    checkMediaType(request.raw.headers["content-type"], ["application/json"]);
    const lease = new ByteLease(budget);
    try {
      const limits = { maxBytes: MAX_QUERY_BODY_BYTES, lease };
      const body = await readBody(request.raw, reply.raw, limits);
      return engine.query((await parseBody(request, body)) as QueryInput);
    } finally {
      lease.release();
    }
  });

  /** Refuses `__proto__` and `constructor.prototype` as Fastify does for every other JSON body. */
  function parseBody(request: FastifyRequest, body: Buffer): Promise<unknown> {
    if (body.length === 0) throw new TidemarkError("empty-body", "Send the query as a JSON object.");
    if (!isUtf8(body)) throw new TidemarkError("invalid-utf8", "The body has bytes that are not UTF-8.");
    return new Promise((resolve, reject) => {
      void parseJson(request, body.toString("utf8"), (error, value) => {
        if (error === null || error === undefined) resolve(value);
        else reject(new TidemarkError("invalid-json", "Send the query as one JSON object, in full."));
      });
    });
  }

  const schema = describeSchema(engine);
  app.get("/v1/schema", async (request) => {
    checkParameters(request.query, []);
    return schema;
  });
}

function describeSchema({ schema }: Engine): Record<string, unknown> {
  return {
    dimensions: schema.dimensions,
    identity: schema.identity,
    subject: schema.dimensions[schema.subject],
    remembered: schema.remembered.map((d) => schema.dimensions[d]),
    rollups: schema.rollups.map((rollup) => rollup.dims.map((d) => schema.dimensions[d])),
    metrics: METRICS,
    grains: GRAINS,
    limits: {
      events_per_batch: MAX_BATCH_EVENTS,
      bytes_per_body: MAX_EVENTS_BODY_BYTES,
      bytes_per_query: MAX_QUERY_BODY_BYTES,
      bytes_per_value: MAX_ID_BYTES,
      rows_per_answer: MAX_QUERY_ROWS,
      time_buckets_per_answer: MAX_TIME_BUCKETS,
    },
  };
}
