import fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import t from "tap";
import { HOUR_MS, supportedZones } from "../../../engine/calendar/index.js";
import { parseQuery } from "../../../engine/query/index.js";
import { defineSchema } from "../../../engine/schema.js";
import { refusalOf } from "./refusal.js";
import { at, World } from "./world.js";

const context = { schema: defineSchema(), defaultZone: "UTC" };

t.test("a range that no calendar serves is refused by its own pointer, not by an endless search", (t) => {
  const world = new World();
  world.now = at("2026-11-23T14:03:11Z");
  for (const unit of ["w", "mo", "y"]) {
    t.match(
      refusalOf(() => world.query({ date_range: `9999${unit}` })),
      { code: "invalid-range", pointer: "/date_range", detail: /served from 1990/ },
    );
  }
  t.equal(world.query({ date_range: "9999d" }).meta.range[0], "1999-07-10T00:00:00Z");
  t.equal(world.query({ date_range: "9999h" }).meta.range[0], "2025-10-03T00:00:00Z");
  t.end();
});

/** The ranges of the presets as Temporal tells them. */
function presetsByTemporal(zone: string, nowMs: number): Record<string, [number, number]> {
  const now = Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(zone);
  const date = now.toPlainDate();
  const start = (day: Temporal.PlainDate): number => day.toZonedDateTime(zone).epochMilliseconds;
  const to = start(date.add({ days: 1 }));
  const month = date.with({ day: 1 });
  const monday = date.subtract({ days: date.dayOfWeek - 1 });
  const year = date.with({ month: 1, day: 1 });
  return {
    today: [start(date), to],
    day: [start(date), to],
    "7d": [start(date.subtract({ days: 6 })), to],
    "28d": [start(date.subtract({ days: 27 })), to],
    "30d": [start(date.subtract({ days: 29 })), to],
    "91d": [start(date.subtract({ days: 90 })), to],
    month: [start(month), to],
    "6mo": [start(month.subtract({ months: 5 })), to],
    "12mo": [start(month.subtract({ months: 11 })), to],
    "1mo": [start(month), to],
    year: [start(year), to],
    "1y": [start(year), to],
    "2y": [start(year.subtract({ years: 1 })), to],
    week: [start(monday), to],
    "1w": [start(monday), to],
    "2w": [start(monday.subtract({ weeks: 1 })), to],
    yesterday: [start(date.subtract({ days: 1 })), start(date)],
    last_week: [start(monday.subtract({ weeks: 1 })), start(monday)],
    last_month: [start(month.subtract({ months: 1 })), start(month)],
    last_year: [start(year.subtract({ years: 1 })), start(year)],
    all: [start(date), to],
  };
}

t.test("every preset is the range that Temporal tells, in every zone, at any hour of 2023 to 2029", (t) => {
  const world = new World();
  const random = fc.sample(
    fc.integer({ min: at("2023-01-01T00:00:00Z"), max: at("2029-12-31T00:00:00Z") }),
    supportedZones().length,
  );
  for (const [i, zone] of supportedZones().entries()) {
    world.now = random[i]!;
    for (const [preset, wanted] of Object.entries(presetsByTemporal(zone, world.now))) {
      const { range } = world.query({ date_range: preset, timezone: zone }).meta;
      const found = range.map((text) => Date.parse(text));
      if (found[0] !== wanted[0] || found[1] !== wanted[1])
        t.strictSame(found, wanted, `${preset} in ${zone} at ${world.now}`);
    }
    const [from, to] = world
      .query({ date_range: "24h", timezone: zone })
      .meta.range.map((text) => Date.parse(text)) as [number, number];
    const [hour, next] = world
      .query({ date_range: "current_hour", timezone: zone })
      .meta.range.map((text) => Date.parse(text)) as [number, number];
    if (
      !(
        hour <= world.now &&
        world.now < next &&
        next - hour <= HOUR_MS &&
        to === next &&
        to - from >= 24 * HOUR_MS &&
        to - from < 25 * HOUR_MS
      )
    ) {
      t.fail(`the hours in ${zone} at ${world.now}`);
    }
  }
  t.end();
});

t.test("without today, a preset is what it was at the end of yesterday, in every zone", (t) => {
  const world = new World();
  const presets = ["7d", "30d", "2w", "6mo", "2y", "week", "month", "year", "all"];
  for (const zone of supportedZones()) {
    for (const now of [
      "2026-11-23T11:30:00Z",
      "2026-03-01T09:00:00Z",
      "2027-01-01T10:00:00Z",
      "2026-03-29T12:00:00Z",
    ]) {
      world.now = at(now);
      const midnight = Date.parse(world.query({ date_range: "today", timezone: zone }).meta.range[0]);
      const rangeAt = (ms: number, date_range: string, rest = {}): readonly string[] => {
        world.now = ms;
        return world.query({ date_range, timezone: zone, ...rest }).meta.range;
      };
      for (const preset of presets) {
        const found = rangeAt(at(now), preset, { include_today: false });
        const wanted = rangeAt(midnight - 1, preset);
        if (found[0] !== wanted[0] || found[1] !== wanted[1])
          t.strictSame(found, wanted, `${preset} in ${zone}`);
      }
    }
  }
  t.end();
});

t.test("all time begins with the first event, wherever that is kept", async (t) => {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  const beginning = (): string => world.query({ date_range: "all", metrics: ["views"] }).meta.range[0];
  world.now = at("2026-11-23T14:03:11Z");
  t.equal(beginning(), "2026-11-23T00:00:00+05:30", "without an event, today");
  world.add({ ts: at("2026-11-20T10:00:00Z"), blog: "b" });
  t.equal(beginning(), "2026-11-20T00:00:00+05:30");
  await world.commit(at("2026-11-23T00:00:00Z"));
  world.add({ ts: at("2026-11-21T10:00:00Z"), blog: "b" });
  t.equal(beginning(), "2026-11-20T00:00:00+05:30");
  world.add({ ts: at("2021-02-28T18:35:00Z"), blog: "b" });
  t.equal(beginning(), "2021-03-01T00:00:00+05:30", "late, in memory");
  await world.commit(at("2026-11-23T00:00:00Z"), true);
  t.equal(beginning(), "2021-03-01T00:00:00+05:30", "late, written");
  world.add({ ts: at("2026-11-25T10:00:00Z"), blog: "b" });
  world.now = at("2019-01-01T12:00:00Z");
  t.equal(beginning(), "2019-01-01T00:00:00+05:30", "a clock that is behind all events");
});

t.test(
  "all time begins on a month's first days, though they lie in a week that began before it",
  async (t) => {
    const world = new World();
    world.add({ ts: at("2021-05-01T10:00:00Z"), blog: "b" }, { ts: at("2021-05-20T10:00:00Z"), blog: "b" });
    world.now = at("2026-11-23T14:03:11Z");
    await world.commit(world.now);
    const { results, meta } = world.query({ date_range: "all", metrics: ["views"] });
    t.equal(meta.range[0], "2021-05-01T00:00:00Z");
    t.strictSame(results[0]!.metrics, [2]);
  },
);

t.test("a day that the zone skipped is refused, and one that only the range's end skips is not", (t) => {
  const ask = (first: string, last: string): unknown =>
    parseQuery({ date_range: [first, last], timezone: "Pacific/Apia" }, context).range;
  t.match(
    refusalOf(() => ask("2011-12-30", "2011-12-30")),
    { code: "invalid-range", detail: /clocks skipped it/ },
  );
  t.strictSame(ask("2011-12-29", "2011-12-30"), ask("2011-12-29", "2011-12-29"));
  t.end();
});
