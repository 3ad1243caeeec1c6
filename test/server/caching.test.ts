import t from "tap";
import { TidemarkError, type Engine } from "../../engine/index.js";
import { isProblem, startApp, testEngine, withEngine, type TestApp } from "./support/app.js";
import { clockedApp } from "./support/clocked.js";

const MINUTE_MS = 60_000;

const SEPTEMBER = "/v1/timeseries?range=2026-09-01..2026-09-30&grain=day&metrics=views";
const LAST_WEEK = "/v1/breakdown?range=2026-11-16..2026-11-22&by=country";
const PEAK = "/v1/peak?range=28d";
const OVERLAP = "/v1/overlap?range=30d&a.blog=tides&b.blog=kelp";
const TODAY = "/v1/breakdown?range=today&by=blog";

t.test("how long an answer may be kept goes by its state", async (t) => {
  const app = await clockedApp(t);
  for (const [path, cacheControl] of [
    [SEPTEMBER, "private, max-age=86400, immutable"],
    ["/v1/compare?range=2026-09-01..2026-09-30&compare=last_month", "private, max-age=60"],
    ["/v1/breakdown?range=2026-11-16..2026-11-22&by=country", "private, max-age=60"],
    ["/v1/breakdown?range=yesterday&by=country", "private, max-age=60"],
    ["/v1/breakdown?range=last_year&by=country", "private, max-age=60"],
    ["/v1/compare?range=2026-09-01..2026-09-30&compare=last_year", "private, max-age=60"],
    [TODAY, "private, no-cache"],
    ["/v1/breakdown?range=7d&by=country", "private, no-cache"],
    ["/v1/breakdown?range=7d&by=country&limit=1&cursor=", "no-store"],
    ["/v1/peak?range=7d", "private, no-cache"],
    ["/v1/peak?range=2026-09-01..2026-09-30", "private, max-age=60"],
    ["/v1/overlap?range=7d&a.blog=tides&b.blog=kelp", "private, no-cache"],
    ["/v1/overlap?range=last_month&a.blog=tides&b.blog=kelp", "private, max-age=60"],
    [
      "/v1/overlap?range=2026-09-01..2026-09-30&a.blog=tides&b.blog=kelp",
      "private, max-age=86400, immutable",
    ],
    ["/v1/overlap?a.range=2026-09-01..2026-09-30&b.range=today", "private, no-cache"],
  ] as const) {
    const { status, headers, text } = await app.get(path);
    t.equal(status, 200, text);
    t.equal(headers["cache-control"], cacheControl, path);
    t.equal(headers.vary, cacheControl === "no-store" ? undefined : "Authorization", path);
    t.equal(typeof headers.etag, cacheControl === "no-store" ? "undefined" : "string", path);
    if (headers.etag !== undefined) t.match(headers.etag, /^"[\w-]{22}"$/, "strong");
  }
});

t.test("who has the bytes already gets 304 and nothing else", async (t) => {
  const app = await clockedApp(t);
  for (const path of [SEPTEMBER, LAST_WEEK, TODAY, PEAK, OVERLAP]) {
    const first = await app.get(path);
    const { etag = "" } = first.headers;
    t.equal((await app.get(path)).headers.etag, etag, "it stays");
    t.equal(
      first.headers["cross-origin-resource-policy"],
      "same-origin",
      "no other site's page may embed it",
    );
    const tag = etag.slice(1, -1);
    for (const header of [
      etag,
      `W/${etag}`,
      `"x", ${etag}`,
      `"x",W/"y" ,${etag}`,
      "*",
      ` * `,
      `"${tag}-gzip"`,
      `W/"${tag}-br"`,
    ]) {
      const { status, text, headers } = await app.get(path, { "if-none-match": header });
      t.equal(status, 304, `${path} ${header}`);
      t.equal(text, "");
      t.equal(headers.etag, etag);
      t.equal(headers["cache-control"], first.headers["cache-control"]);
      t.equal(headers.vary, "Authorization");
      t.equal(headers["content-type"], undefined);
    }
    for (const header of ['"x"', `"${tag}x"`, tag, `"${tag.toLowerCase()}"`, "", '"', "W/*"]) {
      const { status, text } = await app.get(path, { "if-none-match": header });
      t.equal(status, 200, `${path} ${header}`);
      t.equal(text, first.text, "the same bytes");
    }
  }
  isProblem(t, await app.get("/v1/top?range=never&by=blog", { "if-none-match": "*" }), 422, "invalid-range");
});

t.test("an event that an answer counts changes its tag, one that it does not count leaves it", async (t) => {
  const app = await clockedApp(t);
  const tags = async (): Promise<(string | undefined)[]> => {
    const answers = [];
    for (const path of [SEPTEMBER, LAST_WEEK, TODAY]) answers.push(await app.get(path));
    return answers.map(({ headers }) => headers.etag);
  };
  const before = await tags();
  await app.late("2026-11-18T10:00:00Z");
  const after = await tags();
  t.same(
    after.map((tag, i) => tag === before[i]),
    [true, false, true],
    "last week has a late event",
  );
  const { status, json } = await app.get(LAST_WEEK, { "if-none-match": before[1]! });
  t.equal(status, 200);
  t.match(json.results, [{ dimensions: ["IN"], metrics: [2, 2] }, {}]);
  await app.late("2026-09-02T10:00:00Z");
  t.not((await tags())[0], before[0], "an import changes what was settled");
  t.equal((await app.get(SEPTEMBER, { "if-none-match": before[0]! })).status, 200);
});

t.test("bytes are written out once for as long as the engine keeps the answer", async (t) => {
  const inner = await testEngine();
  let written = 0;
  const result = {
    ...(await inner.query({ date_range: "today" })),
    toJSON: () => (written++, { results: [] }),
  };
  const engine = withEngine(inner, {
    query: async () => result,
    freshness: () => ({ version: "1", state: "open" }),
  });
  const app = await startApp(t, { engine });
  for (let i = 0; i < 5; i++) await app.get(TODAY);
  await app.post("/v1/query", '{"date_range":"today"}');
  t.equal(written, 1);
});

function head(app: TestApp, path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(app.url + path, { method: "HEAD", headers });
}

t.test("HEAD says what GET would, without the body", async (t) => {
  const app = await clockedApp(t);
  for (const path of [SEPTEMBER, TODAY, "/v1/schema", "/openapi.json", "/docs", "/v1/peak?range=7d"]) {
    const [get, response] = [await app.get(path), await head(app, path)];
    t.equal(response.status, 200, path);
    t.equal(await response.text(), "");
    for (const name of ["etag", "cache-control", "content-length", "content-type", "vary"]) {
      t.equal(response.headers.get(name) ?? undefined, get.headers[name], `${path} ${name}`);
    }
    const tag = get.headers.etag;
    if (tag !== undefined) {
      t.equal((await head(app, path, { "if-none-match": tag })).status, 304, path);
    }
  }
  t.equal((await head(app, "/v1/top?range=never&by=blog")).status, 422);
});

t.test("an engine that fails in the middle is told as a fault, and nothing of it may be kept", async (t) => {
  const inner = await testEngine();
  const failing: Engine = withEngine(inner, {
    async query() {
      throw new TidemarkError("storage-damaged", "The bucket at /secret is damaged.");
    },
    async peak() {
      throw new Error("BUG: /secret");
    },
  });
  const app = await startApp(t, { engine: failing });
  for (const [path, code] of [
    [TODAY, "storage-damaged"],
    ["/v1/peak?range=7d", "internal"],
  ] as const) {
    const answer = await app.get(path, { "if-none-match": "*" });
    isProblem(t, answer, 500, code);
    t.equal(answer.headers["cache-control"], "no-store");
    t.notMatch(answer.text, "secret");
  }
});

t.test("with the clock an answer becomes what may be kept longer", async (t) => {
  const app = await clockedApp(t, { allowedLatenessMs: 5 * MINUTE_MS, maxLatenessMs: 60 * MINUTE_MS });
  const path = "/v1/breakdown?range=2026-11-23T13:30:00Z..2026-11-23T14:00:00Z&by=blog";
  t.equal((await app.get(path)).headers["cache-control"], "private, no-cache");
  await app.clock.advance(30 * MINUTE_MS);
  t.equal((await app.get(path)).headers["cache-control"], "private, max-age=60");
  await app.clock.advance(60 * MINUTE_MS);
  t.equal((await app.get(path)).headers["cache-control"], "private, max-age=86400, immutable");
});

t.test("what is kept, and how often it could be given again, is counted over HTTP", async (t) => {
  const app = await clockedApp(t);
  const cache = async (): Promise<Record<string, number>> => {
    const { status, json } = await app.get("/v1/admin/stats");
    t.equal(status, 200);
    return (json as unknown as { cache: Record<string, number> }).cache;
  };
  t.match(await cache(), { hits: 0, misses: 0, entries: 0, bytes: 0, ahead: 0 });
  await app.get(SEPTEMBER);
  const once = await cache();
  t.match(once, { hits: 0, misses: 1, entries: 1 });
  t.ok(once["bytes"]! > 0);
  const { etag = "" } = (await app.get(SEPTEMBER)).headers;
  t.equal((await app.get(SEPTEMBER, { "if-none-match": etag })).status, 304);
  t.strictSame(await cache(), { ...once, hits: 2 }, "a 304 is of a kept answer, too");
  await app.get(LAST_WEEK);
  t.match(await cache(), { hits: 2, misses: 2, entries: 2 });
});

t.test("the engine's counters have the names of the wire, and no parameters", async (t) => {
  const app = await clockedApp(t);
  const { json } = await app.get("/v1/admin/stats");
  t.match(json, {
    ready: true,
    events: { duplicate: 0 },
    rejected: {},
    last_commit_error: null,
    failure: null,
  });
  for (const name of Object.keys(json)) t.match(name, /^[a-z_]+$/);
  t.match(json, { watermark: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, hot_cells: Number, queued_bytes: 0 });
  isProblem(t, await app.get("/v1/admin/stats?deep=1"), 400, "invalid-parameter", "deep");
});
