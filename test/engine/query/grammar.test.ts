import fc from "fast-check";
import t from "tap";
import { METRICS } from "../../../engine/api.js";
import { HOUR_MS } from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import { execute, parseQuery, prepareQuery } from "../../../engine/query/index.js";
import { DEFAULT_SCHEMA, defineSchema } from "../../../engine/schema.js";
import { refusalOf } from "./refusal.js";
import { at, World, type Happening } from "./world.js";

const context = { schema: defineSchema(), defaultZone: "UTC" };
const today = { date_range: "today" };

t.test("a query that is not well formed is refused with a pointer to the culprit and what to do", (t) => {
  const sparse: unknown[] = [];
  sparse.length = 1;
  for (const [input, code, pointer, says] of [
    [undefined, "invalid-query", "", /JSON object with date_range/],
    [null, "invalid-query", "", /JSON object/],
    [[], "invalid-query", "", /JSON object/],
    ["today", "invalid-query", "", /JSON object/],
    [{}, "invalid-range", "/date_range", /Give a date_range: one of current_hour/],
    [{ ...today, site: "main" }, "invalid-query", "/site", /"site".*known are date_range/],
    [{ ...today, "a/b~c": 1 }, "invalid-query", "/a~1b~0c", /known are/],
    [JSON.parse('{"date_range":"today","__proto__":{}}'), "invalid-query", "/__proto__", /known are/],
    [{ ...today, timezone: 5 }, "invalid-timezone", "/timezone", /IANA name/],
    [{ ...today, timezone: "IST" }, "invalid-timezone", "/timezone", /did you mean Asia\/Kolkata/],
    [{ ...today, timezone: "+05:30" }, "invalid-timezone", "/timezone", /fixed offset/],
    [{ date_range: 7 }, "invalid-range", "/date_range", /current_hour, today/],
    [{ date_range: "tomorrow" }, "invalid-range", "/date_range", /"tomorrow" is no date_range.*last_week/],
    [{ date_range: "2m" }, "invalid-range", "/date_range", /is no date_range/],
    [{ date_range: "10000d" }, "invalid-range", "/date_range", /is no date_range/],
    [{ date_range: "0d" }, "invalid-range", "/date_range", /is no date_range/],
    [{ date_range: "7D" }, "invalid-range", "/date_range", /is no date_range/],
    [{ date_range: "constructor" }, "invalid-range", "/date_range", /is no date_range/],
    [{ date_range: ["2026-01-01"] }, "invalid-range", "/date_range", /two dates/],
    [{ date_range: ["2026-01-01", 5] }, "invalid-range", "/date_range", /one of each/],
    [{ date_range: [5, "2026-01-01T00:00:00Z"] }, "invalid-range", "/date_range/0", /is a string/],
    [
      { date_range: ["2026-01-32", "2026-02-01T00:00:00Z"] },
      "invalid-range",
      "/date_range/0",
      /is neither a date/,
    ],
    [{ date_range: ["2026-01-02", "2026-01-01"] }, "invalid-range", "/date_range", /earlier day first/],
    [{ date_range: ["1989-12-31", "1990-01-01"] }, "invalid-range", "/date_range/0", /from 1990-01-01/],
    [{ date_range: ["2037-12-31", "2038-01-01"] }, "invalid-range", "/date_range/1", /2037-12-31/],
    [
      { date_range: ["2026-01-01T00:00:00", "2026-01-02T00:00:00"] },
      "invalid-range",
      "/date_range/0",
      /no offset.*\+05:30/,
    ],
    [
      { date_range: ["2026-01-01T00:00:00Z", "2026-01-02 00:00"] },
      "invalid-range",
      "/date_range/1",
      /no offset/,
    ],
    [
      { date_range: ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"] },
      "invalid-range",
      "/date_range",
      /ends before/,
    ],
    [
      { date_range: ["1980-01-01T00:00:00Z", "2026-01-01T00:00:00Z"] },
      "invalid-range",
      "/date_range",
      /served from/,
    ],
    [
      { date_range: ["2026-01-01T00:07:00Z", "2026-01-02T00:00:00Z"] },
      "range-not-aligned",
      "/date_range/0",
      /:15/,
    ],
    [
      { date_range: ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00.001Z"] },
      "range-not-aligned",
      "/date_range/1",
      /:15/,
    ],
    [{ ...today, metrics: "views" }, "invalid-query", "/metrics", /Known are views, viewers/],
    [{ ...today, metrics: [] }, "invalid-query", "/metrics", /list of 1 to 32/],
    [
      {
        date_range: "7d",
        dimensions: ["time"],
        metrics: Array.from({ length: 33 }, (_, i) => ["rolling", "views", i + 1]),
      },
      "invalid-query",
      "/metrics",
      /list of 1 to 32/,
    ],
    [{ ...today, metrics: ["views", "visits"] }, "invalid-query", "/metrics/1", /"visits" is no metric/],
    [{ ...today, metrics: ["views", "views"] }, "invalid-query", "/metrics/1", /twice/],
    [{ ...today, metrics: sparse }, "invalid-query", "/metrics/0", /no metric/],
    [{ ...today, dimensions: "blog" }, "invalid-query", "/dimensions", /list/],
    [
      { ...today, dimensions: ["referrer"] },
      "invalid-query",
      "/dimensions/0",
      /declared are blog, author and country/,
    ],
    [{ ...today, dimensions: [3] }, "invalid-query", "/dimensions/0", /no dimension/],
    [{ ...today, dimensions: ["time:minute"] }, "invalid-query", "/dimensions/0", /time:quarter/],
    [{ ...today, dimensions: ["time", "blog", "time:day"] }, "invalid-query", "/dimensions/2", /twice/],
    [{ ...today, dimensions: ["blog", "blog"] }, "invalid-query", "/dimensions/1", /twice/],
    [{ ...today, filters: { is: 1 } }, "invalid-query", "/filters", /filters is a list/],
    [
      { ...today, filters: Array.from({ length: 65 }, () => ["is", "blog", ["b"]]) },
      "invalid-query",
      "/filters/64",
      /at most 64/,
    ],
    [{ ...today, filters: [["is", "blog"]] }, "invalid-query", "/filters/0", /A filter is/],
    [
      { ...today, filters: [["matches", "blog", ["b"]]] },
      "invalid-query",
      "/filters/0/0",
      /"matches" is no operator; known are is, is_not, in, not_in, contains, contains_not, and, or and not/,
    ],
    [{ ...today, filters: [["is", "page", ["b"]]] }, "invalid-query", "/filters/0/1", /declared are/],
    [{ ...today, filters: [["is", "time:day", ["b"]]] }, "invalid-query", "/filters/0/1", /date_range/],
    [{ ...today, filters: [["is", "blog", []]] }, "invalid-query", "/filters/0/2", /1 to 10000/],
    [{ ...today, filters: [["is", "blog", "b"]] }, "invalid-query", "/filters/0/2", /list/],
    [{ ...today, filters: [["is", "blog", ["b", 5]]] }, "invalid-query", "/filters/0/2/1", /null for/],
    [{ ...today, filters: [["is", "blog", [""]]] }, "invalid-query", "/filters/0/2/0", /not empty/],
    [{ ...today, order_by: "views" }, "invalid-query", "/order_by", /\[\["views", "desc"\]\]/],
    [{ ...today, order_by: ["views"] }, "invalid-query", "/order_by/0", /"asc" or "desc"/],
    [{ ...today, order_by: [["views", "down"]] }, "invalid-query", "/order_by/0", /"asc" or "desc"/],
    [
      { ...today, order_by: [["blogs_total", "asc"]] },
      "invalid-query",
      "/order_by/0/0",
      /add "blogs_total" to metrics/,
    ],
    [
      { ...today, dimensions: ["time:day"], order_by: [["time:hour", "asc"]] },
      "invalid-query",
      "/order_by/0/0",
      /what is asked for/,
    ],
    [
      {
        ...today,
        order_by: [
          ["views", "asc"],
          ["views", "desc"],
        ],
      },
      "invalid-query",
      "/order_by/1/0",
      /twice/,
    ],
    [{ ...today, limit: 0 }, "invalid-query", "/limit", /1 to 100000/],
    [{ ...today, limit: 1.5 }, "invalid-query", "/limit", /whole number/],
    [{ ...today, limit: "10" }, "invalid-query", "/limit", /whole number/],
    [{ ...today, limit: 100_001 }, "invalid-query", "/limit", /1 to 100000/],
    [{ ...today, fill: "null" }, "invalid-query", "/fill", /"none" or "zero"/],
    [{ ...today, fill: "zero" }, "invalid-query", "/fill", /make time the only dimension/],
    [{ ...today, fill: "zero", dimensions: ["time", "blog"] }, "invalid-query", "/fill", /only dimension/],
    [{ ...today, include: ["total"] }, "invalid-query", "/include", /JSON object with total/],
    [{ ...today, include: { totals: true } }, "invalid-query", "/include/totals", /known are total/],
    [{ ...today, include: { total: "yes" } }, "invalid-query", "/include/total", /true or false/],
  ] as const) {
    const refused = refusalOf(() => parseQuery(input, context));
    const name = JSON.stringify(input)?.slice(0, 100) ?? "undefined";
    t.equal(refused.code, code, name);
    t.equal(refused.pointer, pointer, name);
    t.match(refused.detail, says, name);
  }
  t.end();
});

t.test("the echo of a query with everything in it is itself a query, and is echoed as it is", (t) => {
  const world = new World().add({ ts: at("2026-11-23T10:00:00Z"), blog: "b", viewer: "v" });
  world.now = at("2026-11-23T10:20:00Z");
  const echoOf = (input: unknown): Record<string, unknown> => world.query(input).query;
  const echo = echoOf({
    date_range: "4w",
    include_today: false,
    timezone: "Asia/Kathmandu",
    metrics: [["rolling", "viewers", 7], ["ratio", "views", ["cumulative", "viewers"]], "new_viewers"],
    dimensions: ["time:day"],
    filters: [
      [
        "or",
        [
          ["is_not", "blog", ["x"]],
          ["contains", "blog", ["b"]],
        ],
      ],
    ],
    compare: { mode: "year_over_year", match_day_of_week: true },
    order_by: [[["rolling", "viewers", 7], "desc"]],
    source: "buckets",
  });
  t.match(echo, {
    date_range: ["2026-10-26T00:00:00+05:45", "2026-11-23T00:00:00+05:45"],
    filters: [
      [
        "or",
        [
          ["not", ["is", "blog", ["x"]]],
          ["contains", "blog", ["b"]],
        ],
      ],
    ],
    compare: { mode: "year_over_year", match_day_of_week: true, whole: false },
    order_by: [[["rolling", "viewers", 7], "desc"]],
    source: "buckets",
  });
  t.strictSame(echoOf(echo), echo);
  t.end();
});

t.test("whatever is sent, it is read or refused with a pointer, and never fails otherwise", (t) => {
  const name = fc.constantFrom(
    "date_range",
    "timezone",
    "metrics",
    "dimensions",
    "filters",
    "order_by",
    "limit",
    "fill",
    "include",
    "compare",
    "cursor",
    "include_today",
    "source",
  );
  const word = fc.constantFrom(
    "today",
    "7d",
    "views",
    "blog",
    "time",
    "time:day",
    "is",
    "not",
    "or",
    "contains",
    "rolling",
    "change",
    "ratio",
    "mode",
    "previous_period",
    "asc",
    "desc",
    "zero",
    "UTC",
    "total",
    "2026-01-01",
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "small" },
      word,
      fc.anything(),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(word, tie("any"), { maxKeys: 2 }),
    ),
  })).any;
  let read = 0;
  fc.assert(
    fc.property(fc.dictionary(name, value, { maxKeys: 4 }), fc.boolean(), (input, ranged) => {
      try {
        parseQuery(ranged ? { ...input, date_range: "today" } : input, context);
        read++;
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        if (!/^(\/.*)?$/.test(error.pointer!) || error.message.length > 600)
          throw new Error(error.message, { cause: error });
      }
    }),
    { numRuns: 3000 },
  );
  t.ok(read > 100, `${read} were read`);
  t.end();
});

t.test("the nearest aligned range is told in the query's zone", (t) => {
  const { extra } = refusalOf(() =>
    parseQuery(
      { date_range: ["2026-11-23T13:31:00Z", "2026-11-23T14:15:00Z"], timezone: "Asia/Kathmandu" },
      context,
    ),
  );
  t.strictSame(extra, { nearest: ["2026-11-23T19:15:00+05:45", "2026-11-23T20:00:00+05:45"] });
  t.end();
});

t.test(
  "a query that leaves everything out is echoed with its defaults, and its echo gives the same answer",
  (t) => {
    const world = new World().add({ ts: at("2026-11-23T10:00:00Z"), blog: "b", viewer: "v" });
    const { query } = world.query({
      date_range: "today",
      timezone: "asia/kolkata",
      dimensions: ["time", "blog"],
    });
    t.strictSame(query, {
      date_range: ["2026-11-23T00:00:00+05:30", "2026-11-24T00:00:00+05:30"],
      timezone: "Asia/Kolkata",
      metrics: ["views", "viewers"],
      dimensions: ["time:hour", "blog"],
      filters: [],
      order_by: [
        ["time:hour", "asc"],
        ["views", "desc"],
      ],
      limit: 10_000,
      fill: "none",
      source: "auto",
      include: { total: false, other: false, time_labels: false, explain: false },
    });
    t.strictSame(world.query(query).query, query);
    t.strictSame(
      world.query(query).results.map(({ dimensions }) => dimensions),
      [["2026-11-23T15:00:00+05:30", "b"]],
    );
    t.end();
  },
);

t.test("later changes of the object that was sent do not reach a prepared query", (t) => {
  const world = new World().add({ ts: at("2026-11-23T10:00:00Z"), blog: "b" });
  const values = ["b"];
  const prepared = prepareQuery(
    { date_range: "all", filters: [["is", "blog", values]] },
    { ...context, schema: world.schema },
  );
  values[0] = "c";
  t.equal(execute(prepared, world.buckets, world).results[0]!.metrics[0], 1);
  t.end();
});

t.test(
  "a prepared query follows the clock, the seal and new names, and gives what a new one gives",
  async (t) => {
    const world = new World({ homeZones: ["Asia/Kolkata"] });
    const schema = world.schema;
    const inputs = [
      { date_range: "current_hour", filters: [["is", "blog", ["late-comer"]]] },
      {
        date_range: "24h",
        dimensions: ["time"],
        metrics: ["views", "blogs_total"],
        include: { total: true },
      },
      { date_range: "7d", dimensions: ["blog"] },
    ];
    const prepared = inputs.map((input) => prepareQuery(input, { schema, defaultZone: "Asia/Kolkata" }));
    for (let step = 0; step < 60; step++) {
      const ts = at("2026-11-23T00:00:00Z") + step * 20 * 60_000;
      world.add({
        ts,
        blog: step < 30 ? "b" : "late-comer",
        viewer: `v${step % 7}`,
        created: step % 10 === 0,
      });
      if (step % 8 === 7) await world.commit(ts - HOUR_MS);
      for (const [i, each] of prepared.entries()) {
        t.strictSame(execute(each, world.buckets, world), world.query(inputs[i]));
      }
    }
  },
);

t.test(
  "a value that may hide in “(other)” is warned of; one that no event had is zero without a word",
  (t) => {
    const ts = at("2026-11-23T10:00:00Z");
    const ask = (
      world: World,
      filters: unknown,
    ): { views: number | null | undefined; warnings: readonly string[] } => {
      const { results, meta } = world.query({ date_range: "all", metrics: ["views"], filters });
      return { views: results[0]!.metrics[0], warnings: meta.warnings };
    };
    const roomy = new World().add({ ts, blog: "a" }, { ts, blog: "b" }, { ts, blog: "c" });
    t.strictSame(ask(roomy, [["is", "blog", ["nobody"]]]), { views: 0, warnings: [] });
    const narrow = new World({ maxValues: 2 }).add(
      { ts, blog: "a" },
      { ts, blog: "b" },
      { ts, blog: "c", country: "IN" },
    );
    t.strictSame(ask(narrow, [["is", "blog", ["(other)"]]]), { views: 1, warnings: [] });
    const { views, warnings } = ask(narrow, [["is", "blog", ["c", "a"]]]);
    t.equal(views, 1);
    t.match(warnings, [/^blog has more values than are kept: of "c" nothing is known by itself/]);
    t.strictSame(
      ask(narrow, [
        ["is", "blog", ["c"]],
        ["is", "country", [null]],
      ]),
      { views: 0, warnings: [] },
      "none of the others passes",
    );
    t.end();
  },
);

t.test("an answer with more groups than memory should hold is refused before it is made", (t) => {
  const ts = at("2025-01-01T10:00:00Z");
  const world = new World();
  world.add(...Array.from({ length: 60 }, (_, i): Happening => ({ ts, blog: `b${i}`, created: true })));
  const query = {
    date_range: ["2025-01-01", "2026-03-31"],
    dimensions: ["time:quarter", "blog"],
    metrics: ["blogs_total"],
  };
  t.match(
    refusalOf(() => world.query(query)),
    {
      code: "range-too-wide",
      pointer: "/dimensions",
      detail: /more than 2500000 groups: ask for a shorter range/,
    },
  );
  t.equal(world.query({ ...query, metrics: ["blogs_created"] }).results.length, 60);
  t.end();
});

t.test("other streams are asked by their own names", (t) => {
  const schema = defineSchema({
    ...DEFAULT_SCHEMA,
    dimensions: ["page", "device"],
    subject: "page",
    remembered: [],
    rollups: [["page", "device"]],
  });
  const parsed = parseQuery(
    { date_range: "today", dimensions: ["device"], filters: [["is", "page", ["/"]]] },
    { ...context, schema },
  );
  t.strictSame(parsed.columns, [1]);
  t.equal(
    refusalOf(() => parseQuery({ date_range: "today", dimensions: ["blog"] }, { ...context, schema }))
      .pointer,
    "/dimensions/0",
  );
  t.strictSame(METRICS.length, 8);
  t.end();
});
