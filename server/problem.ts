/** RFC 9457 problem details: the one form of every error that leaves the server. */
import { randomBytes } from "node:crypto";
import { ERROR_CODES, TidemarkError, type ErrorCode } from "../engine/errors.js";
import { RETRY_AFTER_S } from "./limits.js";

export const PROBLEM_TYPE = "application/problem+json";

/** What can go wrong before the engine is asked: errors of HTTP itself. */
export const HTTP_CODES = {
  "invalid-request": { status: 400, title: "The request is not valid HTTP" },
  "invalid-parameter": { status: 400, title: "A parameter of the address is not valid" },
  "invalid-header": { status: 400, title: "A header is not valid" },
  "invalid-gzip": { status: 400, title: "The body is not valid gzip" },
  "forbidden-origin": { status: 403, title: "Pages of this origin may not connect" },
  "request-timeout": { status: 408, title: "The request took too long to arrive" },
  "uri-too-long": { status: 414, title: "The address is too long" },
  "expectation-failed": { status: 417, title: "This expectation cannot be met" },
  "misdirected-request": { status: 421, title: "This host name is not served here" },
  "upgrade-required": { status: 426, title: "This address speaks WebSocket" },
  "headers-too-large": { status: 431, title: "The headers are too large" },
} as const;

export type HttpCode = keyof typeof HTTP_CODES;
export type ProblemCode = ErrorCode | HttpCode;

/** A refusal on the level of HTTP; `headers` go with the answer, `pointer` (RFC 6901) names the parameter. */
export class HttpProblem extends Error {
  override readonly name = "HttpProblem";
  constructor(
    readonly code: HttpCode,
    detail: string,
    readonly headers: Readonly<Record<string, string>> = {},
    readonly pointer?: string,
  ) {
    super(detail);
  }
}

export interface Problem {
  /** `/errors/<code>`, which the server explains. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance?: string;
  /** Opaque; with `internal` and failures of the store. The log has the same. */
  readonly trace?: string;
  readonly [extra: string]: unknown;
}

export interface ProblemReply {
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;
}

export function problemType(code: string): string {
  return `/errors/${code}`;
}

/** What clients are told of the store: its own sentences name folders, and are for the log. */
const STORAGE_DETAILS: Partial<Record<ErrorCode, string>> = {
  "storage-full": "The server's disk is full. Nothing that was acknowledged is lost; send this again later.",
  "storage-failed": "The store cannot be written now. Whether this was kept is unknown; send it again later.",
  "storage-damaged": "The store is damaged where this needs it. The log of the server says more.",
  "storage-version": "The store was written by another version. The log of the server says more.",
};

/**
 * The reply for anything thrown. What is not a `TidemarkError`, an `HttpProblem` or a client error of Fastify's
 * is `internal`: `log` gets it with the trace id, the client gets the trace id only. So it is with failures of the store.
 */
export function problemReply(
  error: unknown,
  instance: string | undefined,
  log: (error: unknown, trace: string) => void,
): ProblemReply {
  if (error instanceof TidemarkError && error.code !== "internal") return fromTidemark(error, instance, log);
  if (error instanceof HttpProblem) {
    const { code, message, headers, pointer } = error;
    return { problem: problem(code, message, instance, errorsAt(pointer)), headers };
  }
  const known = fromFramework(error);
  if (known !== undefined) return { problem: problem(known[0], known[1], instance), headers: {} };
  const detail = "This is a fault of the server. Its log says more under the trace id.";
  return { problem: problem("internal", detail, instance, traced(error, log)), headers: {} };
}

function fromTidemark(
  error: TidemarkError,
  instance: string | undefined,
  log: (error: unknown, trace: string) => void,
): ProblemReply {
  const { retryAfterS, ...extra } = error.extra;
  const headers = headersFor(error.code, extra, retryAfterS);
  const storage = STORAGE_DETAILS[error.code];
  if (storage !== undefined) {
    return { problem: problem(error.code, storage, instance, traced(error, log)), headers };
  }
  const members = { ...extra, ...errorsAt(error.pointer) };
  return { problem: problem(error.code, error.message, instance, members), headers };
}

function errorsAt(pointer: string | undefined): Record<string, unknown> {
  return pointer === undefined ? {} : { errors: [{ pointer }] };
}

function traced(error: unknown, log: (error: unknown, trace: string) => void): { trace: string } {
  const trace = randomBytes(8).toString("hex");
  log(error, trace);
  return { trace };
}

/** What RFC 9110 wants beside the status. */
function headersFor(
  code: ErrorCode,
  extra: Readonly<Record<string, unknown>>,
  retryAfterS: unknown,
): Record<string, string> {
  switch (code) {
    case "unauthorized":
      return { "www-authenticate": 'Bearer realm="tidemark"' };
    case "method-not-allowed":
      return { allow: String(extra["allow"]) };
    case "unsupported-media-type": {
      const encoding = extra["accept_encoding"];
      return typeof encoding === "string" ? { "accept-encoding": encoding } : {};
    }
    default: {
      const known = (RETRY_AFTER_S as Partial<Record<ErrorCode, number>>)[code];
      const waitS = typeof retryAfterS === "number" ? retryAfterS : known;
      return waitS === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(waitS))) };
    }
  }
}

/** Its own members come first, for the reader, and win over extra ones of the same name. */
function problem(
  code: ProblemCode,
  detail: string,
  instance: string | undefined,
  extra: Record<string, unknown> = {},
): Problem {
  const { status, title } =
    code in HTTP_CODES ? HTTP_CODES[code as HttpCode] : ERROR_CODES[code as ErrorCode];
  const where = instance === undefined ? {} : { instance };
  const own = { type: problemType(code), title, status, detail, ...where };
  return { ...own, ...extra, ...own };
}

/** Fastify's and Node's own client errors, whose messages are replaced by ours: they are not written for users. */
function fromFramework(error: unknown): [ProblemCode, string] | undefined {
  const { statusCode, code } = (error ?? {}) as { statusCode?: unknown; code?: unknown };
  if (code === "HPE_HEADER_OVERFLOW") {
    return ["headers-too-large", "Send fewer or shorter headers, or a shorter address."];
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return ["request-timeout", "Send the whole request sooner."];
  if (typeof code === "string" && code.startsWith("HPE_")) {
    return ["invalid-request", "The request cannot be read as HTTP/1.1."];
  }
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined;
  switch (statusCode) {
    case 404:
      return ["not-found", "See / for what is here."];
    case 413:
      return ["payload-too-large", "Send less at once."];
    case 414:
      return ["uri-too-long", "Send a shorter address."];
    case 415:
      return ["unsupported-media-type", "The Content-Type header is not a media type that is read here."];
    default:
      return ["invalid-request", "The address or the headers of the request are malformed."];
  }
}

/** A whole HTTP/1.1 response, for a socket that has no request to reply to. */
export function rawProblemResponse(error: unknown): string {
  const { problem, headers } = problemReply(error, undefined, () => undefined);
  const body = JSON.stringify(problem);
  const lines = [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    "Connection: close",
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}
