import fc from "fast-check";
import t from "tap";
import { isProblem, type Answer } from "./support/app.js";
import { clockedApp } from "./support/clocked.js";

/** Without what tells of the moment and not of the question. */
function content({ json }: Answer): unknown {
  const { as_of: _asOf, ...meta } = json.meta;
  return { ...json, meta };
}

t.test("a GET form has the answer of the question that it stands for", async (t) => {
  const app = await clockedApp(t);
  const pairs: readonly (readonly [path: string, kind: string, question: unknown])[] = [
    ["/v1/timeseries?range=7d", "query", { fill: "zero", date_range: "7d", dimensions: ["time"] }],
    [
      "/v1/timeseries?range=7d&grain=day&by=country&metrics=views&tz=UTC",
      "query",
      { date_range: "7d", timezone: "UTC", metrics: ["views"], dimensions: ["time:day", "country"] },
    ],
    [
      "/v1/timeseries?range=2026-11-17..2026-11-22&grain=day&fill=none&order=views:desc,time:asc&limit=2",
      "query",
      {
        date_range: ["2026-11-17", "2026-11-22"],
        dimensions: ["time:day"],
        order_by: [
          ["views", "desc"],
          ["time", "asc"],
        ],
        limit: 2,
      },
    ],
    [
      '/v1/timeseries?range=7d&grain=day&metrics=["views",["rolling","viewers",3]]&include=time_labels,total',
      "query",
      {
        date_range: "7d",
        dimensions: ["time:day"],
        metrics: ["views", ["rolling", "viewers", 3]],
        include: { time_labels: true, total: true },
        fill: "zero",
      },
    ],
    [
      "/v1/breakdown?range=30d&by=blog&country=PT&country=",
      "query",
      { date_range: "30d", dimensions: ["blog"], filters: [["is", "country", ["PT", null]]] },
    ],
    [
      '/v1/breakdown?range=30d&by=blog&country=PT&filters=[["not",["is","blog",["kelp"]]]]',
      "query",
      {
        date_range: "30d",
        dimensions: ["blog"],
        filters: [
          ["is", "country", ["PT"]],
          ["not", ["is", "blog", ["kelp"]]],
        ],
      },
    ],
    [
      "/v1/breakdown?range=2026-11-23T13:30:00%2B05:30..2026-11-23T19:30:00+05:30&by=country&include_today=true",
      "query",
      { date_range: ["2026-11-23T13:30:00+05:30", "2026-11-23T19:30:00+05:30"], dimensions: ["country"] },
    ],
    [
      "/v1/top?range=all&by=blog&n=1",
      "query",
      { date_range: "all", dimensions: ["blog"], limit: 1, include: { total: true, other: true } },
    ],
    [
      "/v1/top?range=all&by=country&include=",
      "query",
      { date_range: "all", dimensions: ["country"], limit: 10 },
    ],
    ["/v1/compare?range=7d", "query", { date_range: "7d", compare: { mode: "previous_period" } }],
    [
      "/v1/compare?range=7d&compare=year_over_year&match=weekday&whole=true&by=country",
      "query",
      {
        date_range: "7d",
        dimensions: ["country"],
        compare: { mode: "year_over_year", match_day_of_week: true, whole: true },
      },
    ],
    [
      "/v1/compare?range=2026-11-17..2026-11-22&compare=2026-09-05..2026-09-10&grain=day",
      "query",
      {
        date_range: ["2026-11-17", "2026-11-22"],
        dimensions: ["time:day"],
        compare: { mode: "custom", date_range: ["2026-09-05", "2026-09-10"] },
      },
    ],
    [
      "/v1/peak?range=91d&tz=America/St_Johns&n=5&blog=tides",
      "peak",
      { date_range: "91d", timezone: "America/St_Johns", limit: 5, filters: [["is", "blog", ["tides"]]] },
    ],
    [
      "/v1/overlap?range=30d&a.country=PT&b.country=IN",
      "overlap",
      {
        date_range: "30d",
        a: { filters: [["is", "country", ["PT"]]] },
        b: { filters: [["is", "country", ["IN"]]] },
      },
    ],
    [
      "/v1/overlap?a.range=month&b.range=last_month",
      "overlap",
      { a: { date_range: "month" }, b: { date_range: "last_month" } },
    ],
    [
      '/v1/query?q={"date_range":"30d","dimensions":["blog"]}',
      "query",
      { date_range: "30d", dimensions: ["blog"] },
    ],
  ];
  for (const [path, kind, question] of pairs) {
    const [byGet, byPost] = [await app.get(path), await app.post(`/v1/${kind}`, JSON.stringify(question))];
    t.equal(byGet.status, 200, `${path} ${byGet.text.slice(0, 300)}`);
    t.same(content(byGet), content(byPost), path);
    t.equal(byPost.headers["cache-control"], "no-store");
    t.equal(byPost.headers.etag, undefined);
  }
});

t.test("what an address gets wrong is told with the parameter's name", async (t) => {
  const app = await clockedApp(t);
  const cases: readonly (readonly [path: string, status: number, code: string, pointer: string])[] = [
    ["/v1/timeseries", 400, "invalid-parameter", "/range"],
    ["/v1/timeseries?range=7d&colour=red", 400, "invalid-parameter", "/colour"],
    ["/v1/timeseries?range=7d&a/b~c=1", 400, "invalid-parameter", "/a~1b~0c"],
    ["/v1/timeseries?range=7d&range=8d", 400, "invalid-parameter", "/range"],
    ["/v1/timeseries?range=7d&n=3", 400, "invalid-parameter", "/n"],
    ["/v1/timeseries?range=2026-01-01..", 400, "invalid-parameter", "/range"],
    ["/v1/timeseries?range=a..b..c", 400, "invalid-parameter", "/range"],
    ["/v1/timeseries?range=2026-01-01..2026-02-30", 422, "invalid-range", "/range"],
    ["/v1/timeseries?range=soon", 422, "invalid-range", "/range"],
    ["/v1/timeseries?range=7d&tz=IST", 422, "invalid-timezone", "/tz"],
    ["/v1/timeseries?range=7d&grain=fortnight", 422, "invalid-query", "/grain"],
    ["/v1/timeseries?range=7d&by=planet", 422, "invalid-query", "/by"],
    ["/v1/timeseries?range=7d&by=country,", 422, "invalid-query", "/by"],
    ["/v1/timeseries?range=7d&metrics=views,visits", 422, "invalid-query", "/metrics"],
    [
      '/v1/timeseries?range=7d&metrics=["views",["rolling","viewers",0]]',
      422,
      "invalid-query",
      "/metrics/1/2",
    ],
    ["/v1/timeseries?range=7d&metrics=[views", 400, "invalid-parameter", "/metrics"],
    ["/v1/timeseries?range=7d&order=views", 400, "invalid-parameter", "/order"],
    ["/v1/timeseries?range=7d&order=blog:asc", 422, "invalid-query", "/order"],
    ["/v1/timeseries?range=7d&limit=-1", 400, "invalid-parameter", "/limit"],
    ["/v1/timeseries?range=7d&limit=0", 422, "invalid-query", "/limit"],
    ["/v1/timeseries?range=7d&fill=9", 422, "invalid-query", "/fill"],
    ["/v1/timeseries?range=7d&match=weekday", 400, "invalid-parameter", "/match"],
    ["/v1/timeseries?range=7d&compare=previous_period&match=moon", 400, "invalid-parameter", "/match"],
    ["/v1/timeseries?range=7d&compare=yoy", 422, "invalid-range", "/compare"],
    ["/v1/timeseries?range=7d&include_today=maybe", 400, "invalid-parameter", "/include_today"],
    ["/v1/timeseries?range=7d&include=everything", 422, "invalid-query", "/include"],
    ["/v1/timeseries?range=7d&country=%ff", 400, "invalid-parameter", "/country"],
    ["/v1/breakdown?range=7d", 400, "invalid-parameter", "/by"],
    ["/v1/breakdown?range=7d&by=blog&cursor=x", 410, "cursor-expired", "/cursor"],
    ["/v1/breakdown?range=7d&by=blog&fill=zero", 400, "invalid-parameter", "/fill"],
    ["/v1/breakdown?range=7d&by=blog&filters={}", 400, "invalid-parameter", "/filters"],
    [
      '/v1/breakdown?range=7d&by=blog&country=PT&filters=[["is","blog",[]]]',
      422,
      "invalid-query",
      "/filters/0/2",
    ],
    ["/v1/top?range=7d&by=blog&n=3&limit=4", 400, "invalid-parameter", "/limit"],
    ["/v1/top?range=7d&by=time:day", 422, "invalid-query", "/include"],
    ["/v1/peak?range=7d&limit=169", 422, "invalid-query", "/limit"],
    ["/v1/peak?range=7d&metrics=views", 400, "invalid-parameter", "/metrics"],
    ["/v1/overlap?range=7d&country=PT", 400, "invalid-parameter", "/country"],
    ["/v1/overlap?a.range=7d", 422, "invalid-range", "/range"],
    ["/v1/overlap?range=7d&a.range=soon", 422, "invalid-range", "/a.range"],
    ["/v1/query", 400, "invalid-parameter", "/q"],
    ["/v1/query?q={", 400, "invalid-parameter", "/q"],
    ['/v1/query?q={"date_range":"7d"}&tz=UTC', 400, "invalid-parameter", "/tz"],
    ["/v1/query?q=[]", 422, "invalid-query", "/q"],
    ['/v1/query?q={"date_range":"7d","timezone":"IST"}', 422, "invalid-timezone", "/q/timezone"],
    ['/v1/query?q={"date_range":"7d","__proto__":{}}', 422, "invalid-query", "/q/__proto__"],
    [
      "/v1/breakdown?range=7d&by=blog,author,country&source=buckets",
      409,
      "dimension-set-not-materialised",
      "/by",
    ],
  ];
  for (const [path, status, code, pointer] of cases) {
    const answer = await app.get(path);
    isProblem(t, answer, status, code, `${path} ${answer.text.slice(0, 200)}`);
    t.same(answer.json.errors, [{ pointer }], path);
    t.equal(answer.headers["cache-control"], "no-store", path);
    t.equal(answer.headers.etag, undefined);
  }
  const { json } = await app.get("/v1/top?range=7d&by=blog&colour=red");
  for (const known of ["range", "tz", "by", "n", "metrics", "include", "country"])
    t.match(json.detail, known);
  isProblem(t, await app.post("/v1/batch", '{"queries":[],"more":1}'), 422, "invalid-query");
  for (const body of ["[]", "null", "{}", '{"queries":{}}']) {
    isProblem(t, await app.post("/v1/batch", body), 422, "invalid-query", body);
  }
});

t.test("whatever stands in an address, it is answered or refused, never a fault", async (t) => {
  const app = await clockedApp(t);
  const names = [
    "range",
    "tz",
    "metrics",
    "grain",
    "by",
    "order",
    "compare",
    "match",
    "include",
    "filters",
    "limit",
    "cursor",
    "country",
    "q",
    "__proto__",
    "constructor",
    "",
  ];
  const values = fc.oneof(
    fc.constantFrom(
      "7d",
      "",
      "..",
      "2026-11-01..2026-11-20",
      "time",
      "blog",
      "[[]]",
      "[null]",
      "{}",
      "null",
      "0",
      "views",
      "%",
      "%00",
      "%F0%9F%8C%8A",
      "a&b",
      "==",
    ),
    fc.string({ maxLength: 12 }),
  );
  const forms = fc.constantFrom("query", "timeseries", "breakdown", "top", "compare", "peak", "overlap");
  await fc.assert(
    fc.asyncProperty(
      forms,
      fc.array(fc.tuple(fc.constantFrom(...names), values), { maxLength: 5 }),
      async (form, pairs) => {
        const search = pairs.map(([name, value]) => `${name}=${value}`).join("&");
        const { statusCode, body } = await app.app.inject({
          method: "GET",
          url: `/v1/${form}?range=7d&${encodeURI(search).replaceAll("#", "%23")}`,
        });
        if (![200, 400, 409, 410, 422].includes(statusCode)) throw new Error(`${statusCode}: ${body}`);
      },
    ),
    { numRuns: 500 },
  );
});

t.test("a batch has the answers of its questions, in their order, each with its own failure", async (t) => {
  const app = await clockedApp(t);
  const queries = [
    { query: { date_range: "7d", dimensions: ["blog"] } },
    { query: { date_range: "7d", timezone: "IST" } },
    { peak: { date_range: "91d" } },
    { overlap: { date_range: "30d", a: {}, b: { filters: [["is", "country", ["PT"]]] } } },
  ];
  const { status, json, headers } = await app.post("/v1/batch", JSON.stringify({ queries }));
  t.equal(status, 200);
  t.equal(headers["cache-control"], "no-store");
  t.equal(json.answers.length, 4);
  t.same(
    json.answers[0].results,
    (await app.post("/v1/query", JSON.stringify(queries[0]!.query))).json.results,
  );
  t.match(json.answers[1], { error: { code: "invalid-timezone", pointer: /timezone$/ } });
  t.equal(json.answers[2].matrix.length, 7);
  t.match(json.answers[3], { both: { value: 1, exact: true } });
  t.equal(json.seq, app.engine.stats().position);
});

t.test("pages lead from one to the next by their Link, over one snapshot", async (t) => {
  const app = await clockedApp(t);
  for (const start of [
    "/v1/breakdown?range=all&by=blog,country&limit=2&cursor=&tz=Asia%2FKolkata",
    `/v1/query?q=${encodeURIComponent('{"date_range":"all","dimensions":["blog","country"],"limit":2,"cursor":null}')}`,
  ]) {
    const whole = await app.get("/v1/breakdown?range=all&by=blog,country");
    const rows: unknown[] = [];
    let url = new URL(start, app.url);
    for (let pages = 1; ; pages++) {
      const { status, json, headers } = await app.get(url.pathname + url.search);
      t.equal(status, 200, url.href);
      t.equal(headers["cache-control"], "no-store");
      rows.push(...json.results);
      const [, next] = /^<(.+)>; rel="next"$/.exec(String(headers.link)) ?? [];
      t.equal(next === undefined, json.meta.next_cursor === null);
      if (next === undefined) break;
      await app.late("2026-11-23T14:00:00Z", "DE");
      url = new URL(next, url);
      t.ok(pages < 10);
    }
    const paged = rows as { dimensions: unknown; metrics: unknown }[];
    t.same(
      paged.map(({ dimensions, metrics }) => ({ dimensions, metrics })),
      whole.json.results.map(({ dimensions, metrics }: (typeof paged)[number]) => ({ dimensions, metrics })),
    );
  }
});
