import type { Explanation, QueryResult, QueryRow, RowValues } from "../api.js";
import type { Buckets } from "../hot/buckets.js";
import type { Rollup, Schema } from "../schema.js";
import { UTC_CALENDAR } from "../store.js";
import { answer } from "./answer.js";
import { otherPeriod, type OtherPeriod } from "./compare.js";
import {
  filteredDimensions,
  otherWarnings,
  resolveFilters,
  type Passing,
  type ResolvedFilters,
} from "./filters.js";
import { allFromMs } from "./first-event.js";
import { Frame, leadOf, selectionOf, type FrameRequest } from "./frame.js";
import { missingIn } from "./incomplete.js";
import { parseQuery, type ParseContext } from "./parse.js";
import { Plan } from "./plan.js";
import { invalidQuery } from "./problem.js";
import { resolveRange } from "./range.js";
import { chooseRollup } from "./rollup.js";
import { Rows, type Comparison } from "./rows.js";
import { BucketSource, type Keeping, type Source } from "./source.js";
import { rowsWith, topOf } from "./top.js";
import type { Column, Moment, ParsedQuery, QueryContext } from "./types.js";

/** A query that was read and found answerable, to be run as often as one likes. */
export interface PreparedQuery {
  readonly query: ParsedQuery;
  readonly schema: Schema;
  /** Holds all dimensions that are columns or filtered. */
  readonly rollup: Rollup;
  /** Holds the filtered dimensions. */
  readonly totalRollup: Rollup;
  /** The plans of the last run. */
  plans: Plans | undefined;
}

/** The range as of one instant, and what it is compared with. */
export interface Plans {
  readonly main: Plan;
  readonly other: OtherPeriod | undefined;
}

/** Throws what `parseQuery` throws, and `dimension-set-not-materialised`. */
export function prepareQuery(input: unknown, context: ParseContext): PreparedQuery {
  const query = parseQuery(input, context);
  const { schema } = context;
  const filtered = filteredDimensions(query.filters);
  const isGrouped = query.columns.some((column) => column !== "time");
  const rollup = chooseRollup(schema, dimensionsOf(query), isGrouped ? "/dimensions" : "/filters");
  return { query, schema, rollup, totalRollup: chooseRollup(schema, filtered), plans: undefined };
}

/** As `prepareQuery`; refuses what cannot be told again with every batch of events. */
export function prepareLive(input: unknown, context: ParseContext): PreparedQuery {
  const prepared = prepareQuery(input, context);
  const { source, cursor } = prepared.query;
  if (source === "raw") throw invalidQuery("A live query reads buckets: leave source out.", "/source");
  if (cursor !== undefined) throw invalidQuery("A live query has no pages: leave cursor out.", "/cursor");
  return prepared;
}

/** Dimensions that are columns or filtered, each once. */
export function dimensionsOf(query: ParsedQuery): number[] {
  const group = query.columns.filter((column) => column !== "time");
  return [...new Set([...group, ...filteredDimensions(query.filters)])];
}

/**
 * Runs a query as of `moment` from the buckets, in one synchronous turn and so on one state of them. Throws
 * `range-too-wide`, `range-not-aligned` and `invalid-range`, which depend on the clock and on the data.
 */
export function execute(prepared: PreparedQuery, buckets: Buckets, moment: Moment): QueryResult {
  return compute(prepared, buckets, moment).page(0, prepared.query.limit);
}

export function runQuery(buckets: Buckets, input: unknown, context: QueryContext & Moment): QueryResult {
  return execute(prepareQuery(input, context), buckets, context);
}

/** As `execute`, but with all rows at hand for further pages. */
export function compute(
  prepared: PreparedQuery,
  buckets: Buckets,
  moment: Moment,
  plans = plansFor(prepared, buckets, moment),
  keeping?: Keeping,
): Computed {
  const source = new BucketSource(prepared.schema, buckets, keeping);
  const sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
  const { position } = buckets;
  return new Execution({ prepared, plans, buckets, moment, sealedUntil, position, source }).run();
}

/** The plans as of now: those before, where they still hold. */
export function plansFor(prepared: PreparedQuery, buckets: Buckets, { now }: Moment, raw = false): Plans {
  const { query } = prepared;
  const { zone, grain } = query;
  const { fromMs, toMs } = resolveRange(query.range, zone, now, () => allFromMs(buckets, zone));
  const before = prepared.plans;
  const main = before?.main.isGoodFor(buckets, fromMs, toMs)
    ? before.main
    : new Plan({ zone, grain, fromMs, toMs, lead: Math.max(...query.metrics.map(leadOf)), raw }, buckets);
  const other =
    query.compare === undefined
      ? undefined
      : otherPeriod(query.compare, main, buckets, now, before?.other, raw);
  prepared.plans = { main, other };
  return prepared.plans;
}

/** An answer with all its rows, to be given out in pages. */
export interface Computed {
  readonly rows: number;
  readonly frame: Frame;
  /** Rows from `offset` on. */
  page(offset: number, limit: number, explain?: Explain, nextCursor?: string | null): QueryResult;
}

/** How the answer came about, asked when it is done. */
export type Explain = () => Pick<Explanation, "cache" | "ms">;

/** What one answer is worked out from. */
export interface Circumstances {
  readonly prepared: PreparedQuery;
  readonly plans: Plans;
  readonly buckets: Buckets;
  readonly moment: Moment;
  /** Up to where buckets were sealed at that moment, ms. */
  readonly sealedUntil: number;
  /** Everything up to this record is counted. */
  readonly position: number;
  readonly source: Source;
}

export class Execution {
  readonly #in: Circumstances;
  readonly #filters: ResolvedFilters;

  constructor(circumstances: Circumstances) {
    const { prepared, buckets } = circumstances;
    this.#in = circumstances;
    this.#filters = resolveFilters(prepared.query.filters, buckets.dictionaries);
  }

  /** Reads everything that the answer needs. */
  run(): Computed {
    const { query, rollup, totalRollup, schema } = this.#in.prepared;
    const frame = this.#read(this.#in.plans.main, rollup, query.columns, { top: topOf(query) });
    const rows = this.#rows(frame, query.columns, this.#comparison(frame, rollup, query.columns));
    const cells = rows.cells();
    const total = query.include.total ? this.#total(totalRollup) : undefined;
    const warnings = otherWarnings(this.#filters, schema, (passing) => this.#hasEvents(passing));
    const missing = missingIn(this.#covered(), this.#in.buckets.incomplete);
    const sources = new Map(this.#in.source.tiers);
    const sorted = new Sorted(rows, cells);
    const count = frame.kinds === undefined ? cells.length : rowsWith(frame.kinds, query.metrics);
    return {
      rows: count,
      frame,
      page: (offset, limit, explain, nextCursor) => {
        const page = sorted.first(offset + limit).slice(offset);
        const leftOff = count - offset - page.length;
        return answer({
          schema,
          query,
          plans: this.#in.plans,
          rows: page.map((cell) => rows.row(cell)),
          leftOff,
          total,
          other:
            query.include.other && leftOff > 0
              ? this.#others(frame, sorted.after(offset + limit))
              : undefined,
          warnings,
          missing,
          sources,
          rollup: rollup.name,
          moment: this.#in.moment,
          position: this.#in.position,
          nextCursor,
          explain,
        });
      },
    };
  }

  #covered(): ReturnType<Plan["covered"]> {
    const { main, other } = this.#in.plans;
    return [...main.covered(), ...(other?.plan.covered() ?? [])];
  }

  #read(
    plan: Plan,
    rollup: Rollup,
    columns: readonly Column[],
    rest: Pick<FrameRequest, "groups" | "top"> = {},
  ): Frame {
    const { source, prepared, plans } = this.#in;
    const { metrics } = prepared.query;
    const name = `${columns.length === 0 ? "whole" : "rows"}${plan === plans.main ? "" : " other"}`;
    return Frame.read(source, plan, { name, rollup, columns, filters: this.#filters, metrics, ...rest });
  }

  #rows(frame: Frame, columns: readonly Column[], comparison: Comparison | undefined): Rows {
    return new Rows({
      query: { ...this.#in.prepared.query, columns },
      frame,
      comparison,
      dictionaries: this.#in.buckets.dictionaries,
      clock: { ...this.#in.moment, sealedUntil: this.#in.sealedUntil },
    });
  }

  /** The same groups in the other period. */
  #comparison(frame: Frame, rollup: Rollup, columns: readonly Column[]): Comparison | undefined {
    const { other } = this.#in.plans;
    if (other === undefined) return undefined;
    const groups = frame.isComplete ? frame.groups() : undefined;
    return { frame: this.#read(other.plan, rollup, columns, { groups }), counterparts: other.counterparts };
  }

  #total(rollup: Rollup): QueryRow {
    const frame = this.#read(this.#in.plans.main, rollup, []);
    return onlyRow(this.#rows(frame, [], this.#comparison(frame, rollup, [])));
  }

  /** Cells that are not shown, as one group. */
  #others(frame: Frame, cells: readonly number[]): RowValues {
    const { metrics, error, exact } = onlyRow(this.#rows(frame.united(cells), [], undefined));
    return { metrics, error, exact };
  }

  #hasEvents(passing: Passing): boolean {
    const filters = { ...this.#filters, passing, mixed: [] };
    const selection = selectionOf({ rollup: this.#in.prepared.totalRollup, columns: [], filters }, false);
    const { main } = this.#in.plans;
    return this.#in.source.read(main, { selection, edges: main.whole, byTime: false }).table.count > 0;
  }
}

/** The one row of an answer without columns; zeros where nothing was found. */
function onlyRow(rows: Rows): QueryRow {
  return rows.row(rows.cells()[0]!);
}

/** Rows in order, as far as they were asked for. */
class Sorted {
  readonly #rows: Rows;
  readonly #cells: readonly number[];
  #first: readonly number[] = [];

  constructor(rows: Rows, cells: readonly number[]) {
    this.#rows = rows;
    this.#cells = cells;
  }

  first(count: number): readonly number[] {
    const wanted = Math.min(count, this.#cells.length);
    // A second page will have a third: then all are sorted at once.
    if (this.#first.length === 0) this.#first = this.#rows.first(this.#cells, wanted);
    else if (this.#first.length < wanted) this.#first = this.#rows.first(this.#cells, this.#cells.length);
    return this.#first.slice(0, wanted);
  }

  /** All cells but the first ones. */
  after(count: number): number[] {
    const shown = new Set(this.first(count));
    return this.#cells.filter((cell) => !shown.has(cell));
  }
}
