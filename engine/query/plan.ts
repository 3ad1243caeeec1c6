import { CALENDAR_START_MS, formatInstant, label, utcIso, type Grain, type Zone } from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import type { Buckets } from "../hot/buckets.js";
import { UTC_CALENDAR } from "../store.js";
import { appendRun, cover, type Run } from "./cover.js";
import { autoGrain, timeEdges } from "./time-buckets.js";

/** What is asked of a plan: a range in a zone, by a grain or as a whole. */
export interface PlanRequest {
  readonly zone: Zone;
  readonly grain: Grain | "auto" | null;
  readonly fromMs: number;
  readonly toMs: number;
  /** So many time buckets before the range are needed, too. */
  readonly lead: number;
  /** Is it the period that another one is compared with? */
  readonly isOther?: boolean;
  /** Is the range told by raw events, and so may begin and end anywhere? */
  readonly raw?: boolean;
}

/** The stored buckets that make up a range. */
export interface Cover {
  readonly runs: readonly Run[];
  /** Those that only late events change; they come first. */
  readonly sealed: readonly Run[];
  readonly sealedBuckets: number;
  readonly open: readonly Run[];
}

/**
 * The time buckets of a question, and which stored buckets make them up. Good for as long as the clock does not
 * move the range and nothing more is sealed; a live query makes one an hour.
 */
export class Plan {
  readonly fromMs: number;
  readonly toMs: number;
  readonly zone: Zone;
  /** Null where time is no column. */
  readonly grain: Grain | null;
  /** Time buckets before the range. */
  readonly lead: number;
  /** The borders of all time buckets, those before the range included; the range as one where there is no grain. */
  readonly edges: Float64Array;
  /** The range as one bucket. */
  readonly whole: Float64Array;
  /** Everything before `edges` as one bucket. */
  readonly before: Float64Array;
  /** Everything before the range as one bucket. */
  readonly beforeWhole: Float64Array;
  /** RFC 3339, in the query's zone. */
  readonly range: readonly [string, string];
  /** Covers by the edges that they are of. */
  readonly #covers = new Map<Float64Array, Cover>();
  /** `Buckets.layout` that the plan is of. */
  readonly layout: number;
  readonly #labels: (string | undefined)[] = [];

  /** Throws `range-too-wide`, `range-not-aligned`, `invalid-range`. */
  constructor(request: PlanRequest, buckets: Buckets) {
    const { zone, fromMs, toMs, lead } = request;
    this.zone = zone;
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.layout = buckets.layout;
    this.grain = request.grain === "auto" ? autoGrain(fromMs, toMs) : request.grain;
    this.lead = this.grain === null ? 0 : lead;
    this.whole = Float64Array.of(fromMs, toMs);
    this.edges = this.grain === null ? this.whole : edgesOf(this.grain, request);
    this.before = upTo(this.edges[0]!);
    this.beforeWhole = this.lead === 0 ? this.before : upTo(fromMs);
    this.range = [formatInstant(fromMs, zone), formatInstant(toMs, zone)];
  }

  /** Time buckets of the range itself. */
  get times(): number {
    return this.edges.length - 1 - this.lead;
  }

  isGoodFor(buckets: Buckets, fromMs: number, toMs: number): boolean {
    return fromMs === this.fromMs && toMs === this.toMs && buckets.layout === this.layout;
  }

  /** The stored buckets of these edges, which are the plan's own. Throws `range-not-aligned`. */
  cover(buckets: Buckets, edges: Float64Array): Cover {
    let found = this.#covers.get(edges);
    if (found === undefined) {
      const runs = coverAll(buckets, edges, this.zone);
      this.#covers.set(edges, (found = splitAt(buckets.sealedUntil(UTC_CALENDAR), runs)));
    }
    return found;
  }

  /** All stored buckets that were looked up so far. */
  covered(): Run[] {
    return [...this.#covers.values()].flatMap(({ runs }) => runs);
  }

  /** Name of a time bucket of the range. */
  label(time: number): string {
    if (this.grain === null) throw new Error("BUG: a label where time is no column");
    return (this.#labels[time] ??= label(this.zone, this.grain, this.edges[this.lead + time]!));
  }

  labels(): string[] {
    return Array.from({ length: this.times }, (_, time) => this.label(time));
  }
}

function upTo(ms: number): Float64Array {
  return Float64Array.of(Math.min(CALENDAR_START_MS, ms), ms);
}

function edgesOf(grain: Grain, request: PlanRequest): Float64Array {
  const { zone, fromMs, toMs, lead, raw = false } = request;
  if (lead === 0) return timeEdges(zone, grain, fromMs, toMs, raw);
  const startMs = zone.startOf(grain, fromMs);
  if (startMs !== fromMs) throw cutAtTheStart(request, grain, startMs);
  let firstMs = startMs;
  for (let i = 0; i < lead; i++) firstMs = zone.startOf(grain, firstMs - 1);
  return timeEdges(zone, grain, firstMs, toMs, raw);
}

function cutAtTheStart(
  { zone, toMs, isOther = false }: PlanRequest,
  grain: Grain,
  startMs: number,
): TidemarkError {
  const hole = `so that what a row looks back on would have a hole`;
  if (isOther) {
    return new TidemarkError(
      "range-not-aligned",
      `The first ${grain} of the other period is cut, ${hole}: compare with another one, or by a finer grain.`,
      { pointer: "/compare" },
    );
  }
  const nearest = [formatInstant(startMs, zone), formatInstant(toMs, zone)];
  return new TidemarkError(
    "range-not-aligned",
    `The first ${grain} is cut by the range, ${hole}: begin at ${nearest[0]}.`,
    { pointer: "/date_range", extra: { nearest } },
  );
}

function coverAll(buckets: Buckets, edges: Float64Array, zone: Zone): Run[] {
  const runs: Run[] = [];
  for (let time = 0; time + 1 < edges.length; time++) {
    const fromMs = edges[time]!;
    const toMs = edges[time + 1]!;
    for (const run of cover(buckets, fromMs, toMs) ?? refuse(buckets, fromMs, toMs, zone)) {
      appendRun(runs, run);
    }
  }
  return runs;
}

/** Quarters go on beyond what is sealed; all else is sealed, or it would not be there. */
function splitAt(sealedUntil: number, runs: readonly Run[]): Cover {
  const sealed: Run[] = [];
  const open: Run[] = [];
  for (const run of runs) {
    const { fromMs, toMs, count } = run;
    if (toMs <= sealedUntil) sealed.push(run);
    else if (fromMs >= sealedUntil || count === 1) open.push(run);
    else {
      const before = Math.round(((sealedUntil - fromMs) / (toMs - fromMs)) * count);
      sealed.push({ ...run, toMs: sealedUntil, count: before });
      open.push({ ...run, fromMs: sealedUntil, count: count - before });
    }
  }
  return { runs, sealed, open, sealedBuckets: sealed.reduce((sum, { count }) => sum + count, 0) };
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
