import type { Metric, QueryRow, RowState } from "../api.js";
import type { CellTable } from "../hot/cell-table.js";
import type { Dictionaries } from "../hot/dictionaries.js";
import { measure, type Measure } from "./measure.js";
import { compareNames, compareNumbers, firstInOrder, type Compare } from "./order.js";
import type { Plan } from "./plan.js";
import type { Moment, Order, ParsedQuery } from "./types.js";

export interface RowSource {
  readonly query: ParsedQuery;
  readonly plan: Plan;
  readonly dictionaries: Dictionaries;
  /** Keys: the index of the time bucket, if time is a column, then the ids of the other columns in order. */
  readonly table: CellTable;
  /** `blogs_total` by cell, where asked for. */
  readonly totals: Float64Array | undefined;
  readonly clock: Moment & { readonly sealedUntil: number };
  readonly edges: Float64Array;
  readonly revised: Uint8Array;
}

/** The rows in the query's order, and how many `limit` cut off. */
export interface Page {
  readonly rows: readonly QueryRow[];
  readonly leftOff: number;
}

/** Turns cells into rows. */
export class Rows {
  readonly #in: RowSource;
  /** Per column of the answer: its place in the key. */
  readonly #places: readonly number[];
  readonly #byTime: boolean;

  constructor(source: RowSource) {
    const { columns } = source.query;
    this.#in = source;
    this.#byTime = columns.includes("time");
    let place = this.#byTime ? 1 : 0;
    this.#places = columns.map((column) => (column === "time" ? 0 : place++));
  }

  page(): Page {
    const { query, table } = this.#in;
    if (query.columns.length === 0) return { rows: [this.only()], leftOff: 0 };
    if (query.fill === "zero") this.#fillTimes();
    const cells: number[] = [];
    for (let cell = 0; cell < table.count; cell++) {
      if (query.fill === "zero" || this.#hasSomething(cell)) cells.push(cell);
    }
    const first = firstInOrder(cells, query.limit, this.#compare());
    return { rows: first.map((cell) => this.#row(cell)), leftOff: cells.length - first.length };
  }

  /** The one row of an answer without columns; zeros where nothing was found. */
  only(): QueryRow {
    return this.#row(this.#in.table.upsert(0, new Uint32Array(0)));
  }

  #fillTimes(): void {
    const times = this.#in.edges.length - 1;
    for (let time = 0; time < times; time++) this.#in.table.upsert(0, Uint32Array.of(time));
  }

  /** Is any metric more than zero? */
  #hasSomething(cell: number): boolean {
    const { table, query } = this.#in;
    return query.metrics.some((metric) => {
      // Whether there are viewers is told without an estimate.
      if (metric !== "viewers" && metric !== "views_per_viewer")
        return this.#measure(metric, cell).value !== 0;
      return table.views[cell]! > table.anonymous[cell]!;
    });
  }

  #row(cell: number): QueryRow {
    const { query, edges, revised } = this.#in;
    const measures = query.metrics.map((metric) => this.#measure(metric, cell));
    const time = this.#byTime ? this.#id(cell, 0) : 0;
    return {
      dimensions: query.columns.map((_, column) => this.#name(cell, column)),
      metrics: measures.map(({ value }) => value),
      error: measures.map(({ error }) => error),
      exact: measures.map(({ exact }) => exact),
      state: this.#state(edges[time + 1]!, revised[time] === 1),
    };
  }

  #measure(metric: Metric, cell: number): Measure {
    return measure(metric, this.#in.table, cell, this.#in.totals?.[cell] ?? 0);
  }

  #state(endMs: number, isRevised: boolean): RowState {
    const { now, watermarkMs, sealedUntil } = this.#in.clock;
    if (endMs > watermarkMs || endMs > now) return "partial";
    if (endMs > sealedUntil) return "provisional";
    return isRevised ? "revised" : "final";
  }

  #id(cell: number, place: number): number {
    const { keys, arity } = this.#in.table;
    return keys[cell * arity + place]!;
  }

  #name(cell: number, column: number): string | null {
    const { query, plan, dictionaries } = this.#in;
    const asked = query.columns[column]!;
    const id = this.#id(cell, this.#places[column]!);
    return asked === "time" ? plan.label(id) : dictionaries.nameOf(asked, id);
  }

  /** The query's order, then all columns ascending: no two rows are equal. */
  #compare(): Compare {
    const { order, columns } = this.#in.query;
    const ties = columns.map((_, column): Order => ({ by: { column }, descending: false }));
    const compares = [...order, ...ties].map((each) => this.#compareBy(each));
    return (a, b) => {
      for (const compare of compares) {
        const result = compare(a, b);
        if (result !== 0) return result;
      }
      return 0;
    };
  }

  #compareBy({ by, descending }: Order): Compare {
    if ("metric" in by) {
      const values = this.#values(by.metric);
      return (a, b) => compareNumbers(values[a]!, values[b]!, descending);
    }
    const { column } = by;
    if (this.#in.query.columns[column] === "time") {
      return (a, b) => compareNumbers(this.#id(a, 0), this.#id(b, 0), descending);
    }
    return (a, b) => compareNames(this.#name(a, column), this.#name(b, column), descending);
  }

  /** A metric of all cells; NaN for null. */
  #values(metric: Metric): Float64Array {
    const values = new Float64Array(this.#in.table.count);
    for (let cell = 0; cell < values.length; cell++) {
      values[cell] = this.#measure(metric, cell).value ?? Number.NaN;
    }
    return values;
  }
}
