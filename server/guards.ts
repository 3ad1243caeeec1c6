/** What every request passes before it is routed to its work: closing, host name, token. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { TidemarkError } from "../engine/errors.js";
import { bearerToken, type TokenCheck } from "./auth.js";
import { MAX_HEADERS } from "./limits.js";
import { hostAllowed } from "./origin.js";
import { HttpProblem } from "./problem.js";
import { SAFE_HEADERS } from "./reply.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may come in without a valid token: everybody (`none`), or who sends no header at all (`later`). */
    auth?: "none" | "later";
    /** Answered while the server closes. */
    whileClosing?: boolean;
    /** May be upgraded to WebSocket. */
    upgrades?: boolean;
  }
}

export interface GuardOptions {
  readonly token: string | undefined;
  readonly check: TokenCheck;
  /** Host names, besides addresses and localhost, that a server without a token answers to. */
  readonly hostNames: ReadonlySet<string>;
}

export function addGuards(app: FastifyInstance, options: GuardOptions): void {
  let closing = false;
  app.addHook("preClose", async () => {
    closing = true;
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(SAFE_HEADERS);
    const { config } = request.routeOptions;
    if (closing && config.whileClosing !== true) {
      throw new TidemarkError("not-ready", "The server is closing; send the request again.");
    }
    checkHeaders(request.raw.rawHeaders);
    checkHost(request, options);
    if (request.ws && config.upgrades !== true) {
      throw new HttpProblem("invalid-header", "Leave out the Upgrade header: only /v1/live is upgraded.");
    }
    checkToken(request, options);
  });
  app.addHook("onSend", async (_request: FastifyRequest, reply: FastifyReply) => {
    if (closing) reply.header("connection", "close");
  });
}

/** Who sends such a request, or a proxy before it, may see its end elsewhere than we do. */
const CLOSE = { connection: "close" } as const;

/** Of these Node keeps the first line and drops the others; a proxy in front of us may have judged by another. */
const SINGLE_HEADERS = new Set(["host", "content-type", "authorization"]);

function checkHeaders(rawHeaders: readonly string[]): void {
  if (rawHeaders.length > 2 * MAX_HEADERS) {
    throw new HttpProblem("headers-too-large", `Send at most ${MAX_HEADERS} header lines.`, CLOSE);
  }
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (!SINGLE_HEADERS.has(name)) continue;
    if (seen.has(name)) throw new HttpProblem("invalid-header", `Send the header "${name}" once.`, CLOSE);
    seen.add(name);
  }
}

function checkHost(request: FastifyRequest, options: GuardOptions): void {
  const { host } = request.raw.headers;
  if (host === undefined) {
    if (request.raw.httpVersion === "1.0") return;
    throw new HttpProblem("invalid-request", "HTTP/1.1 requires a Host header.", CLOSE);
  }
  if (options.token !== undefined || hostAllowed(host, options.hostNames)) return;
  throw new HttpProblem(
    "misdirected-request",
    "Without a token this server answers to addresses and localhost only; set a token, or list the origin.",
  );
}

function checkToken(request: FastifyRequest, options: GuardOptions): void {
  const { auth } = request.routeOptions.config;
  const { authorization } = request.raw.headers;
  if (auth === "none" || (auth === "later" && authorization === undefined)) return;
  if (options.check(bearerToken(authorization))) return;
  throw new TidemarkError(
    "unauthorized",
    'Send the header "Authorization: Bearer" with the token of this server.',
  );
}
