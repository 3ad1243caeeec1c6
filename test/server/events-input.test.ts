import { Readable } from "node:stream";
import { gzipSync, deflateSync, brotliCompressSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { MAX_ID_BYTES } from "../../engine/limits.js";
import { MAX_EVENTS_BODY_BYTES, MAX_QUERY_BODY_BYTES } from "../../server/limits.js";
import { isProblem, raw, startApp } from "./support/app.js";
import { GOOD, NDJSON, send, views } from "./support/events.js";

const MIB = 1024 * 1024;
const GZIP = { "content-encoding": "gzip" };

t.test("one event, an array, NDJSON and gzip of each are counted alike", async (t) => {
  const app = await startApp(t);
  const forms: [string, string, Record<string, string>][] = [
    ["object", GOOD, {}],
    ["array", `[${GOOD},${GOOD}]`, { "content-type": "application/json; charset=UTF-8" }],
    ["lines", `${GOOD}\n\n${GOOD}\r\n${GOOD}`, NDJSON],
    ["application/ndjson", `${GOOD}\n`, { "content-type": 'application/ndjson;charset="utf-8"' }],
    ["application/jsonl", `${GOOD}\n`, { "content-type": "Application/JSONL" }],
  ];
  let sent = 0;
  for (const [name, body, headers] of forms) {
    const count = body.split("blog").length - 1;
    for (const packed of [false, true]) {
      const answer = await send(
        app,
        packed ? gzipSync(body) : body,
        packed ? { ...headers, ...GZIP } : headers,
      );
      t.match(
        answer,
        { status: 202, json: { accepted: count, invalid: 0, errors: [], durable: true } },
        name,
      );
      sent += count;
    }
  }
  const twoMembers = Buffer.concat([gzipSync(`${GOOD}\n`), gzipSync(GOOD)]);
  t.match(await send(app, twoMembers, { ...NDJSON, ...GZIP }), { status: 202, json: { accepted: 2 } });
  t.equal(await views(app), sent + 2);
});

t.test("every bad event is refused with its reason and the good ones beside it are counted", async (t) => {
  const app = await startApp(t);
  const cases: [string, string][] = [
    ['{"type":"view","blog":"b"', "invalid-json"],
    ["{'type':'view'}", "invalid-json"],
    ['{"type":"view","blog":"b","ts":NaN}', "invalid-json"],
    ['{"type":"view","blog":"b","ts":Infinity}', "invalid-json"],
    ["[]", "not-an-object"],
    ["5", "not-an-object"],
    ["null", "not-an-object"],
    ['"view"', "not-an-object"],
    ['{"type":"click","blog":"b"}', "invalid-type"],
    ['{"type":["view"],"blog":"b"}', "invalid-type"],
    ['{"blog":"b"}', "invalid-type"],
    ['{"type":"view"}', "missing-value"],
    ['{"type":"view","blog":""}', "missing-value"],
    ['{"type":"view","blog":null}', "missing-value"],
    ['{"type":"view","blog":7}', "invalid-value"],
    ['{"type":"view","blog":{"a":1}}', "invalid-value"],
    ['{"type":"view","blog":"b","viewer":true}', "invalid-value"],
    ['{"type":"view","blog":"\\ud800"}', "invalid-value"],
    ['{"type":"view","blog":"b","ts":"2026-11-23T14:03:11"}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":"2026-11-23"}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":"yesterday"}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":1.5}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":1e400}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":-1e400}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":9007199254740993000}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":-0}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":true}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":{}}', "invalid-timestamp"],
    ['{"type":"view","blog":"b","ts":"2020-01-01T00:00:00Z"}', "too-old"],
    ['{"type":"view","blog":"b","ts":"2037-01-01T00:00:00Z"}', "too-far-ahead"],
    ['{"type":"view","blog":"b","colour":"red"}', "unknown-field"],
    ['{"type":"view","blog":"b","__proto__":{"x":1}}', "unknown-field"],
    ['{"type":"view","blog":"b","\\u005f_proto__":null}', "unknown-field"],
    ['{"type":"view","blog":"b","constructor":{"prototype":{"x":1}}}', "unknown-field"],
    ['{"type":"view","blog":"b","hasOwnProperty":"x"}', "unknown-field"],
    [`{"type":"view","blog":"${"x".repeat(MAX_ID_BYTES + 1)}"}`, "value-too-long"],
    [`{"type":"view","blog":"${"é".repeat(MAX_ID_BYTES / 2)}x"}`, "value-too-long"],
    [`{"type":"view","blog":"b","id":"${"x".repeat(MIB)}"}`, "value-too-long"],
    [`{"type":"view","blog":"b","viewer":${"[".repeat(50_000)}${"]".repeat(50_000)}}`, "invalid-value"],
  ];
  for (const [line, type] of cases) {
    const what = `${type}: ${line.slice(0, 70)}`;
    const alone = await send(app, line, NDJSON);
    isProblem(t, alone, 422, "no-event-accepted", what);
    t.match(alone.json.errors, [{ index: 0, type: `/errors/${type}`, detail: String }], what);
    const { json, status } = await send(app, `${GOOD}\n${line}\n${GOOD}`, NDJSON);
    t.match(
      { status, ...json },
      { status: 202, accepted: 2, errors: [{ index: 1, type: `/errors/${type}` }] },
      what,
    );
    t.equal(json.errors.length, 1, what);
    if (type === "invalid-json") {
      isProblem(t, await send(app, line), 400, "invalid-json", what);
    } else if (line.startsWith("{")) {
      t.match((await send(app, `[${GOOD},${line}]`)).json, { accepted: 1, errors: [{ index: 1 }] }, what);
    }
    t.equal((await app.get(`/errors/${type}`)).status, 200, "its type is explained");
  }
  const structured = cases.filter(([line, type]) => type !== "invalid-json" && line.startsWith("{")).length;
  t.equal(await views(app), cases.length * 2 + structured, "nothing else was counted");
  t.equal(JSON.stringify(Object.prototype), "{}", "Object.prototype is as it was");
  t.equal(({} as Record<string, unknown>)["x"], undefined);
});

t.test(
  "an id of exactly the limit is taken, and member values that look like members of Object are only values",
  async (t) => {
    const app = await startApp(t);
    const long = "x".repeat(MAX_ID_BYTES);
    for (const blog of [long, "__proto__", "constructor", "hasOwnProperty", "toString"]) {
      const body = JSON.stringify({
        type: "view",
        blog,
        author: blog,
        country: blog,
        viewer: blog,
        id: blog,
      });
      t.equal((await send(app, body)).status, 202, blog.slice(0, 20));
      const query = { date_range: "all", metrics: ["views", "viewers"], filters: [["is", "blog", [blog]]] };
      const { json } = await app.post("/v1/query", JSON.stringify(query));
      t.same(json.results[0]?.metrics, [1, 1], blog.slice(0, 20));
    }
  },
);

t.test("a bad body as a whole is a problem, and nothing of it is counted", async (t) => {
  const app = await startApp(t);
  const before = app.engine.stats().position;
  const zipped = gzipSync(`${GOOD}\n`.repeat(1000));
  const cases: [string, string | Buffer, Record<string, string>, number, string][] = [
    ["empty", "", {}, 400, "empty-body"],
    ["empty lines", "", NDJSON, 400, "empty-body"],
    ["empty gzip", gzipSync(""), GZIP, 400, "empty-body"],
    ["gzip said, nothing sent", "", GZIP, 400, "empty-body"],
    ["cut JSON", `[${GOOD},{"type":"vi`, {}, 400, "invalid-json"],
    ["two documents", `${GOOD}${GOOD}`, {}, 400, "invalid-json"],
    ["lines as JSON", `${GOOD}\n${GOOD}`, {}, 400, "invalid-json"],
    ["UTF-16", Buffer.from(GOOD, "utf16le"), {}, 400, "invalid-json"],
    ["Latin-1", Buffer.from('{"type":"view","blog":"é"}', "latin1"), {}, 400, "invalid-utf8"],
    ["empty array", "[]", {}, 422, "no-event-accepted"],
    ["a number", "12", {}, 422, "no-event-accepted"],
    ["blank lines only", "\n\n \r\n", NDJSON, 422, "no-event-accepted"],
    ["gzip cut short", zipped.subarray(0, 30), { ...NDJSON, ...GZIP }, 400, "invalid-gzip"],
    ["gzip without trailer", zipped.subarray(0, -8), { ...NDJSON, ...GZIP }, 400, "invalid-gzip"],
    [
      "gzip with garbage",
      Buffer.concat([zipped, Buffer.from("garbage")]),
      { ...NDJSON, ...GZIP },
      400,
      "invalid-gzip",
    ],
    [
      "gzip with zeros",
      Buffer.concat([zipped, Buffer.alloc(64)]),
      { ...NDJSON, ...GZIP },
      400,
      "invalid-gzip",
    ],
    [
      "gzip of gzip",
      gzipSync(zipped),
      { ...NDJSON, "content-encoding": "gzip, gzip" },
      415,
      "unsupported-media-type",
    ],
    ["plain said to be gzip", GOOD, GZIP, 400, "invalid-gzip"],
    ["brotli", brotliCompressSync(GOOD), { "content-encoding": "br" }, 415, "unsupported-media-type"],
    ["deflate", deflateSync(GOOD), { "content-encoding": "deflate" }, 415, "unsupported-media-type"],
    ["text/plain", GOOD, { "content-type": "text/plain" }, 415, "unsupported-media-type"],
    ["form", GOOD, { "content-type": "application/x-www-form-urlencoded" }, 415, "unsupported-media-type"],
    [
      "type with garbage",
      GOOD,
      { "content-type": "application/json garbage" },
      415,
      "unsupported-media-type",
    ],
    ["type as prefix", GOOD, { "content-type": "application/jsonx" }, 415, "unsupported-media-type"],
    [
      "Latin-1 charset",
      GOOD,
      { "content-type": "application/json; charset=latin1" },
      415,
      "unsupported-media-type",
    ],
    ["other parameter", GOOD, { "content-type": "application/json; v=1" }, 415, "unsupported-media-type"],
    [
      "two charsets",
      GOOD,
      { "content-type": "application/json; charset=utf-8; charset=utf-7" },
      415,
      "unsupported-media-type",
    ],
    ["too many events", `${GOOD}\n`.repeat(100_002), NDJSON, 413, "too-many-events"],
  ];
  for (const [what, body, headers, status, code] of cases) {
    const answer = await send(app, body, headers);
    isProblem(t, answer, status, code, what);
    t.equal(answer.json.instance, "/v1/events", what);
    if (code === "unsupported-media-type" && headers["content-encoding"] !== undefined) {
      t.equal(answer.headers["accept-encoding"], "gzip", what);
    }
  }
  t.equal(app.engine.stats().position, before, "the log is as it was");
  t.match(await send(app, GOOD), { status: 202 }, "and the server goes on");
});

t.test("parameters and the Idempotency-Key are checked before the body is read", async (t) => {
  const app = await startApp(t);
  for (const query of [
    "x=1",
    "wait=memory",
    "wait=",
    "wait=durable&wait=none",
    "backfill=yes",
    "__proto__=1",
    "token=abc",
  ]) {
    isProblem(t, await app.post(`/v1/events?${query}`, GOOD), 400, "invalid-parameter", query);
  }
  for (const key of ["", '"', '"a" "b"', "a, b", '"unfinished', "é", "k".repeat(256), "a b"]) {
    isProblem(
      t,
      await send(app, GOOD, { "idempotency-key": key }),
      400,
      "invalid-header",
      `key ${key.slice(0, 20)}`,
    );
  }
  t.equal(await views(app), 0);
  for (const query of [
    "wait=none",
    "wait=durable",
    "backfill=1",
    "backfill=true",
    "backfill=0",
    "wait=none&backfill=false",
  ]) {
    t.equal((await app.post(`/v1/events?${query}`, GOOD)).status, 202, query);
  }
  const old = '{"type":"view","blog":"b","ts":"2020-02-29T12:00:00+05:45"}';
  t.match(await app.post("/v1/events", old), { status: 422, json: { late_rejected: 1 } });
  t.match(await app.post("/v1/events?backfill=1", old), { status: 202, json: { accepted: 1 } });
});

t.test(
  "a retry with the same key is answered as the first was, quoted or bare, and counted once",
  async (t) => {
    const app = await startApp(t);
    const first = await send(app, `[${GOOD},{"type":"x"}]`, { "idempotency-key": '"key-1"' });
    t.match(first, { status: 202, json: { accepted: 1, invalid: 1 } });
    for (const key of ["key-1", '"key-1"', '"key\\-1"'.replace("\\", "")]) {
      const again = await send(app, `[${GOOD},{"type":"x"}]`, { "idempotency-key": key });
      t.match(again, { status: 202, json: { accepted: 1, invalid: 1, errors: first.json.errors } }, key);
    }
    isProblem(t, await send(app, GOOD, { "idempotency-key": "key-1" }), 422, "idempotency-conflict");
    const ided = '{"type":"view","blog":"b","id":"e1"}';
    t.match(await send(app, ided), { status: 202, json: { accepted: 1, duplicate: 0 } });
    t.match(
      await send(app, ided),
      { status: 202, json: { accepted: 0, duplicate: 1 } },
      "known events are no error",
    );
    t.equal(await views(app), 2);
  },
);

t.test("a body of the limit is read, one byte more is refused, however its length is told", async (t) => {
  const app = await startApp(t);
  const exact = Buffer.alloc(MAX_EVENTS_BODY_BYTES, " ");
  exact.write(GOOD);
  const over = Buffer.alloc(MAX_EVENTS_BODY_BYTES + 1, " ");
  over.write(GOOD);
  const chunked = (body: Buffer): Readable =>
    Readable.from(Array.from({ length: 17 }, (_, i) => body.subarray(i * MIB, (i + 1) * MIB)));
  t.equal((await send(app, exact)).status, 202, "declared");
  t.equal((await app.post("/v1/events", chunked(exact))).status, 202, "chunked");
  t.equal((await send(app, gzipSync(exact), GZIP)).status, 202, "unpacked");
  isProblem(t, await send(app, over), 413, "payload-too-large", "declared");
  isProblem(t, await app.post("/v1/events", chunked(over)), 413, "payload-too-large", "chunked");
  isProblem(t, await send(app, gzipSync(over), GZIP), 413, "payload-too-large", "unpacked");
  isProblem(
    t,
    await app.post("/v1/query", Buffer.alloc(MAX_QUERY_BODY_BYTES + 1, " ")),
    413,
    "payload-too-large",
  );
  t.equal(await views(app), 3);
});

t.test("100 MB bodies and gzip bombs are cut off without being held", async (t) => {
  const app = await startApp(t);
  const bomb = Buffer.concat(Array<Buffer>(64).fill(gzipSync(Buffer.alloc(16 * MIB, "0"))));
  const chunk = Buffer.alloc(MIB, " ");
  const endless = (): Readable => Readable.from(Array.from({ length: 100 }, () => chunk));
  await Promise.all([send(app, GOOD), app.post("/v1/events", endless())]);
  const baseBytes = process.memoryUsage().rss;
  for (let round = 0; round < 4; round++) {
    isProblem(t, await app.post("/v1/events", endless()), 413, "payload-too-large", "100 MB");
    isProblem(t, await send(app, bomb, GZIP), 413, "payload-too-large", "1 GiB in 1 MB");
  }
  t.ok(process.memoryUsage().rss - baseBytes < 128 * MIB, "memory stays where it was");
  const refused = await raw(app.port, [
    "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n",
  ]);
  t.match(refused.statuses, [413], "a declared length is refused before a byte of it was sent");
  const expecting = await raw(app.port, [
    "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 104857600\r\n\r\n",
  ]);
  t.match(expecting.statuses, [413], "and is not asked for");
  const welcome = await raw(app.port, [
    `POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ${GOOD.length}\r\nConnection: close\r\n\r\n`,
    GOOD,
  ]);
  t.same(welcome.statuses, [100, 202], "a body that is wanted is");
  t.equal(await views(app), 2);
});

t.test("bodies in flight are bounded together: those beyond are told to come back", async (t) => {
  const app = await startApp(t, { maxBodiesInFlightBytes: 2 * MIB });
  const head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const half = raw(
    app.port,
    [`${head}Content-Length: ${2 * MIB}\r\n\r\n`, Buffer.alloc(1.5 * MIB, " ")],
    3000,
  );
  let answer = await send(app, Buffer.alloc(MIB, " "));
  while (answer.status === 400 || answer.status === 422) answer = await send(app, Buffer.alloc(MIB, " "));
  isProblem(t, answer, 503, "overloaded");
  t.equal(answer.headers["retry-after"], "1");
  t.equal((await send(app, GOOD)).status, 202, "small ones still fit");
  app.app.server.closeAllConnections();
  await half;
  t.match(
    await send(app, `${GOOD}${" ".repeat(1.9 * MIB)}`),
    { status: 202 },
    "a cut connection gives its bytes back",
  );
});

t.test("random bytes and random JSON are answered with a known status, and counted exactly", async (t) => {
  const app = await startApp(t);
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text)),
    fc
      .dictionary(
        fc.constantFrom("type", "blog", "ts", "viewer", "id", "__proto__"),
        fc.jsonValue({ maxDepth: 1 }),
      )
      .map((event) => Buffer.from(JSON.stringify(event))),
  );
  const headers = fc.record(
    {
      "content-type": fc.constantFrom("application/json", "application/x-ndjson"),
      "content-encoding": fc.constantFrom("gzip", "identity"),
    },
    { requiredKeys: ["content-type"] },
  );
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(junk, headers, async (body, given) => {
      const answer = await send(app, body, given);
      if (answer.status === 202) accepted += answer.json.accepted as number;
      return [202, 400, 422].includes(answer.status) && answer.json !== undefined;
    }),
    { numRuns: 400 },
  );
  t.equal(await views(app), accepted);
});
