import { DAY_MS, HOUR_MS, QUARTER_MS, type Grain, type Zone } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import { UTC_CALENDAR } from "../store.js";

/** `count` consecutive stored buckets of one calendar and grain, from `fromMs` to `toMs`. */
export interface Run {
  readonly calendar: string;
  readonly grain: Grain;
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

export type SealedCalendars = Pick<Buckets, "calendars" | "sealedUntil" | "reachOf">;

/** Between which instants hours and quarters can be used. */
interface Fine {
  readonly hoursFrom: number;
  readonly hoursUntil: number;
  readonly quartersFrom: number;
}

/** The grains that each calendar has for itself, coarsest first: of equal covers the coarser is taken. */
const COARSE = ["year", "month", "week", "day"] as const;

/** No day of any zone since 1990 is shorter (Troll: 22 h); a shorter range holds no coarse bucket. */
const SHORTEST_DAY_MS = 22 * HOUR_MS;

/**
 * So far from either end of the range, and from where a calendar's seal ends, days and weeks are considered;
 * between, months and years do it. Weeks pay where a detour to a month's first day costs more: less than half of this.
 */
const EDGE_MS = 200 * DAY_MS;

/** A piece between two nodes that is made of hours and quarters. */
const FINE = -1;

/** The sealed buckets of one calendar and grain inside the range, ascending. */
interface Lane {
  readonly calendar: string;
  readonly grain: Grain;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/**
 * The fewest stored buckets whose disjoint union is `[fromMs, toMs)`, both on quarter-hours: a shortest path along
 * the time line, where every sealed bucket inside the range is one step from its start to its end. Only sealed
 * buckets are taken, but for quarters, which are always stored (or wait in memory as deltas).
 *
 * The steps: years, months, weeks and days of every calendar; between any two of their borders, hours of UTC where
 * sealed, and quarters. Within 200 days of an end (of the range, or of a seal) all of them are considered, further
 * inside months and years only, so that the search costs hardly more for thirty years than for one. Up to 400 days
 * the cover is therefore minimal; of longer random ranges 1 in 4,000 had one bucket more than it needed.
 *
 * Undefined where no buckets that are still kept make up the range exactly.
 */
export function cover(buckets: SealedCalendars, fromMs: number, toMs: number): Run[] | undefined {
  if (fromMs % QUARTER_MS !== 0 || toMs % QUARTER_MS !== 0) throw new Error("BUG: range within a quarter");
  if (fromMs >= toMs) return [];
  const fine = fineOf(buckets);
  if (toMs - fromMs < SHORTEST_DAY_MS) {
    if (fineCost(fromMs, toMs, fine) === Infinity) return undefined;
    const runs: Run[] = [];
    appendFine(runs, fromMs, toMs, fine);
    return runs;
  }
  const whole = oneBucket(buckets, fromMs, toMs);
  if (whole !== undefined) return [whole];
  const lanes = lanesOf(buckets, fromMs, toMs);
  return shortest(lanes, nodesOf(lanes, fromMs, toMs), fine);
}

function fineOf(buckets: SealedCalendars): Fine {
  return {
    hoursFrom: buckets.reachOf(UTC_CALENDAR, "hour"),
    hoursUntil: Math.floor(buckets.sealedUntil(UTC_CALENDAR) / HOUR_MS) * HOUR_MS,
    quartersFrom: buckets.reachOf(UTC_CALENDAR, "quarter"),
  };
}

/** Appends a run, as part of the last one where it goes on from there. */
export function appendRun(runs: Run[], run: Run): void {
  const last = runs.at(-1);
  if (
    last === undefined ||
    last.toMs !== run.fromMs ||
    last.grain !== run.grain ||
    last.calendar !== run.calendar
  ) {
    runs.push(run);
    return;
  }
  runs[runs.length - 1] = { ...last, toMs: run.toMs, count: last.count + run.count };
}

/** The most usual case, told without a search: the range is a day, week, month or year. */
function oneBucket(buckets: SealedCalendars, fromMs: number, toMs: number): Run | undefined {
  for (const zone of buckets.calendars) {
    if (toMs > buckets.sealedUntil(zone.name)) continue;
    for (const grain of COARSE) {
      if (zone.startOf(grain, fromMs) !== fromMs || zone.endOf(grain, fromMs) !== toMs) continue;
      if (fromMs < buckets.reachOf(zone.name, grain)) continue;
      return { calendar: zone.name, grain, fromMs, toMs, count: 1 };
    }
  }
  return undefined;
}

function lanesOf(buckets: SealedCalendars, fromMs: number, toMs: number): Lane[] {
  const lanes: Lane[] = [];
  const untils = buckets.calendars.map((zone) => Math.min(toMs, buckets.sealedUntil(zone.name)));
  const landmarks = [fromMs, ...untils, toMs].filter((ms) => ms >= fromMs).sort((a, b) => a - b);
  for (const grain of COARSE) {
    for (const [i, zone] of buckets.calendars.entries()) {
      const from = Math.max(fromMs, buckets.reachOf(zone.name, grain));
      const lane = laneOf(zone, grain, from, untils[i]!, landmarks);
      if (lane.starts.length > 0) lanes.push(lane);
    }
  }
  return lanes;
}

function laneOf(
  zone: Zone,
  grain: (typeof COARSE)[number],
  fromMs: number,
  untilMs: number,
  landmarks: readonly number[],
): Lane {
  const starts: number[] = [];
  const ends: number[] = [];
  const jumps = grain === "day" || grain === "week";
  let start = zone.startOf(grain, fromMs);
  if (start < fromMs) start = zone.endOf(grain, start);
  for (let end = zone.endOf(grain, start); end <= untilMs; end = zone.endOf(grain, start)) {
    if (start % QUARTER_MS === 0 && end % QUARTER_MS === 0) {
      starts.push(start);
      ends.push(end);
    }
    start = jumps ? zone.startOf(grain, nearLandmark(end, landmarks)) : end;
  }
  return { calendar: zone.name, grain, starts, ends };
}

/** The first instant from `ms` on that is near a landmark. */
function nearLandmark(ms: number, landmarks: readonly number[]): number {
  for (const landmark of landmarks) if (ms <= landmark + EDGE_MS) return Math.max(ms, landmark - EDGE_MS);
  return ms;
}

/** Every border of a bucket, and both ends of the range, ascending. */
function nodesOf(lanes: readonly Lane[], fromMs: number, toMs: number): Float64Array {
  const borders = [fromMs, toMs];
  for (const { starts, ends } of lanes) {
    for (let i = 0; i < starts.length; i++) {
      borders.push(starts[i]!);
      if (ends[i] !== starts[i + 1]) borders.push(ends[i]!);
    }
  }
  const nodes = Float64Array.from(borders).sort();
  let count = 1;
  for (let i = 1; i < nodes.length; i++) {
    if (nodes[i] !== nodes[i - 1]) nodes[count++] = nodes[i]!;
  }
  return nodes.subarray(0, count);
}

/** The shortest path from the first node to the last; every step leads forward. */
function shortest(lanes: readonly Lane[], nodes: Float64Array, fine: Fine): Run[] | undefined {
  const costs = new Float64Array(nodes.length).fill(Infinity);
  const cameFrom = new Int32Array(nodes.length);
  const cameBy = new Int16Array(nodes.length);
  const relax = (from: number, to: number, cost: number, by: number): void => {
    if (costs[from]! + cost >= costs[to]!) return;
    costs[to] = costs[from]! + cost;
    cameFrom[to] = from;
    cameBy[to] = by;
  };
  const next = new Int32Array(lanes.length);
  const ends = new Int32Array(lanes.length);
  costs[0] = 0;
  for (let node = 0; node < nodes.length - 1; node++) {
    for (let l = 0; l < lanes.length; l++) {
      const lane = lanes[l]!;
      if (lane.starts[next[l]!] !== nodes[node]) continue;
      const end = lane.ends[next[l]!]!;
      while (nodes[ends[l]!]! < end) ends[l]!++;
      relax(node, ends[l]!, 1, l);
      next[l]!++;
    }
    // Hours pass over borders that lie within an hour; at any other border a path may as well stop.
    for (let to = node + 1; costs[node] !== Infinity && to < nodes.length; to++) {
      relax(node, to, fineCost(nodes[node]!, nodes[to]!, fine), FINE);
      if (nodes[to]! % HOUR_MS === 0) break;
    }
  }
  return costs.at(-1) === Infinity ? undefined : runsOf(lanes, nodes, { cameFrom, cameBy, fine });
}

function runsOf(
  lanes: readonly Lane[],
  nodes: Float64Array,
  path: { cameFrom: Int32Array; cameBy: Int16Array; fine: Fine },
): Run[] {
  const runs: Run[] = [];
  const steps: number[] = [];
  for (let node = nodes.length - 1; node > 0; node = path.cameFrom[node]!) steps.push(node);
  for (const node of steps.reverse()) {
    const fromMs = nodes[path.cameFrom[node]!]!;
    const toMs = nodes[node]!;
    const by = path.cameBy[node]!;
    if (by === FINE) appendFine(runs, fromMs, toMs, path.fine);
    else {
      const { calendar, grain } = lanes[by]!;
      appendRun(runs, { calendar, grain, fromMs, toMs, count: 1 });
    }
  }
  return runs;
}

/** Whole hours that are sealed and kept, quarters before and after; Infinity where some are no longer kept. */
function fineCost(fromMs: number, toMs: number, fine: Fine): number {
  const [first, last] = hoursOf(fromMs, toMs, fine);
  const quarters = first - fromMs + toMs - last;
  if (quarters > 0 && (first > fromMs ? fromMs : last) < fine.quartersFrom) return Infinity;
  return quarters / QUARTER_MS + (last - first) / HOUR_MS;
}

function appendFine(runs: Run[], fromMs: number, toMs: number, fine: Fine): void {
  const [first, last] = hoursOf(fromMs, toMs, fine);
  appendSteps(runs, "quarter", fromMs, first, QUARTER_MS);
  appendSteps(runs, "hour", first, last, HOUR_MS);
  appendSteps(runs, "quarter", last, toMs, QUARTER_MS);
}

/** The hours that can be used of a range; an empty range at its start where there are none. */
function hoursOf(fromMs: number, toMs: number, { hoursFrom, hoursUntil }: Fine): [number, number] {
  const first = Math.max(Math.ceil(fromMs / HOUR_MS) * HOUR_MS, hoursFrom);
  const last = Math.min(Math.floor(toMs / HOUR_MS) * HOUR_MS, hoursUntil);
  return first < last ? [first, last] : [fromMs, fromMs];
}

function appendSteps(runs: Run[], grain: Grain, fromMs: number, toMs: number, stepMs: number): void {
  if (fromMs >= toMs) return;
  appendRun(runs, { calendar: UTC_CALENDAR, grain, fromMs, toMs, count: (toMs - fromMs) / stepMs });
}
