import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Answer, BatchResult, Engine, Question, QueryResult } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import type { ByteBudget } from "../byte-budget.js";
import { CACHE_CONTROL, Representations, cacheControlFor, sendConditional } from "../conditional.js";
import { GET_FORMS, type GetFormName } from "../get-parameters.js";
import { isFixed, nextPage, readQuestion } from "../get-questions.js";
import { createJsonReader } from "../json-body.js";
import { checkParameters } from "../parameters.js";

/** A question by POST has the engine's answer; by GET the same, in a form that caches may hold: docs/http.md. */
export function addQueryRoutes(app: FastifyInstance, engine: Engine, budget: ByteBudget): void {
  const withJsonBody = createJsonReader(app, budget);
  const representations = new Representations();

  const sendOnce = (request: FastifyRequest, reply: FastifyReply, answer: Answer): FastifyReply =>
    sendConditional(request, reply, representations.of(answer), CACHE_CONTROL.never);

  for (const kind of ["query", "peak", "overlap"] as const) {
    app.post(`/v1/${kind}`, async (request, reply) => {
      checkParameters(request.query, []);
      const answer = await withJsonBody(request, reply, (body) =>
        ask(engine, { [kind]: body } as unknown as Question),
      );
      return sendOnce(request, reply, answer);
    });
  }

  app.post("/v1/batch", async (request, reply) => {
    checkParameters(request.query, []);
    return await withJsonBody(request, reply, (body) => askAll(engine, body));
  });

  for (const name of Object.keys(GET_FORMS) as GetFormName[]) {
    app.get(`/v1/${name}`, async (request, reply) => {
      const { raw } = request;
      const { question, places } = readQuestion(name, raw.url ?? "", engine.schema);
      const answer = await ask(engine, question).catch((error: unknown) => {
        throw places.translate(error);
      });
      const { next_cursor: cursor } = (answer as Partial<QueryResult>).meta ?? {};
      if (typeof cursor === "string") {
        void reply.header("link", `<${nextPage(raw.url ?? "", cursor)}>; rel="next"`);
      }
      const cacheControl = cacheControlFor(engine.freshness(answer), isFixed(question));
      return sendConditional(request, reply, representations.of(answer), cacheControl);
    });
  }
}

async function ask(engine: Engine, question: Question): Promise<Answer> {
  if ("query" in question) return await engine.query(question.query);
  if ("peak" in question) return await engine.peak(question.peak);
  return await engine.overlap(question.overlap);
}

async function askAll(engine: Engine, body: Record<string, unknown>): Promise<BatchResult> {
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  const unknown = isObject ? Object.keys(body).find((name) => name !== "queries") : undefined;
  const { queries } = isObject ? body : {};
  if (unknown === undefined && Array.isArray(queries)) return await engine.batch(queries as Question[]);
  throw new TidemarkError(
    "invalid-query",
    'A batch is a JSON object with one member: {"queries": [{"query": …}, {"peak": …}]}.',
    { pointer: unknown === undefined ? "/queries" : `/${unknown.slice(0, 40)}` },
  );
}
