import * as fc from "fast-check";
import t from "tap";
import { Temporal } from "temporal-polyfill";
import type { Metric, QueryResult } from "../../../engine/api.js";
import { getZone, type Grain } from "../../../engine/calendar/index.js";
import { dateStart, zonedAt } from "../calendar/oracle.js";
import {
  naiveChange,
  naiveOtherDay,
  naiveOtherDays,
  naiveSeries,
  type NaiveCompare,
} from "./naive-series.js";
import { World, randomFrom, type Happening } from "./world.js";

const long = process.env["TIDEMARK_LONG"] === "1";
const ZONES = [
  "UTC",
  "Asia/Kolkata",
  "America/New_York",
  "Australia/Lord_Howe",
  "Africa/Cairo",
  "Europe/Lisbon",
];
const HOME = "America/New_York";

const METRICS: readonly Metric[] = [
  "views",
  "viewers",
  "views_anonymous",
  "views_per_viewer",
  "blogs_created",
  "blogs_total",
  "new_viewers",
  "returning_viewers",
  ["rolling", "viewers", 7],
  ["rolling", "views", 3],
  ["rolling", "viewers", 1],
  ["rolling", "blogs_created", 4],
  ["cumulative", "views"],
  ["cumulative", "viewers"],
  ["rate", "views", "hour"],
  ["rate", ["rolling", "views_anonymous", 2], "day"],
  ["moving_average", "views", 3],
  ["moving_average", ["rolling", "viewers", 2], 2],
  ["change", "viewers"],
  ["change", ["cumulative", "views"]],
  ["change", "new_viewers"],
  ["ratio", "viewers", ["rolling", "viewers", 7]],
  ["ratio", "new_viewers", "viewers"],
];

/** Events of some weeks before and after a day, half of them in its own fortnight; some quarters are sealed. */
async function makeWorld(seed: number, day: Temporal.PlainDate): Promise<World> {
  const random = randomFrom(seed);
  const pick = (count: number): number => Math.floor(random() * count);
  const startMs = dateStart("UTC", day);
  const world = new World({ homeZones: [HOME] });
  const events = Array.from({ length: 150 }, (): Happening => {
    const days =
      random() < 0.5 ? random() * 14 - 3 : random() < 0.7 ? random() * 60 - 40 : random() * 30 - 380;
    const ts = Math.floor(startMs + days * 86_400_000);
    const place = { ts, blog: `b${pick(3)}`, author: pick(4) === 0 ? undefined : `a${pick(2)}` };
    if (random() < 0.1) return { ...place, created: true };
    return { ...place, viewer: random() < 0.15 ? undefined : `v${pick(12)}` };
  });
  world.add(...events);
  await world.commit(startMs + (random() * 10 - 5) * 86_400_000, random() < 0.5);
  world.now = Math.max(world.now, startMs + 5 * 86_400_000);
  return world;
}

const questions = fc.record({
  seed: fc.nat(),
  zone: fc.constantFrom(...ZONES),
  grain: fc.constantFrom<Grain>("hour", "day", "day", "week", "month"),
  day: fc.constantFrom("2024-02-20", "2024-03-08", "2024-10-29", "2025-02-25", "2025-04-03", "2023-12-28"),
  daysBefore: fc.integer({ min: 0, max: 10 }),
  days: fc.integer({ min: 1, max: 12 }),
  blogs: fc.boolean(),
  metrics: fc.subarray([...METRICS], { minLength: 1, maxLength: 5 }),
});

const near = (a: number | null, b: number | null): boolean =>
  a === b || (a !== null && b !== null && Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b)));

/** The rows of an answer by time and, where asked for, blog. */
function byKey(result: QueryResult): Map<string, QueryResult["results"][number]> {
  return new Map(result.results.map((row) => [JSON.stringify(row.dimensions), row]));
}

t.test(
  "metrics along time are those of a walk through all events, in every zone, grain and group",
  async (t) => {
    let rows = 0;
    await fc.assert(
      fc.asyncProperty(
        questions,
        async ({ seed, zone: name, grain, day, daysBefore, days, blogs, metrics }) => {
          const world = await makeWorld(seed, Temporal.PlainDate.from(day));
          const zone = getZone(name);
          const first = zonedAt(
            name,
            zone.startOf(grain, dateStart(name, Temporal.PlainDate.from(day).subtract({ days: daysBefore }))),
          ).toPlainDate();
          const last = first.add({
            days: (grain === "hour" ? Math.min(days, 2) : grain === "day" ? days : days * 7) - 1,
          });
          const [fromMs, toMs] = [dateStart(name, first), dateStart(name, last.add({ days: 1 }))];
          const found = byKey(
            world.query({
              date_range: [first.toString(), last.toString()],
              timezone: name,
              metrics,
              dimensions: [`time:${grain}`, ...(blogs ? ["blog"] : [])],
            }),
          );
          let expected = 0;
          const groups = blogs ? ["b0", "b1", "b2"] : [null];
          for (const blog of groups) {
            const events = world.happenings.filter((each) => blog === null || each.blog === blog);
            const series = naiveSeries(events, { zone, grain, fromMs, toMs, now: world.now, metrics });
            for (const row of series) {
              const key = JSON.stringify(blog === null ? [row.label] : [row.label, blog]);
              const answer = found.get(key);
              const isEmpty = row.metrics.every((value) => value === 0 || value === null);
              if (isEmpty && answer === undefined) continue;
              // What has not begun has no row of its own.
              if (row.fromMs > world.now && answer === undefined) continue;
              expected++;
              if (answer === undefined || !row.metrics.every((value, m) => near(value, answer.metrics[m]!))) {
                throw new Error(
                  `${key} of ${JSON.stringify(metrics)}: ${JSON.stringify(answer?.metrics)}, not ${JSON.stringify(row.metrics)}`,
                );
              }
            }
          }
          rows += expected;
          return expected === found.size;
        },
      ),
      { numRuns: long ? 3000 : 50 },
    );
    t.ok(rows > 100, `${rows} rows`);
  },
);

const compares = fc.record({
  mode: fc.constantFrom<NaiveCompare["mode"]>("previous_period", "year_over_year"),
  matchWeekday: fc.boolean(),
});

t.test(
  "AT-68: what days are compared with is what the other dates have, in every zone and mode",
  async (t) => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        questions,
        compares,
        async ({ seed, zone: name, day, daysBefore, days, blogs, metrics }, compare) => {
          const world = await makeWorld(seed, Temporal.PlainDate.from(day));
          const zone = getZone(name);
          const first = Temporal.PlainDate.from(day).subtract({ days: daysBefore });
          const last = first.add({ days: days - 1 });
          const result = world.query({
            date_range: [first.toString(), last.toString()],
            timezone: name,
            metrics,
            dimensions: ["time:day", ...(blogs ? ["blog"] : [])],
            compare: { mode: compare.mode, match_day_of_week: compare.matchWeekday, whole: true },
          });
          const [otherFirst, otherLast] = naiveOtherDays(first, last, compare);
          const other = {
            zone,
            grain: "day" as const,
            fromMs: dateStart(name, otherFirst),
            toMs: dateStart(name, otherLast.add({ days: 1 })),
            now: world.now,
            metrics,
          };
          for (const row of result.results) {
            const events = world.happenings.filter((each) => !blogs || each.blog === row.dimensions[1]);
            const date = naiveOtherDay(first, last, compare, Temporal.PlainDate.from(row.dimensions[0]!));
            const expected = naiveSeries(events, other).find((each) => each.label === date?.toString());
            const answer = row.compare ?? undefined;
            if (expected === undefined || answer === undefined) {
              if (expected !== answer)
                throw new Error(`${row.dimensions[0]}: ${JSON.stringify(answer)} for ${date?.toString()}`);
              continue;
            }
            compared++;
            const isRight = expected.metrics.every(
              (value, m) =>
                near(value, answer.metrics[m]!) &&
                near(naiveChange(row.metrics[m]!, value), answer.change[m]!),
            );
            if (!isRight)
              throw new Error(
                `${row.dimensions[0]} with ${date?.toString()}: ${JSON.stringify(answer)}, not ${JSON.stringify(expected)}`,
              );
          }
          return true;
        },
      ),
      { numRuns: long ? 3000 : 50 },
    );
    t.ok(compared > 200, `${compared} rows compared`);
  },
);
