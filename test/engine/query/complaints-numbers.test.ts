/** What users of other products suffered with uniques (section B) and answers (C, H); AT-… is the complaint's number. */
import { Temporal } from "temporal-polyfill";
import t from "tap";
import { HOUR_MS, QUARTER_MS } from "../../../engine/calendar/index.js";
import { ask, at, firstMetrics, randomFrom, sum, World, type Happening } from "./world.js";

const DAY_MS = 24 * HOUR_MS;

/** 60 days with more viewers than are counted exactly; half of it sealed. */
async function crowd(): Promise<World> {
  const random = randomFrom(16);
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  const happenings: Happening[] = [];
  for (let i = 0; i < 40_000; i++) {
    happenings.push({
      ts: at("2026-08-01T00:00Z") + Math.floor(random() * 60 * DAY_MS),
      blog: `b${Math.floor(random() ** 3 * 8)}`,
      country: `C${Math.floor(random() * 6)}`,
      viewer: `v${Math.floor(random() ** 2 * 20_000)}`,
    });
  }
  world.add(...happenings);
  await world.commit(at("2026-09-10T00:00Z"));
  return world;
}

const crowded = await crowd();

function distinct(fromMs: number, toMs: number): number {
  return new Set(crowded.happenings.filter(({ ts }) => ts >= fromMs && ts < toMs).map(({ viewer }) => viewer))
    .size;
}

t.test(
  "AT-16, AT-19: viewers of a range are at most those of its days together, and within 4 σ of the exact set",
  (t) => {
    const random = randomFrom(17);
    let beyond3 = 0;
    for (let i = 0; i < 200; i++) {
      const fromMs = at("2026-08-01T00:00Z") + Math.floor(random() * 55 * 96) * QUARTER_MS;
      const toMs = Math.min(fromMs + (1 + Math.floor(random() * 2000)) * QUARTER_MS, at("2026-09-30T00:00Z"));
      const range = [fromMs, toMs].map((ms) => Temporal.Instant.fromEpochMilliseconds(ms).toString());
      const query = { timezone: "Europe/Paris", date_range: range, metrics: ["viewers", "views"] };
      const [row] = crowded.query(query).results;
      const exact = distinct(fromMs, toMs);
      const [viewers, views] = row!.metrics as [number, number];
      const daily = crowded.query({ ...query, dimensions: ["time:day"] });
      t.ok(viewers <= sum(daily.results.map(({ metrics }) => metrics[0]!)));
      t.ok(viewers <= views);
      t.ok(Math.abs(viewers - exact) <= Math.max(0.5, 4 * row!.error[0]!), `${viewers} of ${exact}`);
      if (Math.abs(viewers - exact) > Math.max(0.5, 3 * row!.error[0]!)) beyond3++;
      if (row!.exact[0]!) t.equal(viewers, exact);
    }
    t.ok(beyond3 <= 4, `${beyond3} of 200 beyond 3 σ`);
    t.end();
  },
);

t.test(
  "AT-19: where every viewer came once, no estimate says that there were more viewers than views",
  (t) => {
    const ts = at("2026-11-23T10:00Z");
    const world = new World();
    for (let b = 0; b < 12; b++) {
      const once = (_: unknown, i: number): Happening => ({ ts: ts + i, blog: `b${b}`, viewer: `${b} ${i}` });
      world.add(...Array.from({ length: 2500 + 100 * b }, once), { ts, blog: `b${b}` });
    }
    const { results } = world.query({
      date_range: "all",
      metrics: ["views", "viewers"],
      dimensions: ["blog"],
    });
    const spare = results.map(({ metrics }) => metrics[0]! - 1 - metrics[1]!);
    t.ok(
      spare.every((views) => views >= 0),
      spare.join(" "),
    );
    t.ok(
      spare.some((views) => views === 0),
      "some estimates were too great, and were held back",
    );
    t.ok(spare.some((views) => views > 0));
    t.end();
  },
);

t.test("AT-17: viewers are told for any range, years and all time included", (t) => {
  for (const dateRange of ["all", "year", "12mo", "91d", ["2020-01-01", "2030-12-31"]]) {
    const [row] = crowded.query({ date_range: dateRange, metrics: ["viewers"] }).results;
    const exact = distinct(-Infinity, Infinity);
    t.ok(Math.abs(row!.metrics[0]! - exact) < 4 * row!.error[0]!, JSON.stringify(dateRange));
    t.notOk(row!.exact[0]);
  }
  t.end();
});

t.test(
  "AT-18, AT-20: rows of viewers are said not to add up; the total is a union, and no row exceeds it",
  (t) => {
    const result = crowded.query({
      date_range: ["2026-08-03", "2026-09-20"],
      metrics: ["views", "viewers", "views_per_viewer"],
      dimensions: ["country"],
      include: { total: true },
    });
    t.strictSame(result.meta.non_additive, ["viewers", "views_per_viewer"]);
    const total = result.total!;
    const alone = crowded.query({
      date_range: ["2026-08-03", "2026-09-20"],
      metrics: ["views", "viewers", "views_per_viewer"],
    });
    t.strictSame(
      total.metrics,
      alone.results[0]!.metrics,
      "the total is what the query without the breakdown gives",
    );
    t.ok(sum(result.results.map(({ metrics }) => metrics[1]!)) > total.metrics[1]!);
    for (const { metrics } of result.results) t.ok(metrics[1]! <= total.metrics[1]! + 3 * total.error[1]!);
    t.end();
  },
);

t.test("AT-25: a view without a viewer, or with an empty one, is nobody's: it counts as anonymous", (t) => {
  const ts = at("2026-11-23T10:00Z");
  const world = new World().add(
    { ts, blog: "b" },
    { ts, blog: "b", viewer: "" },
    { ts, blog: "b", viewer: "v" },
  );
  const asked = {
    date_range: ["2026-11-23", "2026-11-23"],
    metrics: ["views", "viewers", "views_anonymous", "views_per_viewer"],
  };
  t.strictSame(world.query(asked).results[0]!.metrics, [3, 1, 2, 1]);
  const nobody = new World().add({ ts, blog: "b" }).query(asked).results[0]!;
  t.strictSame(nobody.metrics, [1, 0, 1, null]);
  t.strictSame(nobody.error, [0, 0, 0, 0]);
  t.end();
});

t.test(
  "AT-27: up to 1,024 viewers the count is exact and says so; beyond, it comes with its standard error",
  (t) => {
    const ts = at("2026-11-23T10:00Z");
    const asked = { date_range: ["2026-11-23", "2026-11-23"], metrics: ["viewers", "views_per_viewer"] };
    for (const [count, error] of [
      [1024, 0],
      [1025, 0.0511],
      [2048, 0.102],
      [2049, 16.7],
      [10_000, 82],
    ] as const) {
      const world = new World({ schema: { rollups: [[]] } });
      world.add(
        ...Array.from({ length: count }, (_, i): Happening => ({
          ts: ts + i,
          blog: "b",
          viewer: `viewer ${i}`,
        })),
      );
      const row = world.query(asked).results[0]!;
      t.strictSame(row.exact, [error === 0, error === 0], String(count));
      t.ok(Math.abs(row.error[0]! - error) <= 0.05 * error, `${row.error[0]} where ${error} is expected`);
      t.ok(Math.abs(row.metrics[0]! - count) <= Math.max(0.5, 4 * error));
      const ratio = (row.metrics[1]! * row.error[0]!) / row.metrics[0]!;
      t.ok(
        Math.abs(row.error[1]! - ratio) < 1e-12,
        "the error of the ratio is that of the viewers, in proportion",
      );
    }
    t.end();
  },
);

t.test(
  "AT-28, AT-30: sealing changes no number, and a sealed number only with the state “revised”",
  async (t) => {
    const world = new World({ homeZones: ["Asia/Kolkata"] });
    const events = crowded.happenings.slice(0, 6000);
    world.add(...events);
    const queries = ["UTC", "Asia/Kolkata", "Europe/Paris"].flatMap((timezone) =>
      ["day", "week", "month"].map((grain) => ({
        timezone,
        date_range: ["2026-08-02", "2026-09-20"],
        dimensions: [`time:${grain}`, "blog"],
        metrics: ["views", "viewers", "views_per_viewer"],
      })),
    );
    const before = queries.map((query) =>
      world.query(query).results.map(({ dimensions, metrics }) => [dimensions, metrics]),
    );
    await world.commit(at("2026-09-28T00:00Z"));
    const after = queries.map((query) => world.query(query).results);
    t.strictSame(
      after.map((rows) => rows.map(({ dimensions, metrics }) => [dimensions, metrics])),
      before,
    );
    t.ok(after.flat().every(({ state }) => state === "final"));
    const late = at("2026-08-10T12:00Z");
    world.add({ ts: late, blog: "b0", viewer: "late" });
    for (const committed of [false, true]) {
      if (committed) await world.commit(at("2026-09-28T00:00Z"));
      const { results } = ask(world, "Asia/Kolkata", ["2026-08-09", "2026-08-11"], {
        dimensions: ["time:day"],
      });
      t.strictSame(
        results.map(({ state }) => state),
        ["final", "revised", "final"],
        committed ? "written" : "in memory",
      );
    }
    t.end();
  },
);

t.test("AT-29: a ratio is taken of the union, not averaged over rows", (t) => {
  const ts = at("2026-11-23T10:00Z");
  const world = new World();
  for (let i = 0; i < 9; i++) world.add({ ts: ts + i, blog: "b", viewer: "v" });
  world.add({ ts: ts + DAY_MS, blog: "b", viewer: "w" });
  const asked = {
    date_range: ["2026-11-23", "2026-11-24"],
    metrics: ["views_per_viewer"],
    dimensions: ["time:day"],
    include: { total: true },
  };
  const result = world.query(asked);
  t.strictSame(
    result.results.map(({ metrics }) => metrics[0]),
    [9, 1],
  );
  t.strictSame(result.total!.metrics, [5]);
  t.end();
});

t.test(
  "AT-31, AT-33: what comes 2 minutes, 2 hours or 20 days late is in every grain; the open bucket is never missing",
  async (t) => {
    const now = at("2026-11-23T14:03Z");
    const world = new World({ homeZones: ["Asia/Kolkata"] }).add({ ts: now, blog: "b", viewer: "v" });
    for (const lateMs of [120_000, 2 * HOUR_MS, 20 * DAY_MS]) {
      await world.commit(now - 60_000, true);
      world.add({ ts: now - lateMs, blog: "b", viewer: "v" });
    }
    for (const grain of ["quarter", "hour", "day", "week", "month", "year"]) {
      const result = ask(world, "Asia/Kolkata", "30d", { dimensions: [`time:${grain}`] });
      t.equal(sum(firstMetrics(result)), 4, grain);
      t.equal(result.results.at(-1)!.state, "partial");
    }
    t.end();
  },
);

t.test(
  "AT-65: rows come in one total order, ties by name in the order of UTF-8, nulls last, whatever came first",
  (t) => {
    const names = ["b", "a", "é", "\u{1F600}", "\uFFFD", "Z", undefined];
    const ts = at("2026-11-23T10:00Z");
    const orders = [names, names.toReversed()].map((each) => {
      const world = new World().add(...each.map((author): Happening => ({ ts, blog: "b", author })));
      const result = ask(world, "UTC", "all", { dimensions: ["author"] });
      return result.results.map(({ dimensions }) => dimensions[0]);
    });
    t.strictSame(orders[0], ["Z", "a", "b", "é", "\uFFFD", "\u{1F600}", null]);
    t.strictSame(orders[1], orders[0]);
    t.end();
  },
);

t.test("AT-66: a filtered breakdown is that of the events that pass the filter", (t) => {
  const country = "C3";
  const fromMs = at("2026-08-20T00:00Z");
  const toMs = at("2026-09-15T00:00Z");
  const { results } = ask(crowded, "UTC", ["2026-08-20", "2026-09-14"], {
    dimensions: ["blog"],
    filters: [["is", "country", [country]]],
  });
  const passing = crowded.happenings.filter(
    (each) => each.country === country && each.ts >= fromMs && each.ts < toMs,
  );
  t.strictSame(
    Object.fromEntries(results.map(({ dimensions, metrics }) => [dimensions[0], metrics[0]])),
    Object.fromEntries(
      results.map(({ dimensions }) => [
        dimensions[0],
        passing.filter(({ blog }) => blog === dimensions[0]).length,
      ]),
    ),
  );
  t.equal(sum(results.map(({ metrics }) => metrics[0]!)), passing.length);
  t.end();
});

t.test("AT-67: all rows are given up to the limit, and what the limit cut off is told", (t) => {
  const ts = at("2026-11-23T10:00Z");
  const world = new World({ schema: { rollups: [["blog"]] } });
  world.add(...Array.from({ length: 12_000 }, (_, i): Happening => ({ ts, blog: `b${i}` })));
  const all = ask(world, "UTC", "all", { dimensions: ["blog"], limit: 100_000 });
  t.equal(all.results.length, 12_000);
  t.equal(all.meta.rows_left_off, 0);
  const some = ask(world, "UTC", "all", { dimensions: ["blog"] });
  t.equal(some.results.length, 10_000);
  t.equal(some.meta.rows_left_off, 2000);
  t.strictSame(some.results, all.results.slice(0, 10_000));
  t.end();
});

t.test("AT-68: months and years back from leap days and from the ends of months begin on the first", (t) => {
  const fromOf = (now: string, dateRange: string): string => {
    const world = new World();
    world.now = at(now);
    return ask(world, "UTC", dateRange).meta.range[0].slice(0, 10);
  };
  t.equal(fromOf("2024-02-29T12:00Z", "12mo"), "2023-03-01");
  t.equal(fromOf("2024-02-29T12:00Z", "year"), "2024-01-01");
  t.equal(fromOf("2024-02-29T12:00Z", "366d"), "2023-03-01");
  t.equal(fromOf("2025-02-28T12:00Z", "366d"), "2024-02-29");
  t.equal(fromOf("2024-03-31T12:00Z", "6mo"), "2023-10-01");
  t.equal(fromOf("2024-12-31T23:59Z", "month"), "2024-12-01");
  t.end();
});
