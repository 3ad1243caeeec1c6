import * as fc from "fast-check";
import t from "tap";
import type { Temporal } from "temporal-polyfill";
import { DAY_MS, HOUR_MS, QUARTER_MS, getZone } from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import { comparisonOf, type CompareMode, type Range } from "../../../engine/query/compare-range.js";
import { dateStart, long, zonedAt } from "../calendar/oracle.js";
import {
  MODES,
  NEVER,
  PREVIOUS,
  YEAR,
  at,
  days,
  pairs,
  ranges,
  shownDays,
  shownInstants,
  transitionDays,
  allZones,
} from "./compare-support.js";

/** Asked, then compared by: previous period, year over year; the same matched by weekday. All whole days. */
const LEAP_CASES = `
    2023-02-01/2023-02-28 2023-01-01/2023-01-31 2022-02-01/2022-02-28 2023-01-04/2023-01-31 2022-02-02/2022-03-01
    2024-02-01/2024-02-29 2024-01-01/2024-01-31 2023-02-01/2023-02-28 2023-12-28/2024-01-25 2023-02-02/2023-03-02
    2025-02-01/2025-02-28 2025-01-01/2025-01-31 2024-02-01/2024-02-29 2025-01-04/2025-01-31 2024-02-03/2024-03-01
    2025-02-28/2025-02-28 2025-02-27/2025-02-27 2024-02-28/2024-02-28 2025-02-21/2025-02-21 2024-03-01/2024-03-01
    2024-02-29/2024-02-29 2024-02-28/2024-02-28 2023-02-28/2023-02-28 2024-02-22/2024-02-22 2023-03-02/2023-03-02
    2024-02-28/2024-02-29 2024-02-26/2024-02-27 2023-02-28/2023-02-28 2024-02-21/2024-02-22 2023-03-01/2023-03-02
    2025-02-28/2025-03-01 2025-02-26/2025-02-27 2024-02-28/2024-03-01 2025-02-21/2025-02-22 2024-03-01/2024-03-02
    2024-02-29/2024-03-01 2024-02-27/2024-02-28 2023-02-28/2023-03-01 2024-02-22/2024-02-23 2023-03-02/2023-03-03
    2024-03-01/2024-03-01 2024-02-29/2024-02-29 2023-03-01/2023-03-01 2024-02-23/2024-02-23 2023-03-03/2023-03-03
    2025-03-01/2025-03-01 2025-02-28/2025-02-28 2024-03-01/2024-03-01 2025-02-22/2025-02-22 2024-03-02/2024-03-02
    2024-03-01/2024-03-15 2024-02-15/2024-02-29 2023-03-01/2023-03-15 2024-02-09/2024-02-23 2023-03-03/2023-03-17
    2025-03-01/2025-03-31 2025-02-01/2025-02-28 2024-03-01/2024-03-31 2025-01-25/2025-02-24 2024-03-02/2024-04-01
    2025-01-01/2025-03-31 2024-10-01/2024-12-31 2024-01-01/2024-03-31 2024-10-02/2024-12-30 2024-01-03/2024-04-01
    2025-01-01/2025-12-31 2024-01-01/2024-12-31 2024-01-01/2024-12-31 2023-12-27/2024-12-25 2024-01-03/2025-01-01
    2024-01-01/2024-12-31 2023-01-01/2023-12-31 2023-01-01/2023-12-31 2022-12-26/2023-12-26 2023-01-02/2024-01-02
    2025-11-17/2025-11-23 2025-11-10/2025-11-16 2024-11-17/2024-11-23 2025-11-10/2025-11-16 2024-11-18/2024-11-24
    2025-01-31/2025-02-28 2025-01-02/2025-01-30 2024-01-31/2024-02-28 2024-12-27/2025-01-24 2024-02-02/2024-03-01
`
  .trim()
  .split("\n")
  .map((line) => line.trim().split(" "));

t.test("AT-68: leap years, month starts and their weekdays are compared by these dates", (t) => {
  for (const name of ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"]) {
    for (const [asked, ...expected] of LEAP_CASES) {
      for (const [index, mode] of MODES.entries()) {
        const found = comparisonOf(getZone(name), days(name, asked!), mode, NEVER);
        t.equal(shownDays(name, found), expected[index], `${name} ${asked} ${JSON.stringify(mode)}`);
        t.equal(found.toMs, found.wholeToMs);
      }
    }
  }
  t.end();
});

/** By the words of the specification, with dates of Temporal. */
function expectedDays(first: Temporal.PlainDate, last: Temporal.PlainDate, mode: CompareMode): string {
  if (mode.mode === "custom") throw new Error("no rule");
  const next = last.add({ days: 1 });
  const count = first.until(next, { largestUnit: "day" }).days;
  const months = first.day === 1 && next.day === 1 ? first.until(next, { largestUnit: "month" }).months : 0;
  const span = (a: Temporal.PlainDate, b: Temporal.PlainDate): string => `${a.toString()}/${b.toString()}`;
  if (mode.matchWeekday) {
    const by = { days: mode.mode === "year_over_year" ? 364 : Math.ceil(count / 7) * 7 };
    return span(first.subtract(by), last.subtract(by));
  }
  if (mode.mode === "previous_period") {
    const by = months > 0 ? { months } : { days: count };
    return span(first.subtract(by), first.subtract({ days: 1 }));
  }
  const year = { years: 1 };
  if (months > 0) return span(first.subtract(year), next.subtract(year).subtract({ days: 1 }));
  return span(first.subtract(year), last.subtract(year));
}

t.test(
  "AT-68: around every change of clocks of every zone, 2022 to 2025, days are compared by their dates",
  (t) => {
    let count = 0;
    for (const { name, day } of transitionDays()) {
      const zone = getZone(name);
      for (const [before, after] of [
        [0, 0],
        [1, 5],
      ] as const) {
        const [first, last] = [day.subtract({ days: before }), day.add({ days: after })];
        const asked = { fromMs: dateStart(name, first), toMs: dateStart(name, last.add({ days: 1 })) };
        for (const mode of MODES) {
          const found = comparisonOf(zone, asked, mode, NEVER);
          const expected = expectedDays(first, last, mode);
          if (shownDays(name, found) !== expected) {
            t.fail(
              `${name} ${first.toString()}/${last.toString()}: ${shownDays(name, found)}, not ${expected}`,
            );
          }
          count++;
        }
      }
    }
    t.ok(count > (allZones ? 30_000 : 8000), `${count} comparisons of days`);
    t.end();
  },
);

/** The first instant at which the wall clock by Temporal is at `wall` or later. */
function firstAt(name: string, wall: Temporal.PlainDateTime): { ms: number; exists: boolean } {
  const zdt = wall.toZonedDateTime(name, { disambiguation: "earlier" });
  if (zdt.toPlainDateTime().equals(wall)) return { ms: zdt.epochMilliseconds, exists: true };
  return { ms: zdt.getTimeZoneTransition("next")!.epochMilliseconds, exists: false };
}

const isLeapDay = (wall: Temporal.PlainDateTime): boolean => wall.month === 2 && wall.day === 29;

t.test("ranges that are no whole days are compared at the same wall time, or directly before", (t) => {
  fc.assert(
    fc.property(ranges, ({ name, asked, mode }) => {
      const zone = getZone(name);
      const isDays = [asked.fromMs, asked.toMs].every((ms) => zone.startOf("day", ms) === ms);
      const found = comparisonOf(zone, asked, mode, NEVER);
      const onQuarters = found.fromMs % QUARTER_MS === 0 && found.toMs % QUARTER_MS === 0;
      if (!onQuarters || found.toMs < found.fromMs) return false;
      if (mode.mode === "previous_period" && found.toMs > asked.fromMs) return false;
      if (isDays) return true;
      if (mode === PREVIOUS) {
        return found.toMs === asked.fromMs && asked.toMs - asked.fromMs === found.toMs - found.fromMs;
      }
      if (found.shift.by === "elapsed") return false;
      const by = found.shift.by === "days" ? { days: found.shift.count } : { months: found.shift.count };
      const wall = (ms: number): Temporal.PlainDateTime => zonedAt(name, ms).toPlainDateTime();
      const first = wall(asked.fromMs);
      const endOf = (last: Temporal.PlainDateTime): number => {
        const isLost =
          isLeapDay(last) && by.months === -12 && !first.toPlainDate().equals(last.toPlainDate());
        if (isLost)
          return firstAt(name, last.with({ year: last.year - 1, month: 3, day: 1, hour: 0, minute: 0 })).ms;
        const { ms, exists } = firstAt(name, last.add(by));
        return exists ? ms + QUARTER_MS : ms;
      };
      const ends = [];
      for (let ms = Math.max(asked.fromMs, asked.toMs - 4 * HOUR_MS); ms < asked.toMs; ms += QUARTER_MS) {
        ends.push(endOf(wall(ms)));
      }
      return found.fromMs === firstAt(name, first.add(by)).ms && found.toMs === Math.max(...ends);
    }),
    { numRuns: long ? 20_000 : 400 },
  );
  t.end();
});

t.test(
  "matched by weekday, both begin on one weekday, and no smaller number of weeks would keep them apart",
  (t) => {
    fc.assert(
      fc.property(ranges, ({ name, asked, mode }) => {
        fc.pre(mode.matchWeekday);
        const zone = getZone(name);
        const { fromMs, toMs, shift } = comparisonOf(zone, asked, mode, NEVER);
        if (shift.by !== "days" || shift.count % 7 !== 0) return false;
        const weekday = (ms: number): number => zonedAt(name, ms).dayOfWeek;
        // A time that the clocks skipped at midnight may be on the next date.
        if (weekday(fromMs) !== weekday(asked.fromMs) && weekday(fromMs - HOUR_MS) !== weekday(asked.fromMs))
          return false;
        if (mode.mode === "year_over_year") return shift.count === -364;
        if (shift.count === -7) return toMs <= asked.fromMs;
        const wallLength = zonedAt(name, asked.fromMs)
          .toPlainDateTime()
          .until(zonedAt(name, asked.toMs).toPlainDateTime(), { largestUnit: "hour" });
        return toMs <= asked.fromMs && wallLength.hours > (-shift.count - 7) * 24 - 2;
      }),
      { numRuns: long ? 20_000 : 600 },
    );
    t.end();
  },
);

t.test("one hour a year before: repeated, skipped, and the same", (t) => {
  const berlin = "Europe/Berlin";
  const year = (from: string, to: string): string =>
    shownInstants(berlin, comparisonOf(getZone(berlin), { fromMs: at(from), toMs: at(to) }, YEAR, NEVER));
  const one = "2023-10-29T02:00:00+02:00/2023-10-29T02:00:00+01:00";
  t.equal(year("2024-10-29T02:00:00+01:00", "2024-10-29T03:00:00+01:00"), one, "the first of the two");
  const same = "2023-10-27T02:00:00+02:00/2023-10-27T03:00:00+02:00";
  t.equal(year("2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"), same, "the first of the two");
  t.equal(year("2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"), same, "the second of the two");
  const empty = "2024-03-31T03:00:00+02:00/2024-03-31T03:00:00+02:00";
  t.equal(year("2025-03-31T02:00:00+02:00", "2025-03-31T03:00:00+02:00"), empty, "there was no such hour");
  const cairo = getZone("Africa/Cairo");
  const late = { fromMs: at("2024-04-26T01:00:00+03:00"), toMs: at("2024-04-26T02:00:00+03:00") };
  t.equal(
    shownInstants("Africa/Cairo", comparisonOf(cairo, late, YEAR, NEVER)),
    "2023-04-26T01:00:00+02:00/2023-04-26T02:00:00+02:00",
    "the first hour of a day that began late",
  );
  const leap = "2023-02-28T10:00:00+01:00/2023-02-28T11:00:00+01:00";
  t.equal(year("2024-02-29T10:00:00+01:00", "2024-02-29T11:00:00+01:00"), leap);
  const into = "2023-02-28T20:00:00+01:00/2023-03-01T00:00:00+01:00";
  t.equal(year("2024-02-28T20:00:00+01:00", "2024-02-29T11:00:00+01:00"), into);
  const out = "2023-02-28T20:00:00+01:00/2023-03-01T10:00:00+01:00";
  t.equal(year("2024-02-29T20:00:00+01:00", "2024-03-01T10:00:00+01:00"), out);
  t.end();
});

t.test("a range under way is compared with the same part, whole on request", (t) => {
  const name = "America/New_York";
  const zone = getZone(name);
  const cut = (asked: Range, mode: CompareMode, now: string, whole = false): string =>
    shownInstants(name, comparisonOf(zone, asked, mode, at(now), whole));
  const week = days(name, "2026-11-17/2026-11-23");
  t.equal(
    cut(week, PREVIOUS, "2026-11-23T14:03:11-05:00"),
    "2026-11-10T00:00:00-05:00/2026-11-16T14:00:00-05:00",
  );
  t.equal(
    cut(week, PREVIOUS, "2026-11-23T14:03:11-05:00", true),
    "2026-11-10T00:00:00-05:00/2026-11-17T00:00:00-05:00",
  );
  t.equal(
    cut(week, YEAR, "2026-11-23T14:29:00-05:00"),
    "2025-11-17T00:00:00-05:00/2025-11-23T14:15:00-05:00",
  );
  const spring = days(name, "2026-03-09/2026-03-15");
  t.equal(
    cut(spring, PREVIOUS, "2026-03-09T14:29:00-04:00"),
    "2026-03-02T00:00:00-05:00/2026-03-02T14:15:00-05:00",
    "the same wall time in winter",
  );
  t.equal(
    cut(spring, PREVIOUS, "2026-03-15T02:30:00-04:00"),
    "2026-03-02T00:00:00-05:00/2026-03-08T03:00:00-04:00",
    "a wall time that the clocks skipped",
  );
  t.equal(
    cut(week, PREVIOUS, "2026-11-17T00:14:00-05:00"),
    "2026-11-10T00:00:00-05:00/2026-11-10T00:00:00-05:00",
    "empty",
  );
  t.equal(
    cut(week, PREVIOUS, "2026-11-01T00:14:00-05:00"),
    "2026-11-10T00:00:00-05:00/2026-11-10T00:00:00-05:00",
    "yet to come",
  );
  t.equal(
    cut(week, PREVIOUS, "2026-11-24T00:00:00-05:00"),
    "2026-11-10T00:00:00-05:00/2026-11-17T00:00:00-05:00",
    "over",
  );
  const march = days(name, "2025-03-01/2025-03-31");
  t.equal(
    cut(march, PREVIOUS, "2025-03-28T10:00:00-04:00"),
    "2025-02-01T00:00:00-05:00/2025-02-28T10:00:00-05:00",
  );
  t.equal(
    cut(march, PREVIOUS, "2025-03-30T10:00:00-04:00"),
    "2025-02-01T00:00:00-05:00/2025-03-01T00:00:00-05:00",
  );
  const leap = days(name, "2024-02-20/2024-03-10");
  t.equal(
    cut(leap, YEAR, "2024-02-29T10:00:00-05:00"),
    "2023-02-20T00:00:00-05:00/2023-03-01T00:00:00-05:00",
  );
  const leapDay = days(name, "2024-02-29");
  t.equal(
    cut(leapDay, YEAR, "2024-02-29T10:00:00-05:00"),
    "2023-02-28T00:00:00-05:00/2023-02-28T10:00:00-05:00",
  );
  const hours = { fromMs: at("2026-11-23T10:00:00-05:00"), toMs: at("2026-11-23T15:00:00-05:00") };
  t.equal(
    cut(hours, PREVIOUS, "2026-11-23T14:03:11-05:00"),
    "2026-11-23T05:00:00-05:00/2026-11-23T09:00:00-05:00",
  );
  const range = days(name, "2026-03-03/2026-03-08");
  const custom: CompareMode = { mode: "custom", range };
  t.equal(
    cut(week, custom, "2026-11-22T14:03:11-05:00"),
    "2026-03-03T00:00:00-05:00/2026-03-08T14:00:00-04:00",
  );
  t.equal(
    cut(week, custom, "2026-11-23T14:03:11-05:00"),
    "2026-03-03T00:00:00-05:00/2026-03-09T00:00:00-04:00",
  );
  const longer: CompareMode = { mode: "custom", range: days(name, "2026-03-03/2026-03-20") };
  t.equal(
    cut(week, longer, "2026-11-24T00:00:00-05:00"),
    "2026-03-03T00:00:00-05:00/2026-03-21T00:00:00-04:00",
    "whole as soon as it is over",
  );
  const autumn = days(name, "2026-11-01");
  t.equal(
    cut(autumn, YEAR, "2026-11-01T01:20:00-05:00"),
    "2025-11-01T00:00:00-04:00/2025-11-01T02:00:00-04:00",
    "in the hour that comes again, all of it has been reached",
  );
  const offDays: CompareMode = {
    mode: "custom",
    range: { fromMs: at("2026-03-08T00:30:00-05:00"), toMs: at("2026-03-20T00:30:00-04:00") },
  };
  t.equal(
    cut(week, offDays, "2026-11-17T04:03:11-05:00"),
    "2026-03-08T00:30:00-05:00/2026-03-08T05:30:00-04:00",
  );
  t.same(pairs(name, "day", week, PREVIOUS, at("2026-11-19T14:03:11-05:00")), [
    "2026-11-17 2026-11-10",
    "2026-11-18 2026-11-11",
    "2026-11-19 2026-11-12",
    "2026-11-20 none",
    "2026-11-21 none",
    "2026-11-22 none",
    "2026-11-23 none",
  ]);
  t.same(
    pairs(name, "day", week, PREVIOUS, at("2026-11-19T00:03:11-05:00")).slice(1, 3),
    ["2026-11-18 2026-11-11", "2026-11-19 none"],
    "nothing of today can be compared yet",
  );
  t.same(
    pairs(name, "day", week, PREVIOUS, at("2026-11-17T00:03:11-05:00")).map((text) => text.slice(11)),
    Array.from({ length: 7 }, () => "none"),
  );
  t.end();
});

t.test("the part that is compared grows with the clock, and never beyond the whole", (t) => {
  fc.assert(
    fc.property(
      ranges,
      fc.array(fc.double({ min: -0.1, max: 1.1, noNaN: true }), { minLength: 2, maxLength: 6 }),
      ({ name, asked, mode }, parts) => {
        const zone = getZone(name);
        const whole = comparisonOf(zone, asked, mode, NEVER);
        const ends = parts
          .sort((a, b) => a - b)
          .map((part) => comparisonOf(zone, asked, mode, asked.fromMs + part * (asked.toMs - asked.fromMs)))
          .map(({ fromMs, toMs, wholeToMs }) =>
            fromMs === whole.fromMs && wholeToMs === whole.toMs ? toMs : NaN,
          );
        return ends.every((end, i) => end <= whole.toMs && (i === 0 || end >= ends[i - 1]!));
      },
    ),
    { numRuns: long ? 20_000 : 400 },
  );
  t.end();
});

t.test("a date that a zone skipped is no day, and its comparison is empty", (t) => {
  const apia = "Pacific/Apia";
  const zone = getZone(apia);
  const found = comparisonOf(zone, days(apia, "2012-01-01/2012-01-07"), PREVIOUS, NEVER);
  t.equal(shownDays(apia, found), "2011-12-24/2011-12-31", "seven days, and one that never was");
  t.same(pairs(apia, "day", days(apia, "2012-01-01/2012-01-07"), PREVIOUS).slice(4), [
    "2012-01-05 2011-12-28",
    "2012-01-06 2011-12-29",
    "2012-01-07 2011-12-31",
  ]);
  const empty = comparisonOf(zone, days(apia, "2012-12-30"), YEAR, NEVER);
  t.equal(empty.fromMs, empty.toMs);
  t.same(pairs(apia, "day", days(apia, "2012-12-30"), YEAR), ["2012-12-30 none"]);
  t.same(pairs(apia, "day", days(apia, "2012-12-29/2012-12-31"), YEAR), [
    "2012-12-29 2011-12-29",
    "2012-12-30 none",
    "2012-12-31 2011-12-31",
  ]);
  t.equal(
    shownDays(apia, comparisonOf(zone, days(apia, "2011-12-31"), PREVIOUS, NEVER)),
    "2011-12-29/2011-12-30",
  );
  t.end();
});

t.test("clocks that changed within a quarter-hour leave the comparison on quarter-hours", (t) => {
  const name = "America/Goose_Bay";
  const zone = getZone(name);
  for (let hour = 0; hour < 30; hour++) {
    for (const start of ["2007-04-02T00:00:00Z", "2007-11-03T18:00:00Z", "2011-03-13T00:00:00Z"]) {
      const asked = { fromMs: at(start) + hour * HOUR_MS, toMs: at(start) + hour * HOUR_MS + 3 * QUARTER_MS };
      for (const mode of MODES) {
        const { fromMs, toMs } = comparisonOf(zone, asked, mode, asked.toMs - QUARTER_MS - 1);
        if (fromMs % QUARTER_MS !== 0 || toMs % QUARTER_MS !== 0 || toMs < fromMs) t.fail(`${start} ${hour}`);
      }
    }
  }
  const back = { fromMs: at("2007-11-03T23:00:00-03:00"), toMs: at("2007-11-03T23:30:00-04:00") };
  t.equal(
    shownInstants(name, comparisonOf(zone, back, YEAR, NEVER)),
    "2006-11-03T23:00:00-04:00/2006-11-04T00:15:00-04:00",
    "it was one minute past midnight when the clock went back",
  );
  t.end();
});

t.test("a comparison beyond the calendar is refused", (t) => {
  const refused = (asked: string, mode: CompareMode): void => {
    t.throws(
      () => comparisonOf(getZone("UTC"), days("UTC", asked), mode, NEVER),
      new TidemarkError(
        "invalid-range",
        "The range to compare with reaches beyond the calendar, 1990-01-01T00:00:00Z to 2038-01-01T00:00:00Z.",
        { pointer: "/compare" },
      ),
    );
  };
  refused("1990-05-01/1990-05-31", YEAR);
  refused("1995-01-01/2005-01-01", PREVIOUS);
  refused("2005-01-01/2005-01-01", { mode: "custom", range: { fromMs: 0, toMs: DAY_MS } });
  t.end();
});
