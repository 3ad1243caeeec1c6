import type { FastifyInstance } from "fastify";
import type { Engine } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import { explain } from "../explain.js";
import { problemType } from "../problem.js";
import { VERSION } from "../version.js";

const PUBLIC = { config: { auth: "none" } } as const;

const INDEX = {
  name: "tidemark",
  version: VERSION,
  "POST /v1/events": "send events: a JSON object or array, or NDJSON; gzip is read",
  "POST /v1/query": "ask: views, viewers and blogs in any range and time zone",
  "POST /v1/peak": "when readers come: views by weekday and hour",
  "POST /v1/overlap": "how many viewers two sets share",
  "POST /v1/batch": "several questions, answered from one state",
  "GET /v1/timeseries":
    "by time; also /v1/breakdown, /v1/top, /v1/compare, /v1/peak, /v1/overlap, /v1/query?q=",
  "GET /v1/live": "WebSocket: the same queries, kept up to date",
  "GET /v1/schema": "what may be sent and asked",
  "GET /docs": "all of this, to read and to try; /openapi.json for programs",
  "GET /healthz": "alive",
  "GET /readyz": "ready for events and queries",
  "GET /errors/:code": "what an error means",
};

export function addHealthRoutes(app: FastifyInstance, engine: Engine): void {
  app.get("/", PUBLIC, async () => INDEX);

  app.get("/healthz", { config: { auth: "none", whileClosing: true } }, async () => ({ status: "alive" }));

  let logged: string | null = null;
  app.get("/readyz", PUBLIC, async (request) => {
    const { ready, position, lastCommitError } = engine.stats();
    // The engine keeps no log, and probes come every few seconds: a failure is logged once.
    if (lastCommitError !== logged) request.log.error({ lastCommitError }, "commit");
    logged = lastCommitError;
    if (!ready) throw new TidemarkError("not-ready", "The engine is starting or closing, or cannot write.");
    if (lastCommitError !== null) {
      throw new TidemarkError("not-ready", "The last buckets could not be written; they are tried again.");
    }
    return { status: "ready", position };
  });

  app.get<{ Params: { code: string } }>("/errors/:code", PUBLIC, async (request, reply) => {
    const text = explain(request.params.code);
    if (text === undefined) {
      throw new TidemarkError("not-found", `No error is called ${problemType(request.params.code)}.`);
    }
    return reply.type("text/plain; charset=utf-8").send(text);
  });
}
