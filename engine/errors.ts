/**
 * The one closed list of errors that Tidemark answers with: code, HTTP status, title. A `TidemarkError`
 * carries a sentence (`detail`) that tells its reader what to do, and, where it helps, a JSON pointer to the
 * offending member. Broken invariants are not in this list: they throw a plain `Error("BUG: …")`.
 */
export const ERROR_CODES = {
  "invalid-json": { status: 400, title: "The body is not valid JSON" },
  "invalid-utf8": { status: 400, title: "The body is not valid UTF-8" },
  "empty-body": { status: 400, title: "The body is empty" },
  "unsupported-media-type": { status: 415, title: "This content type or encoding is not read here" },
  "payload-too-large": { status: 413, title: "The body is too large" },
  "too-many-events": { status: 413, title: "The batch has too many events" },
  "no-event-accepted": { status: 422, title: "No event of the batch was accepted" },
  "invalid-query": { status: 422, title: "The query is not valid" },
  "invalid-timezone": { status: 422, title: "Unknown time zone" },
  "invalid-range": { status: 422, title: "The range is not valid" },
  "range-not-aligned": { status: 422, title: "The stored grains cannot answer this range exactly" },
  "range-too-wide": { status: 422, title: "The range has too many rows" },
  "dimension-set-not-materialised": { status: 409, title: "No rollup holds this set of dimensions" },
  "raw-expired": { status: 409, title: "The raw events of this range are no longer kept" },
  "cursor-expired": { status: 410, title: "The pages of this cursor are no longer held" },
  "invalid-schema": { status: 422, title: "The schema is not valid" },
  "schema-mismatch": { status: 409, title: "The store was written with another schema" },
  "invalid-config": { status: 422, title: "The configuration is not valid" },
  "idempotency-conflict": { status: 422, title: "The idempotency key was used with another body" },
  "idempotency-in-flight": { status: 409, title: "A batch with this idempotency key is still being written" },
  unauthorized: { status: 401, title: "A valid token is needed" },
  "not-found": { status: 404, title: "There is nothing at this address" },
  "method-not-allowed": { status: 405, title: "This method is not answered here" },
  overloaded: { status: 503, title: "Too much is waiting to be written" },
  "not-ready": { status: 503, title: "The engine is starting or closing" },
  "storage-failed": { status: 503, title: "The store cannot be written" },
  "storage-full": { status: 507, title: "The disk is full" },
  "storage-damaged": { status: 500, title: "The store is damaged" },
  "storage-version": { status: 500, title: "The store was written by another version" },
  internal: { status: 500, title: "Something went wrong inside" },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An expected failure, told to whoever asked. `pointer` is an RFC 6901 JSON pointer into the request. */
export class TidemarkError extends Error {
  override readonly name = "TidemarkError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly pointer: string | undefined;
  /** Members that a program can act on: `nearest`, `retryAfterS`, … */
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { pointer?: string; extra?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = ERROR_CODES[code].status;
    this.title = ERROR_CODES[code].title;
    this.pointer = options.pointer;
    this.extra = options.extra ?? {};
  }
}

/** What `read` returns; undefined where it finds damage, which `tell` is told of. */
export function readable<T>(read: () => T, tell?: (error: TidemarkError) => void): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") throw error;
    tell?.(error);
    return undefined;
  }
}
