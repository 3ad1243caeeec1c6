import type { FastifyInstance } from "fastify";
import type { Engine } from "../../engine/api.js";
import { CACHE_CONTROL, Representation, sendConditional } from "../conditional.js";
import { dataDictionary } from "../data-dictionary.js";
import { checkParameters } from "../parameters.js";

/** `GET /v1/schema` says what may be sent and asked. */
export function addSchemaRoute(app: FastifyInstance, engine: Engine): void {
  const dictionary = new Representation(JSON.stringify(dataDictionary(engine)));
  app.get("/v1/schema", async (request, reply) => {
    checkParameters(request.query, []);
    return sendConditional(request, reply, dictionary, CACHE_CONTROL.revalidate);
  });
}
