/** What users of other products suffered with late events (section C) and with answers (H), in the newer questions; AT-… is the complaint's number. */
import { Temporal } from "temporal-polyfill";
import t from "tap";
import type { QueryResult } from "../../../engine/api.js";
import { HOUR_MS, supportedZones } from "../../../engine/calendar/index.js";
import { ask, at, firstMetrics, randomFrom, sum, World, type Happening } from "./world.js";

const DAY_MS = 24 * HOUR_MS;
const NOW_MS = at("2026-11-23T14:03:11Z");

/** A month of some 5,000 events with shared viewers; sealed but for the last hours. */
async function month(): Promise<World> {
  const random = randomFrom(65);
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  const pick = (n: number, letter: string): string => `${letter}${Math.floor(random() ** 2 * n)}`;
  world.add(
    ...Array.from({ length: 5000 }, (): Happening => ({
      ts: NOW_MS - Math.floor(random() * 30 * DAY_MS),
      blog: pick(300, "b"),
      country: random() < 0.1 ? undefined : pick(9, "C"),
      viewer: random() < 0.2 ? undefined : pick(500, "v"),
      created: random() < 0.03,
    })),
  );
  world.now = NOW_MS;
  await world.commit(NOW_MS - 2 * HOUR_MS);
  return world;
}

const busy = await month();

function distinct(events: readonly Happening[]): number {
  const viewers = events.filter(({ created, viewer }) => created !== true && viewer !== undefined);
  return new Set(viewers.map(({ viewer }) => viewer)).size;
}

t.test(
  "AT-05: the heat map has an event in the hour in which the other answers have it, in every zone",
  (t) => {
    const ts = at("2026-11-22T13:50:00Z");
    const world = new World().add({ ts, blog: "b" });
    world.now = NOW_MS;
    for (const timezone of supportedZones()) {
      const { matrix, top } = world.questions().peak({ date_range: "7d", timezone });
      const local = Temporal.Instant.fromEpochMilliseconds(ts).toZonedDateTimeISO(timezone);
      const [hour] = ask(world, timezone, "7d", { dimensions: ["time:hour"] }).results;
      const wanted = [local.dayOfWeek, local.hour, String(hour!.dimensions[0]).slice(0, 13)];
      const found = [top[0]!.weekday, top[0]!.hour, local.toString().slice(0, 13)];
      if (found.join() !== wanted.join()) t.strictSame(found, wanted, timezone);
      if (matrix[local.dayOfWeek - 1]![local.hour] !== 1) t.fail(`${timezone}: ${JSON.stringify(top)}`);
    }
    t.end();
  },
);

t.test("AT-06: the rows of a top ten and the others together are the total, in every zone", (t) => {
  for (const timezone of supportedZones()) {
    const { results, other, total } = ask(busy, timezone, "7d", {
      dimensions: ["blog"],
      metrics: ["views", "views_anonymous", "blogs_created"],
      limit: 10,
      include: { total: true, other: true },
    });
    const sums = [0, 1, 2].map((m) => sum(results.map(({ metrics }) => metrics[m]!)) + other!.metrics[m]!);
    if (sums.join() !== total!.metrics.join()) t.strictSame(sums, total!.metrics, timezone);
  }
  t.end();
});

t.test(
  "AT-18: the others' viewers are the union of those who read them, not what is left of the total",
  (t) => {
    for (const limit of [1, 5, 50]) {
      const { results, other, total } = ask(busy, "UTC", "7d", {
        dimensions: ["blog"],
        metrics: ["viewers"],
        limit,
        include: { total: true, other: true },
      });
      const shown = new Set(results.map(({ dimensions }) => dimensions[0]));
      const fromMs = at("2026-11-17T00:00:00Z");
      const rest = busy.happenings.filter(({ ts, blog }) => ts >= fromMs && !shown.has(blog));
      t.equal(other!.metrics[0], distinct(rest), `beyond ${limit}`);
      const shownTogether = sum(results.map(({ metrics }) => metrics[0]!));
      t.ok(other!.metrics[0]! > total!.metrics[0]! - shownTogether, "which subtracting would not tell");
    }
    t.end();
  },
);

t.test("AT-36: an event that was delayed counts at its own time, and not now", async (t) => {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  for (let minute = 180; minute >= 0; minute--) world.add({ ts: NOW_MS - minute * 60_000, blog: "b" });
  await world.commit(NOW_MS - HOUR_MS);
  const hours = (): number[] =>
    firstMetrics(ask(world, "UTC", "24h", { dimensions: ["time:hour"], fill: "zero" }));
  const before = hours();
  const delayed = Array.from({ length: 500 }, (_, i): Happening => ({
    ts: NOW_MS - 5 * HOUR_MS + i,
    blog: "b",
  }));
  world.add(...delayed);
  const spike = (each: number, i: number): number => (i === 18 ? each + 500 : each);
  for (const isWritten of [false, true]) {
    if (isWritten) await world.commit(NOW_MS - HOUR_MS, true);
    t.strictSame(hours(), before.map(spike));
    t.strictSame(firstMetrics(ask(world, "UTC", "current_hour")), [before.at(-1)]);
    const rates = ask(world, "UTC", "24h", {
      dimensions: ["time:hour"],
      metrics: [["change", "views"]],
      fill: "zero",
    });
    t.strictSame(
      rates.results.at(-1)!.metrics,
      [before.at(-1)! / before.at(-2)! - 1],
      "no jump where nothing jumped",
    );
  }
});

t.test("AT-37: every hour with a quarter is there, and nothing that lies outside the range", async (t) => {
  const world = await month();
  for (const sealUntil of [0, NOW_MS - 20 * DAY_MS, NOW_MS]) {
    if (sealUntil > 0) await world.commit(sealUntil, true);
    for (const timezone of ["UTC", "Asia/Kolkata", "Australia/Lord_Howe"]) {
      const range = ["2026-11-02T03:45:00Z", "2026-11-09T10:15:00Z"];
      const rowsBy = (grain: string): QueryResult =>
        ask(world, timezone, range, { dimensions: [`time:${grain}`], include: { time_labels: true } });
      const quarters = rowsBy("quarter");
      const hours = rowsBy("hour");
      const seen = new Map<string, number>();
      for (const { dimensions, metrics } of quarters.results) {
        const instant = Temporal.Instant.from(dimensions[0]!);
        const ms = instant.epochMilliseconds;
        if (ms < at(range[0]!) || ms >= at(range[1]!)) t.fail(`${dimensions[0]} lies outside`);
        const hour = instant
          .toZonedDateTimeISO(timezone)
          .round({ smallestUnit: "hour", roundingMode: "floor" });
        const name = hour.toInstant().epochMilliseconds;
        seen.set(String(name), (seen.get(String(name)) ?? 0) + metrics[0]!);
      }
      const found = hours.results.map(({ dimensions, metrics }) => [String(at(dimensions[0]!)), metrics[0]]);
      t.strictSame(found, [...seen], `${timezone}, sealed until ${new Date(sealUntil).toISOString()}`);
      const labels = new Set(hours.meta.time_labels);
      t.ok(hours.results.every(({ dimensions }) => labels.has(dimensions[0]!)));
    }
  }
});

t.test(
  "AT-65: pages repeat nothing and miss nothing while events come in; no defined metric is null",
  async (t) => {
    const world = await month();
    const questions = world.questions();
    const query = {
      date_range: "30d",
      dimensions: ["blog"],
      metrics: ["views", "viewers", "views_per_viewer"],
      order_by: [["viewers", "desc"]],
    };
    const whole = questions.queryNow({ ...query, limit: 100_000 }).results;
    const rows: QueryResult["results"][number][] = [];
    let cursor: string | null | undefined = null;
    for (let page = 0; cursor !== undefined && cursor !== null ? true : page === 0; page++) {
      const answer: QueryResult = questions.queryNow({ ...query, limit: 25, cursor });
      rows.push(...answer.results);
      cursor = answer.meta.next_cursor;
      t.equal(answer.meta.rows_left_off, whole.length - rows.length);
      // New blogs come, and old ones change their places.
      const events = Array.from({ length: 40 }, (_, i): Happening => ({
        ts: NOW_MS - page * HOUR_MS,
        blog: `b${299 - i}`,
        viewer: `page ${page} ${i}`,
      }));
      world.add(...events, { ts: NOW_MS, blog: `new ${page}`, viewer: "v" });
      await world.commit(NOW_MS - HOUR_MS, page % 2 === 0);
    }
    t.strictSame(rows, whole);
    t.equal(new Set(rows.map(({ dimensions }) => dimensions[0])).size, rows.length);
    t.ok(rows.every(({ metrics }) => metrics[0] !== null && metrics[1] !== null));
    t.ok(rows.every(({ metrics }) => (metrics[2] === null) === (metrics[1] === 0)));
  },
);

t.test("AT-65: a cursor is good for its own query only, and says so when its pages are gone", async (t) => {
  const world = await month();
  const questions = world.questions();
  const query = { date_range: "30d", dimensions: ["blog"], metrics: ["views"], limit: 10 };
  const { next_cursor: cursor } = questions.queryNow({ ...query, cursor: null }).meta;
  t.throws(() => questions.queryNow({ ...query, limit: 20, cursor }), {
    code: "invalid-query",
    pointer: "/cursor",
  });
  t.throws(() => questions.queryNow({ ...query, cursor: "test.zz.5" }), {
    code: "cursor-expired",
    pointer: "/cursor",
  });
  t.throws(() => questions.queryNow({ ...query, cursor: "" }), { code: "cursor-expired" });
  t.throws(() => world.questions().queryNow({ ...query, cursor }), { code: "cursor-expired" });
  const again = questions.queryNow({ ...query, cursor });
  t.strictSame(
    questions.queryNow({ ...query, cursor }).results,
    again.results,
    "a page may be asked for twice",
  );
  world.now += 11 * 60_000;
  questions.queryNow({ ...query, cursor: null });
  t.throws(() => questions.queryNow({ ...query, cursor }), { code: "cursor-expired" });
});

t.test("AT-66: each row of a filtered breakdown is of the events that pass, its ratios too", (t) => {
  const passes = ({ blog, country }: Happening): boolean =>
    (blog.includes("1") || country === "C0") && !(country === "C3" && blog === "b1");
  const { results, total } = ask(busy, "UTC", ["2026-10-25", "2026-11-23"], {
    dimensions: ["country"],
    metrics: ["views", "viewers", "views_anonymous", "views_per_viewer", ["ratio", "views", "viewers"]],
    filters: [
      [
        "or",
        [
          ["contains", "blog", ["1"]],
          ["is", "country", ["C0"]],
        ],
      ],
      [
        "not",
        [
          "and",
          [
            ["is", "country", ["C3"]],
            ["is", "blog", ["b1"]],
          ],
        ],
      ],
    ],
    include: { total: true },
  });
  const rowOf = (events: readonly Happening[]): (number | null)[] => {
    const views = events.filter(({ created, ts }) => created !== true && ts >= at("2026-10-25T00:00:00Z"));
    const anonymous = views.filter(({ viewer }) => viewer === undefined).length;
    const viewers = distinct(views);
    return [views.length, viewers, anonymous, (views.length - anonymous) / viewers, views.length / viewers];
  };
  const passing = busy.happenings.filter(passes);
  for (const { dimensions, metrics } of results) {
    const wanted = rowOf(passing.filter(({ country = null }) => country === dimensions[0]));
    t.strictSame(metrics, wanted, String(dimensions[0]));
  }
  t.equal(results.length, new Set(passing.map(({ country }) => country)).size);
  t.strictSame(total!.metrics, rowOf(passing));
  t.end();
});

t.test("AT-67: all of 12,000 rows come, in one answer or by the page", (t) => {
  const world = new World({ schema: { rollups: [["blog"]] } });
  world.add(...Array.from({ length: 12_000 }, (_, i): Happening => ({ ts: NOW_MS, blog: `b${i}` })));
  const questions = world.questions();
  const query = { date_range: "today", dimensions: ["blog"], metrics: ["views"] };
  const all = questions.queryNow({ ...query, limit: 100_000 }).results;
  t.equal(all.length, 12_000);
  const paged: unknown[] = [];
  let cursor: string | null | undefined = null;
  do {
    const page: QueryResult = questions.queryNow({ ...query, limit: 5000, cursor });
    paged.push(...page.results);
    cursor = page.meta.next_cursor;
  } while (cursor !== null);
  t.strictSame(paged, all);
  t.end();
});

t.test(
  "AT-68: a year is compared with the same dates, leap years included, and Mondays with Mondays",
  (t) => {
    const world = new World({ schema: { rollups: [[]] } });
    // On the n-th day of a year, n views.
    for (const year of [2023, 2024, 2025]) {
      for (
        let day = Temporal.PlainDate.from({ year, month: 1, day: 1 });
        day.year === year;
        day = day.add({ days: 1 })
      ) {
        const ts = day.toZonedDateTime({ timeZone: "UTC", plainTime: "12:00" }).epochMilliseconds;
        world.add(...Array.from({ length: day.dayOfYear }, (): Happening => ({ ts, blog: "b" })));
      }
    }
    world.now = at("2026-11-23T00:00:00Z");
    const compared = (range: readonly [string, string], compare: Record<string, unknown>): unknown => {
      const { meta, results } = ask(world, "UTC", range, { compare, dimensions: ["time:day"] });
      const dates = meta.compare_range!.map((text) => text.slice(0, 10));
      return [dates, results.map((row) => [row.dimensions[0], row.compare?.metrics[0] ?? null])];
    };
    const yearOverYear = { mode: "year_over_year" };
    t.strictSame(compared(["2024-02-28", "2024-03-01"], yearOverYear), [
      ["2023-02-28", "2023-03-02"],
      [
        ["2024-02-28", 59],
        ["2024-02-29", null],
        ["2024-03-01", 60],
      ],
    ]);
    t.strictSame(compared(["2025-02-28", "2025-03-01"], yearOverYear), [
      ["2024-02-28", "2024-03-02"],
      [
        ["2025-02-28", 59],
        ["2025-03-01", 61],
      ],
    ]);
    for (const [month, days] of [
      ["2024-02", 29],
      ["2025-02", 28],
      ["2025-03", 31],
    ] as const) {
      const { meta } = ask(world, "UTC", [`${month}-01`, `${month}-${days}`], { compare: yearOverYear });
      const before = Temporal.PlainYearMonth.from(month).subtract({ years: 1 });
      const wanted = [before, before.add({ months: 1 })].map((each) => `${each.toString()}-01`);
      t.strictSame(
        meta.compare_range!.map((text) => text.slice(0, 10)),
        wanted,
        month,
      );
    }
    t.strictSame(compared(["2024-12-30", "2024-12-30"], { ...yearOverYear, match_day_of_week: true }), [
      ["2024-01-01", "2024-01-02"],
      [["2024-12-30", 1]],
    ]);
    const months = ask(world, "UTC", ["2024-03-01", "2024-03-31"], { compare: { mode: "previous_period" } });
    t.strictSame(months.results[0]!.compare!.metrics, [sum(Array.from({ length: 29 }, (_, i) => 32 + i))]);
    t.end();
  },
);

t.test("AT-70: the heat map has 7 × 24 means, the busiest hours, and marks the hour that it is", (t) => {
  const world = new World();
  const timezone = "Asia/Kathmandu";
  // Four weeks of one view an hour, and one outlier: Friday at 20:00 there.
  for (let hour = 0; hour < 28 * 24; hour++)
    world.add({ ts: at("2026-10-25T18:15:00Z") + hour * HOUR_MS, blog: "b" });
  const friday = at("2026-11-20T14:15:00Z");
  world.add(...Array.from({ length: 400 }, (_, i): Happening => ({ ts: friday + i, blog: "b" })));
  world.now = at("2026-11-23T14:03:11Z");
  const { matrix, hours_counted, top, now } = world
    .questions()
    .peak({ date_range: "4w", timezone, limit: 2 });
  t.strictSame([matrix.length, ...matrix.map((row) => row.length)], [7, 24, 24, 24, 24, 24, 24, 24]);
  t.equal(hours_counted[4]![20], 3, "Fridays of this week and the three before");
  t.equal(matrix[4]![20], (1 + 1 + 401) / 3);
  const week = sum(matrix.flat().map((mean) => mean!));
  t.strictSame(top[0], { weekday: 5, hour: 20, views: 403 / 3, share: 403 / 3 / week });
  t.equal(top[1]!.views, 1, "one outlier bends one hour only");
  t.strictSame(now, { weekday: 1, hour: 19 });
  t.end();
});
