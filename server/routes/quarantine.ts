import type { FastifyInstance } from "fastify";
import type { Engine, QuarantineSelection } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import type { ByteBudget } from "../byte-budget.js";
import { createJsonReader } from "../json-body.js";
import { checkParameters } from "../parameters.js";
import { checkMembers, idList, wholeNumber } from "./admin-input.js";

/** Events that were refused for their time: to be seen, counted after all, or given up. */
export function addQuarantineRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const withJsonBody = createJsonReader(app, budget);

  app.get("/v1/admin/quarantine", async (request) => {
    const parameters = checkParameters(request.query, ["after", "limit"]);
    const after = wholeNumber(parameters, "after");
    const limit = wholeNumber(parameters, "limit");
    return engine.quarantine({
      ...(after === undefined ? {} : { after }),
      ...(limit === undefined ? {} : { limit }),
    });
  });

  app.post("/v1/admin/quarantine/replay", (request, reply) =>
    withJsonBody(request, reply, async (body) => {
      checkMembers(body, { ids: "array" });
      return await engine.replayQuarantine(body);
    }),
  );

  app.delete("/v1/admin/quarantine", async (request) => {
    const parameters = checkParameters(request.query, ["ids"]);
    return await engine.discardQuarantine(selectionOf(parameters.get("ids")));
  });
}

/** Without a text, all. */
function selectionOf(text: string | undefined): QuarantineSelection {
  if (text === undefined) return {};
  const ids = idList(text);
  if (ids !== undefined) return { ids };
  throw new TidemarkError("invalid-query", "ids are whole numbers with commas between.", { pointer: "/ids" });
}
