import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import t from "tap";
import { Temporal } from "temporal-polyfill";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  GRAINS,
  HOUR_MS,
  MAX_BUCKETS,
  QUARTER_MS,
  buckets,
  civilFromInstant,
  daysFromCivil,
  formatDay,
  getZone,
  label,
  localDateStart,
  parseInstant,
  type Grain,
  type Zone,
} from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import { changesOf, dateStart, long, zoneNames } from "./oracle.js";

const FIRST_DAY = daysFromCivil(1990, 1, 1);
const LAST_DAY = daysFromCivil(2037, 12, 31);

/** Instants anywhere, but half of them within two days of a change of the zone's clocks. */
const zoneAndInstant = fc
  .tuple(
    fc.constantFrom(...zoneNames),
    fc.nat(),
    fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS }),
    fc.integer({ min: CALENDAR_START_MS, max: CALENDAR_END_MS }),
    fc.boolean(),
  )
  .map(([name, index, nearMs, anywhereMs, near]) => {
    const changes = changesOf(getZone(name));
    if (!near || changes.length === 0) return { name, utcMs: anywhereMs };
    return { name, utcMs: changes[index % changes.length]! + nearMs };
  });
const weekdays = fc.integer({ min: 1, max: 7 });

function at(text: string): number {
  return parseInstant(text)!;
}

function rows(zone: Zone, grain: Grain, fromMs: number, toMs: number, weekStart?: number): string[] {
  return [...buckets(zone, grain, fromMs, toMs, weekStart).subarray(0, -1)].map((start) =>
    label(zone, grain, start, weekStart),
  );
}

function dayOf(zone: Zone, date: string): { fromMs: number; toMs: number; hours: string[] } {
  const [year, month, day] = date.split("-").map(Number);
  const fromMs = localDateStart(zone, year!, month!, day!);
  const toMs = zone.endOf("day", fromMs);
  return { fromMs, toMs, hours: rows(zone, "hour", fromMs, toMs) };
}

t.test("AT-07: the days around every change of every zone begin where Temporal says", (t) => {
  let count = 0;
  for (const name of zoneNames) {
    const zone = getZone(name);
    for (const change of changesOf(zone)) {
      const dayNumber = zone.dayNumberAt(change);
      const date = Temporal.PlainDate.from(formatDay(dayNumber));
      for (let days = -1; days <= 2; days++, count++) {
        const expected = dateStart(name, date.add({ days }));
        if (zone.dayStart(dayNumber + days) !== expected) t.fail(`${name} ${date.add({ days }).toString()}`);
      }
    }
  }
  t.ok(count > 60_000, `${count} days compared`);
  t.end();
});

t.test("every day of a zone begins where Temporal says, on a quarter, and holds its own instants", (t) => {
  const wholeZone = (name: string): boolean => {
    const zone = getZone(name);
    let date = Temporal.PlainDate.from("1990-01-01");
    for (let dayNumber = FIRST_DAY; dayNumber <= LAST_DAY; dayNumber++, date = date.add({ days: 1 })) {
      const start = zone.dayStart(dayNumber);
      if (start !== dateStart(name, date) || start % QUARTER_MS !== 0)
        return t.fail(`${name} ${date.toString()}`);
      if (zone.startOf("day", start) !== start || zone.endOf("day", start - 1) !== start) return t.fail(name);
    }
    return true;
  };
  const names = long
    ? zoneNames
    : ["Australia/Lord_Howe", "Pacific/Apia", "America/Goose_Bay", "Africa/Cairo"];
  for (const name of names) t.ok(wholeZone(name), name);
  fc.assert(fc.property(fc.constantFrom(...zoneNames), wholeZone), { numRuns: 20 });
  t.end();
});

t.test(
  "AT-01: in all zones every day of 1990–2037 begins on a quarter, so that quarters add up to days",
  (t) => {
    for (const name of zoneNames) {
      const zone = getZone(name);
      for (let dayNumber = FIRST_DAY; dayNumber <= LAST_DAY; dayNumber++)
        if (zone.dayStart(dayNumber) % QUARTER_MS !== 0) t.fail(`${name} ${formatDay(dayNumber)}`);
    }
    t.end();
  },
);

t.test("years of all zones, months and weeks of some, begin where Temporal says", (t) => {
  for (const name of zoneNames) {
    const zone = getZone(name);
    for (let year = 1990; year <= 2038; year++) {
      const start = dateStart(name, Temporal.PlainDate.from({ year, month: 1, day: 1 }));
      if (zone.startOf("year", start) !== start || zone.endOf("year", start - 1) !== start)
        t.fail(`${name} ${year}`);
    }
  }
  fc.assert(
    fc.property(zoneAndInstant, weekdays, ({ name, utcMs }, weekStart) => {
      const zone = getZone(name);
      const date = Temporal.PlainDate.from(formatDay(zone.dayNumberAt(utcMs)));
      const month = date.with({ day: 1 });
      const week = date.subtract({ days: (date.dayOfWeek - weekStart + 7) % 7 });
      return (
        zone.startOf("month", utcMs) === dateStart(name, month) &&
        zone.endOf("month", utcMs) === dateStart(name, month.add({ months: 1 })) &&
        zone.startOf("week", utcMs, weekStart) === dateStart(name, week) &&
        zone.endOf("week", utcMs, weekStart) === dateStart(name, week.add({ days: 7 })) &&
        label(zone, "month", utcMs) === date.toPlainYearMonth().toString() &&
        label(zone, "week", utcMs) === `${date.yearOfWeek}-W${String(date.weekOfYear).padStart(2, "0")}` &&
        label(zone, "week", utcMs, weekStart) ===
          (weekStart === 1 ? label(zone, "week", utcMs) : week.toString())
      );
    }),
    { numRuns: long ? 20_000 : 2000 },
  );
  t.end();
});

t.test("the buckets of every grain are a partition of the time line", (t) => {
  fc.assert(
    fc.property(zoneAndInstant, fc.constantFrom(...GRAINS), weekdays, ({ name, utcMs }, grain, weekStart) => {
      const zone = getZone(name);
      const start = zone.startOf(grain, utcMs, weekStart);
      const end = zone.endOf(grain, utcMs, weekStart);
      const middle = Math.floor((start + end) / 2);
      return (
        start <= utcMs &&
        utcMs < end &&
        [start, middle, end - 1].every((instant) => zone.startOf(grain, instant, weekStart) === start) &&
        [start, middle, end - 1].every((instant) => zone.endOf(grain, instant, weekStart) === end) &&
        zone.startOf(grain, end, weekStart) === end &&
        zone.endOf(grain, start - 1, weekStart) === start &&
        label(zone, grain, start, weekStart) === label(zone, grain, end - 1, weekStart) &&
        label(zone, grain, start, weekStart) !== label(zone, grain, end, weekStart)
      );
    }),
    { numRuns: long ? 1_000_000 : 20_000 },
  );
  t.end();
});

t.test("grains are nested: a coarser bucket begins where a finer one does", (t) => {
  const pairs: [finer: Grain, coarser: Grain][] = [
    ["hour", "day"],
    ["day", "week"],
    ["day", "month"],
    ["month", "year"],
    ["quarter", "day"],
  ];
  fc.assert(
    fc.property(zoneAndInstant, weekdays, ({ name, utcMs }, weekStart) => {
      const zone = getZone(name);
      const changesOnQuarters = utcMs > at("2022-10-02T00:00:00Z");
      const all: typeof pairs = changesOnQuarters ? [...pairs, ["quarter", "hour"]] : pairs;
      return all.every(([finer, coarser]) => {
        const start = zone.startOf(coarser, utcMs, weekStart);
        return zone.startOf(finer, start, weekStart) === start;
      });
    }),
    { numRuns: long ? 500_000 : 10_000 },
  );
  t.end();
});

t.test("an hour has one clock hour and one offset, and its neighbours have others", (t) => {
  fc.assert(
    fc.property(zoneAndInstant, ({ name, utcMs }) => {
      const zone = getZone(name);
      const key = (instant: number): string => {
        const { year, month, day, hour } = civilFromInstant(zone, instant);
        return `${year}-${month}-${day}T${hour} ${zone.offsetAt(instant)}`;
      };
      const [start, end] = [zone.startOf("hour", utcMs), zone.endOf("hour", utcMs)];
      const own = key(utcMs);
      return (
        end - start <= HOUR_MS &&
        key(start) === own &&
        key(end - 1) === own &&
        key(start - 1) !== own &&
        key(end) !== own
      );
    }),
    { numRuns: long ? 500_000 : 10_000 },
  );
  t.end();
});

t.test("buckets() covers a range with consecutive buckets, as a plain walk does, and fully", (t) => {
  fc.assert(
    fc.property(
      zoneAndInstant,
      fc.constantFrom(...GRAINS),
      weekdays,
      fc.double({ min: 0, max: 40, noNaN: true }),
      ({ name, utcMs }, grain, weekStart, size) => {
        const zone = getZone(name);
        const usual = {
          quarter: QUARTER_MS,
          hour: HOUR_MS,
          day: DAY_MS,
          week: 7 * DAY_MS,
          month: 30 * DAY_MS,
        };
        const lengthMs = Math.floor(size * (grain === "year" ? 30 * DAY_MS : usual[grain]));
        const fromMs = Math.min(Math.max(utcMs, CALENDAR_START_MS), CALENDAR_END_MS);
        const toMs = Math.min(fromMs + lengthMs, CALENDAR_END_MS);
        const walk: number[] = [zone.startOf(grain, fromMs, weekStart)];
        const untilMs = fromMs < toMs ? toMs : walk[0]!;
        while (walk.at(-1)! < untilMs) walk.push(zone.endOf(grain, walk.at(-1)!, weekStart));
        return isDeepStrictEqual([...buckets(zone, grain, fromMs, toMs, weekStart)], walk);
      },
    ),
    { numRuns: long ? 50_000 : 2000 },
  );
  const lordHowe = getZone("Australia/Lord_Howe");
  const hours = buckets(lordHowe, "hour", CALENDAR_START_MS, CALENDAR_END_MS, 1, 1e6);
  t.ok(hours.every((start, index) => index === 0 || start > hours[index - 1]!));
  t.equal(hours.at(-1), CALENDAR_END_MS, "at +11:00 a local hour ends there");
  t.end();
});

t.test(
  "buckets() refuses what is inverted, outside the calendar, or too many rows, and says what to ask",
  (t) => {
    const zone = getZone("Asia/Kolkata");
    const refused = (code: string, message: RegExp, ask: () => unknown): void => {
      try {
        ask();
      } catch (error) {
        t.ok(error instanceof TidemarkError && error.code === code);
        t.match((error as Error).message, message);
        return;
      }
      t.fail(`accepted: ${message.source}`);
    };
    const [from, to] = [at("2016-03-14T00:00:00Z"), at("2016-03-15T00:00:00Z")];
    refused("invalid-range", /ends before it begins/, () => buckets(zone, "day", to, from));
    refused("invalid-range", /ends before it begins/, () => buckets(zone, "day", NaN, to));
    refused("invalid-range", /from 1990-01-01T00:00:00Z to 2038/, () => buckets(zone, "day", 0, to));
    refused("invalid-range", /from 1990-01-01T00:00:00Z to 2038/, () => buckets(zone, "day", from, Infinity));
    refused("range-too-wide", /more than 3 rows by hour.* or by day/, () =>
      buckets(zone, "hour", from, to, 1, 3),
    );
    refused("range-too-wide", /shorter range\.$/, () => buckets(zone, "year", from - 2e11, to, 1, 3));
    refused("range-too-wide", /more than 40000 rows/, () =>
      buckets(zone, "quarter", CALENDAR_START_MS, CALENDAR_END_MS),
    );
    refused("range-too-wide", /more than 25 rows/, () =>
      buckets(zone, "hour", from, from + 25 * HOUR_MS, 1, 25),
    );
    t.equal(
      buckets(zone, "hour", from, from + 25 * HOUR_MS, 1, 26).length,
      27,
      "the limit itself is allowed",
    );
    t.same(
      [...buckets(zone, "day", from, from)],
      [zone.startOf("day", from)],
      "an empty range has no bucket",
    );
    t.equal(MAX_BUCKETS >= 366 * 96, true, "a year of quarters is one answer");
    t.end();
  },
);

t.test("AT-04: days of 23, 25, 23.5 and 24.5 hours have 23, 25, 24 and 25 rows, which add up", (t) => {
  const days = [
    ["America/New_York", "2016-03-13", 23, 23],
    ["America/New_York", "2016-11-06", 25, 25],
    ["Europe/Berlin", "2016-03-27", 23, 23],
    ["Europe/Berlin", "2016-10-30", 25, 25],
    ["Australia/Lord_Howe", "2016-10-02", 23.5, 24],
    ["Australia/Lord_Howe", "2016-04-03", 24.5, 25],
    ["Asia/Kathmandu", "2016-03-27", 24, 24],
  ] as const;
  for (const [name, date, hours, count] of days) {
    const day = dayOf(getZone(name), date);
    t.equal(day.toMs - day.fromMs, hours * HOUR_MS, `${name} ${date} has ${hours} hours`);
    t.equal(new Set(day.hours).size, count, `${name} ${date} has ${count} rows`);
  }
  const spring = dayOf(getZone("Australia/Lord_Howe"), "2016-10-02").hours.slice(1, 4);
  t.same(spring, ["2016-10-02T01:00:00+10:30", "2016-10-02T02:30:00+11:00", "2016-10-02T03:00:00+11:00"]);
  const autumn = dayOf(getZone("Australia/Lord_Howe"), "2016-04-03").hours.slice(1, 4);
  t.same(autumn, ["2016-04-03T01:00:00+11:00", "2016-04-03T01:30:00+10:30", "2016-04-03T02:00:00+10:30"]);
  t.end();
});

t.test("AT-09: the hour that autumn repeats is two rows, distinct and ordered by instant", (t) => {
  const berlin = dayOf(getZone("Europe/Berlin"), "2024-10-27").hours;
  t.same(berlin.slice(1, 5), [
    "2024-10-27T01:00:00+02:00",
    "2024-10-27T02:00:00+02:00",
    "2024-10-27T02:00:00+01:00",
    "2024-10-27T03:00:00+01:00",
  ]);
  let repeated = 0;
  for (const name of zoneNames) {
    const zone = getZone(name);
    for (const change of changesOf(zone)) {
      if (zone.offsetAt(change) >= zone.offsetAt(change - 1)) continue;
      const labels = rows(zone, "hour", change - 3 * HOUR_MS, change + 3 * HOUR_MS);
      const instants = labels.map(at);
      const ordered = instants.every((instant, index) => index === 0 || instant > instants[index - 1]!);
      if (!ordered || new Set(labels).size !== labels.length) t.fail(`${name} ${labels.join(" ")}`);
      repeated++;
    }
  }
  t.ok(repeated > 7000, `${repeated} autumns`);
  t.end();
});

t.test("AT-10: where midnight is skipped the day begins at 01:00 and has no row for 00:00", (t) => {
  const zones = {
    "Africa/Cairo": "2024-04-26",
    "Asia/Beirut": "2024-03-31",
    "America/Santiago": "2024-09-08",
    "America/Havana": "2024-03-10",
    "Atlantic/Azores": "2024-03-31",
    "Asia/Amman": "2022-02-25",
    "America/Asuncion": "2023-10-01",
    "America/Sao_Paulo": "2018-11-04",
  };
  for (const [name, date] of Object.entries(zones)) {
    const zone = getZone(name);
    const { fromMs, toMs, hours } = dayOf(zone, date);
    t.match(hours[0], `${date}T01:00:00`, name);
    t.equal(hours.length, 23, `${name} ${date} has 23 rows`);
    t.equal(toMs - fromMs, 23 * HOUR_MS);
    t.equal(zone.startOf("day", fromMs + 1), fromMs);
    t.equal(
      label(zone, "day", fromMs - 1),
      formatDay(zone.dayNumberAt(fromMs) - 1),
      "the day before ends there",
    );
  }
  let skipped = 0;
  for (const name of zoneNames) {
    const zone = getZone(name);
    for (const change of changesOf(zone)) {
      if (zone.startOf("day", change) !== change || civilFromInstant(zone, change).hour === 0) continue;
      const { year, month, day } = civilFromInstant(zone, change);
      const { hours } = dayOf(zone, `${year}-${month}-${day}`);
      if (hours.some((row) => row.includes("T00:"))) t.fail(`${name} ${hours[0]}`);
      skipped++;
    }
  }
  t.ok(skipped > 300, `${skipped} skipped midnights`);
  t.end();
});

t.test("a date that a zone skipped has no bucket, and its week has six days", (t) => {
  const skips = [
    ["Pacific/Apia", "2011-12-30"],
    ["Pacific/Fakaofo", "2011-12-30"],
    ["Pacific/Kwajalein", "1993-08-21"],
    ["Pacific/Kiritimati", "1994-12-31"],
  ] as const;
  for (const [name, date] of skips) {
    const zone = getZone(name);
    const dayNumber = at(`${date}T00:00:00Z`) / DAY_MS;
    const start = zone.dayStart(dayNumber);
    t.equal(start, zone.dayStart(dayNumber + 1), `${name}: ${date} begins when the next day does`);
    const around = rows(zone, "day", start - DAY_MS, start + DAY_MS);
    t.same(around, [formatDay(dayNumber - 1), formatDay(dayNumber + 1)], name);
    const [weekFrom, weekTo] = [zone.startOf("week", start), zone.endOf("week", start)];
    t.equal(rows(zone, "day", weekFrom, weekTo).length, 6);
    t.equal(weekTo - weekFrom, 6 * DAY_MS);
    const weekday = civilFromInstant(zone, start).weekday;
    const skippedWeekday = weekday === 1 ? 7 : weekday - 1;
    t.equal(
      label(zone, "week", start, skippedWeekday),
      date,
      "a week keeps the name of a first day that was skipped",
    );
    t.equal(zone.startOf("week", start, skippedWeekday), start);
  }
  t.end();
});

t.test(
  "where clocks went back over midnight the repeated bit belongs to the new day, as in Temporal",
  (t) => {
    const zone = getZone("America/Goose_Bay");
    const { fromMs, toMs, hours } = dayOf(zone, "2010-11-07");
    t.equal(fromMs, dateStart(zone.name, Temporal.PlainDate.from("2010-11-07")));
    t.equal(toMs - fromMs, 25 * HOUR_MS);
    t.same(hours.slice(0, 4), [
      "2010-11-07T00:00:00-03:00",
      "2010-11-06T23:01:00-04:00",
      "2010-11-07T00:00:00-04:00",
      "2010-11-07T01:00:00-04:00",
    ]);
    t.equal(label(zone, "day", at("2010-11-06T23:30:00-04:00")), "2010-11-07");
    t.equal(label(zone, "day", at("2010-11-06T23:30:00-03:00")), "2010-11-06");
    t.end();
  },
);
