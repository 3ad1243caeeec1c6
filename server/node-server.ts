/** What Node's HTTP server answers by itself, before Fastify sees a request: here too every error is a problem. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { LINGER_MS, MAX_HEADERS } from "./limits.js";
import { HttpProblem, rawProblemResponse } from "./problem.js";

/** The response that a connection is waiting for. */
const answering = new WeakMap<Socket, ServerResponse>();

/** Listens for the events that Node would otherwise answer with an empty or plain body. */
export function prepareServer(app: FastifyInstance): void {
  const { server } = app;
  // One more than is allowed: Node drops the others without a word, guards.ts refuses the request.
  server.maxHeadersCount = MAX_HEADERS + 1;
  server.prependListener("request", (request: IncomingMessage, response: ServerResponse) => {
    answering.set(request.socket, response);
  });
  // The body is asked for by whoever reads it (body.ts), not before it is known to be wanted.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    answering.set(request.socket, response);
    app.routing(request, response);
  });
  server.on("checkExpectation", (request: IncomingMessage) => {
    answerRaw(
      request.socket,
      new HttpProblem("expectation-failed", 'Only "Expect: 100-continue" is understood.'),
    );
  });
}

/** For Fastify's `clientErrorHandler`: malformed HTTP, headers too large, a request that never ends. */
export function onClientError(error: Error & { code?: string }, socket: Socket): void {
  const response = answering.get(socket);
  const isUnderWay = response !== undefined && response.headersSent && !response.writableFinished;
  if (error.code === "ECONNRESET" || isUnderWay) socket.destroy();
  else answerRaw(socket, error);
}

/** Answers and closes; what still arrives is thrown away for a moment, so that the answer is not lost to a reset. */
export function answerRaw(socket: Socket, error: unknown): void {
  if (!socket.writable || socket.writableEnded) return;
  socket.end(rawProblemResponse(error));
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}
