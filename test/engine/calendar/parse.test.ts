import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import t from "tap";
import { Temporal } from "temporal-polyfill";
import {
  addDays,
  addMonths,
  addYears,
  civilFromDays,
  compareDates,
  daysFromCivil,
  daysInMonth,
  formatDay,
  formatInstant,
  getZone,
  isoWeek,
  isoWeekday,
  localDateStart,
  parseInstant,
  parseLocalDate,
  utcIso,
  type CivilDate,
} from "../../../engine/calendar/index.js";
import { zoneNames, zonedAt } from "./oracle.js";

/** Years 0–9999, which RFC 3339 can write. */
const instants = fc.integer({ min: Date.UTC(2000, 0, 1) - 63_113_904_000_000, max: 253_402_300_799_999 });
const days = fc.integer({ min: -719_528, max: 2_932_896 });

t.test("parseInstant reads what Date reads, to the millisecond, at every offset and in either case", (t) => {
  const offsets = fc.tuple(fc.constantFrom("+", "-"), fc.nat(23), fc.nat(59));
  const two = (value: number): string => String(value).padStart(2, "0");
  fc.assert(
    fc.property(instants, offsets, fc.boolean(), (utcMs, [sign, hours, minutes], lower) => {
      const local = new Date(utcMs).toISOString();
      const texts = [local, local.slice(0, -1) + `${sign}${two(hours)}:${two(minutes)}`];
      return texts.every((text) => parseInstant(lower ? text.toLowerCase() : text) === Date.parse(text));
    }),
    { numRuns: 5000 },
  );
  t.end();
});

t.test("a fraction of 1–9 digits is cut to milliseconds, never rounded", (t) => {
  const base = Date.UTC(2016, 2, 14, 19, 4, 5);
  const fractions = {
    "": 0,
    ".1": 100,
    ".25": 250,
    ".007": 7,
    ".9999": 999,
    ".123456789": 123,
    ".000999999": 0,
  };
  for (const [fraction, ms] of Object.entries(fractions)) {
    t.equal(parseInstant(`2016-03-14T19:04:05${fraction}Z`), base + ms, fraction);
    t.equal(parseInstant(`2016-03-14T19:04:05${fraction}+05:30`), base + ms - 19_800_000, fraction);
  }
  t.equal(parseInstant("1969-12-31T23:59:59.9999Z"), -1, "also before 1970");
  t.end();
});

t.test("parseInstant refuses whatever is no RFC 3339 instant", (t) => {
  const refused = [
    "",
    "2016-03-14",
    "2016-03-14T19:04:05",
    "2016-03-14 19:04:05Z",
    "2016-03-14T19:04Z",
    "2016-03-14T19:04:05+0530",
    "2016-03-14T19:04:05+05",
    "2016-03-14T19:04:05+5:30",
    "2016-03-14T19:04:05+24:00",
    "2016-03-14T19:04:05+05:60",
    "2016-03-14T19:04:05−05:30",
    "2016-03-14T19:04:05Z ",
    " 2016-03-14T19:04:05Z",
    "2016-03-14T19:04:05ZZ",
    "2016-03-14T19:04:05+05:30Z",
    "2016-03-14T19:04:05.5+05:300",
    "2016-03-14T19:04:05[UTC]",
    "2016-03-14T19:04:05.Z",
    "2016-03-14T19:04:05.1234567890Z",
    "2016-03-14T19:04:05,5Z",
    "2016-03-14T24:00:00Z",
    "2016-03-14T19:60:00Z",
    "2016-12-31T23:59:60Z",
    "2016-3-14T19:04:05Z0",
    "2016-00-14T19:04:05Z",
    "2016-13-14T19:04:05Z",
    "2016-03-00T19:04:05Z",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2016-04-31T00:00:00Z",
    "+02016-03-14T19:04:05Z",
    "-2016-03-14T19:04:05Z",
    "20160314T190405Z0000",
    "２０１６-03-14T19:04:05Z",
    "2016-03-14T1e:04:05Z",
    "2016-03-14T-1:04:05Z",
    "2016-03-14T19:04:05+-1:00",
    "1457963676000",
    "now",
  ];
  for (const text of refused) t.equal(parseInstant(text), undefined, JSON.stringify(text));
  t.equal(parseInstant("2024-02-29T00:00:00Z"), Date.UTC(2024, 1, 29));
  t.equal(parseInstant("2000-02-29t00:00:00z"), Date.UTC(2000, 1, 29));
  t.equal(
    parseInstant("2016-03-14T19:04:05-00:00"),
    Date.UTC(2016, 2, 14, 19, 4, 5),
    "RFC 3339's unknown offset",
  );
  t.equal(parseInstant("0000-01-01T00:00:00Z"), Date.parse("0000-01-01T00:00:00Z"));
  t.end();
});

t.test("no text whatever makes parseInstant or parseLocalDate throw or give NaN", (t) => {
  const alphabet = fc.constantFrom(..."0123456789-:.+TtZz 0123456789".split(""));
  const texts = fc.oneof(fc.string(), fc.string({ unit: alphabet, minLength: 18, maxLength: 37 }));
  const mutated = fc.tuple(fc.nat(25), fc.string({ maxLength: 1 })).map(([at, char]) => {
    const text = "2016-03-14T19:04:05.5+05:30";
    return text.slice(0, at) + char + text.slice(at + 1);
  });
  fc.assert(
    fc.property(fc.oneof(texts, mutated), (text) => {
      const instant = parseInstant(text);
      const date = parseLocalDate(text);
      const whole =
        date === undefined || Number.isSafeInteger(daysFromCivil(date.year, date.month, date.day));
      return whole && (instant === undefined || Number.isSafeInteger(instant));
    }),
    { numRuns: 5000 },
  );
  t.end();
});

t.test(
  "an instant written in any zone is read back, as Temporal reads it, without milliseconds that are zero",
  (t) => {
    const range = fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2038, 0, 1) });
    const someZones = zoneNames.filter((_, index) => index % 8 === 0);
    fc.assert(
      fc.property(
        fc.constantFrom("UTC", "Australia/Lord_Howe", ...someZones),
        range,
        fc.boolean(),
        (name, someMs, whole) => {
          const utcMs = whole ? Math.floor(someMs / 1000) * 1000 : someMs;
          const text = formatInstant(utcMs, getZone(name));
          if (/\.000/.test(text) || text.endsWith("Z") !== (name === "UTC")) return false;
          const there = zonedAt(name, utcMs).toString({ timeZoneName: "never", smallestUnit: "second" });
          const same = utcMs % 1000 === 0 ? text.replace("Z", "+00:00") === there : true;
          return (
            same && parseInstant(text) === utcMs && Temporal.Instant.from(text).epochMilliseconds === utcMs
          );
        },
      ),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(instants, (utcMs) => utcIso(utcMs) === new Date(utcMs).toISOString().replace(".000Z", "Z")),
    );
    t.equal(utcIso(Date.UTC(10_000, 0, 1)), "+010000-01-01T00:00:00Z");
    t.equal(utcIso(Date.UTC(-1, 0, 1)), "-000001-01-01T00:00:00Z");
    t.equal(
      formatInstant(Date.UTC(2016, 2, 14, 0, 0, 0, 50), getZone("America/St_Johns")),
      "2016-03-13T21:30:00.050-02:30",
    );
    t.end();
  },
);

t.test("parseLocalDate takes dates of the calendar in the form YYYY-MM-DD, and nothing else", (t) => {
  t.same(parseLocalDate("2024-02-29"), { year: 2024, month: 2, day: 29 });
  t.same(parseLocalDate("0001-12-31"), { year: 1, month: 12, day: 31 });
  for (const text of [
    "2023-02-29",
    "2024-2-29",
    "2024-02-30",
    "2024-13-01",
    "2024-00-01",
    "2024-01-00",
    "20240229",
    "",
  ])
    t.equal(parseLocalDate(text), undefined, text);
  for (const text of ["2024-02-29T00:00:00Z", " 2024-02-2", "2024/02/29", "2024-02-2x", "today"])
    t.equal(parseLocalDate(text), undefined, text);
  fc.assert(
    fc.property(days, (day) => isDeepStrictEqual(parseLocalDate(formatDay(day)), civilFromDays(day))),
  );
  t.end();
});

t.test(
  "localDateStart gives the start of a local day, of the next where the zone skipped it, and refuses the rest",
  (t) => {
    const start = (name: string, year: number, month: number, day: number): string =>
      utcIso(localDateStart(getZone(name), year, month, day));
    t.equal(start("Asia/Kolkata", 2016, 3, 14), "2016-03-13T18:30:00Z");
    t.equal(start("America/Havana", 2024, 3, 10), "2024-03-10T05:00:00Z");
    t.equal(start("Pacific/Apia", 2011, 12, 30), start("Pacific/Apia", 2011, 12, 31));
    t.equal(start("Pacific/Auckland", 1990, 1, 1), "1989-12-31T11:00:00Z");
    t.equal(start("Pacific/Pago_Pago", 2038, 1, 1), "2038-01-01T11:00:00Z");
    const refused = { code: "invalid-range" };
    t.throws(() => start("UTC", 2023, 2, 29), refused);
    t.throws(() => start("UTC", 2023, 0, 1), refused);
    t.throws(() => start("UTC", 2023, 1.5, 1), refused);
    t.throws(() => start("UTC", NaN, 1, 1), refused);
    t.throws(() => start("UTC", 1989, 12, 31), refused);
    t.throws(() => start("UTC", 2038, 1, 2), refused);
    t.end();
  },
);

t.test("AT-68: dates and what is added to them are Temporal's; 29 February gives way to the 28th", (t) => {
  const plain = (date: CivilDate): Temporal.PlainDate => Temporal.PlainDate.from({ ...date });
  fc.assert(
    fc.property(days, fc.integer({ min: -5000, max: 5000 }), (dayNumber, amount) => {
      const date = civilFromDays(dayNumber);
      const same = (a: CivilDate, b: Temporal.PlainDate): boolean => compareDates(a, b) === 0;
      const { year, week } = isoWeek(dayNumber);
      return (
        daysFromCivil(date.year, date.month, date.day) === dayNumber &&
        Date.UTC(2000, 0, 1) / 86_400_000 + plain(date).since("2000-01-01").days === dayNumber &&
        isoWeekday(dayNumber) === plain(date).dayOfWeek &&
        daysInMonth(date.year, date.month) === plain(date).daysInMonth &&
        year === plain(date).yearOfWeek &&
        week === plain(date).weekOfYear &&
        same(addDays(date, amount), plain(date).add({ days: amount })) &&
        same(addMonths(date, amount), plain(date).add({ months: amount })) &&
        same(addYears(date, amount), plain(date).add({ years: amount }))
      );
    }),
    { numRuns: 3000 },
  );
  const leapDay = { year: 2024, month: 2, day: 29 };
  t.same(addYears(leapDay, -1), { year: 2023, month: 2, day: 28 });
  t.same(addYears(leapDay, 4), { year: 2028, month: 2, day: 29 });
  t.same(addMonths({ year: 2024, month: 1, day: 31 }, 1), leapDay);
  t.same(addMonths({ year: 2024, month: 1, day: 31 }, -2), { year: 2023, month: 11, day: 30 });
  t.ok(compareDates(leapDay, { year: 2024, month: 3, day: 1 }) < 0);
  t.end();
});
