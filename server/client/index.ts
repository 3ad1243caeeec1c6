/**
 * `tidemark/client`: the server's interface as typed functions, for browsers and Node from 20 on. It imports nothing.
 *
 *     const client = createClient({ url: "https://stats.example.org", token });
 *     const { results } = await client.query({ date_range: "7d", dimensions: ["time:day"] });
 */
import type {
  BatchResult,
  CallOptions,
  ClientEvent,
  ClientOptions,
  DataDictionary,
  FetchInit,
  FetchLike,
  IngestReply,
  LiveMessage,
  LiveSubscription,
  OverlapInput,
  OverlapResult,
  PeakInput,
  PeakResult,
  QueryInput,
  Question,
  SendOptions,
  TidemarkClient,
  TypedResult,
  WebSocketClass,
  WebSocketLike,
} from "./types.js";

export type * from "./types.js";

const SUBPROTOCOL = "tidemark.live.v1";

/** First wait before another attempt; it doubles each time, ms. */
const BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;

/** A longer question goes by POST: servers and proxies refuse addresses from 8 KB on. */
const MAX_ADDRESS_CHARS = 4_000;

/** Statuses that pass by themselves; 0 is a connection that failed. */
const PASSING = new Set([0, 408, 425, 429, 502, 503, 504]);

/** The server closes a socket with these for a reason that another attempt does not change. */
const FINAL_CLOSE_CODES = new Set([1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4409]);

/** A socket that has been silent for so many heartbeats is gone. */
const MAX_SILENT_HEARTBEATS = 2.5;

export function createClient(options: ClientOptions): TidemarkClient {
  return new Client(options);
}

/** What the server, or the way to it, answered instead. */
export class TidemarkClientError extends Error {
  override readonly name = "TidemarkClientError";
  /** Of the server's list (`/errors/<code>`); `network` and `timeout` when no answer came, `unexpected` for an answer of somebody else. */
  readonly code: string;
  /** Of HTTP; 0 when no answer came. */
  readonly status: number;
  /** What is wrong and what to do. */
  readonly detail: string;
  /** JSON pointer to what is wrong in the request. */
  readonly pointer: string | undefined;
  /** When it may be tried again, s, where the server says so. */
  readonly retryAfterS: number | undefined;
  /** The whole answer (RFC 9457). */
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    status: number,
    detail: string,
    more: { problem?: Record<string, unknown>; retryAfterS?: number | undefined; cause?: unknown } = {},
  ) {
    super(`${code}: ${detail}`, more.cause === undefined ? undefined : { cause: more.cause });
    const { errors } = more.problem ?? {};
    const pointer = Array.isArray(errors)
      ? (errors[0] as { pointer?: unknown } | undefined)?.pointer
      : undefined;
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.pointer = typeof pointer === "string" ? pointer : undefined;
    this.retryAfterS = more.retryAfterS;
    this.problem = more.problem ?? {};
  }
}

interface Call extends CallOptions {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

class Client implements TidemarkClient {
  readonly #url: string;
  readonly #options: ClientOptions;
  readonly #fetch: FetchLike;
  #socket: LiveSocket | undefined;

  constructor(options: ClientOptions) {
    this.#url = options.url.replace(/\/+$/, "");
    this.#options = options;
    const { fetch } = options;
    // As a call of its own: browsers refuse a fetch whose `this` is another object.
    this.#fetch =
      fetch === undefined ? (url, init) => globalThis.fetch(url, init) : (url, init) => fetch(url, init);
  }

  async query<const Q extends QueryInput>(query: Q, options: CallOptions = {}): Promise<TypedResult<Q>> {
    const path = `/v1/query?q=${encodeURIComponent(JSON.stringify(query))}`;
    const call: Call =
      this.#options.cacheable === true && path.length <= MAX_ADDRESS_CHARS
        ? { ...options, method: "GET", path }
        : { ...options, method: "POST", path: "/v1/query", body: query };
    return (await this.#call(call)) as TypedResult<Q>;
  }

  async peak(input: PeakInput, options: CallOptions = {}): Promise<PeakResult> {
    return (await this.#call({ ...options, method: "POST", path: "/v1/peak", body: input })) as PeakResult;
  }

  async overlap(input: OverlapInput, options: CallOptions = {}): Promise<OverlapResult> {
    return (await this.#call({
      ...options,
      method: "POST",
      path: "/v1/overlap",
      body: input,
    })) as OverlapResult;
  }

  async batch(queries: readonly Question[], options: CallOptions = {}): Promise<BatchResult> {
    const call: Call = { ...options, method: "POST", path: "/v1/batch", body: { queries } };
    return (await this.#call(call)) as BatchResult;
  }

  async *pages<const Q extends QueryInput>(
    query: Q,
    options: CallOptions = {},
  ): AsyncGenerator<TypedResult<Q>, void> {
    let cursor: string | null = query.cursor ?? null;
    do {
      const page: TypedResult<Q> = await this.query({ ...query, cursor }, options);
      yield page;
      cursor = page.meta.next_cursor ?? null;
    } while (cursor !== null);
  }

  async schema(options: CallOptions = {}): Promise<DataDictionary> {
    return (await this.#call({ ...options, method: "GET", path: "/v1/schema" })) as DataDictionary;
  }

  async send(
    events: ClientEvent | readonly ClientEvent[],
    { idempotencyKey = randomKey(), wait, backfill, signal }: SendOptions = {},
  ): Promise<IngestReply> {
    const parameters = [
      wait === undefined ? [] : `wait=${wait}`,
      backfill === true ? "backfill=1" : [],
    ].flat();
    const call: Call = {
      method: "POST",
      path: `/v1/events${parameters.length === 0 ? "" : `?${parameters.join("&")}`}`,
      body: events,
      headers: { "idempotency-key": `"${idempotencyKey}"` },
      ...(signal === undefined ? {} : { signal }),
    };
    return (await this.#call(call)) as IngestReply;
  }

  live(
    query: QueryInput,
    listener: (message: LiveMessage) => void,
    onError: (error: Error) => void = () => undefined,
  ): LiveSubscription {
    this.#socket ??= new LiveSocket(this.#url, this.#options);
    const socket = this.#socket;
    const id = socket.subscribe({ query, listener, onError, seq: undefined });
    return { close: () => socket.unsubscribe(id) };
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** One call, tried again while what is wrong may pass. */
  async #call(call: Call): Promise<unknown> {
    const { retries = 4, maxWaitMs = 60_000, wait = waitFor } = this.#options;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(call);
      } catch (error) {
        if (!(error instanceof TidemarkClientError) || !mayPass(error) || attempt >= retries) throw error;
        const waitMs = Math.max((error.retryAfterS ?? 0) * 1000, backoffMs(attempt));
        if (waitMs > maxWaitMs) throw error;
        await wait(waitMs, call.signal);
      }
    }
  }

  async #attempt({ method, path, body, headers = {}, signal }: Call): Promise<unknown> {
    signal?.throwIfAborted();
    const { token, timeoutMs = 30_000 } = this.#options;
    const limit = new AbortController();
    const onAbort = (): void => limit.abort(signal?.reason);
    const timer = setTimeout(() => limit.abort(), timeoutMs);
    signal?.addEventListener("abort", onAbort);
    const init: FetchInit = {
      method,
      headers: {
        ...headers,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: limit.signal,
    };
    try {
      const response = await this.#fetch(this.#url + path, init);
      return readAnswer(response.status, response.headers.get("retry-after"), await response.text());
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof TidemarkClientError) throw error;
      const code = limit.signal.aborted ? "timeout" : "network";
      throw new TidemarkClientError(code, 0, "No answer came from the server.", { cause: error });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }
}

/** The body of a success; throws what the server refused with, or that the answer is somebody else's. */
function readAnswer(status: number, retryAfter: string | null, text: string): unknown {
  const body = parseJson(text);
  if (status >= 200 && status < 300 && body !== undefined) return body;
  const problem = (body ?? {}) as { type?: unknown; detail?: unknown };
  const seconds = Number(retryAfter ?? Number.NaN);
  const more = {
    problem: problem as Record<string, unknown>,
    retryAfterS: Number.isFinite(seconds) ? seconds : undefined,
  };
  const code = typeof problem.type === "string" ? /\/errors\/([\w-]+)$/.exec(problem.type)?.[1] : undefined;
  if (code === undefined) {
    throw new TidemarkClientError(
      "unexpected",
      status,
      `The answer, of status ${status}, is not Tidemark's.`,
      more,
    );
  }
  throw new TidemarkClientError(
    code,
    status,
    typeof problem.detail === "string" ? problem.detail : code,
    more,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function mayPass({ status, code }: TidemarkClientError): boolean {
  return PASSING.has(status) || code === "idempotency-in-flight" || code === "storage-full";
}

/** Half of it by chance, so that many clients do not come back at once. */
function backoffMs(attempt: number): number {
  return Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
}

function waitFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      if (signal?.aborted === true) reject(signal.reason as Error);
      else resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted === true) done();
  });
}

/** 128 random bits. Not `crypto.randomUUID`, which browsers have on https pages only. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

interface Subscriber {
  readonly query: QueryInput;
  readonly listener: (message: LiveMessage) => void;
  readonly onError: (error: Error) => void;
  /** Of the last message; undefined before the snapshot. */
  seq: number | undefined;
}

type ServerMessage =
  | { readonly type: "connection_ack"; readonly payload: { readonly heartbeat_ms: number } }
  | { readonly type: "heartbeat" }
  | { readonly type: "complete"; readonly id: string }
  | { readonly type: "error"; readonly id: string; readonly payload: Record<string, unknown> }
  | (LiveMessage & { readonly id: string });

/** One WebSocket for all live queries of a client, opened anew for as long as there are any. */
class LiveSocket {
  readonly #url: string;
  readonly #options: ClientOptions;
  readonly #subscribers = new Map<string, Subscriber>();
  #socket: WebSocketLike | undefined;
  #isReady = false;
  #heartbeatMs = 15_000;
  #failures = 0;
  #lastId = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, options: ClientOptions) {
    this.#url = `${url.replace(/^http/, "ws")}/v1/live`;
    this.#options = options;
  }

  subscribe(subscriber: Subscriber): string {
    const id = String(++this.#lastId);
    this.#subscribers.set(id, subscriber);
    if (this.#isReady) this.#ask(id, subscriber);
    else if (this.#socket === undefined && this.#timer === undefined) this.#open();
    return id;
  }

  unsubscribe(id: string): void {
    if (!this.#subscribers.delete(id)) return;
    if (this.#subscribers.size === 0) this.close();
    else if (this.#isReady) this.#say({ type: "unsubscribe", id });
  }

  close(): void {
    this.#subscribers.clear();
    this.#drop();
  }

  #open(): void {
    const { WebSocket = (globalThis as { WebSocket?: WebSocketClass }).WebSocket, token } = this.#options;
    if (WebSocket === undefined) throw new TypeError("There is no global WebSocket here: hand one in.");
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    this.#watch();
    socket.addEventListener("open", () => {
      if (this.#socket !== socket) return;
      this.#say({ type: "connection_init", ...(token === undefined ? {} : { payload: { token } }) });
    });
    socket.addEventListener("message", ({ data }) => {
      const message = parseJson(String(data)) as ServerMessage | undefined;
      if (message !== undefined && this.#socket === socket) this.#receive(message);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (this.#socket === socket) this.#lost(code, reason);
    });
    // A close event follows every error.
    socket.addEventListener("error", () => undefined);
  }

  #receive(message: ServerMessage): void {
    this.#watch();
    switch (message.type) {
      case "connection_ack":
        this.#isReady = true;
        this.#failures = 0;
        this.#heartbeatMs = message.payload.heartbeat_ms;
        for (const [id, subscriber] of this.#subscribers) this.#ask(id, subscriber);
        return;
      case "heartbeat":
        return;
      case "complete":
        return this.#end(message.id, undefined);
      case "error":
        return this.#end(message.id, errorOf(message.payload));
      default:
        return this.#tell(message);
    }
  }

  #tell(message: LiveMessage & { readonly id: string }): void {
    const subscriber = this.#subscribers.get(message.id);
    if (subscriber === undefined) return;
    // Something was lost on the way: all that is known is asked for anew.
    if (message.type === "delta" && message.prev !== subscriber.seq) {
      return this.#say({ type: "resync", id: message.id });
    }
    subscriber.seq = message.seq;
    subscriber.listener(message);
  }

  #end(id: string, error: Error | undefined): void {
    const subscriber = this.#subscribers.get(id);
    this.#subscribers.delete(id);
    if (error !== undefined) subscriber?.onError(error);
    if (this.#subscribers.size === 0) this.close();
  }

  #lost(code: number, reason: string): void {
    this.#drop();
    if (this.#subscribers.size === 0) return;
    if (FINAL_CLOSE_CODES.has(code)) {
      const error = new TidemarkClientError(
        "closed",
        code,
        reason === "" ? "The server closed the socket." : reason,
      );
      for (const id of this.#subscribers.keys()) this.#end(id, error);
      return;
    }
    const { wait } = this.#options;
    const waitMs = backoffMs(this.#failures++);
    const again = (): void => {
      this.#timer = undefined;
      if (this.#subscribers.size > 0 && this.#socket === undefined) this.#open();
    };
    if (wait === undefined) this.#timer = setTimeout(again, waitMs);
    else void wait(waitMs, undefined).then(again);
  }

  /** Whatever comes moves the end of patience. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(0, "silent"), MAX_SILENT_HEARTBEATS * this.#heartbeatMs);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isReady = false;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #ask(id: string, subscriber: Subscriber): void {
    subscriber.seq = undefined;
    this.#say({ type: "subscribe", id, payload: { query: subscriber.query } });
  }

  #say(message: unknown): void {
    this.#socket?.send(JSON.stringify(message));
  }
}

function errorOf(problem: Record<string, unknown>): Error {
  try {
    readAnswer(Number(problem["status"]), null, JSON.stringify(problem));
  } catch (error) {
    return error as Error;
  }
  return new TidemarkClientError("unexpected", 0, "The subscription has ended.");
}
