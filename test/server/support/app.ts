import { connect, type AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { Test } from "tap";
import { createEngine, type Engine } from "../../../engine/index.js";
import { buildApp, type AppOptions } from "../../../server/app.js";
import { openMemory } from "../../../storage/memory.js";
import { Client, type Answer } from "./http.js";

export type { Answer };

export interface TestApp {
  readonly app: FastifyInstance;
  readonly engine: Engine;
  readonly url: string;
  readonly port: number;
  /** Posts a body as JSON unless the headers say otherwise. */
  post(path: string, body: string | Uint8Array | Readable, headers?: Record<string, string>): Promise<Answer>;
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  send(method: string, path: string, headers?: Record<string, string>): Promise<Answer>;
}

export interface TestAppOptions extends Partial<AppOptions> {
  /** Is told the address of every route. */
  readonly onRoute?: (url: string) => void;
}

export async function testEngine(): Promise<Engine> {
  return createEngine({ storage: openMemory() });
}

/** An engine of which some methods are other ones. */
export function withEngine(inner: Engine, others: Partial<Engine>): Engine {
  return {
    schema: inner.schema,
    ingest: (events, options) => inner.ingest(events, options),
    ingestBytes: (body, format, options) => inner.ingestBytes(body, format, options),
    ingestBatch: (batch, options) => inner.ingestBatch(batch, options),
    query: (query) => inner.query(query),
    queryNow: (query) => inner.queryNow(query),
    peak: (input) => inner.peak(input),
    overlap: (input) => inner.overlap(input),
    batch: (questions) => inner.batch(questions),
    freshness: (answer) => inner.freshness(answer),
    live$: (query, options) => inner.live$(query, options),
    stats: () => inner.stats(),
    checkpoint: () => inner.checkpoint(),
    revisions: (options) => inner.revisions(options),
    reconcile: (options) => inner.reconcile(options),
    retain: (options) => inner.retain(options),
    merkle: (from, to) => inner.merkle(from, to),
    storage: () => inner.storage(),
    quarantine: (options) => inner.quarantine(options),
    replayQuarantine: (selection) => inner.replayQuarantine(selection),
    discardQuarantine: (selection) => inner.discardQuarantine(selection),
    canonicalRows: () => inner.canonicalRows(),
    close: () => inner.close(),
    ...others,
  };
}

/** A listening server with a fresh engine in memory; both are closed with the test. */
export async function startApp(t: Test, { onRoute, ...options }: TestAppOptions = {}): Promise<TestApp> {
  const engine = options.engine ?? (await testEngine());
  const app = buildApp({ ...options, engine });
  if (onRoute !== undefined) app.addHook("onRoute", ({ url }) => onRoute(url));
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  const client = new Client(url);
  t.teardown(async () => {
    client.close();
    app.server.closeAllConnections();
    await app.close();
    await engine.close();
  });
  return {
    app,
    engine,
    url,
    port: (app.server.address() as AddressInfo).port,
    post: (path, body, headers = {}) =>
      client.send("POST", path, { "content-type": "application/json", ...headers }, body),
    get: (path, headers = {}) => client.send("GET", path, headers),
    send: (method, path, headers = {}) => client.send(method, path, headers),
  };
}

/** Checks that an answer is a problem of this status and code, complete, and without anything from inside. */
export function isProblem(t: Test, got: Answer, status: number, code: string, what = code): void {
  const { title, detail } = got.json ?? {};
  t.match(
    { status: got.status, contentType: got.headers["content-type"], json: got.json },
    { status, contentType: "application/problem+json", json: { status, type: `/errors/${code}` } },
    what,
  );
  t.ok(
    title !== "" && typeof title === "string" && typeof detail === "string" && detail.length > 10,
    `${what}: says what to do`,
  );
  t.notMatch(got.text, /node_modules|\.ts:|\.js:|at .*\(|\/work\/|\/home\//, `${what}: nothing from inside`);
}

export interface RawAnswer {
  readonly text: string;
  /** The status line's number of each response on the connection. */
  readonly statuses: readonly number[];
  /** The server ended the connection. */
  readonly closed: boolean;
}

/** Writes bytes to a bare socket and collects what comes until the server closes, or is silent for `quietMs`. */
export function raw(
  port: number,
  parts: readonly (string | Uint8Array)[],
  quietMs = 400,
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    const done = (closed: boolean): void => {
      socket.destroy();
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]));
      resolve({ text, statuses, closed });
    };
    socket.setTimeout(quietMs, () => done(false));
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => done(true));
    for (const part of parts) socket.write(part);
  });
}
