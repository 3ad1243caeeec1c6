import * as fc from "fast-check";
import t from "tap";
import type { Temporal } from "temporal-polyfill";
import { DAY_MS, HOUR_MS, formatInstant, getZone, type Grain } from "../../../engine/calendar/index.js";
import {
  comparisonOf,
  counterparts,
  type Comparison,
  type Range,
} from "../../../engine/query/compare-range.js";
import { timeEdges } from "../../../engine/query/time-buckets.js";
import { changesOf, dateStart, long, zonedAt } from "../calendar/oracle.js";
import {
  MODES,
  NEVER,
  PREVIOUS,
  YEAR,
  YEAR_WEEKDAY,
  at,
  date,
  days,
  pairs,
  ranges,
  transitionDays,
  allZones,
} from "./compare-support.js";

/** In October 2022 Casey was the last to change its clocks within a quarter-hour: its hours cannot be told. */
const LAST_ODD_CHANGE_MS = Date.UTC(2022, 9, 3);
const walls = new Map<string, string>();

/** Local date and, of hours, the clock hour, by Temporal. */
function wallKey(name: string, grain: Grain, utcMs: number): string {
  const known = `${name} ${grain} ${utcMs}`;
  let key = walls.get(known);
  if (key === undefined) {
    const zdt = zonedAt(name, utcMs);
    const clock = grain === "hour" ? `T${zdt.hour}` : grain === "quarter" ? `T${zdt.hour}:${zdt.minute}` : "";
    if (walls.size > 200_000) walls.clear();
    walls.set(known, (key = `${zdt.toPlainDate().toString()}${clock}`));
  }
  return key;
}

/** Moves the date of a key as the comparison does, in Temporal's words; undefined where there is no such date. */
function movedKey(key: string, { shift, firstDay }: Comparison): string | undefined {
  const [day, clock] = key.split("T");
  const from = date(day!);
  const join = (to: Temporal.PlainDate): string => to.toString() + (clock === undefined ? "" : `T${clock}`);
  if (shift.by === "days") return join(from.add({ days: shift.count }));
  if (shift.by === "elapsed") throw new Error("no dates");
  const isFirst = from.equals(date("1970-01-01").add({ days: firstDay }));
  try {
    return join(from.add({ months: shift.count }, { overflow: isFirst ? "constrain" : "reject" }));
  } catch {
    return undefined;
  }
}

/** Compares with a search by the text of date and hour; returns how many buckets were looked at. */
function checkPairs(name: string, grain: Grain, asked: Range, comparison: Comparison): number {
  const zone = getZone(name);
  const edges = timeEdges(zone, grain, asked.fromMs, asked.toMs);
  const others = timeEdges(zone, grain, comparison.fromMs, comparison.toMs);
  const found = counterparts(zone, grain, edges, comparison, others);
  const places = new Map<string, number>();
  for (let i = others.length - 2; i >= 0; i--) places.set(wallKey(name, grain, others[i]!), i);
  for (let i = 0; i < found.length; i++) {
    const moved = movedKey(wallKey(name, grain, edges[i]!), comparison);
    const expected = i === 0 && others.length > 1 ? 0 : (places.get(moved ?? "") ?? -1);
    if (found[i] !== expected) {
      t.fail(`${name} ${grain} ${formatInstant(edges[i]!, zone)}: ${found[i]}, not ${expected}`);
    }
  }
  return found.length;
}

/** Zones that had the same offsets from 2021 to 2027 have one rule. */
function ruleOf(name: string): string {
  const zone = getZone(name);
  const [fromMs, toMs] = [Date.UTC(2021, 0, 1), Date.UTC(2028, 0, 1)];
  const changes = changesOf(zone).filter((ms) => ms > fromMs && ms < toMs);
  return [fromMs, ...changes].map((ms) => `${ms}:${zone.offsetAt(ms)}`).join(" ");
}

t.test(
  "AT-68: around every change of clocks under every rule, from 2024 on, each hour meets that of the same date",
  (t) => {
    const rules = new Map<string, string>();
    const ruleOfZone = new Map<string, string>();
    let hours = 0;
    for (const { name, day } of transitionDays()) {
      if (day.year < 2024) continue;
      const rule = ruleOfZone.get(name) ?? ruleOf(name);
      ruleOfZone.set(name, rule);
      if ((rules.get(rule) ?? name) !== name) continue;
      rules.set(rule, name);
      const zone = getZone(name);
      for (const mode of MODES) {
        const asked = { fromMs: dateStart(name, day), toMs: dateStart(name, day.add({ days: 2 })) };
        const found = comparisonOf(zone, asked, mode, NEVER);
        if (found.fromMs > LAST_ODD_CHANGE_MS) hours += checkPairs(name, "hour", asked, found);
        checkPairs(name, "day", asked, found);
      }
    }
    t.ok(rules.size > (allZones ? 25 : 10), `${rules.size} rules`);
    t.ok(hours > (allZones ? 50_000 : 10_000), `${hours} hours with their counterparts`);
    t.end();
  },
);

t.test(
  "hours and quarters of any range meet those of the same date and wall time, searched by their text",
  (t) => {
    let looked = 0;
    fc.assert(
      fc.property(
        ranges,
        fc.constantFrom<Grain>("quarter", "hour", "day"),
        ({ name, asked, mode }, grain) => {
          const found = comparisonOf(getZone(name), asked, mode, NEVER);
          fc.pre(found.shift.by !== "elapsed");
          const cutAtStart = getZone(name).startOf(grain, found.fromMs) !== found.fromMs;
          fc.pre(!cutAtStart);
          looked += checkPairs(name, grain, asked, found);
        },
      ),
      { numRuns: long ? 5000 : 60 },
    );
    t.ok(looked > 4000, `${looked} buckets`);
    t.end();
  },
);

t.test("counterparts lie in the comparison, ascend, and only a repeated hour shares one", (t) => {
  fc.assert(
    fc.property(
      ranges,
      fc.constantFrom<Grain>("quarter", "hour", "day", "week", "month", "year"),
      fc.double({ min: -0.2, max: 1.2, noNaN: true }),
      ({ name, asked, mode }, grain, progress) => {
        const zone = getZone(name);
        const now = Math.floor(asked.fromMs + progress * (asked.toMs - asked.fromMs));
        const found = comparisonOf(zone, asked, mode, now);
        const edges = timeEdges(zone, grain, asked.fromMs, asked.toMs);
        const others = timeEdges(zone, grain, found.fromMs, found.toMs);
        const indices = counterparts(zone, grain, edges, found, others);
        if (indices.length !== edges.length - 1) return false;
        if (others.length > 1 && indices[0] !== 0) return false;
        let before = -1;
        return indices.every((index, time) => {
          if (index < 0) return true;
          const repeats = zone.offsetAt(edges[time]!) < zone.offsetAt(edges[time]! - 2 * DAY_MS);
          const ok = index < others.length - 1 && (index > before || (repeats && before - index < 13));
          before = Math.max(index, before);
          return ok;
        });
      },
    ),
    { numRuns: long ? 20_000 : 600 },
  );
  t.end();
});

t.test("29 February has no counterpart in a year without it, the other days keep their dates", (t) => {
  t.same(pairs("Europe/Paris", "day", days("Europe/Paris", "2024-02-27/2024-03-02"), YEAR), [
    "2024-02-27 2023-02-27",
    "2024-02-28 2023-02-28",
    "2024-02-29 none",
    "2024-03-01 2023-03-01",
    "2024-03-02 2023-03-02",
  ]);
  t.same(pairs("Europe/Paris", "day", days("Europe/Paris", "2025-02-27/2025-03-01"), YEAR), [
    "2025-02-27 2024-02-27",
    "2025-02-28 2024-02-28",
    "2025-03-01 2024-03-01",
  ]);
  t.same(
    pairs("Europe/Paris", "day", days("Europe/Paris", "2024-02-29/2024-03-01"), YEAR),
    ["2024-02-29 2023-02-28", "2024-03-01 2023-03-01"],
    "but a range that begins with it is compared from the 28th on",
  );
  const march = pairs("Europe/Paris", "day", days("Europe/Paris", "2025-03-01/2025-03-31"), PREVIOUS);
  t.same(march.slice(26), [
    "2025-03-27 2025-02-27",
    "2025-03-28 2025-02-28",
    "2025-03-29 none",
    "2025-03-30 none",
    "2025-03-31 none",
  ]);
  t.same(pairs("UTC", "month", days("UTC", "2024-01-01/2024-03-31"), YEAR), [
    "2024-01 2023-01",
    "2024-02 2023-02",
    "2024-03 2023-03",
  ]);
  t.end();
});

t.test("the hour that autumn repeats meets the one hour twice, the hour that spring skips has none", (t) => {
  const berlin = "Europe/Berlin";
  t.same(pairs(berlin, "hour", days(berlin, "2024-10-27"), YEAR).slice(1, 5), [
    "2024-10-27T01:00:00+02:00 2023-10-27T01:00:00+02:00",
    "2024-10-27T02:00:00+02:00 2023-10-27T02:00:00+02:00",
    "2024-10-27T02:00:00+01:00 2023-10-27T02:00:00+02:00",
    "2024-10-27T03:00:00+01:00 2023-10-27T03:00:00+02:00",
  ]);
  const cut = { fromMs: at("2024-10-27T02:15:00+02:00"), toMs: at("2024-10-27T04:00:00+01:00") };
  t.same(
    pairs(berlin, "hour", cut, YEAR),
    [
      "2024-10-27T02:00:00+02:00 2023-10-27T02:00:00+02:00",
      "2024-10-27T02:00:00+01:00 2023-10-27T02:00:00+02:00",
      "2024-10-27T03:00:00+01:00 2023-10-27T03:00:00+02:00",
    ],
    "though the range begins within the first of them",
  );
  t.same(pairs(berlin, "hour", days(berlin, "2025-03-31"), YEAR).slice(1, 4), [
    "2025-03-31T01:00:00+02:00 2024-03-31T01:00:00+01:00",
    "2025-03-31T02:00:00+02:00 none",
    "2025-03-31T03:00:00+02:00 2024-03-31T03:00:00+02:00",
  ]);
  t.same(pairs(berlin, "hour", days(berlin, "2025-10-27"), YEAR).slice(2, 4), [
    "2025-10-27T02:00:00+01:00 2024-10-27T02:00:00+02:00",
    "2025-10-27T03:00:00+01:00 2024-10-27T03:00:00+01:00",
  ]);
  const lordHowe = "Australia/Lord_Howe";
  t.same(pairs(lordHowe, "hour", days(lordHowe, "2016-10-02"), PREVIOUS).slice(1, 4), [
    "2016-10-02T01:00:00+10:30 2016-10-01T01:00:00+10:30",
    "2016-10-02T02:30:00+11:00 2016-10-01T02:00:00+10:30",
    "2016-10-02T03:00:00+11:00 2016-10-01T03:00:00+10:30",
  ]);
  t.same(pairs(lordHowe, "hour", days(lordHowe, "2016-04-03"), PREVIOUS).slice(1, 4), [
    "2016-04-03T01:00:00+11:00 2016-04-02T01:00:00+11:00",
    "2016-04-03T01:30:00+10:30 2016-04-02T01:00:00+11:00",
    "2016-04-03T02:00:00+10:30 2016-04-02T02:00:00+11:00",
  ]);
  t.same(pairs(lordHowe, "hour", days(lordHowe, "2016-10-03"), PREVIOUS).slice(2, 3), [
    "2016-10-03T02:00:00+11:00 2016-10-02T02:30:00+11:00",
  ]);
  t.end();
});

t.test("weeks a year apart, custom ranges and hours that do not fit correspond by their place", (t) => {
  const weeks = pairs("UTC", "week", days("UTC", "2025-11-03/2025-11-23"), YEAR);
  t.same(weeks, ["2025-W45 2024-W44", "2025-W46 2024-W45", "2025-W47 2024-W46"]);
  const matched = pairs("UTC", "week", days("UTC", "2025-11-03/2025-11-23"), YEAR_WEEKDAY);
  t.same(matched, ["2025-W45 2024-W45", "2025-W46 2024-W46", "2025-W47 2024-W47"]);
  const range = days("UTC", "2024-05-10/2024-05-11");
  t.same(pairs("UTC", "day", days("UTC", "2025-11-03/2025-11-05"), { mode: "custom", range }), [
    "2025-11-03 2024-05-10",
    "2025-11-04 2024-05-11",
    "2025-11-05 none",
  ]);
  const lordHowe = "Australia/Lord_Howe";
  const fromMs = at("2016-04-03T06:00:00+10:30");
  const asked = { fromMs, toMs: fromMs + 6 * HOUR_MS };
  const found = pairs(lordHowe, "hour", asked, PREVIOUS);
  t.same(
    found.slice(0, 2),
    [
      "2016-04-03T06:00:00+10:30 2016-04-03T00:00:00+11:00",
      "2016-04-03T07:00:00+10:30 2016-04-03T01:00:00+11:00",
    ],
    "six hours before, half past the hours on the clock",
  );
  t.end();
});
