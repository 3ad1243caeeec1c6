import type { QueryResult } from "../api.js";
import type { Buckets } from "../hot/buckets.js";
import type { CellTable } from "../hot/cell-table.js";
import type { Rollup, Schema } from "../schema.js";
import { UTC_CALENDAR } from "../store.js";
import { Aggregation, type Selection, type Span } from "./aggregation.js";
import { answer } from "./answer.js";
import { cumulate } from "./cumulate.js";
import { resolveFilters, unkeptValues, type Passing } from "./filters.js";
import { missingIn } from "./incomplete.js";
import { parseQuery } from "./parse.js";
import { planFor, type Plan } from "./plan.js";
import { chooseRollup } from "./rollup.js";
import { Rows } from "./rows.js";
import type { Column, Moment, ParsedQuery, QueryContext } from "./types.js";

/** A query that was read and found answerable, to be run as often as one likes. */
export interface PreparedQuery {
  readonly query: ParsedQuery;
  readonly schema: Schema;
  /** Holds all dimensions that are columns or filtered. */
  readonly rollup: Rollup;
  /** Holds the filtered dimensions. */
  readonly totalRollup: Rollup;
  /** The plan of the last run. */
  plan: Plan | undefined;
}

/** Throws what `parseQuery` throws, and `dimension-set-not-materialised`. */
export function prepareQuery(
  input: unknown,
  context: Pick<QueryContext, "schema" | "defaultZone">,
): PreparedQuery {
  const query = parseQuery(input, context);
  const { schema } = context;
  const group = query.columns.filter((column) => column !== "time");
  const filtered = query.filters.map(({ dimension }) => dimension);
  const rollup = chooseRollup(schema, [...new Set([...group, ...filtered])]);
  return { query, schema, rollup, totalRollup: chooseRollup(schema, filtered), plan: undefined };
}

/**
 * Runs a query as of `moment`, in one synchronous turn and so on one state of the buckets. Throws
 * `range-too-wide`, `range-not-aligned` and `invalid-range`, which depend on the clock and on the data.
 */
export function execute(prepared: PreparedQuery, buckets: Buckets, moment: Moment): QueryResult {
  const plan = planFor(prepared.query, buckets, moment.now, prepared.plan);
  prepared.plan = plan;
  return new Execution(prepared, plan, buckets, moment).result();
}

export function runQuery(buckets: Buckets, input: unknown, context: QueryContext & Moment): QueryResult {
  return execute(prepareQuery(input, context), buckets, context);
}

class Execution {
  readonly #prepared: PreparedQuery;
  readonly #plan: Plan;
  readonly #buckets: Buckets;
  readonly #moment: Moment;
  readonly #sources = new Map<string, number>();
  readonly #sealedUntil: number;

  constructor(prepared: PreparedQuery, plan: Plan, buckets: Buckets, moment: Moment) {
    this.#prepared = prepared;
    this.#plan = plan;
    this.#buckets = buckets;
    this.#moment = moment;
    this.#sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
  }

  result(): QueryResult {
    const { query, rollup, totalRollup, schema } = this.#prepared;
    const { passing, unknown } = resolveFilters(query.filters, this.#buckets.dictionaries);
    const page = this.#rows(rollup, query.columns, passing).page();
    const total = query.include.total ? this.#rows(totalRollup, [], passing).only() : undefined;
    const warnings = unkeptValues(unknown, schema, (other) =>
      this.#hasEvents(new Map([...passing, ...other])),
    );
    return answer({
      schema,
      query,
      plan: this.#plan,
      page,
      total,
      warnings,
      missing: missingIn(this.#plan.span.runs, this.#buckets.incomplete),
      sources: this.#sources,
      moment: this.#moment,
      position: this.#buckets.position,
    });
  }

  #rows(rollup: Rollup, columns: readonly Column[], passing: Passing): Rows {
    const { query } = this.#prepared;
    const byTime = columns.includes("time");
    const span = byTime ? this.#plan.span : this.#plan.whole(this.#buckets);
    const selection = selectionOf(rollup, columns, passing);
    const sketches = query.metrics.some((metric) => metric === "viewers" || metric === "views_per_viewer");
    const { table, revised } = this.#aggregate({ ...selection, sketches }, span, byTime);
    return new Rows({
      query: { ...query, columns },
      plan: this.#plan,
      dictionaries: this.#buckets.dictionaries,
      clock: { ...this.#moment, sealedUntil: this.#sealedUntil },
      table,
      totals: query.metrics.includes("blogs_total") ? this.#totals(selection, table, span) : undefined,
      edges: span.edges,
      revised,
    });
  }

  #totals(selection: Omit<Selection, "sketches">, table: CellTable, span: Span): Float64Array {
    const past = this.#plan.before(this.#buckets);
    const before = this.#aggregate({ ...selection, sketches: false }, past, false);
    return cumulate(table, before.table, span.edges.length - 1);
  }

  #aggregate(selection: Selection, span: Span, byTime: boolean): Aggregation {
    const { now, watermarkMs } = this.#moment;
    const finalUntil = Math.min(now, watermarkMs, this.#sealedUntil);
    const found = new Aggregation(this.#prepared.schema, selection, span, byTime, finalUntil);
    found.run(this.#buckets);
    for (const [tier, count] of found.sources) {
      this.#sources.set(tier, (this.#sources.get(tier) ?? 0) + count);
    }
    return found;
  }

  #hasEvents(passing: Passing): boolean {
    const selection = { ...selectionOf(this.#prepared.totalRollup, [], passing), sketches: false };
    return this.#aggregate(selection, this.#plan.whole(this.#buckets), false).table.count > 0;
  }
}

function selectionOf(
  rollup: Rollup,
  columns: readonly Column[],
  passing: Passing,
): Omit<Selection, "sketches"> {
  return {
    rollup,
    group: columns.flatMap((column) => (column === "time" ? [] : [rollup.dims.indexOf(column)])),
    passing: rollup.dims.map((dimension) => passing.get(dimension)),
  };
}
