import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import t from "tap";
import { Temporal } from "temporal-polyfill";
import { DAY_MS, HOUR_MS, QUARTER_MS, getZone, parseInstant } from "../../../engine/calendar/index.js";
import { peak, type Peak } from "../../../engine/query/peak.js";
import { timeEdges } from "../../../engine/query/time-buckets.js";
import { randomWords } from "../../support/random.js";
import { bucketAt } from "../../support/zoned.js";
import { allZones } from "./compare-support.js";
import { changesOf, dateStart, long, zoneNames, zonedAt } from "../calendar/oracle.js";

const at = (text: string): number => parseInstant(text)!;
const NEVER = Number.MAX_SAFE_INTEGER;

/** What the week looks like where an hour of weekday w and clock hour h has `views(w, h)`. */
function peakOf(
  name: string,
  fromMs: number,
  toMs: number,
  views: (startMs: number) => number,
  now = NEVER,
): Peak {
  const zone = getZone(name);
  const edges = timeEdges(zone, "hour", fromMs, toMs);
  return peak(zone, edges, Array.from(edges.subarray(0, -1), views), Math.min(now, 4e12), 5);
}

/** Hour by hour with Temporal, views from a hash of the hour's start. */
function naive(
  name: string,
  fromMs: number,
  toMs: number,
  now: number,
  views: (startMs: number) => number,
): unknown {
  const sums = Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => 0));
  const daysCounted = Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => 0));
  for (let ms = fromMs; ms < toMs;) {
    const hour = bucketAt(name, "hour", ms);
    const isFull =
      hour.endMs - hour.startMs === HOUR_MS && hour.startMs >= fromMs && hour.endMs <= Math.min(toMs, now);
    const zdt = zonedAt(name, hour.startMs);
    if (isFull) {
      sums[zdt.dayOfWeek - 1]![zdt.hour]! += views(hour.startMs);
      daysCounted[zdt.dayOfWeek - 1]![zdt.hour]!++;
    }
    ms = hour.endMs;
  }
  const matrix = sums.map((row, w) =>
    row.map((sum, h) => (daysCounted[w]![h] === 0 ? null : sum / daysCounted[w]![h]!)),
  );
  return { matrix, daysCounted };
}

t.test(
  "AT-70: means and counts are those of a walk with Temporal, in any zone, across changes of clocks",
  (t) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zoneNames),
        fc.nat(),
        fc.integer({ min: -96 * 10, max: 96 * 10 }),
        fc.integer({ min: 1, max: 96 * 25 }),
        fc.double({ min: 0, max: 1.2, noNaN: true }),
        fc.integer(),
        (name, index, nearQuarters, quarters, progress, seed) => {
          const changes = changesOf(getZone(name)).filter((ms) => ms > at("2022-10-20T00:00:00Z"));
          const middle = changes.length === 0 ? at("2024-01-01T00:00:00Z") : changes[index % changes.length]!;
          const fromMs = middle + nearQuarters * QUARTER_MS;
          const toMs = fromMs + quarters * QUARTER_MS;
          const now = Math.floor(fromMs + progress * (toMs - fromMs));
          const views = (startMs: number): number => randomWords(seed ^ (startMs / QUARTER_MS))() % 1000;
          const { matrix, daysCounted } = peakOf(name, fromMs, toMs, views, now);
          return isDeepStrictEqual({ matrix, daysCounted }, naive(name, fromMs, toMs, now, views));
        },
      ),
      { numRuns: long ? 5000 : 80 },
    );
    t.end();
  },
);

t.test(
  "AT-70: with the same views in every such hour, all zones show exactly these, whatever the clocks did",
  (t) => {
    const [fromMs, toMs] = [at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")];
    for (const name of zoneNames.filter((_, i) => allZones || i % 4 === 0)) {
      const zone = getZone(name);
      const wall = (ms: number): Date => new Date(ms + zone.offsetAt(ms));
      const views = (ms: number): number =>
        (((wall(ms).getUTCDay() + 6) % 7) + 1) * 100 + wall(ms).getUTCHours();
      const { matrix } = peakOf(name, fromMs, toMs, views);
      const isRight = matrix.every((row, w) => row.every((mean, h) => mean === (w + 1) * 100 + h));
      if (!isRight) t.fail(`${name}: ${JSON.stringify(matrix)}`);
    }
    t.end();
  },
);

t.test("an hour that spring skips has not occurred, the one that autumn repeats occurred twice", (t) => {
  const week = (from: string): Peak => {
    const first = Temporal.PlainDate.from(from);
    const range = [first, first.add({ days: 7 })].map((day) => dateStart("Europe/Berlin", day));
    return peakOf("Europe/Berlin", range[0]!, range[1]!, () => 60);
  };
  const spring = week("2025-03-24");
  t.same(spring.daysCounted[6]!.slice(0, 5), [1, 1, 0, 1, 1]);
  t.same(spring.matrix[6]!.slice(0, 5), [60, 60, null, 60, 60]);
  const autumn = week("2025-10-20");
  t.same(autumn.daysCounted[6]!.slice(0, 5), [1, 1, 2, 1, 1]);
  t.same(autumn.matrix[6]!.slice(0, 5), [60, 60, 60, 60, 60]);
  t.end();
});

t.test("Lord Howe's half hours are no full hours", (t) => {
  const name = "Australia/Lord_Howe";
  const day = (text: string): Peak => {
    const first = Temporal.PlainDate.from(text);
    return peakOf(name, dateStart(name, first), dateStart(name, first.add({ days: 1 })), () => 60);
  };
  t.same(day("2025-10-05").daysCounted[6]!.slice(0, 5), [1, 1, 0, 1, 1]);
  t.same(day("2025-04-06").daysCounted[6]!.slice(0, 5), [1, 1, 1, 1, 1]);
  t.end();
});

t.test("hours that the range cuts, and the one under way, are left out", (t) => {
  const [fromMs, toMs] = [at("2026-11-23T10:15:00+05:30"), at("2026-11-23T16:30:00+05:30")];
  const now = at("2026-11-23T14:59:59+05:30");
  const { daysCounted, now: nowHour } = peakOf("Asia/Kolkata", fromMs, toMs, () => 1, now);
  t.same(daysCounted[0]!.slice(9, 18), [0, 0, 1, 1, 1, 0, 0, 0, 0]);
  t.same(
    daysCounted
      .slice(1)
      .flat()
      .filter((count) => count > 0),
    [],
  );
  t.same(nowHour, { weekday: 1, hour: 14 });
  const atEnd = peakOf("Asia/Kolkata", fromMs, toMs, () => 1, now + 1000);
  t.equal(atEnd.daysCounted[0]![14], 1, "until it is over");
  t.end();
});

t.test(
  "the top hours are the greatest means, each with its part of an average week, ties by weekday and hour",
  (t) => {
    const fromMs = at("2026-11-02T00:00:00Z");
    const views = (ms: number): number => {
      const hour = (ms - fromMs) / HOUR_MS;
      // Tuesday 14 h, in the second week 200 more; Friday 9 h; Monday and Sunday 20 h.
      return (
        { [24 + 14]: 100, [168 + 24 + 14]: 300, [4 * 24 + 9]: 250, [20]: 50, [6 * 24 + 20]: 50 }[hour] ?? 0
      );
    };
    const { top, matrix } = peakOf("UTC", fromMs, fromMs + 12 * DAY_MS, views);
    const week = 200 + 125 + 25 + 50;
    t.same(top, [
      { weekday: 2, hour: 14, mean: 200, share: 200 / week },
      { weekday: 5, hour: 9, mean: 125, share: 125 / week },
      { weekday: 7, hour: 20, mean: 50, share: 50 / week },
      { weekday: 1, hour: 20, mean: 25, share: 25 / week },
    ]);
    t.equal(matrix[6]![20], 50, "the second Sunday is not in the range");
    t.same(
      peakOf("UTC", fromMs, fromMs + 7 * DAY_MS, () => 3).top.map(({ weekday, hour }) => [weekday, hour]),
      [
        [1, 0],
        [1, 1],
        [1, 2],
        [1, 3],
        [1, 4],
      ],
    );
    t.same(peakOf("UTC", fromMs, fromMs + DAY_MS, () => 0).top, [], "nothing happened");
    t.same(
      peakOf("UTC", fromMs, fromMs + QUARTER_MS, () => 7)
        .matrix.flat()
        .filter((mean) => mean !== null),
      [],
    );
    t.end();
  },
);
