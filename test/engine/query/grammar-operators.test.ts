import t from "tap";
import { parseQuery } from "../../../engine/query/index.js";
import { defineSchema } from "../../../engine/schema.js";
import { refusalOf } from "./refusal.js";
import { World } from "./world.js";

const context = { schema: defineSchema(), defaultZone: "UTC" };
const today = { date_range: "today" };

t.test("functions along time are read strictly, each with a pointer into it", (t) => {
  const byDay = { date_range: "7d", dimensions: ["time:day"] };
  const deep = (depth: number): unknown => (depth === 0 ? "views" : ["change", deep(depth - 1)]);
  for (const [metric, pointer, says] of [
    [["median", "views"], "/0", /"median" is no function; known are rolling, cumulative, rate/],
    [[], "/0", /no function/],
    [[5, "views"], "/0", /no function/],
    [["views"], "/0", /"views" is no function/],
    [{ rolling: "views" }, "", /is no metric.*functions such as \["rolling", "viewers", 7\]/],
    [["rolling", "views"], "", /Write it like \["rolling", "viewers", 7\]/],
    [["rolling", "views", 7, 7], "", /Write it like/],
    [["rolling", "views_per_viewer", 7], "/1", /one of views, viewers, views_anonymous or blogs_created/],
    [["rolling", ["rolling", "views", 7], 7], "/1", /cannot stand here/],
    [["rolling", "blogs_total", 7], "/1", /cannot stand here/],
    [["rolling", "views", 0], "/2", /1 to 366/],
    [["rolling", "views", 367], "/2", /1 to 366/],
    [["rolling", "views", 1.5], "/2", /whole number/],
    [["rolling", "views", "7"], "/2", /whole number/],
    [["cumulative", "views", 1], "", /Write it like \["cumulative", "views"\]/],
    [["cumulative", "new_viewers"], "/1", /cannot stand here/],
    [["rate", "views"], "", /Write it like \["rate", "views", "hour"\]/],
    [["rate", "views", "week"], "/2", /second, minute, hour or day/],
    [["rate", "visits", "hour"], "/1", /"visits" is no metric/],
    [["moving_average", "views"], "", /Write it like/],
    [["moving_average", "views", -1], "/2", /1 to 366/],
    [["moving_average", ["rate", "views", "year"], 3], "/1/2", /cannot stand here/],
    [["change", "views", "views"], "", /Write it like \["change", "views"\]/],
    [["change", ["ratio", "views", ["change", "visit"]]], "/1/2/1", /"visit" is no metric/],
    [["ratio", "views"], "", /Write it like/],
    [["ratio", "views", null], "/2", /is no metric/],
    [deep(5), "/1/1/1/1", /nested deeper than 4/],
  ] as const) {
    const refused = refusalOf(() => parseQuery({ ...byDay, metrics: ["viewers", metric] }, context));
    t.strictSame(
      [refused.code, refused.pointer],
      ["invalid-query", `/metrics/1${pointer}`],
      JSON.stringify(metric),
    );
    t.match(refused.detail, says, JSON.stringify(metric));
  }
  t.strictSame(parseQuery({ ...byDay, metrics: [deep(4)] }, context).metrics, [deep(4)]);
  const twice = [
    ["rolling", "views", 7],
    ["rolling", "views", 8],
    ["rolling", "views", 7],
  ];
  t.match(
    refusalOf(() => parseQuery({ ...byDay, metrics: twice }, context)),
    { pointer: "/metrics/2", detail: /twice/ },
  );
  t.end();
});

t.test("functions along time are refused where time is no dimension; a ratio of base metrics is not", (t) => {
  for (const metric of [
    ["rolling", "views", 7],
    ["cumulative", "views"],
    ["rate", "views", "hour"],
    ["moving_average", "views", 7],
    ["change", "views"],
  ]) {
    const refuse = (metrics: unknown): unknown => refusalOf(() => parseQuery({ ...today, metrics }, context));
    t.match(refuse([metric]), {
      code: "invalid-query",
      pointer: "/metrics/0",
      detail: /add time, or time:day, to dimensions/,
    });
    t.match(refuse([["ratio", "views", metric]]), { pointer: "/metrics/0/2" });
  }
  const ratio = ["ratio", "views_anonymous", ["ratio", "views", "viewers"]];
  t.strictSame(parseQuery({ ...today, metrics: [ratio] }, context).metrics, [ratio]);
  t.end();
});

t.test("filters of all operators are read strictly, with a pointer to the innermost culprit", (t) => {
  const is = ["is", "blog", ["b"]];
  const nested = (depth: number): unknown => (depth === 0 ? is : ["not", nested(depth - 1)]);
  for (const [filter, pointer, says] of [
    [[], "", /A filter is/],
    ["is", "", /A filter is/],
    [null, "", /A filter is/],
    [["IS", "blog", ["b"]], "/0", /"IS" is no operator/],
    [["not"], "", /"not" takes one operand/],
    [["not", is, is], "", /"not" takes one operand/],
    [["and", is, is], "", /"and" takes one operand/],
    [["and", []], "/1", /at least one/],
    [["or", is], "/1/0", /A filter is/],
    [["or", "is"], "/1", /list of filters/],
    [["or", [is, ["is", "blog", []]]], "/1/1/2", /1 to 10000/],
    [["not", ["and", [is, ["or", [["in", "page", ["x"]]]]]]], "/1/1/1/1/0/1", /declared are blog/],
    [["not_in", "blog"], "", /A filter is/],
    [["is_not", "blog", "b"], "/2", /list/],
    [["contains", "blog", "b"], "/2", /list/],
    [["contains", "blog", [null]], "/2", /1 to 100 strings/],
    [["contains", "blog", [""]], "/2/0", /not empty/],
    [["contains_not", "blog", ["a", 5]], "/2/1", /string that is not empty/],
    [["contains", "blog", Array.from({ length: 101 }, (_, i) => `p${i}`)], "/2", /1 to 100 strings/],
    [["contains", "time", ["2026"]], "/1", /date_range/],
    [["is", "blog", Array.from({ length: 10_001 }, (_, i) => `p${i}`)], "/2", /1 to 10000/],
    [nested(17), "/1".repeat(17), /nested deeper than 16/],
    [["and", Array.from({ length: 64 }, () => is)], "/1/63", /at most 64 conditions/],
  ] as const) {
    const refused = refusalOf(() => parseQuery({ ...today, filters: [filter] }, context));
    const name = JSON.stringify(filter).slice(0, 80);
    t.strictSame([refused.code, refused.pointer], ["invalid-query", `/filters/0${pointer}`], name);
    t.match(refused.detail, says, name);
  }
  t.doesNotThrow(() => parseQuery({ ...today, filters: [nested(16)] }, context));
  t.doesNotThrow(() =>
    parseQuery({ ...today, filters: [["and", Array.from({ length: 63 }, () => is)]] }, context),
  );
  t.end();
});

t.test("in is is, and is_not, not_in and contains_not are the others under not", (t) => {
  const read = (...filters: unknown[]): unknown => parseQuery({ ...today, filters }, context).filters;
  const [is, contains] = [
    ["is", "blog", ["b", null]],
    ["contains", "blog", ["b"]],
  ];
  t.strictSame(read(["in", "blog", ["b", null]]), read(is));
  t.strictSame(read(["is_not", "blog", ["b", null]]), read(["not", is]));
  t.strictSame(read(["not_in", "blog", ["b", null]]), read(["not", is]));
  t.strictSame(read(["contains_not", "blog", ["b"]]), read(["not", contains]));
  t.end();
});

t.test("what a range is compared with is read strictly", (t) => {
  for (const [compare, code, pointer, says] of [
    [
      "previous_period",
      "invalid-query",
      "/compare",
      /JSON object with mode, date_range, match_day_of_week or whole/,
    ],
    [null, "invalid-query", "/compare", /JSON object/],
    [{}, "invalid-query", "/compare/mode", /previous_period, year_over_year or custom/],
    [{ mode: "last_year" }, "invalid-query", "/compare/mode", /year_over_year/],
    [{ mode: "previous_period", offset: 1 }, "invalid-query", "/compare/offset", /known are mode/],
    [{ mode: "custom" }, "invalid-query", "/compare/date_range", /Give a date_range with the mode "custom"/],
    [{ mode: "year_over_year", date_range: "7d" }, "invalid-query", "/compare/date_range", /with no other/],
    [{ mode: "custom", date_range: "7x" }, "invalid-range", "/compare/date_range", /no date_range/],
    [
      { mode: "custom", date_range: ["2026-01-02", "2026-01-01"] },
      "invalid-range",
      "/compare/date_range",
      /earlier/,
    ],
    [
      { mode: "custom", date_range: ["2026-01-01", "x"] },
      "invalid-range",
      "/compare/date_range",
      /one of each/,
    ],
    [
      { mode: "custom", date_range: ["2026-01-01T00:00:00", "2026-01-02T00:00:00Z"] },
      "invalid-range",
      "/compare/date_range/0",
      /no offset/,
    ],
    [
      { mode: "custom", date_range: ["2026-01-01T00:00:00Z", "2026-01-02T00:01:00Z"] },
      "range-not-aligned",
      "/compare/date_range/1",
      /:15/,
    ],
    [
      { mode: "custom", date_range: "7d", match_day_of_week: true },
      "invalid-query",
      "/compare/match_day_of_week",
      /leave/,
    ],
    [
      { mode: "previous_period", match_day_of_week: 1 },
      "invalid-query",
      "/compare/match_day_of_week",
      /true or false/,
    ],
    [{ mode: "previous_period", whole: "yes" }, "invalid-query", "/compare/whole", /true or false/],
  ] as const) {
    const refused = refusalOf(() => parseQuery({ ...today, compare }, context));
    const name = JSON.stringify(compare);
    t.strictSame([refused.code, refused.pointer], [code, pointer], name);
    t.match(refused.detail, says, name);
  }
  t.end();
});

t.test("cursor, source, include_today and include.other are read strictly", (t) => {
  for (const [members, code, pointer, says] of [
    [{ cursor: 5 }, "invalid-query", "/cursor", /null for the first page/],
    [{ cursor: "x".repeat(201) }, "invalid-query", "/cursor", /meta.next_cursor/],
    [{ source: "log" }, "invalid-query", "/source", /auto, buckets or raw/],
    [{ source: null }, "invalid-query", "/source", /auto, buckets or raw/],
    [{ include_today: 1 }, "invalid-query", "/include_today", /include_today is true or false/],
    [{ include: { other: 1 } }, "invalid-query", "/include/other", /other is true or false/],
    [
      { include: { other: true }, dimensions: ["time", "blog"] },
      "invalid-query",
      "/include/other",
      /where time is no dimension/,
    ],
    [{ include_today: false }, "invalid-range", "/date_range", /Today cannot be left out of "today"/],
    [{ include_today: false, date_range: "24h" }, "invalid-range", "/date_range", /cannot be left out/],
    [{ include_today: false, date_range: "yesterday" }, "invalid-range", "/date_range", /cannot be left out/],
    [{ include_today: false, date_range: "last_year" }, "invalid-range", "/date_range", /cannot be left out/],
    [
      { include_today: false, date_range: ["2026-01-01", "2026-01-02"] },
      "invalid-range",
      "/date_range",
      /give the dates as they should be/,
    ],
  ] as const) {
    const refused = refusalOf(() => parseQuery({ ...today, ...members }, context));
    const name = JSON.stringify(members).slice(0, 80);
    t.strictSame([refused.code, refused.pointer], [code, pointer], name);
    t.match(refused.detail, says, name);
  }
  t.equal(parseQuery(today, context).cursor, undefined);
  t.equal(parseQuery({ ...today, cursor: null }, context).cursor, null);
  t.end();
});

t.test("a search for parts finds every name that came since it was last asked for", (t) => {
  const world = new World();
  const ask = (operator: string): number | null =>
    world.query({ date_range: "all", metrics: ["views"], filters: [[operator, "blog", ["x", "yy"]]] })
      .results[0]!.metrics[0]!;
  let found = 0;
  for (let i = 0; i < 40; i++) {
    const blog = ["x", "y", "yy", "z"][i % 4]! + String(i);
    world.add({ ts: Date.parse("2026-11-23T10:00:00Z") + i, blog });
    if (i % 4 === 0 || i % 4 === 2) found++;
    if (i % 3 === 2) continue;
    if (ask("contains") !== found || ask("contains_not") !== i + 1 - found) t.fail(`after ${i + 1} names`);
  }
  t.equal(ask("contains"), 20);
  t.end();
});
