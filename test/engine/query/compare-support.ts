import * as fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import {
  DAY_MS,
  QUARTER_MS,
  formatInstant,
  getZone,
  label,
  parseInstant,
  type Grain,
} from "../../../engine/calendar/index.js";
import {
  comparisonOf,
  counterparts,
  type CompareMode,
  type Range,
} from "../../../engine/query/compare-range.js";
import { timeEdges } from "../../../engine/query/time-buckets.js";
import { changesOf, dateStart, zoneNames, zonedAt, long } from "../calendar/oracle.js";

export const NEVER = Number.MAX_SAFE_INTEGER;
export const PREVIOUS: CompareMode = { mode: "previous_period", matchWeekday: false };
export const YEAR: CompareMode = { mode: "year_over_year", matchWeekday: false };
export const PREVIOUS_WEEKDAY: CompareMode = { mode: "previous_period", matchWeekday: true };
export const YEAR_WEEKDAY: CompareMode = { mode: "year_over_year", matchWeekday: true };
export const MODES = [PREVIOUS, YEAR, PREVIOUS_WEEKDAY, YEAR_WEEKDAY];
export const date = (text: string): Temporal.PlainDate => Temporal.PlainDate.from(text);
export const at = (text: string): number => parseInstant(text)!;

/** "2024-02-01/2024-02-29": whole local days, both in it. */
export function days(name: string, text: string): Range {
  const [first, last] = text.split("/").map(date);
  return { fromMs: dateStart(name, first!), toMs: dateStart(name, (last ?? first!).add({ days: 1 })) };
}

export function shownDays(name: string, { fromMs, toMs }: Range): string {
  const [first, end] = [zonedAt(name, fromMs), zonedAt(name, toMs)];
  for (const zdt of [first, end]) {
    if (!zdt.equals(zdt.startOfDay())) return `no whole days: ${first.toString()}/${end.toString()}`;
  }
  return `${first.toPlainDate().toString()}/${end.toPlainDate().subtract({ days: 1 }).toString()}`;
}

export function shownInstants(name: string, { fromMs, toMs }: Range): string {
  return [fromMs, toMs].map((ms) => formatInstant(ms, getZone(name))).join("/");
}

/** Labels of the asked buckets, each with that of its counterpart. */
export function pairs(name: string, grain: Grain, asked: Range, mode: CompareMode, now = NEVER): string[] {
  const zone = getZone(name);
  const comparison = comparisonOf(zone, asked, mode, now);
  const edges = timeEdges(zone, grain, asked.fromMs, asked.toMs);
  const others = timeEdges(zone, grain, comparison.fromMs, comparison.toMs);
  const found = counterparts(zone, grain, edges, comparison, others);
  return Array.from(found, (index, time) => {
    const other = index < 0 ? "none" : label(zone, grain, others[index]!);
    return `${label(zone, grain, edges[time]!)} ${other}`;
  });
}

/** The days of 2022 to 2025 on which a zone changed its clocks, and those that are compared with them. */
/** A quarter of the zones will do for `npm test`; `npm run test:zones` takes all. */
export const allZones = long || process.env["TIDEMARK_ALL_ZONES"] === "1";

export function* transitionDays(): Generator<{ name: string; day: Temporal.PlainDate }> {
  const step = allZones ? 1 : 4;
  for (const name of zoneNames.filter((_, i) => i % step === 0)) {
    for (const change of changesOf(getZone(name))) {
      const day = zonedAt(name, change - 1).toPlainDate();
      if (day.year < 2022 || day.year > 2025) continue;
      yield { name, day };
      yield { name, day: zonedAt(name, change).toPlainDate().add({ years: 1 }) };
      yield { name, day: day.add({ days: 364 }) };
      yield { name, day: day.add({ days: 3 }) };
    }
  }
}

/** Ranges of quarter-hours, mostly beside a change of the zone's clocks or a leap day, since clocks change on quarters. */
export const ranges = fc
  .record({
    name: fc.constantFrom(...zoneNames),
    index: fc.nat(),
    place: fc.constantFrom("change", "year after", "weekday year after", "leap day", "anywhere"),
    nearQuarters: fc.integer({ min: -3 * 96, max: 3 * 96 }),
    quarters: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 96 * 8 })),
    anywhere: fc.integer({ min: at("2023-01-01T00:00:00Z"), max: at("2027-01-01T00:00:00Z") }),
    mode: fc.constantFrom(...MODES),
  })
  .map(({ name, index, place, nearQuarters, quarters, anywhere, mode }) => {
    const changes = changesOf(getZone(name)).filter((ms) => ms > at("2023-01-01T00:00:00Z"));
    const change = changes.length === 0 ? anywhere : changes[index % changes.length]!;
    const middle = {
      change,
      "year after": change + 365 * DAY_MS,
      "weekday year after": change + 364 * DAY_MS,
      "leap day": at("2024-02-29T12:00:00Z"),
      anywhere,
    }[place];
    const fromMs =
      Math.floor(Math.min(middle, at("2035-01-01T00:00:00Z")) / QUARTER_MS + nearQuarters) * QUARTER_MS;
    return { name, asked: { fromMs, toMs: fromMs + quarters * QUARTER_MS }, mode };
  });
