import fc from "fast-check";
import t from "tap";
import {
  GRAINS,
  HOUR_MS,
  QUARTER_MS,
  getZone,
  supportedZones,
  type Zone,
} from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import { cover, type Run, type SealedCalendars } from "../../../engine/query/index.js";
import { chooseRollup } from "../../../engine/query/rollup.js";
import { autoGrain, edgeIndex, timeEdges } from "../../../engine/query/time-buckets.js";
import { defineSchema } from "../../../engine/schema.js";

const DAY_MS = 24 * HOUR_MS;
const long = process.env["TIDEMARK_LONG"] === "1";
const zones = supportedZones().filter((name) => name !== "UTC");

type Reach = Partial<Record<Run["grain"], number>>;

/** `reach`: how far back each grain is kept, in all calendars alike. */
function calendarsOf(
  homes: readonly string[],
  sealed: readonly number[],
  reach: Reach = {},
): SealedCalendars {
  const calendars = ["UTC", ...homes].map((name) => getZone(name));
  return {
    calendars,
    sealedUntil: (name) => sealed[calendars.findIndex((zone) => zone.name === name)]!,
    reachOf: (_, grain) => reach[grain] ?? -Infinity,
  };
}

/** Fewest buckets by trying every way there is, quarter by quarter; no bucket knows of any other. */
function fewest(state: SealedCalendars, fromMs: number, toMs: number): number {
  const count = (toMs - fromMs) / QUARTER_MS;
  const startsAt = Array.from({ length: count }, (): number[] => []);
  const addAll = (zone: Zone, grain: Run["grain"]): void => {
    for (let start = zone.startOf(grain, fromMs); start < toMs; start = zone.endOf(grain, start)) {
      const end = zone.endOf(grain, start);
      if (end > Math.min(toMs, state.sealedUntil(zone.name))) return;
      if (start >= Math.max(fromMs, state.reachOf(zone.name, grain)))
        startsAt[(start - fromMs) / QUARTER_MS]!.push((end - fromMs) / QUARTER_MS);
    }
  };
  addAll(state.calendars[0]!, "hour");
  for (const zone of state.calendars)
    for (const grain of ["day", "week", "month", "year"] as const) addAll(zone, grain);
  const least = new Float64Array(count + 1).fill(Infinity);
  least[0] = 0;
  for (let at = 0; at < count; at++) {
    const quarter = fromMs + at * QUARTER_MS >= state.reachOf("UTC", "quarter") ? [at + 1] : [];
    for (const to of [...quarter, ...startsAt[at]!]) least[to] = Math.min(least[to]!, least[at]! + 1);
  }
  return least[count]!;
}

/** The buckets of the runs, one by one. Throws where the runs do not tile the range with buckets that are sealed. */
function bucketsOf(state: SealedCalendars, runs: readonly Run[], fromMs: number, toMs: number): number {
  let at = fromMs;
  let total = 0;
  for (const run of runs) {
    const zone = state.calendars.find(({ name }) => name === run.calendar)!;
    if (run.fromMs !== at) throw new Error(`a gap or an overlap at ${at}`);
    let count = 0;
    for (; at < run.toMs; at = zone.endOf(run.grain, at), count++) {
      if (zone.startOf(run.grain, at) !== at)
        throw new Error(`no ${run.grain} of ${run.calendar} begins at ${at}`);
      if (at < state.reachOf(run.calendar, run.grain)) throw new Error(`${run.grain} at ${at} is not kept`);
      const isSealed = zone.endOf(run.grain, at) <= state.sealedUntil(run.calendar);
      if (run.grain !== "quarter" && !isSealed) throw new Error(`${run.grain} at ${at} is not sealed`);
    }
    if (at !== run.toMs || count !== run.count)
      throw new Error(`the run at ${run.fromMs} ends or counts wrong`);
    if (["quarter", "hour"].includes(run.grain) && run.calendar !== "UTC")
      throw new Error("hours are of UTC");
    total += count;
  }
  if (at !== toMs) throw new Error(`the cover ends at ${at}, not ${toMs}`);
  return total;
}

const quarters = (fromMs: number, toMs: number): fc.Arbitrary<number> =>
  fc.integer({ min: fromMs / QUARTER_MS, max: toMs / QUARTER_MS }).map((n) => n * QUARTER_MS);

const situation = fc.record({
  homes: fc.uniqueArray(fc.constantFrom(...zones), { maxLength: 3 }),
  startMs: quarters(Date.UTC(1991, 0), Date.UTC(2033, 0)),
  align: fc.constantFrom(...GRAINS),
  days: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 70 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 1100 }) },
  ),
  endAlign: fc.constantFrom(...GRAINS),
  /** Per calendar: how far it is sealed, in days from the start. Mostly they are sealed alike. */
  sealed: fc.oneof<fc.Arbitrary<number[]>[]>(
    fc.constant([Infinity, Infinity, Infinity, Infinity]),
    fc.integer({ min: -10, max: 1200 }).map((days) => [days, days, days, days]),
    fc.array(fc.constantFrom(-Infinity, 0, 3, 40, 300, Infinity), { minLength: 4, maxLength: 4 }),
  ),
  /** How far back days, hours and quarters are kept, in days from the start, each at most as far as the one before. */
  reach: fc.option(fc.tuple(...[900, 90, 30].map((max) => fc.integer({ min: -20, max }))), {
    nil: undefined,
  }),
});

function reachOf(startMs: number, days: readonly number[] | undefined): Reach {
  if (days === undefined) return {};
  const at = (count: number): number => Math.floor(startMs / DAY_MS + count) * DAY_MS;
  const [day, hour, quarter] = days as [number, number, number];
  return {
    day: at(day - 800),
    hour: at(Math.max(day - 800, hour)),
    quarter: at(Math.max(day - 800, hour, quarter)),
  };
}

/** Longer ranges are searched coarsely in the middle, which may cost a few buckets. */
const EXACT_UP_TO_MS = 400 * DAY_MS;
const MOST_MORE = 2;

t.test(
  "a cover is disjoint, complete, made of sealed buckets that are kept, and up to 400 days none has fewer",
  (t) => {
    const grains = new Set<string>();
    let refused = 0;
    fc.assert(
      fc.property(situation, ({ homes, startMs, align, days, endAlign, sealed, reach }) => {
        const frontier = sealed.map((day) => startMs + day * DAY_MS);
        const state = calendarsOf(homes, frontier, reachOf(startMs, reach));
        const zone = state.calendars.at(-1)!;
        const fromMs = zone.startOf(align, startMs);
        const toMs = zone.endOf(endAlign, Math.max(fromMs, startMs + days * DAY_MS));
        fc.pre(fromMs % QUARTER_MS === 0 && toMs % QUARTER_MS === 0);
        const runs = cover(state, fromMs, toMs);
        const least = fewest(state, fromMs, toMs);
        if (runs === undefined) {
          refused++;
          if (least !== Infinity) throw new Error(`refused, where ${least} buckets would do`);
          return;
        }
        for (const { grain } of runs) grains.add(grain);
        const count = bucketsOf(state, runs, fromMs, toMs);
        const more = toMs - fromMs <= EXACT_UP_TO_MS ? 0 : MOST_MORE;
        if (count > least + more) throw new Error(`${count} buckets, ${least} would do`);
      }),
      { numRuns: long ? 20_000 : 300 },
    );
    t.strictSame([...grains].sort(), [...GRAINS].sort(), "every grain was used");
    t.ok(refused > 0, "what is no longer kept is refused");
    t.end();
  },
);

t.test("covers of equal count are the same at every call, and coarse where they can be", (t) => {
  const state = calendarsOf(["Asia/Kolkata"], [Infinity, Infinity]);
  const kolkata = getZone("Asia/Kolkata");
  const fromMs = kolkata.dayStart(20_454);
  const toMs = kolkata.endOf("year", fromMs);
  t.strictSame(
    cover(state, fromMs, toMs)!.map(({ calendar, grain, count }) => `${count} ${grain} ${calendar}`),
    ["1 year Asia/Kolkata"],
  );
  t.strictSame(cover(state, fromMs, fromMs), []);
  t.strictSame(cover(state, fromMs + DAY_MS, toMs), cover(state, fromMs + DAY_MS, toMs));
  t.throws(() => cover(state, fromMs + 1, toMs), /BUG/);
  t.end();
});

t.test("thirty years cost hardly more to plan than one", (t) => {
  const state = calendarsOf(["Asia/Kolkata"], [Infinity, Infinity]);
  const zone = getZone("Europe/Paris");
  const asked = { year: 0, thirty: 0 };
  for (const [name, years] of [["year", 2] as const, ["thirty", 30] as const]) {
    const counted = state.calendars.map((calendar): Zone => ({
      name: calendar.name,
      offsetAt: (ms) => calendar.offsetAt(ms),
      nextChange: (ms) => calendar.nextChange(ms),
      dayNumberAt: (ms) => calendar.dayNumberAt(ms),
      dayStart: (day) => calendar.dayStart(day),
      startOf: (...of) => (asked[name]++, calendar.startOf(...of)),
      endOf: (...of) => (asked[name]++, calendar.endOf(...of)),
    }));
    const fromMs = zone.startOf("day", Date.UTC(2001, 2, 7));
    const toMs = zone.startOf("day", Date.UTC(2001 + years, 4, 9));
    cover({ calendars: counted, sealedUntil: () => Infinity, reachOf: () => -Infinity }, fromMs, toMs);
  }
  t.ok(asked.thirty < asked.year * 2, `${asked.year} and ${asked.thirty} questions to the calendars`);
  t.end();
});

t.test(
  "AT-08: around every change of the clocks no cover is inverted, and none misses or repeats a quarter",
  (t) => {
    for (const name of supportedZones()) {
      const zone = getZone(name);
      const state = calendarsOf([name], [Infinity, Infinity]);
      for (let at = zone.nextChange(Date.UTC(2022, 10)); at < Date.UTC(2028, 0); at = zone.nextChange(at)) {
        for (const grain of ["hour", "day"] as const) {
          const edges = timeEdges(
            zone,
            grain,
            zone.startOf("day", at - DAY_MS),
            zone.endOf("day", at + DAY_MS),
          );
          for (let i = 0; i + 1 < edges.length; i++)
            bucketsOf(state, cover(state, edges[i]!, edges[i + 1]!)!, edges[i]!, edges[i + 1]!);
        }
      }
    }
    t.pass("all zones, all changes from 2022-11 to 2027");
    t.end();
  },
);

t.test("time buckets tile the range, cut at its ends", (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.constantFrom(...GRAINS),
      quarters(Date.UTC(2023, 0), Date.UTC(2030, 0)),
      fc.integer({ min: 1, max: 4000 }),
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      (name, grain, fromMs, length, at) => {
        const zone = getZone(name);
        const toMs = fromMs + length * QUARTER_MS;
        const edges = timeEdges(zone, grain, fromMs, toMs);
        if (edges[0] !== fromMs || edges.at(-1) !== toMs) return false;
        const ms = fromMs + Math.floor(at * (toMs - fromMs));
        const index = edgeIndex(edges, ms);
        const [start, end] = [edges[index]!, edges[index + 1]!];
        return (
          start <= ms &&
          ms < end &&
          start === Math.max(fromMs, zone.startOf(grain, ms)) &&
          end === Math.min(toMs, zone.endOf(grain, ms))
        );
      },
    ),
    { numRuns: 500 },
  );
  t.end();
});

t.test("the grain of time follows the length of the range", (t) => {
  const grainOf = (ms: number): string => autoGrain(0, ms);
  t.equal(grainOf(HOUR_MS), "quarter");
  t.equal(grainOf(3 * HOUR_MS), "quarter");
  t.equal(grainOf(4 * HOUR_MS), "hour");
  t.equal(grainOf(49 * HOUR_MS), "hour", "two days, one of them of 25 hours");
  t.equal(grainOf(3 * DAY_MS), "day");
  t.equal(grainOf(92 * DAY_MS + HOUR_MS), "day", "three months, whichever");
  t.equal(grainOf(120 * DAY_MS), "month");
  t.equal(grainOf(366 * DAY_MS), "month");
  t.equal(grainOf(6 * 366 * DAY_MS), "year");
  t.end();
});

t.test(
  "an hour that a change at 00:01 cut within a quarter is refused with the grains that can tell it",
  (t) => {
    const zone = getZone("America/Goose_Bay");
    const change = zone.nextChange(Date.UTC(2006, 2));
    t.not(change % QUARTER_MS, 0, "the tz database has the clocks of Goose Bay change at 00:01");
    const [fromMs, toMs] = [zone.startOf("day", change), zone.endOf("day", change)];
    t.throws(() => timeEdges(zone, "hour", fromMs, toMs), {
      code: "range-not-aligned",
      extra: { nearest: ["time:day", "time:quarter"] },
    });
    t.equal(timeEdges(zone, "day", fromMs, toMs).length, 2);
    t.equal(timeEdges(zone, "quarter", fromMs, toMs).length, 23 * 4 + 1);
    t.end();
  },
);

t.test(
  "the smallest rollup that holds all dimensions is read; where none does the nearest are named",
  (t) => {
    const schema = defineSchema();
    const named = (...names: string[]): string => {
      const dims = names.map((name) => schema.dimensions.indexOf(name));
      try {
        return chooseRollup(schema, dims).name;
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        return `${error.code} ${JSON.stringify(error.extra["nearest"])}`;
      }
    };
    t.equal(named(), "total");
    t.equal(named("country"), "country");
    t.equal(named("country", "blog"), "blog×country");
    t.equal(
      named("blog", "author"),
      'dimension-set-not-materialised [["blog"],["author"],["blog","country"],["author","country"]]',
    );
    const wide = defineSchema({ rollups: [["blog", "author", "country"]] });
    t.equal(chooseRollup(wide, []).name, "blog×author×country", "summed over all three");
    const apart = defineSchema({ rollups: [["blog"]] });
    t.throws(() => chooseRollup(apart, [2]), {
      code: "dimension-set-not-materialised",
      extra: { nearest: [["blog"]] },
    });
    t.end();
  },
);
