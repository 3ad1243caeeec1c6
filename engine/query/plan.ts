import {
  CALENDAR_START_MS,
  GRAINS,
  formatInstant,
  label,
  utcIso,
  type Grain,
  type Zone,
} from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import type { Buckets } from "../hot/buckets.js";
import { UTC_CALENDAR } from "../store.js";
import type { Span } from "./aggregation.js";
import { appendRun, cover, type Run } from "./cover.js";
import { allFromMs } from "./first-event.js";
import { resolveRange } from "./range.js";
import { autoGrain, timeEdges } from "./time-buckets.js";
import type { ParsedQuery } from "./types.js";

/**
 * A query's range as of one instant, and which stored buckets answer it. Good for as long as the clock does not
 * move the range and nothing more is sealed; a live query makes one an hour.
 */
export class Plan {
  readonly fromMs: number;
  readonly toMs: number;
  /** Null where time is no column. */
  readonly grain: Grain | null;
  /** The time buckets; the whole range as one where time is no column. */
  readonly span: Span;
  /** RFC 3339, in the query's zone. */
  readonly range: readonly [string, string];
  readonly #query: ParsedQuery;
  readonly #state: readonly number[];
  readonly #labels: (string | undefined)[] = [];
  #whole: Span | undefined;
  #before: Span | undefined;

  constructor(query: ParsedQuery, buckets: Buckets, fromMs: number, toMs: number) {
    const { zone } = query;
    this.#query = query;
    this.#state = stateOf(buckets);
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.grain = query.grain === "auto" ? autoGrain(fromMs, toMs) : query.grain;
    const edges =
      this.grain === null ? Float64Array.of(fromMs, toMs) : timeEdges(zone, this.grain, fromMs, toMs);
    this.span = { edges, runs: coverAll(buckets, edges, zone) };
    this.range = [formatInstant(fromMs, zone), formatInstant(toMs, zone)];
  }

  get times(): number {
    return this.span.edges.length - 1;
  }

  isGoodFor(buckets: Buckets, fromMs: number, toMs: number): boolean {
    if (fromMs !== this.fromMs || toMs !== this.toMs) return false;
    return stateOf(buckets).every((instant, i) => instant === this.#state[i]);
  }

  /** The range as one bucket. */
  whole(buckets: Buckets): Span {
    if (this.grain === null) return this.span;
    this.#whole ??= spanOf(buckets, this.fromMs, this.toMs, this.#query.zone);
    return this.#whole;
  }

  /** Everything before the range. */
  before(buckets: Buckets): Span {
    const fromMs = Math.min(CALENDAR_START_MS, this.fromMs);
    this.#before ??= spanOf(buckets, fromMs, this.fromMs, this.#query.zone);
    return this.#before;
  }

  /** Name of a time bucket. */
  label(time: number): string {
    if (this.grain === null) throw new Error("BUG: a label where time is no column");
    return (this.#labels[time] ??= label(this.#query.zone, this.grain, this.span.edges[time]!));
  }

  labels(): string[] {
    return Array.from({ length: this.times }, (_, time) => this.label(time));
  }
}

/** The range now, and the plan for it: the one before, where it still holds. Throws what `Plan` and the range throw. */
export function planFor(query: ParsedQuery, buckets: Buckets, now: number, before: Plan | undefined): Plan {
  const { fromMs, toMs } = resolveRange(query.range, query.zone, now, () => allFromMs(buckets, query.zone));
  if (before?.isGoodFor(buckets, fromMs, toMs) === true) return before;
  return new Plan(query, buckets, fromMs, toMs);
}

function spanOf(buckets: Buckets, fromMs: number, toMs: number, zone: Zone): Span {
  return { edges: Float64Array.of(fromMs, toMs), runs: exactCover(buckets, fromMs, toMs, zone) };
}

function coverAll(buckets: Buckets, edges: Float64Array, zone: Zone): Run[] {
  const runs: Run[] = [];
  for (let time = 0; time + 1 < edges.length; time++) {
    for (const run of exactCover(buckets, edges[time]!, edges[time + 1]!, zone)) appendRun(runs, run);
  }
  return runs;
}

function exactCover(buckets: Buckets, fromMs: number, toMs: number, zone: Zone): Run[] {
  return cover(buckets, fromMs, toMs) ?? refuse(buckets, fromMs, toMs, zone);
}

/** Says how far back what is kept reaches, and the nearest range that it answers. */
function refuse(buckets: Buckets, fromMs: number, toMs: number, zone: Zone): never {
  const grain = (["hour", "day", "month", "year"] as const).find(
    (each) => cover(buckets, zone.startOf(each, fromMs), zone.endOf(each, toMs - 1)) !== undefined,
  );
  const quarters = utcIso(buckets.reachOf(UTC_CALENDAR, "quarter"));
  const advice =
    grain === undefined
      ? `ask for whole days of ${buckets.calendars.map(({ name }) => name).join(" or ")}`
      : `ask for whole ${grain}s`;
  const extra =
    grain === undefined
      ? {}
      : {
          nearest: [zone.startOf(grain, fromMs), zone.endOf(grain, toMs - 1)].map((ms) =>
            formatInstant(ms, zone),
          ),
        };
  throw new TidemarkError(
    "range-not-aligned",
    `Quarter-hours are kept from ${quarters} on, and from ${formatInstant(fromMs, zone)} to ` +
      `${formatInstant(toMs, zone)} something finer is needed than what is kept; ${advice}.`,
    { pointer: "/date_range", extra },
  );
}

/** What a plan depends on besides its range. */
function stateOf(buckets: Buckets): number[] {
  return buckets.calendars.flatMap(({ name }) => [
    buckets.sealedUntil(name),
    ...GRAINS.map((grain) => buckets.reachOf(name, grain)),
  ]);
}
