import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import ts from "typescript";
import WebSocket from "ws";
import {
  createClient,
  TidemarkClientError,
  type ClientOptions,
  type FetchLike,
  type LiveMessage,
} from "../../server/client/index.js";
import { startApp, testEngine, withEngine, type TestApp } from "./support/app.js";

const TOKEN = "0123456789abcdef0123456789abcdef";
const SOURCE = fileURLToPath(new URL("../../server/client/index.ts", import.meta.url));

const view = (blog: string, viewer = "u1", country = "PT"): { type: "view" } & Record<string, unknown> => ({
  type: "view",
  blog,
  viewer,
  country,
});

/** What `createClient` is given beside the address, with every attempt and every wait written down. */
interface Traced extends ClientOptions {
  readonly calls: {
    method: string;
    url: string;
    headers: Record<string, string>;
    body: string | undefined;
  }[];
  readonly waits: number[];
}

function traced(
  app: TestApp,
  answers: (attempt: number) => Awaited<ReturnType<FetchLike>> | Error | undefined,
  more: Partial<ClientOptions> = {},
): Traced {
  const calls: Traced["calls"] = [];
  const waits: number[] = [];
  return {
    url: `${app.url}/`,
    calls,
    waits,
    wait: async (ms) => void waits.push(ms),
    async fetch(url, init) {
      calls.push({ method: init.method, url, headers: init.headers, body: init.body });
      const answer = answers(calls.length);
      if (answer instanceof Error) throw answer;
      return answer ?? (await fetch(url, init));
    },
    ...more,
  };
}

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
}

async function clientError(promise: Promise<unknown>): Promise<TidemarkClientError> {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof TidemarkClientError) return error;
  throw new Error(`no TidemarkClientError but ${String(error)}`);
}

t.test("what is sent can be asked for, through every method", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  const client = createClient({ url: app.url, token: TOKEN });
  t.match(await client.send([view("a"), view("a", "u2"), view("b")]), { accepted: 3, durable: true });
  t.match(await client.send(view("c"), { wait: "none", backfill: true }), { accepted: 1 });
  const { results, meta } = await client.query({
    date_range: "today",
    metrics: ["views"],
    dimensions: ["blog"],
  });
  const [first] = results;
  const views: number | null | undefined = first?.metrics[0];
  t.same([first?.dimensions, views], [["a"], 2]);
  // @ts-expect-error -- a query of one metric has no second value
  t.equal(first?.metrics[1], undefined);
  t.equal(meta.seq, app.engine.stats().position);
  const { metrics } = (await client.query({ date_range: "today" })).results[0]!;
  const [total, viewers]: readonly [number | null, number | null] = metrics;
  t.same([total, viewers], [4, 2]);
  t.equal((await client.peak({ date_range: "7d" })).matrix.length, 7);
  const sides = { a: { filters: [["is", "blog", ["a"]]] }, b: { filters: [["is", "blog", ["b"]]] } } as const;
  t.match(await client.overlap({ date_range: "today", ...sides }), {
    both: { value: 1 },
    only_a: { value: 1 },
  });
  const { answers } = await client.batch([
    { query: { date_range: "today" } },
    { query: { date_range: "never" } },
  ]);
  t.match(answers, [{ results: Array }, { error: { code: "invalid-range" } }]);
  t.match(await client.schema(), { identity: "viewer", dimensions: [{ name: "blog" }, {}, {}] });
});

t.test("pages are all rows of a query, once each", async (t) => {
  const app = await startApp(t);
  const client = createClient({ url: app.url });
  const blogs = Array.from({ length: 25 }, (_, i) => `blog-${i}`);
  await client.send(blogs.map((blog) => view(blog)));
  const seen: string[] = [];
  const sizes: number[] = [];
  for await (const page of client.pages({
    date_range: "today",
    metrics: ["views"],
    dimensions: ["blog"],
    limit: 10,
  })) {
    seen.push(...page.results.map(({ dimensions }) => String(dimensions[0])));
    sizes.push(page.results.length);
    await client.send(view("later"));
  }
  t.same(sizes, [10, 10, 5]);
  t.same(seen.toSorted(), blogs.toSorted());
});

t.test(
  "a refusal is an error with the server's code, status, words and place, and is not tried again",
  async (t) => {
    const app = await startApp(t, { token: TOKEN });
    const options = traced(app, () => undefined, { token: TOKEN });
    const error = await clientError(createClient(options).query({ date_range: "today", timezone: "IST" }));
    t.match(error, {
      name: "TidemarkClientError",
      code: "invalid-timezone",
      status: 422,
      pointer: "/timezone",
      message: /^invalid-timezone: /,
      problem: { nearest: "Asia/Kolkata" },
    });
    t.equal(options.calls.length, 1);
    const stranger = await clientError(createClient({ url: app.url, token: "wrong" }).schema());
    t.match(stranger, { code: "unauthorized", status: 401, pointer: undefined });
    const nowhere = await clientError(createClient({ url: `${app.url}/elsewhere`, token: TOKEN }).schema());
    t.match(nowhere, { code: "not-found", status: 404 });
  },
);

t.test("events are counted once, though the answer was lost and the server was overloaded", async (t) => {
  const inner = await testEngine();
  let refusals = 1;
  const app = await startApp(t, {
    engine: withEngine(inner, {
      async ingestBytes(body, format, options) {
        const reply = await inner.ingestBytes(body, format, options);
        // Kept, and told to nobody.
        if (refusals-- > 0) app.app.server.closeAllConnections();
        return reply;
      },
    }),
  });
  const overloaded = answer(503, { type: "/errors/overloaded", detail: "Later." }, { "retry-after": "3" });
  const options = traced(
    app,
    (attempt) => [new TypeError("fetch failed"), overloaded, answer(502, "<html>")][attempt - 1],
  );
  const client = createClient(options);
  t.match(await client.send([view("a"), view("b")]), { accepted: 2 });
  t.equal(inner.stats().events.accepted, 2);
  t.equal(options.calls.length, 5);
  const keys = new Set(options.calls.map(({ headers }) => headers["idempotency-key"]));
  t.equal(keys.size, 1);
  t.match([...keys][0], /^"[0-9a-f]{32}"$/);
  const [first, second, third, fourth] = options.waits;
  t.ok(first! >= 125 && first! <= 250, `${first}`);
  t.equal(second, 3000, "Retry-After");
  t.ok(third! >= 500 && third! <= 1000 && fourth! >= 1000, `${third}, ${fourth}`);
  await client.send(view("a"));
  t.not(options.calls.at(-1)!.headers["idempotency-key"], [...keys][0], "the next batch has its own");
});

t.test(
  "it gives up after the retries, at once where the wait is too long, and when it is told to",
  async (t) => {
    const app = await startApp(t);
    const failing = traced(app, () => new TypeError("fetch failed"));
    const error = await clientError(createClient(failing).schema());
    t.match(error, { code: "network", status: 0, cause: { message: "fetch failed" } });
    t.equal(failing.calls.length, 5);
    const none = traced(app, () => new TypeError("fetch failed"), { retries: 0 });
    await clientError(createClient(none).schema());
    t.equal(none.calls.length, 1);
    const patient = traced(app, () =>
      answer(503, { type: "/errors/not-ready", detail: "Closing." }, { "retry-after": "3600" }),
    );
    t.match(await clientError(createClient(patient).schema()), { code: "not-ready", retryAfterS: 3600 });
    t.same(patient.waits, []);
    const proxy = traced(app, () => answer(200, "<html>a captive portal</html>"));
    t.match(await clientError(createClient(proxy).schema()), { code: "unexpected", status: 200 });
    const stopped = traced(app, () => new TypeError("fetch failed"), { retries: 100 });
    const controller = new AbortController();
    const { wait: _wait, ...real } = stopped;
    const promise = createClient(real).schema({ signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    await t.rejects(promise, reason);
    await t.rejects(createClient(real).schema({ signal: AbortSignal.abort(reason) }), reason);
    const silent = traced(app, () => undefined, {
      timeoutMs: 1,
      retries: 0,
      fetch: (_url, { signal }) =>
        new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new Error("aborted")))),
    });
    t.match(await clientError(createClient(silent).schema()), { code: "timeout", status: 0 });
  },
);

t.test("cacheable questions go by GET while they fit into an address", async (t) => {
  const app = await startApp(t);
  const options = traced(app, () => undefined, { cacheable: true });
  const client = createClient(options);
  const short = { date_range: "today", filters: [["is", "blog", ["é&=+#%"]]] } as const;
  const long = {
    date_range: "today",
    filters: [["is", "blog", Array.from({ length: 500 }, (_, i) => `blog-${i}`)]],
  } as const;
  await client.send(view("é&=+#%"));
  t.same((await client.query(short)).results[0]?.metrics, [1, 1]);
  await client.query(long);
  t.same(
    options.calls.map(({ method }) => method),
    ["POST", "GET", "POST"],
  );
  t.same(options.calls[1]!.body, undefined);
});

/** Live messages as they come, to be awaited. */
class Inbox {
  readonly messages: LiveMessage[] = [];
  readonly errors: Error[] = [];
  #wake: () => void = () => undefined;

  readonly listener = (message: LiveMessage): void => {
    this.messages.push(message);
    this.#wake();
  };

  readonly onError = (error: Error): void => {
    this.errors.push(error);
    this.#wake();
  };

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

const HOUR = { date_range: "current_hour", metrics: ["views"] } as const;

function liveClient(
  t: Test,
  app: TestApp,
  more: Partial<ClientOptions> = {},
): ReturnType<typeof createClient> {
  const client = createClient({ url: app.url, WebSocket, wait: async () => undefined, ...more });
  t.teardown(() => client.close());
  return client;
}

t.test("a live query begins with a snapshot, follows every change, and ends when it is closed", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  const client = liveClient(t, app, { token: TOKEN });
  const [one, two] = [new Inbox(), new Inbox()];
  const first = client.live(HOUR, one.listener);
  client.live({ ...HOUR, dimensions: ["blog"] }, two.listener);
  await one.until(() => one.messages.length === 1);
  await two.until(() => two.messages.length === 1);
  t.match([one.messages[0]!.type, two.messages[0]!.type], ["snapshot", "snapshot"]);
  t.equal(app.app.websocketServer.clients.size, 1, "over one socket");
  await client.send(view("a"));
  await one.until(() => one.messages.length === 2);
  t.match(one.messages[1], { type: "delta", prev: one.messages[0]!.seq, payload: { set: [[[], [1]]] } });
  first.close();
  await client.send(view("a"));
  await two.until(() => two.messages.length >= 3);
  t.match(two.messages[2], { payload: { set: [[["a"], [2]]] } });
  t.equal(one.messages.length, 2);
});

t.test("a live query that was cut off begins anew", async (t) => {
  const app = await startApp(t);
  const client = liveClient(t, app);
  const inbox = new Inbox();
  client.live(HOUR, inbox.listener, inbox.onError);
  await inbox.until(() => inbox.messages.length === 1);
  for (const socket of app.app.websocketServer.clients) socket.terminate();
  await inbox.until(() => inbox.messages.length === 2);
  t.equal(inbox.messages[1]!.type, "snapshot");
  await client.send(view("a"));
  await inbox.until(() => inbox.messages.length === 3);
  t.match(inbox.messages[2], { type: "delta", payload: { set: [[[], [1]]] } });
  t.same(inbox.errors, []);
});

t.test("a live query that is refused is told so and ends; the others go on", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  const client = liveClient(t, app, { token: TOKEN });
  const [good, bad] = [new Inbox(), new Inbox()];
  client.live(HOUR, good.listener, good.onError);
  client.live({ date_range: "current_hour", timezone: "IST" }, bad.listener, bad.onError);
  await bad.until(() => bad.errors.length === 1);
  t.match(bad.errors[0], { code: "invalid-timezone", status: 422, pointer: "/timezone" });
  await good.until(() => good.messages.length === 1);
  const stranger = new Inbox();
  liveClient(t, app, { token: "wrong" }).live(HOUR, stranger.listener, stranger.onError);
  await stranger.until(() => stranger.errors.length === 1);
  t.match(stranger.errors[0], { code: "closed", status: 4401 });
  t.same(good.errors, []);
});

t.test("a gap in the messages is closed by asking anew", async (t) => {
  const app = await startApp(t);
  let dropped = 0;
  class Lossy extends WebSocket {
    override addEventListener(type: never, listener: never): void {
      const take = listener as (event: { data?: unknown }) => void;
      const lossy = (event: { data?: unknown }): void => {
        if (type === "message" && String(event.data).startsWith('{"type":"delta"') && dropped++ === 0) return;
        take(event);
      };
      super.addEventListener(type, lossy);
    }
  }
  const client = liveClient(t, app, { WebSocket: Lossy });
  const inbox = new Inbox();
  client.live(HOUR, inbox.listener);
  await inbox.until(() => inbox.messages.length === 1);
  await client.send(view("a"));
  await client.send(view("a"));
  for (let sent = 2; inbox.messages.length === 1; sent++) {
    await client.send(view("a"));
    t.ok(sent < 1000);
  }
  t.equal(inbox.messages[1]!.type, "snapshot", "after the one that was lost");
});

t.test("the built file imports nothing, and works as a module of its own", async (t) => {
  const { outputText } = ts.transpileModule(readFileSync(SOURCE, "utf8"), {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    },
  });
  t.notMatch(outputText, /^\s*import\b|\bimport\s*\(|\brequire\s*\(|\bfrom\s+["']/m);
  t.notMatch(outputText, /\b(process|Buffer|__dirname|node:)\b/, "nothing of Node's");
  // A module at a data: address cannot import by a relative path or by the name of a package.
  const built = (await import(
    `data:text/javascript;base64,${Buffer.from(outputText).toString("base64")}`
  )) as {
    createClient: typeof createClient;
  };
  const app = await startApp(t);
  const client = built.createClient({ url: app.url });
  t.match(await client.send(view("a")), { accepted: 1 });
  t.match((await client.query(HOUR)).results[0], { metrics: [1] });
  t.ok(outputText.length < 20_000, `${outputText.length} characters`);
});
