import { connect } from "node:net";
import { Observable } from "rxjs";
import t from "tap";
import type { Engine, LiveMessage } from "../../engine/index.js";
import { MAX_LIVE_FRAGMENTS, MAX_LIVE_MESSAGE_BYTES } from "../../server/limits.js";
import { canonicalText } from "../../server/live/protocol.js";
import { originAllowed } from "../../server/origin.js";
import { raw, startApp, testEngine, withEngine, type TestApp } from "./support/app.js";
import { handshake, LiveClient, type Message } from "./support/live-client.js";

const VIEW = '{"type":"view","blog":"b","viewer":"u"}';
const TOKEN = "0123456789abcdef0123456789abcdef";
const MIB = 1024 * 1024;

const view = async (app: TestApp): Promise<void> => void (await app.post("/v1/events", VIEW));
const setOf = (message: Message): number => message.payload.set[0][1][0] as number;

/** The real engine, with a count of the subscriptions that reach it. */
async function counted(): Promise<{ engine: Engine; open: () => number }> {
  const inner = await testEngine();
  let open = 0;
  const engine = withEngine(inner, {
    live$: (query, options) =>
      new Observable<LiveMessage>((subscriber) => {
        open++;
        const source = inner.live$(query, options).subscribe(subscriber);
        return () => {
          open--;
          source.unsubscribe();
        };
      }),
  });
  return { engine, open: () => open };
}

t.test(
  "a subscription begins with a snapshot, goes on with absolute values, and says what HTTP says",
  async (t) => {
    const app = await startApp(t);
    await view(app);
    const client = await LiveClient.open(t, app.url);
    t.equal(client.socket.protocol, "tidemark.live.v1");
    t.equal(client.socket.extensions, "", "no compression");
    client.say({ type: "connection_init" });
    t.match(await client.next(), {
      type: "connection_ack",
      payload: { epoch: /^[0-9a-f]{12}$/, heartbeat_ms: 15_000, max_subs: 32 },
    });
    client.subscribe("a");
    const snapshot = await client.next();
    t.match(snapshot, {
      type: "snapshot",
      id: "a",
      seq: 1,
      as_of: String,
      payload: { results: [{ metrics: [1] }] },
    });
    let seq = 1;
    for (let views = 2; views < 6; views++) {
      await view(app);
      const delta = await client.next();
      t.match(delta, { type: "delta", id: "a", prev: seq, seq: views });
      t.equal(setOf(delta), views);
      seq = delta.seq as number;
    }
    client.say({ type: "resync", id: "a" });
    const again = await client.next();
    t.match(again, { type: "snapshot", id: "a", seq: 5, payload: { results: [{ metrics: [5] }] } });
    const { json } = await app.post("/v1/query", '{"date_range":"current_hour","metrics":["views"]}');
    t.same(again.payload.results, json.results, "the same answer as over HTTP");
    client.say({ type: "unsubscribe", id: "a" });
    t.same(await client.next(), { type: "complete", id: "a" });
    await view(app);
    client.subscribe("a");
    t.match(
      await client.next(),
      { type: "snapshot", id: "a", seq: 6 },
      "nothing came in between, and the id is free",
    );
  },
);

t.test("clients may leave out the subprotocol, and one that offers only others gets none", async (t) => {
  const app = await startApp(t);
  for (const offered of [[], ["graphql-transport-ws", "tidemark.live.v1"]]) {
    const client = new LiveClient(t, app.url, {}, offered);
    await new Promise((resolve) => client.socket.once("open", resolve));
    t.equal(client.socket.protocol, offered.length === 0 ? "" : "tidemark.live.v1");
    client.say({ type: "connection_init" });
    t.match(await client.next(), { type: "connection_ack" });
  }
  const other = new LiveClient(t, app.url, {}, ["graphql-transport-ws"]);
  t.equal((await other.closed).code, 1006, "its WebSocket refuses to go on");
});

t.test("a query that fails is an error of its subscription, and the socket goes on", async (t) => {
  const app = await startApp(t);
  const client = await LiveClient.ready(t, app.url);
  client.subscribe("a", { timezone: "IST" });
  t.match(await client.next(), {
    type: "error",
    id: "a",
    payload: { type: "/errors/invalid-timezone", status: 422, errors: [{ pointer: "/timezone" }] },
  });
  client.subscribe("a", { colour: "red" });
  t.match(await client.next(), { type: "error", id: "a", payload: { type: "/errors/invalid-query" } });
  client.say({ type: "resync", id: "a" });
  client.say({ type: "unsubscribe", id: "never" });
  t.same(await client.next(), { type: "complete", id: "never" }, "the id is free, whatever it was");
  client.subscribe("a");
  t.match(await client.next(), { type: "snapshot", id: "a" });
});

t.test("whoever breaks the protocol is closed with the code that says how", async (t) => {
  const app = await startApp(t, { live: { initTimeoutMs: 150, messageBurst: 40, messagesPerS: 1 } });
  const init = { type: "connection_init" };
  const subscribe = { type: "subscribe", id: "a", payload: { query: { date_range: "current_hour" } } };
  const cases: [string, number, unknown[]][] = [
    ["silence", 4408, []],
    ["subscribe first", 4401, [subscribe]],
    ["init twice", 4429, [init, init]],
    ["the same id twice", 4409, [init, subscribe, subscribe]],
    [
      "33 subscriptions",
      4429,
      [init, ...Array.from({ length: 33 }, (_, i) => ({ ...subscribe, id: `s${i}` }))],
    ],
    ["too many messages", 4429, [init, ...Array.from({ length: 50 }, () => ({ type: "resync", id: "x" }))]],
    ["no JSON", 4400, ["{"]],
    ["empty", 4400, [""]],
    ["an array", 4400, ["[]"]],
    ["null", 4400, ["null"]],
    ["no type", 4400, ["{}"]],
    ["unknown type", 4400, [init, { type: "start", id: "a" }]],
    ["type of Object", 4400, [init, '{"type":"constructor"}']],
    ["unknown member", 4400, [{ ...init, x: 1 }]],
    ["__proto__", 4400, [init, '{"type":"subscribe","id":"a","payload":{"query":{},"__proto__":{}}}']],
    ["unknown member of payload", 4400, [init, { ...subscribe, payload: { query: {}, min_interval_ms: 5 } }]],
    ["token not a string", 4400, [{ ...init, payload: { token: 5 } }]],
    ["payload not an object", 4400, [{ ...init, payload: [] }]],
    ["no id", 4400, [init, { ...subscribe, id: undefined }]],
    ["id a number", 4400, [init, { ...subscribe, id: 5 }]],
    ["id empty", 4400, [init, { ...subscribe, id: "" }]],
    ["id too long", 4400, [init, { ...subscribe, id: "x".repeat(65) }]],
    ["no query", 4400, [init, { ...subscribe, payload: {} }]],
    ["query an array", 4400, [init, { ...subscribe, payload: { query: [] } }]],
    [
      "query too deep",
      4400,
      [
        init,
        `{"type":"subscribe","id":"a","payload":{"query":{"filters":${"[".repeat(5000)}${"]".repeat(5000)}}}}`,
      ],
    ],
    ["message too large", 1009, [init, `"${"x".repeat(MAX_LIVE_MESSAGE_BYTES)}"`]],
  ];
  for (const [what, code, messages] of cases) {
    const client = await LiveClient.open(t, app.url);
    for (const message of messages) client.say(message);
    const closed = await client.closed;
    t.equal(closed.code, code, `${what}: ${closed.reason}`);
  }
  const binary = await LiveClient.open(t, app.url);
  binary.socket.send(Buffer.from('{"type":"connection_init"}'));
  t.equal((await binary.closed).code, 4400, "a binary frame");
  const pings = await LiveClient.ready(t, app.url);
  for (let i = 0; i < 50; i++) pings.socket.ping();
  t.equal((await pings.closed).code, 4429, "too many pings");
  const fragments = await LiveClient.ready(t, app.url);
  for (let i = 0; i <= MAX_LIVE_FRAGMENTS + 1; i++) fragments.socket.send(" ", { fin: false });
  t.equal((await fragments.closed).code, 1008, "too many fragments");
  t.equal((await app.get("/healthz")).status, 200);
});

t.test("the token comes with connection_init or in the header, never in the address", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  for (const payload of [undefined, {}, { token: "" }, { token: `${TOKEN}0` }]) {
    const client = await LiveClient.open(t, app.url);
    client.say({ type: "connection_init", ...(payload === undefined ? {} : { payload }) });
    t.same(await client.closed, { code: 4401, reason: "the token is not valid" }, JSON.stringify(payload));
  }
  const browser = await LiveClient.ready(t, app.url, { token: TOKEN });
  browser.subscribe("a");
  t.match(await browser.next(), { type: "snapshot" });
  const program = await LiveClient.open(t, app.url, { headers: { authorization: `Bearer ${TOKEN}` } });
  program.say({ type: "connection_init" });
  t.match(await program.next(), { type: "connection_ack" });
  t.equal(await handshake(app.url, { headers: { authorization: "Bearer wrong" } }), 401);
  const inAddress = await raw(app.port, [
    `GET /v1/live?token=${TOKEN} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
  ]);
  t.same(inAddress.statuses, [400]);
});

t.test("pages of other sites may not connect, however they spell their origin", async (t) => {
  const app = await startApp(t, { origins: ["https://stats.example.org"] });
  const here = new URL(app.url).host;
  for (const origin of [`http://${here}`, `https://${here}`, "https://stats.example.org"]) {
    t.equal(await handshake(app.url, { origin }), 101, origin);
  }
  t.equal(await handshake(app.url), 101, "programs send none");
  for (const origin of [
    "https://evil.example",
    "null",
    "http://stats.example.org",
    "https://stats.example.org:8443",
    "https://stats.example.org.evil.example",
    "https://evilstats.example.org",
    "https://evil.example/https://stats.example.org",
    "https://stats.example.org@evil.example",
    `http://${here}.evil.example`,
    `http://evil.example#${here}`,
    `http://${here}@evil.example`,
    `http://${here.split(":")[0]}:1`,
    `http://${here.split(":")[0]}`,
    "http://localhost",
    `file://${here}`,
    `ws://${here}`,
    "*",
    "https://",
  ]) {
    t.equal(await handshake(app.url, { origin }), 403, origin);
  }
  const none = new Set<string>();
  t.ok(originAllowed("https://a.example", "A.example:443", none), "default ports are the same port");
  t.ok(originAllowed("http://[::1]:80", "[::1]", none));
  t.notOk(originAllowed("https://a.example", undefined, none));
  t.notOk(originAllowed("https://a.example", "a b", none));
});

t.test("a handshake that is none is refused with a problem", async (t) => {
  const app = await startApp(t, { live: { maxSockets: 1 } });
  const head = "GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n";
  for (const rest of [
    "Upgrade: h2c\r\n",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 5\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a,,b\r\n",
  ]) {
    const { statuses, text, closed } = await raw(app.port, [`${head}${rest}\r\n`]);
    t.same([statuses, closed], [[400], true], rest);
    t.match(text, "application/problem+json", rest);
  }
  await LiveClient.ready(t, app.url);
  t.equal(await handshake(app.url), 503, "one socket too many");
});

t.test(
  "equal queries share one subscription of the engine's, whoever asks and in whatever order of members",
  async (t) => {
    const { engine, open } = await counted();
    const app = await startApp(t, { engine });
    await view(app);
    const clients = await Promise.all(Array.from({ length: 20 }, () => LiveClient.ready(t, app.url)));
    for (const [i, client] of clients.entries()) {
      const members = [
        ["date_range", "current_hour"],
        ["metrics", ["views"]],
        ["limit", 5],
      ] as const;
      client.say({
        type: "subscribe",
        id: `id-${i % 3}`,
        payload: { query: Object.fromEntries(i % 2 === 0 ? members : [...members].reverse()) },
      });
      t.match(await client.next(), {
        type: "snapshot",
        id: `id-${i % 3}`,
        payload: { results: [{ metrics: [1] }] },
      });
    }
    t.equal(open(), 1, "one for twenty");
    await view(app);
    for (const [i, client] of clients.entries()) {
      const delta = await client.next();
      t.match(delta, { type: "delta", id: `id-${i % 3}`, prev: 1, seq: 2 });
      t.equal(setOf(delta), 2);
    }
    await view(app);
    const late = await LiveClient.ready(t, app.url);
    late.say({
      type: "subscribe",
      id: "late",
      payload: { query: { limit: 5, metrics: ["views"], date_range: "current_hour" } },
    });
    const snapshot = await late.next();
    t.match(snapshot, { type: "snapshot", id: "late" }, "a late one begins with a snapshot");
    await view(app);
    const delta = await late.until((message) => message.type === "delta" && setOf(message) === 4);
    t.ok(delta.prev >= snapshot.seq, "and its chain has no gap");
    t.equal(open(), 1);
    late.subscribe("other", { metrics: ["viewers"] });
    await late.until((message) => message.id === "other");
    t.equal(open(), 2, "another query is another one");
    for (const client of [...clients, late]) client.socket.close();
    await Promise.all([...clients, late].map((client) => client.closed));
    await app.get("/healthz");
    t.equal(open(), 0, "nobody listens any more");
    t.equal(canonicalText({ b: [1, { d: null, c: "x" }], a: 2 }), '{"a":2,"b":[1,{"c":"x","d":null}]}');
  },
);

t.test("too many different live queries are refused as overload", async (t) => {
  const app = await startApp(t, { live: { maxTopics: 2 } });
  const client = await LiveClient.ready(t, app.url);
  for (const limit of [1, 2, 3]) client.subscribe(`q${limit}`, { limit });
  t.match([(await client.next()).type, (await client.next()).type], ["snapshot", "snapshot"]);
  t.match(await client.next(), {
    type: "error",
    id: "q3",
    payload: { type: "/errors/overloaded", status: 503 },
  });
  client.say({ type: "unsubscribe", id: "q1" });
  client.subscribe("q3", { limit: 3 });
  t.match(
    [(await client.next()).type, (await client.next()).type],
    ["complete", "snapshot"],
    "a place is free again",
  );
});

t.test("heartbeats tell the position, and a socket that answers none is dropped", async (t) => {
  const app = await startApp(t, { live: { heartbeatMs: 60 } });
  await view(app);
  const client = await LiveClient.ready(t, app.url);
  const silent = await LiveClient.open(t, app.url, { autoPong: false });
  silent.say({ type: "connection_init" });
  t.match(await client.until((message) => message.type === "heartbeat"), {
    type: "heartbeat",
    seq: 1,
    watermark: /^\d{4}-.*Z$/,
  });
  t.equal((await silent.closed).code, 1006);
  t.match(
    await client.until((message) => message.type === "heartbeat"),
    { seq: 1 },
    "the one that answers stays",
  );
  client.socket.ping("are you there");
  t.equal(String(await new Promise((resolve) => client.socket.once("pong", resolve))), "are you there");
});

/** A query whose snapshot is large: many blogs with long names. */
async function fillWide(app: TestApp, blogs: number): Promise<Record<string, unknown>> {
  const lines = Array.from({ length: blogs }, (_, i) =>
    JSON.stringify({ type: "view", blog: `${"long-name-".repeat(40)}${i}` }),
  );
  await app.post("/v1/events", lines.join("\n"), { "content-type": "application/x-ndjson" });
  return { dimensions: ["blog"], limit: 100_000 };
}

t.test(
  "a socket that does not read holds a bounded amount, delays nobody, and converges when it reads again",
  async (t) => {
    const app = await startApp(t);
    const wide = await fillWide(app, 1000);
    const [slow, fast] = [await LiveClient.ready(t, app.url), await LiveClient.ready(t, app.url)];
    for (const client of [slow, fast]) {
      client.subscribe("wide", wide);
      client.subscribe("total");
      await client.next();
      await client.next();
    }
    slow.socket.pause();
    const [server] = [...app.app.websocketServer.clients];
    let most = 0;
    for (let round = 2; round < 60; round++) {
      await fillWide(app, 1000);
      await fast.until((message) => message.id === "total" && message.seq === round);
      most = Math.max(most, server!.bufferedAmount);
    }
    t.ok(most > 256 * 1024, "it was too slow indeed");
    t.ok(
      most < 256 * 1024 + MIB + 64 * 1024,
      `at most the mark and one frame wait for it, not ${most} bytes`,
    );
    slow.socket.resume();
    const snapshot = await slow.until((message) => message.id === "total" && message.type === "snapshot");
    t.match(snapshot.payload.results, [{ metrics: [59_000] }], "latest wins");
    await view(app);
    const delta = await slow.until((message) => message.id === "total" && message.type === "delta");
    t.equal(setOf(delta), 59_001);
    t.equal(delta.prev, snapshot.seq, "the chain goes on from the snapshot");
  },
);

t.test(
  "a socket that stays stalled is closed with 4508, or cut, and a snapshot too large is refused",
  async (t) => {
    const app = await startApp(t, { live: { stallMs: 200 } });
    const wide = await fillWide(app, 1000);
    const { clients } = app.app.websocketServer;
    for (const readsAgain of [true, false]) {
      const slow = await LiveClient.ready(t, app.url);
      const [server] = clients;
      const gone = new Promise((resolve) => server!.once("close", resolve));
      for (let i = 0; i < 30; i++) slow.subscribe(`wide-${i}`, wide);
      slow.socket.pause();
      await fillWide(app, 1000);
      while (server!.readyState === server!.OPEN) await new Promise((resolve) => setImmediate(resolve));
      if (readsAgain) {
        slow.socket.resume();
        t.match(await slow.closed, { code: 4508, reason: /not read/ });
      }
      await gone;
      t.equal(clients.size, 0, "the server has let go of it");
    }
    const wider = await fillWide(app, 4000);
    const client = await LiveClient.ready(t, app.url);
    client.subscribe("a", wider);
    t.match(await client.next(), { type: "error", id: "a", payload: { type: "/errors/range-too-wide" } });
    client.subscribe("a", { ...wider, limit: 10 });
    t.match(await client.next(), { type: "snapshot", id: "a" });
  },
);

t.test("a closing server closes every socket with 1001, also one that does not answer", async (t) => {
  const app = await startApp(t);
  const clients = await Promise.all(Array.from({ length: 10 }, () => LiveClient.ready(t, app.url)));
  clients[0]!.subscribe("a");
  await clients[0]!.next();
  const deaf = connect(app.port, "127.0.0.1");
  deaf.write(
    "GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
  );
  const bytes = await new Promise<Buffer>((resolve) => deaf.once("data", resolve));
  t.match(String(bytes), /^HTTP\/1\.1 101 /);
  const cut = new Promise((resolve) => deaf.once("close", resolve));
  await app.app.close();
  for (const client of clients) t.equal((await client.closed).code, 1001);
  await cut;
  t.equal(app.engine.stats().ready, true, "the engine is its owner's");
});

t.test("when the engine closes, live queries end with complete", async (t) => {
  const app = await startApp(t);
  const client = await LiveClient.ready(t, app.url);
  client.subscribe("a");
  await client.next();
  await app.engine.close();
  t.same(await client.next(), { type: "complete", id: "a" });
  client.subscribe("b");
  t.same(await client.next(), { type: "complete", id: "b" });
});
