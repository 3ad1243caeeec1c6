import { connect } from "node:net";
import { Writable } from "node:stream";
import t from "tap";
import { ERROR_CODES, TidemarkError } from "../../engine/index.js";
import { MAX_HEADER_BYTES } from "../../server/limits.js";
import { HTTP_CODES } from "../../server/problem.js";
import { isProblem, raw, startApp, testEngine, withEngine } from "./support/app.js";
import { handshake } from "./support/live-client.js";

const GOOD = '{"type":"view","blog":"b"}';
const QUERY = '{"date_range":"day"}';
const TOKEN = "0123456789abcdef0123456789abcdef";

t.test("an address or method that is not there is a problem that says what is", async (t) => {
  const app = await startApp(t);
  isProblem(t, await app.get("/nothing"), 404, "not-found");
  isProblem(t, await app.post("/v2/events", "x".repeat(1_000_000)), 404, "not-found", "with a body");
  isProblem(t, await app.get("/%zz"), 400, "invalid-request");
  isProblem(t, await app.get(`/errors/${"x".repeat(500)}`), 414, "uri-too-long");
  for (const [path, allow] of [
    ["/v1/events", "POST"],
    ["/v1/query", "POST, GET, HEAD"],
    ["/v1/batch", "POST"],
    ["/v1/peak", "POST, GET, HEAD"],
    ["/v1/top", "GET, HEAD"],
    ["/docs", "GET, HEAD"],
    ["/v1/schema", "GET, HEAD"],
    ["/v1/live", "GET, HEAD"],
    ["/healthz", "GET, HEAD"],
    ["/errors/internal", "GET, HEAD"],
  ] as const) {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      if (allow.includes(method)) continue;
      const response = await fetch(app.url + path, { method });
      t.equal(response.status, 405, `${method} ${path}`);
      t.equal(response.headers.get("allow"), allow);
      t.match(await response.json(), { type: "/errors/method-not-allowed" });
    }
  }
  isProblem(t, await app.get("/v1/live"), 426, "upgrade-required");
});

t.test(
  "every answer names itself, is not guessed at by browsers and, but for what is asked by GET, not cached",
  async (t) => {
    const app = await startApp(t);
    t.match((await app.get("/")).json, { name: "tidemark", version: /^\d/ });
    t.match((await app.get("/healthz")).json, { status: "alive" });
    t.match((await app.get("/readyz")).json, { status: "ready", position: 0 });
    t.match((await app.get("/v1/schema")).json, {
      dimensions: [{ name: "blog" }, { name: "author" }, { name: "country" }],
      subject: "blog",
      limits: { bytes_per_query: 262_144 },
    });
    for (const [path, cacheControl] of [
      ["/", "no-store"],
      ["/nothing", "no-store"],
      ["/v1/events", "no-store"],
      ["/v1/schema", "private, no-cache"],
      ["/v1/top?range=today&by=blog", "private, no-cache"],
      ["/docs", "private, no-cache"],
    ] as const) {
      const { headers } = await app.get(path);
      t.equal(headers["x-content-type-options"], "nosniff", path);
      t.equal(headers["cache-control"], cacheControl, path);
      t.equal(headers["x-powered-by"], undefined);
    }
    for (const code of [...Object.keys(ERROR_CODES), ...Object.keys(HTTP_CODES)]) {
      const { status, text } = await app.get(`/errors/${code}`);
      t.equal(status, 200, code);
      t.ok(text.startsWith(`${code}\n`));
    }
    for (const code of [
      "nope",
      "toString",
      "__proto__",
      "..%2f..%2fetc%2fpasswd",
      "%0d%0aSet-Cookie:%20a=b",
    ]) {
      isProblem(t, await app.get(`/errors/${code}`), 404, "not-found", code);
    }
  },
);

t.test("queries: what is wrong is told with its place", async (t) => {
  const app = await startApp(t);
  t.match(await app.post("/v1/query", QUERY), {
    status: 200,
    json: { results: Array, meta: Object, query: Object },
  });
  for (const [body, status, code] of [
    ["", 400, "empty-body"],
    ['{"date_range"', 400, "invalid-json"],
    ['{"date_range":"day","__proto__":{}}', 400, "invalid-json"],
    ['{"date_range":"day","constructor":{"prototype":{}}}', 400, "invalid-json"],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, "invalid-utf8"],
    ["[]", 422, "invalid-query"],
    ["5", 422, "invalid-query"],
    ["null", 422, "invalid-query"],
    ["{}", 422, "invalid-range"],
    ['{"date_range":"day","colour":1}', 422, "invalid-query"],
    [`{"date_range":"day","filters":${"[".repeat(20_000)}${"]".repeat(20_000)}}`, 422, "invalid-query"],
    ['{"date_range":"day","timezone":"IST"}', 422, "invalid-timezone"],
  ] as const) {
    isProblem(t, await app.post("/v1/query", body), status, code, String(body).slice(0, 50));
  }
  const { json } = await app.post("/v1/query", '{"date_range":"day","timezone":"IST"}');
  t.same(json.errors, [{ pointer: "/timezone" }]);
  isProblem(t, await app.post("/v1/query?pretty=1", QUERY), 400, "invalid-parameter");
  isProblem(
    t,
    await app.post("/v1/query", QUERY, { "content-type": "text/plain" }),
    415,
    "unsupported-media-type",
  );
});

t.test("with a token, everything but the public addresses needs it, in the header only", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  const right = { authorization: `Bearer ${TOKEN}` };
  const wrong = [
    {},
    { authorization: `Bearer ${TOKEN}0` },
    { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
    { authorization: `Bearer ${TOKEN.toUpperCase()}` },
    { authorization: TOKEN },
    { authorization: `Basic ${btoa(`x:${TOKEN}`)}` },
    { authorization: "Bearer" },
    { cookie: `token=${TOKEN}` },
  ] as Record<string, string>[];
  for (const path of ["/v1/events", "/v1/query", "/nothing"]) {
    const body = path === "/v1/events" ? GOOD : QUERY;
    for (const headers of wrong) {
      const answer = await app.post(path, body, headers);
      isProblem(t, answer, 401, "unauthorized", `${path} ${JSON.stringify(headers)}`);
      t.equal(answer.headers["www-authenticate"], 'Bearer realm="tidemark"');
    }
    t.equal((await app.post(path, body, right)).status, { "/v1/events": 202, "/v1/query": 200 }[path] ?? 404);
  }
  isProblem(t, await app.post(`/v1/events?token=${TOKEN}`, GOOD), 401, "unauthorized");
  for (const path of ["/v1/schema", "/v1/top?range=today&by=blog", "/v1/query?q={}", "/openapi.json"]) {
    isProblem(t, await app.get(path, { "if-none-match": "*" }), 401, "unauthorized", path);
  }
  t.equal(
    (await app.get("/v1/schema", { authorization: `bearer  ${TOKEN}` })).status,
    200,
    "the scheme has no case",
  );
  for (const path of ["/", "/healthz", "/readyz", "/errors/internal", "/docs", "/docs/docs.js"])
    t.equal((await app.get(path)).status, 200, path);
  isProblem(
    t,
    await app.post("/v1/events", "x".repeat(5_000_000)),
    401,
    "unauthorized",
    "before the body is read",
  );
  t.equal(await handshake(app.url, { headers: { authorization: "Bearer no" } }), 401);
  t.equal(await handshake(app.url, { headers: right }), 101);
  t.equal(app.engine.stats().events.accepted, 1);
});

t.test(
  "without a token only addresses, localhost and listed hosts are answered (DNS rebinding)",
  async (t) => {
    const app = await startApp(t, { origins: ["https://stats.example.org"] });
    const status = async (host: string): Promise<number | undefined> =>
      (await raw(app.port, [`GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`]))
        .statuses[0];
    for (const host of [
      "localhost",
      "LOCALHOST:80",
      "127.0.0.1:4567",
      "[::1]:4567",
      "192.168.1.7",
      "stats.example.org",
      "a.localhost",
    ]) {
      t.equal(await status(host), 200, host);
    }
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "xlocalhost",
      "stats.example.org.evil",
      "user@localhost",
      "localhost/x",
      "localhost#",
      "a b",
      "",
    ]) {
      t.ok([400, 421].includes((await status(host)) ?? 0), host);
    }
    const guarded = await startApp(t, { token: TOKEN });
    const named = await raw(guarded.port, [
      "GET /healthz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n",
    ]);
    t.same(named.statuses, [200], "with a token a foreign page has nothing to gain");
  },
);

t.test(
  "malformed HTTP is refused with a problem and the connection closed, and nothing of it is counted",
  async (t) => {
    const app = await startApp(t);
    const head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    const smuggled = `POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${GOOD.length}\r\n\r\n${GOOD}`;
    const corpus: [string, string][] = [
      ["CL and TE", `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
      ["TE and CL", `${head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${smuggled}`],
      ["two CL", `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{} {}`],
      ["two equal CL", `${head}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
      ["CL list", `${head}Content-Length: 2, 2\r\n\r\n{}`],
      ["CL with sign", `${head}Content-Length: +2\r\n\r\n{}`],
      ["negative CL", `${head}Content-Length: -2\r\n\r\n{}`],
      ["hex CL", `${head}Content-Length: 0x2\r\n\r\n{}`],
      ["CL beyond numbers", `${head}Content-Length: 99999999999999999999999\r\n\r\n{}`],
      ["empty CL", `${head}Content-Length: \r\n\r\n{}`],
      ["TE identity", `${head}Transfer-Encoding: identity\r\n\r\n{}`],
      ["TE xchunked", `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
      ["TE chunked, identity", `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
      ["TE with space before colon", `${head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
      ["CL with space before colon", `${head}Content-Length : 2\r\n\r\n{}`],
      ["folded header", `${head}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`],
      ["folded line", `${head}X-A: b\r\n c: d\r\nContent-Length: 2\r\n\r\n{}`],
      ["bare LF", "GET /healthz HTTP/1.1\nHost: localhost\n\n"],
      ["bare CR", "GET /healthz HTTP/1.1\rHost: localhost\r\r"],
      ["NUL in header", `${head}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}`],
      ["no name", `${head}: x\r\nContent-Length: 2\r\n\r\n{}`],
      ["header without colon", `${head}Content-Length\r\n\r\n{}`],
      ["chunk size not hex", `${head}Transfer-Encoding: chunked\r\n\r\nxx\r\n{}\r\n0\r\n\r\n`],
      ["chunk size with 0x", `${head}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n`],
      [
        "chunk size too large",
        `${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n`,
      ],
      ["negative chunk", `${head}Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n`],
      ["chunk longer than said", `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{}}}\r\n0\r\n\r\n`],
      ["HTTP/3.0", "GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n"],
      ["HTTP/1.1 misspelt", "GET /healthz HTP/1.1\r\nHost: localhost\r\n\r\n"],
      ["no method", "/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"],
      ["unknown method", "HACK /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"],
      ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
      ["two hosts", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"],
      ["no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"],
      [
        "two content types",
        `${head}Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
      ],
      ["an unknown expectation", `${head}Expect: the-unexpected\r\nContent-Length: 2\r\n\r\n{}`],
      [
        "upgrade elsewhere",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
      ],
      [
        "headers too large",
        `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ${"a".repeat(MAX_HEADER_BYTES)}\r\n\r\n`,
      ],
      ["2,000 headers", `GET /healthz HTTP/1.1\r\nHost: localhost\r\n${"x:y\r\n".repeat(2000)}\r\n`],
      ["address too long", `GET /${"a".repeat(MAX_HEADER_BYTES)} HTTP/1.1\r\nHost: localhost\r\n\r\n`],
    ];
    const answers = await Promise.all(corpus.map(([, request]) => raw(app.port, [request], 1500)));
    for (const [i, { text, statuses, closed }] of answers.entries()) {
      const [what] = corpus[i]!;
      t.equal(statuses.length, 1, `${what}: one answer`);
      t.ok([400, 417, 431].includes(statuses[0] ?? 0), `${what}: ${statuses[0]}`);
      t.match(text, /content-type: application\/problem\+json/i, what);
      t.match(
        JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)),
        { type: /^\/errors\//, status: statuses[0] },
        what,
      );
      t.ok(closed, `${what}: closed`);
    }
    t.equal(app.engine.stats().position, 0, "nothing was smuggled in");
    t.equal((await app.get("/healthz")).status, 200, "and the server goes on");
  },
);

t.test("slow and broken connections have their limits set, and a cut body counts nothing", async (t) => {
  const app = await startApp(t);
  const { headersTimeout, requestTimeout, keepAliveTimeout, maxHeadersCount } = app.app.server;
  t.same(
    { headersTimeout, requestTimeout, keepAliveTimeout, maxHeadersCount },
    { headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 72_000, maxHeadersCount: 129 },
  );
  const half = await raw(
    app.port,
    [
      `POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n${GOOD}`,
    ],
    50,
  );
  t.same(half.statuses, [], "it waits for the rest");
  const zipped = await raw(
    app.port,
    [
      "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n",
      Uint8Array.of(0x1f, 0x8b),
    ],
    50,
  );
  t.same(zipped.statuses, []);
  t.equal((await app.post("/v1/events", GOOD)).json.position, 1, "the cut ones left nothing");
});

t.test(
  "an unexpected failure is told as internal with a trace that the log has, and shows nothing else",
  async (t) => {
    const lines: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    const inner = await testEngine();
    const failing = withEngine(inner, {
      query() {
        throw new Error("BUG: /secret/place is broken");
      },
      async ingestBytes() {
        throw new TidemarkError("storage-full", "The disk of /secret/data is full; make room.");
      },
    });
    const app = await startApp(t, { engine: failing, token: TOKEN, logger: { level: "trace", stream } });
    const headers = { authorization: `Bearer ${TOKEN}` };
    const answer = await app.post("/v1/query", `{"date_range":"a body"}`, headers);
    isProblem(t, answer, 500, "internal");
    t.notMatch(answer.text, /secret|BUG/);
    const log = lines.join("");
    t.match(log, new RegExp(`"trace":"${answer.json.trace as string}"`));
    t.match(log, "/secret/place", "the log says what it was");
    const full = await app.post("/v1/events", `{"secret":"body"}`, headers);
    isProblem(t, full, 507, "storage-full");
    t.notMatch(full.text, /secret/);
    t.match(lines.join(""), "The disk of /secret/data is full");
    t.equal(full.headers["retry-after"], "60");
    await app.get("/nothing%0d%0a%1b[31mred", headers);
    const all = lines.join("");
    t.notMatch(all, TOKEN, "no token in the log");
    t.notMatch(all, /a body|"secret"/, "no body in the log");
    t.notMatch(all, /remoteAddress|remotePort/, "no address of a client");
    t.ok(
      lines.every((line) => line.endsWith("\n") && JSON.parse(line) !== null),
      "one line of JSON each",
    );
  },
);

t.test(
  "while it closes it finishes what is under way, refuses what is new, and leaves the engine open",
  async (t) => {
    const app = await startApp(t);
    const head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    const agent = await raw(app.port, ["GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"], 100);
    t.notOk(agent.closed, "connections are kept");
    const socket = connect(app.port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => (text += String(chunk)));
    const ended = new Promise((resolve) => socket.on("close", resolve));
    const arrived = new Promise((resolve) => app.app.server.once("request", resolve));
    socket.write(`${head}Content-Length: ${GOOD.length}\r\n\r\n${GOOD.slice(0, 10)}`);
    await arrived;
    const closing = app.app.close();
    await t.rejects(fetch(`${app.url}/healthz`), "no new connections");
    socket.write(`${GOOD.slice(10)}${head}Content-Length: ${GOOD.length}\r\n\r\n${GOOD}`);
    await Promise.all([closing, ended]);
    t.match(text, /^HTTP\/1\.1 202 /, "the first is finished");
    t.match(text, /connection: close/i);
    t.equal(app.engine.stats().events.accepted, 1, "the second is not taken");
    t.equal(app.engine.stats().ready, true);
  },
);
