import { CALENDAR_START_MS, formatInstant, label, type Grain } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import type { Span } from "./aggregation.js";
import { appendRun, cover, type Run } from "./cover.js";
import { firstEventMs } from "./first-event.js";
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
  readonly #sealed: readonly number[];
  readonly #labels: (string | undefined)[] = [];
  #whole: Span | undefined;
  #before: Span | undefined;

  constructor(query: ParsedQuery, buckets: Buckets, fromMs: number, toMs: number) {
    const { zone } = query;
    this.#query = query;
    this.#sealed = sealedBy(buckets);
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.grain = query.grain === "auto" ? autoGrain(fromMs, toMs) : query.grain;
    const edges =
      this.grain === null ? Float64Array.of(fromMs, toMs) : timeEdges(zone, this.grain, fromMs, toMs);
    this.span = { edges, runs: coverAll(buckets, edges) };
    this.range = [formatInstant(fromMs, zone), formatInstant(toMs, zone)];
  }

  get times(): number {
    return this.span.edges.length - 1;
  }

  isGoodFor(buckets: Buckets, fromMs: number, toMs: number): boolean {
    if (fromMs !== this.fromMs || toMs !== this.toMs) return false;
    return sealedBy(buckets).every((until, i) => until === this.#sealed[i]);
  }

  /** The range as one bucket. */
  whole(buckets: Buckets): Span {
    if (this.grain === null) return this.span;
    this.#whole ??= spanOf(buckets, this.fromMs, this.toMs);
    return this.#whole;
  }

  /** Everything before the range. */
  before(buckets: Buckets): Span {
    this.#before ??= spanOf(buckets, Math.min(CALENDAR_START_MS, this.fromMs), this.fromMs);
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
  const { fromMs, toMs } = resolveRange(query.range, query.zone, now, () => firstEventMs(buckets));
  if (before?.isGoodFor(buckets, fromMs, toMs) === true) return before;
  return new Plan(query, buckets, fromMs, toMs);
}

function spanOf(buckets: Buckets, fromMs: number, toMs: number): Span {
  return { edges: Float64Array.of(fromMs, toMs), runs: cover(buckets, fromMs, toMs) };
}

function coverAll(buckets: Buckets, edges: Float64Array): Run[] {
  const runs: Run[] = [];
  for (let time = 0; time + 1 < edges.length; time++) {
    for (const run of cover(buckets, edges[time]!, edges[time + 1]!)) appendRun(runs, run);
  }
  return runs;
}

function sealedBy(buckets: Buckets): number[] {
  return buckets.calendars.map((zone) => buckets.sealedUntil(zone.name));
}
