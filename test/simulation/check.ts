import { isDeepStrictEqual } from "node:util";
import {
  TidemarkError,
  type BucketStore,
  type Engine,
  type Grain,
  type QueryInput,
} from "../../engine/index.js";
import type { Dimension, Oracle, Question } from "../support/oracle.js";
import { recompute } from "../support/recompute.js";
import { bucketAt } from "../support/zoned.js";

export interface Ask {
  /** `[from, to)`, ms, on quarter-hours. */
  readonly from: number;
  readonly to: number;
  readonly zone: string;
  readonly grain?: Grain;
  readonly groupBy?: readonly Dimension[];
  readonly filter?: NonNullable<Question["filter"]>;
}

type Numbers = readonly [views: number, viewers: number, anonymous: number, created: number];

const METRICS = ["views", "viewers", "views_anonymous", "blogs_created"] as const;

/**
 * Asks engine and oracle the same; views, viewers, anonymous and created must agree in every row. What needs quarters
 * that were given up (begin before `quartersFrom`) may be refused; the range that is offered instead must then be answered.
 */
export function checkAsk(
  engine: Engine,
  oracle: Oracle,
  ask: Ask,
  quartersFrom = Number.NEGATIVE_INFINITY,
): void {
  const asked = answerOf(engine, ask);
  if (asked instanceof TidemarkError) {
    if (asked.code !== "range-not-aligned" || ask.from >= quartersFrom) throw asked;
    return checkNearest(engine, oracle, ask, asked);
  }
  const expected = expectedOf(oracle, ask);
  const isZero = (numbers: Numbers): boolean => numbers.every((n) => n === 0);
  const rows = new Map([...asked].filter(([, numbers]) => !isZero(numbers)));
  equal(sorted(rows), sorted(expected), `answer to ${JSON.stringify(queryOf(ask))}`);
}

export function queryOf({ from, to, zone, grain, groupBy = [], filter = {} }: Ask): QueryInput {
  return {
    date_range: [new Date(from).toISOString(), new Date(to).toISOString()],
    timezone: zone,
    metrics: METRICS,
    dimensions: grain === undefined ? groupBy : [`time:${grain}`, ...groupBy],
    filters: Object.entries(filter).map(([dimension, values]) => ["is", dimension, values] as const),
  };
}

function checkNearest(engine: Engine, oracle: Oracle, ask: Ask, refusal: TidemarkError): void {
  const nearest = refusal.extra["nearest"] as readonly [string, string] | undefined;
  if (nearest === undefined) return;
  const [from, to] = nearest.map((text) => Date.parse(text)) as [number, number];
  const { grain: _, ...rest } = ask;
  checkAsk(engine, oracle, { ...rest, from, to });
}

function answerOf(engine: Engine, ask: Ask): Map<string, Numbers> | TidemarkError {
  const answer = tried(() => engine.queryNow(queryOf(ask)));
  if (answer instanceof TidemarkError) return answer;
  const { results, meta } = answer;
  equal(meta.rows_left_off, 0, "rows left off");
  const rows = new Map<string, Numbers>();
  for (const { dimensions, metrics, exact, error } of results) {
    const key = JSON.stringify(dimensions);
    if (rows.has(key)) throw new Error(`the row ${key} is there twice`);
    if (exact.includes(false) || error.some((e) => e !== 0)) throw new Error(`the row ${key} is not exact`);
    rows.set(key, metrics as unknown as Numbers);
  }
  return rows;
}

function tried<T>(work: () => T): T | TidemarkError {
  try {
    return work();
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
}

function expectedOf(oracle: Oracle, { from, to, zone, grain, groupBy, filter }: Ask): Map<string, Numbers> {
  const answers = oracle.ask({
    from,
    to,
    ...(groupBy === undefined ? {} : { groupBy }),
    ...(filter === undefined ? {} : { filter }),
    ...(grain === undefined ? {} : { timeOf: (ts: number) => bucketAt(zone, grain, ts).label }),
  });
  return new Map(
    [...answers].map(([key, a]) => [key, [a.views, a.viewers.size, a.anonymous, a.created] as const]),
  );
}

function sorted(rows: ReadonlyMap<string, Numbers>): (readonly [string, Numbers])[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Promise 3, after a checkpoint: what is stored is a function of the events alone. */
export function checkStored(engine: Engine, store: BucketStore, oracle: Oracle): void {
  const meta = store.meta();
  if (meta === undefined) throw new Error("nothing was committed by the checkpoint");
  const wanted = recompute(oracle.accepted, engine.schema, meta.sealedUntil);
  const kept = wanted.filter((line) => isKept(line, meta.reach));
  equalLines([...engine.canonicalRows()].sort(), kept, "stored state against a recompute");
}

/** Is this line about a bucket that was not given up? */
export function isKept(line: string, reach: Readonly<Record<string, number>> = {}): boolean {
  const [calendar, grain, start] = line.split(" ", 3);
  return Number(start) >= (reach[`${calendar} ${grain}`] ?? Number.NEGATIVE_INFINITY);
}

/** Throws, naming what differs; cheaper by far than an assertion of tap's for each of a million comparisons. */
export function equal(found: unknown, wanted: unknown, what: string): void {
  if (isDeepStrictEqual(found, wanted)) return;
  throw new Error(`${what}: found ${show(found)}, wanted ${show(wanted)}`);
}

/** Lists of lines: the first that differ. */
export function equalLines(found: readonly string[], wanted: readonly string[], what: string): void {
  const missing = firstOutside(wanted, found);
  const surplus = firstOutside(found, wanted);
  if (missing === undefined && surplus === undefined && found.length === wanted.length) return;
  throw new Error(
    `${what}: ${found.length} lines for ${wanted.length}; missing ${missing}; surplus ${surplus}`,
  );
}

function firstOutside(lines: readonly string[], others: readonly string[]): string | undefined {
  const known = new Set(others);
  return lines.find((line) => !known.has(line));
}

function show(value: unknown): string {
  return JSON.stringify(value instanceof Map ? [...value] : value);
}
