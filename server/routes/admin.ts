import type { FastifyInstance } from "fastify";
import type { Engine, EngineStats } from "../../engine/api.js";
import { utcIsoOrNull } from "../../engine/calendar/index.js";
import { TidemarkError } from "../../engine/errors.js";
import type { ByteBudget } from "../byte-budget.js";
import { createJsonReader } from "../json-body.js";
import { checkParameters } from "../parameters.js";
import { checkMembers, wholeNumber } from "./admin-input.js";

/** What the operator of a store asks and does: docs/runbook.md. */
export function addAdminRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const withJsonBody = createJsonReader(app, budget);

  app.get("/v1/admin/storage", async (request) => {
    checkParameters(request.query, []);
    return engine.storage();
  });

  app.get("/v1/admin/stats", async (request) => {
    checkParameters(request.query, []);
    return statsReport(engine.stats());
  });

  app.get("/v1/admin/revisions", async (request) => {
    const parameters = checkParameters(request.query, ["after", "limit"]);
    const [after, limit] = ["after", "limit"].map((name) => wholeNumber(parameters, name));
    return engine.revisions({
      ...(after === undefined ? {} : { after }),
      ...(limit === undefined ? {} : { limit }),
    });
  });

  app.get("/v1/admin/merkle", async (request) => {
    const parameters = checkParameters(request.query, ["from", "to"]);
    const [from, to] = ["from", "to"].map((name) => parameters.get(name));
    if (from !== undefined && to !== undefined) return await engine.merkle(from, to);
    throw new TidemarkError("invalid-range", "Give from and to, RFC 3339 instants.", { pointer: "/from" });
  });

  app.post("/v1/admin/reconcile", (request, reply) =>
    withJsonBody(request, reply, async (body) => {
      checkMembers(body, { from: "string", to: "string", repair: "boolean" });
      return await engine.reconcile(body);
    }),
  );

  app.post("/v1/admin/retention", (request, reply) =>
    withJsonBody(request, reply, async (body) => {
      checkMembers(body, { dry_run: "boolean" });
      return await engine.retain({ dryRun: body["dry_run"] === true });
    }),
  );

  app.post("/v1/admin/checkpoint", (request, reply) =>
    withJsonBody(request, reply, async (body) => {
      checkMembers(body, {});
      await engine.checkpoint();
      return { position: engine.stats().position };
    }),
  );
}

/** As the engine counts since it started, with the names of the wire. */
function statsReport({
  watermarkMs,
  hotCells: hot_cells,
  hotBuckets: hot_buckets,
  unsavedEvents: unsaved_events,
  queuedBytes: queued_bytes,
  lastCommitError: last_commit_error,
  lastUpkeepError: last_upkeep_error,
  ...rest
}: EngineStats): Record<string, unknown> {
  const watermark = utcIsoOrNull(watermarkMs ?? Number.NaN);
  return {
    ...rest,
    watermark,
    hot_cells,
    hot_buckets,
    unsaved_events,
    queued_bytes,
    last_commit_error,
    last_upkeep_error,
  };
}
