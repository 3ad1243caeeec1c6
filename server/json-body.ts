import { isUtf8 } from "node:buffer";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { TidemarkError } from "../engine/errors.js";
import { readBody } from "./body.js";
import { ByteLease, type ByteBudget } from "./byte-budget.js";
import { MAX_QUERY_BODY_BYTES } from "./limits.js";
import { checkMediaType } from "./media-type.js";

/** Reads a small request body as one JSON object, and frees its share of the budget when `use` is done with it. */
export type WithJsonBody = <T>(
  request: FastifyRequest,
  reply: FastifyReply,
  use: (body: Record<string, unknown>) => T | Promise<T>,
) => Promise<T>;

/** Refuses `__proto__` and `constructor.prototype` as Fastify does for every other JSON body. */
export function createJsonReader(app: FastifyInstance, budget: ByteBudget): WithJsonBody {
  const parseJson = app.getDefaultJsonParser("error", "error");

  function parse(request: FastifyRequest, body: Buffer): Promise<Record<string, unknown>> {
    if (body.length === 0) throw new TidemarkError("empty-body", "Send one JSON object, {} if need be.");
    if (!isUtf8(body)) throw new TidemarkError("invalid-utf8", "The body has bytes that are not UTF-8.");
    return new Promise((resolve, reject) => {
      void parseJson(request, body.toString("utf8"), (error, value) => {
        if (error === null || error === undefined) resolve(value as Record<string, unknown>);
        else reject(new TidemarkError("invalid-json", "Send one JSON object, in full."));
      });
    });
  }

  return async (request, reply, use) => {
    checkMediaType(request.raw.headers["content-type"], ["application/json"]);
    const lease = new ByteLease(budget);
    try {
      const limits = { maxBytes: MAX_QUERY_BODY_BYTES, lease };
      return await use(await parse(request, await readBody(request.raw, reply.raw, limits)));
    } finally {
      lease.release();
    }
  };
}
