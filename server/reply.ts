import type { FastifyReply, FastifyRequest } from "fastify";
import { LINGER_MS, MAX_DISCARD_BYTES } from "./limits.js";
import { PROBLEM_TYPE, problemReply } from "./problem.js";

/** Sends any thrown thing as problem+json. Faults of the server are logged under their trace id. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { problem, headers } = problemReply(error, pathOf(request), (cause, trace) => {
    request.log.error({ err: cause, trace }, "request failed");
  });
  const body = Buffer.from(JSON.stringify(problem));
  reply
    .code(problem.status)
    .headers({ ...headers, "content-type": PROBLEM_TYPE, "content-length": body.length, ...SAFE_HEADERS });
  if (!request.ws && hasLargeUnreadBody(request)) sendAndLinger(request, reply, body);
  else void reply.send(body);
}

/** Browsers must not guess a type for what others have written, and caches must not keep it. */
export const SAFE_HEADERS = {
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
} as const;

/** The path of the request, without the query, which may carry anything. */
export function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? "/";
  const end = url.indexOf("?");
  return (end < 0 ? url : url.slice(0, end)).slice(0, 200);
}

function hasLargeUnreadBody(request: FastifyRequest): boolean {
  const { complete, headers } = request.raw;
  if (complete) return false;
  const length = headers["content-length"];
  return length === undefined
    ? headers["transfer-encoding"] !== undefined
    : Number(length) > MAX_DISCARD_BYTES;
}

/**
 * Answers while the client is still sending: the answer is whole at once, the rest of the body is thrown away for
 * a moment, and then the connection is closed. To close it at once would reset it, and the answer would be lost.
 */
function sendAndLinger(request: FastifyRequest, reply: FastifyReply, body: Buffer): void {
  reply.header("connection", "close");
  reply.hijack();
  const response = reply.raw;
  response.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>);
  response.write(body);
  const timer = setTimeout(finish, LINGER_MS);
  request.raw.once("end", finish).once("close", finish).resume();
  function finish(): void {
    clearTimeout(timer);
    response.end();
  }
}
