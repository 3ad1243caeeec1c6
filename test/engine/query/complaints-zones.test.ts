/** What users of other products suffered with zones and changes of clocks (section A); AT-… is the complaint's number. */
import { Temporal } from "temporal-polyfill";
import t from "tap";
import { HOUR_MS, QUARTER_MS, getZone, supportedZones } from "../../../engine/calendar/index.js";
import { ask, at, firstMetrics, randomFrom, sum, World, type Happening } from "./world.js";

const DAY_MS = 24 * HOUR_MS;
const zones = supportedZones();

/** Start and end of a local day, by Temporal. */
function dayOf(zone: string, date: Temporal.PlainDate): [number, number] {
  return [
    date.toZonedDateTime(zone).epochMilliseconds,
    date.add({ days: 1 }).toZonedDateTime(zone).epochMilliseconds,
  ];
}

/** 2026 with one view in every quarter-hour, at any time within it; sealed up to November. */
async function yearWorld(homeZones: readonly string[] = []): Promise<World> {
  const random = randomFrom(1);
  const world = new World({ homeZones, schema: { rollups: [[]] } });
  const happenings: Happening[] = [];
  for (let ts = at("2025-12-30T00:00Z"); ts < at("2027-01-02T00:00Z"); ts += QUARTER_MS) {
    happenings.push({
      ts: ts + Math.floor(random() * QUARTER_MS),
      blog: "b",
      viewer: `v${Math.floor(random() * 900)}`,
    });
  }
  world.add(...happenings);
  await world.commit(at("2026-11-02T07:15Z"));
  return world;
}

const year = await yearWorld(["Asia/Kolkata", "America/St_Johns"]);

function viewsBetween(fromMs: number, toMs: number): number {
  return year.happenings.filter(({ ts }) => ts >= fromMs && ts < toMs).length;
}

/** One view a quarter-hour. */
function quartersBetween(fromMs: number, toMs: number): number {
  return (toMs - fromMs) / QUARTER_MS;
}

/** The local dates on which a zone changes its clocks in 2026. */
function changeDates(name: string): Temporal.PlainDate[] {
  const zone = getZone(name);
  const dates: Temporal.PlainDate[] = [];
  for (
    let ms = zone.nextChange(at("2026-01-03T00:00Z"));
    ms < at("2026-12-28T00:00Z");
    ms = zone.nextChange(ms)
  ) {
    dates.push(Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(name).toPlainDate());
  }
  return dates;
}

t.test(
  "AT-01, AT-07: a local day has the views of its quarters in every zone, on changes of clocks and beside them",
  (t) => {
    let days = 0;
    for (const name of zones) {
      const plain = [Temporal.PlainDate.from("2026-06-10"), Temporal.PlainDate.from("2026-11-20")];
      const changed = changeDates(name).flatMap((date) => [-1, 0, 1].map((n) => date.add({ days: n })));
      for (const date of [...plain, ...changed]) {
        const [fromMs, toMs] = dayOf(name, date);
        const found = firstMetrics(ask(year, name, [date.toString(), date.toString()]))[0];
        if (found !== quartersBetween(fromMs, toMs))
          t.equal(found, quartersBetween(fromMs, toMs), `${name} ${date.toString()}`);
        days++;
      }
    }
    t.equal(
      viewsBetween(at("2026-06-10T00:00Z"), at("2026-06-11T00:00Z")),
      96,
      "the state is as it is said to be",
    );
    t.comment(`${days} days in ${zones.length} zones`);
    t.end();
  },
);

t.test("AT-02: no zone is offered that is not served", (t) => {
  for (const name of zones) {
    const { meta, query } = ask(year, name, "current_hour", { dimensions: ["time"] });
    if (query["timezone"] !== name || meta.granularity !== "quarter") t.fail(name);
  }
  t.end();
});

t.test("AT-03: the label of an hour carries its offset, and names the hour that the event fell into", (t) => {
  const world = new World().add({ ts: at("2026-03-01T07:00Z"), blog: "b" });
  const { results } = ask(world, "Asia/Tehran", ["2026-03-01", "2026-03-01"], { dimensions: ["time:hour"] });
  t.strictSame(
    results.map(({ dimensions }) => dimensions),
    [["2026-03-01T10:00:00+03:30"]],
  );
  t.end();
});

t.test(
  "AT-04: days of 23, 25, 23.5 and 24.5 hours have 23, 25, 24 and 25 rows by hour, which add up to the day",
  (t) => {
    for (const [name, date, rows, quarters] of [
      ["America/New_York", "2026-03-08", 23, 92],
      ["America/New_York", "2026-11-01", 25, 100],
      ["Australia/Lord_Howe", "2026-10-04", 24, 94],
      ["Australia/Lord_Howe", "2026-04-05", 25, 98],
    ] as const) {
      const result = ask(year, name, [date, date], {
        dimensions: ["time:hour"],
        include: { total: true, time_labels: true },
      });
      t.equal(result.results.length, rows, `${name} ${date}`);
      t.strictSame(
        result.results.map(({ dimensions }) => dimensions[0]),
        result.meta.time_labels,
      );
      t.equal(sum(firstMetrics(result)), quarters);
      t.strictSame(result.total!.metrics, [quarters]);
    }
    t.end();
  },
);

t.test(
  "AT-05: by quarter, by hour, by day and in the last 24 hours, an event is in the bucket that holds its time",
  (t) => {
    const ts = at("2026-11-23T13:50:00Z");
    const world = new World({ homeZones: ["Asia/Kolkata"] }).add({ ts, blog: "b", viewer: "v" });
    world.now = at("2026-11-23T14:03:11Z");
    const labelled = (dateRange: unknown, grain: string): unknown =>
      ask(world, "Asia/Kolkata", dateRange, { dimensions: [`time:${grain}`] }).results.map(
        (row) => row.dimensions[0],
      );
    t.strictSame(labelled("24h", "hour"), ["2026-11-23T19:00:00+05:30"]);
    t.strictSame(labelled("current_hour", "hour"), ["2026-11-23T19:00:00+05:30"]);
    t.strictSame(labelled("today", "quarter"), ["2026-11-23T19:15:00+05:30"]);
    t.strictSame(labelled("7d", "day"), ["2026-11-23"]);
    t.strictSame(labelled("all", "week"), ["2026-W48"]);
    t.end();
  },
);

t.test("AT-06: the views of any breakdown add up to the total, in every zone", (t) => {
  const random = randomFrom(6);
  const pick = (values: readonly string[]): string | undefined =>
    values[Math.floor(random() * (values.length + 1))];
  const world = new World({ maxValues: 3 });
  for (let i = 0; i < 600; i++) {
    const ts = at("2026-03-27T00:00Z") + Math.floor(random() * 5 * DAY_MS);
    const blog = `b${Math.floor(random() * 6)}`;
    world.add({
      ts,
      blog,
      author: pick(["ann", "bob"]),
      country: pick(["IN", "US", "NP", "LB"]),
      viewer: pick(["v", "w"]),
    });
  }
  for (const name of zones) {
    for (const dimension of ["blog", "author", "country", "time:hour", "time:day"]) {
      const result = ask(world, name, ["2026-03-28", "2026-03-29"], {
        dimensions: [dimension],
        include: { total: true },
      });
      if (sum(firstMetrics(result)) !== result.total!.metrics[0])
        t.equal(sum(firstMetrics(result)), result.total!.metrics[0], name);
    }
  }
  t.end();
});

t.test(
  "AT-09: the hour that autumn repeats is two rows, in the order of time, with different offsets",
  (t) => {
    const { results } = ask(year, "Europe/Berlin", ["2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"], {
      dimensions: ["time"],
    });
    t.equal(results.length, 12, "three hours are shown by quarter");
    const hours = ask(year, "Europe/Berlin", ["2026-10-25", "2026-10-25"], { dimensions: ["time:hour"] });
    t.strictSame(
      hours.results.slice(1, 5).map(({ dimensions }) => dimensions[0]),
      [
        "2026-10-25T01:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
      ],
    );
    t.strictSame(
      firstMetrics(hours),
      Array.from({ length: 25 }, () => 4),
    );
    t.end();
  },
);

t.test("AT-10: a day whose midnight was skipped begins at 01:00, and has no empty row for 00:00", (t) => {
  for (const [name, date, first] of [
    ["Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00"],
    ["Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"],
    ["America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"],
    ["America/Havana", "2026-03-08", "2026-03-08T01:00:00-04:00"],
    ["Atlantic/Azores", "2026-03-29", "2026-03-29T01:00:00+00:00"],
  ] as const) {
    const { results, meta } = ask(year, name, [date, date], { dimensions: ["time:hour"], fill: "zero" });
    t.equal(meta.range[0], first);
    t.equal(results[0]!.dimensions[0], first);
    t.equal(results.length, 23, name);
    t.ok(results.every(({ metrics }) => metrics[0] === 4));
  }
  t.end();
});

t.test(
  "AT-11, AT-14: a zone never named before answers from what is stored; another zone re-labels history without loss",
  (t) => {
    const totals = ["UTC", "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns"].map((name) => {
      const result = ask(year, name, ["2025-12-29", "2027-01-03"], { dimensions: ["time:month"] });
      return sum(firstMetrics(result));
    });
    t.strictSame(
      totals,
      totals.map(() => year.happenings.length),
    );
    t.end();
  },
);

t.test(
  "AT-12: a month has its last day, in the home zone and elsewhere, from stored months as from days",
  (t) => {
    for (const name of [
      "UTC",
      "Asia/Kolkata",
      "America/St_Johns",
      "America/Los_Angeles",
      "Pacific/Kiritimati",
    ]) {
      for (let month = 1; month <= 12; month++) {
        const first = Temporal.PlainDate.from({ year: 2026, month, day: 1 });
        const last = first.with({ day: first.daysInMonth });
        const range = [first.toString(), last.toString()];
        const wanted = quartersBetween(dayOf(name, first)[0], dayOf(name, last)[1]);
        t.strictSame(firstMetrics(ask(year, name, range)), [wanted], `${name} ${range[0]}`);
        t.equal(sum(firstMetrics(ask(year, name, range, { dimensions: ["time:day"] }))), wanted);
      }
    }
    t.end();
  },
);

t.test("AT-13: at 00:20 local time today is twenty minutes old, while the last 24 hours are whole", (t) => {
  for (const name of ["Europe/Istanbul", "Asia/Singapore", "Etc/GMT+8"]) {
    const [midnight] = dayOf(name, Temporal.PlainDate.from("2026-11-23"));
    const world = new World();
    for (let ts = midnight - 2 * DAY_MS; ts < midnight + 20 * 60_000; ts += 60_000)
      world.add({ ts, blog: "b" });
    world.now = midnight + 20 * 60_000;
    t.strictSame(firstMetrics(ask(world, name, "today")), [20], `${name} today`);
    const last = ask(world, name, "24h", { dimensions: ["time:hour"] });
    t.strictSame(firstMetrics(last), [...Array.from({ length: 23 }, () => 60), 20], `${name} 24h`);
    t.equal(last.results.at(-1)!.state, "partial");
  }
  t.end();
});

t.test(
  "AT-15: a range that begins and ends on the half hour has every view between, from sealed hours too",
  (t) => {
    const random = randomFrom(15);
    for (let i = 0; i < 300; i++) {
      const fromMs = at("2026-01-01T00:30Z") + Math.floor(random() * 300) * DAY_MS;
      const toMs = fromMs + (1 + Math.floor(random() * 2000)) * 2 * QUARTER_MS;
      const range = [fromMs, toMs].map((ms) => Temporal.Instant.fromEpochMilliseconds(ms).toString());
      t.strictSame(firstMetrics(ask(year, "Asia/Kolkata", range)), [viewsBetween(fromMs, toMs)]);
    }
    t.end();
  },
);
