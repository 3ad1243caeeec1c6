import type { FastifyInstance } from "fastify";
import { METRICS, type Engine, type QueryInput } from "../../engine/api.js";
import { GRAINS } from "../../engine/calendar/index.js";
import { MAX_BATCH_EVENTS, MAX_ID_BYTES, MAX_QUERY_ROWS, MAX_TIME_BUCKETS } from "../../engine/limits.js";
import type { ByteBudget } from "../byte-budget.js";
import { createJsonReader } from "../json-body.js";
import { MAX_EVENTS_BODY_BYTES, MAX_QUERY_BODY_BYTES } from "../limits.js";
import { checkParameters } from "../parameters.js";

/** `POST /v1/query` answers with the engine's result as it is; `GET /v1/schema` says what may be asked. */
export function addQueryRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const withJsonBody = createJsonReader(app, budget);

  app.post("/v1/query", async (request, reply) => {
    checkParameters(request.query, []);
    return await withJsonBody(request, reply, (body) => engine.query(body as unknown as QueryInput));
  });

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
