import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import t from "tap";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  QUARTER_MS,
  civilFromInstant,
  getZone,
  supportedZones,
  utcIso,
} from "../../../engine/calendar/index.js";
import { SCAN_STEP_MS } from "../../../engine/calendar/transitions.js";
import { TidemarkError } from "../../../engine/errors.js";
import {
  changesByTemporal,
  changesOf,
  long,
  offsetByTemporal,
  wallClock,
  zoneNames,
  zonedAt,
} from "./oracle.js";

const HOUR_6_MS = DAY_MS / 4;
const YEAR_MS = 366 * DAY_MS;

t.test("AT-02: every zone that is offered is served, under its own name, in any case of letters", (t) => {
  const listed = Intl.supportedValuesOf("timeZone");
  t.same(supportedZones(), [...new Set([...listed, "UTC"])].sort());
  for (const name of supportedZones()) {
    const zone = getZone(name);
    if (zone.name !== name) t.fail(`${name} became ${zone.name}`);
    if (getZone(name.toLowerCase()) !== zone) t.fail(`${name} in lower case is another zone`);
    if (getZone(name.toUpperCase()) !== zone) t.fail(`${name} in upper case is another zone`);
  }
  t.end();
});

t.test("links and the names of UTC are served, each under the name that was asked for", (t) => {
  const pairs = [
    ["asia/kolkata", "Asia/Kolkata"],
    ["ASIA/CALCUTTA", "Asia/Calcutta"],
    ["us/eastern", "US/Eastern"],
    ["europe/kyiv", "Europe/Kyiv"],
    ["utc", "UTC"],
    ["etc/utc", "Etc/UTC"],
    ["gmt", "GMT"],
    ["etc/gmt+5", "Etc/GMT+5"],
    ["america/port-au-prince", "America/Port-au-Prince"],
  ] as const;
  for (const [asked, name] of pairs) t.equal(getZone(asked).name, name);
  t.equal(
    getZone("us/pacific-new").name,
    "America/Los_Angeles",
    "a link that is not listed goes by its target",
  );
  t.same(changesOf(getZone("US/Eastern")), changesOf(getZone("America/New_York")));
  for (const utc of ["UTC", "Etc/UTC", "GMT"]) t.same(changesOf(getZone(utc)), []);
  t.equal(getZone("Etc/GMT+5").offsetAt(0), -5 * 3_600_000, "POSIX sign, as the tz database has it");
  t.end();
});

t.test("what is no IANA name is refused with what to write instead", (t) => {
  const meant = [
    ["IST", "Asia/Kolkata"],
    ["ist", "Asia/Kolkata"],
    ["PST", "America/Los_Angeles"],
    ["BST", "Europe/London"],
    ["CEST", "Europe/Berlin"],
    ["Kolkata", "Asia/Kolkata"],
    ["new york", "America/New_York"],
    ["America/New York", "America/New_York"],
    ["Asia/Kolkatta", "Asia/Kolkata"],
    ["Amerca/Los_Angles", "America/Los_Angeles"],
    ["Europe/Pari", "Europe/Paris"],
    ["Singapor", "Asia/Singapore"],
    [" UTC", "UTC"],
    ["Z", "UTC"],
  ] as const;
  for (const [text, nearest] of meant) {
    const error = refusal(text);
    t.match(error.message, `'${text}' is not an IANA name; did you mean ${nearest}?`);
    t.equal(error.extra["nearest"], nearest);
  }
  for (const offset of ["+05:30", "-0330", "UTC+3", "GMT+3", "utc -05:00", "+1", "UTC−3"])
    t.match(refusal(offset).message, /fixed offset.*IANA zone such as/);
  const nothingNear = [
    "",
    "Foo/Bar",
    "SystemV/PST8",
    "Factory",
    "constructor",
    "__proto__",
    "Mars/Olympus_Mons",
  ];
  for (const text of nothingNear)
    t.match(refusal(text).message, /is not an IANA name; give one such as Europe\/Paris/);
  t.match(
    refusal(`Asia/\u0000\n${"x".repeat(10_000)}`).message,
    /^'Asia\/\?\?x{33}…' is not/,
    "quoted short and clean",
  );
  t.end();
});

function refusal(name: string): TidemarkError {
  try {
    getZone(name);
  } catch (error) {
    if (error instanceof TidemarkError && error.code === "invalid-timezone") return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(name)} was accepted`);
}

t.test("the table of every zone has the changes that Temporal finds in 1990–2037, and no others", (t) => {
  let count = 0;
  for (const name of zoneNames) {
    const zone = getZone(name);
    const expected = changesByTemporal(name);
    count += expected.length;
    if (JSON.stringify(changesOf(zone)) !== JSON.stringify(expected))
      t.same(changesOf(zone).map(utcIso), expected.map(utcIso), name);
    let before = offsetByTemporal(name, CALENDAR_START_MS);
    for (const change of expected) {
      const after = offsetByTemporal(name, change);
      if (zone.offsetAt(change) !== after || zone.offsetAt(change - 1) !== before)
        t.fail(`${name} at ${utcIso(change)}: ${zone.offsetAt(change - 1)} → ${zone.offsetAt(change)}`);
      before = after;
    }
  }
  t.ok(count > 15_000, `${count} changes compared`);
  t.end();
});

t.test("at any instant the offset and the wall clock are Temporal's", (t) => {
  const instants = fc.integer({ min: CALENDAR_START_MS - YEAR_MS, max: CALENDAR_END_MS + YEAR_MS });
  fc.assert(
    fc.property(fc.constantFrom(...zoneNames), instants, (name, utcMs) => {
      const there = zonedAt(name, utcMs);
      const { year, month, day, hour, minute, second, millisecond, dayOfWeek } = there;
      const zone = getZone(name);
      if (zone.offsetAt(utcMs) !== there.offsetNanoseconds / 1e6) return false;
      const expected = { year, month, day, hour, minute, second, ms: millisecond, weekday: dayOfWeek };
      return isDeepStrictEqual(civilFromInstant(zone, utcMs), expected);
    }),
    { numRuns: long ? 50_000 : 2000 },
  );
  t.end();
});

t.test(
  "no two changes of a zone lie within two steps of the scan, so that it cannot have missed a pair",
  (t) => {
    let shortest = Infinity;
    for (const name of zoneNames) {
      const changes = changesOf(getZone(name));
      for (let i = 1; i < changes.length; i++) shortest = Math.min(shortest, changes[i]! - changes[i - 1]!);
    }
    t.ok(shortest > 2 * SCAN_STEP_MS, `the shortest gap is ${shortest / DAY_MS} days`);
    t.end();
  },
);

t.test("a scan of Intl four times a day finds no other offset anywhere (long)", { skip: !long }, (t) => {
  for (const name of zoneNames) {
    const wallAt = wallClock(name);
    const zone = getZone(name);
    for (let at = CALENDAR_START_MS - YEAR_MS; at < CALENDAR_END_MS + YEAR_MS; at += HOUR_6_MS)
      if (wallAt(at) !== at + zone.offsetAt(at)) t.fail(`${name} at ${utcIso(at)}`);
  }
  t.end();
});

t.test(
  "every offset is a whole number of quarters, and a change off the quarter is one of six old zones'",
  (t) => {
    const offQuarter = new Set<string>();
    let last = 0;
    for (const name of zoneNames) {
      const zone = getZone(name);
      for (const at of [CALENDAR_START_MS, ...changesOf(zone)]) {
        if (zone.offsetAt(at) % QUARTER_MS !== 0)
          t.fail(`${name}: offset ${zone.offsetAt(at)} at ${utcIso(at)}`);
        if (at % QUARTER_MS === 0) continue;
        offQuarter.add(name);
        last = Math.max(last, at);
      }
    }
    t.same([...offQuarter].sort(), [
      "America/Goose_Bay",
      "America/Moncton",
      "America/St_Johns",
      "Antarctica/Casey",
      "Asia/Gaza",
      "Asia/Hebron",
    ]);
    t.equal(utcIso(last), "2022-10-01T16:01:00Z");
    t.end();
  },
);

t.test("outside the calendar the nearest offset holds for ever, and nothing throws", (t) => {
  for (const name of ["America/New_York", "Asia/Kolkata", "UTC"]) {
    const zone = getZone(name);
    for (const at of [-8.64e15, -1, 8.64e15]) {
      const edge = at < 0 ? CALENDAR_START_MS - YEAR_MS : CALENDAR_END_MS + YEAR_MS;
      t.equal(zone.offsetAt(at), zone.offsetAt(edge));
      t.ok(zone.startOf("year", at) <= at && at < zone.endOf("year", at));
    }
    t.equal(zone.nextChange(8.64e15), Infinity);
  }
  t.end();
});
