import type { ComparedValues, QueryRow, RowState, RowValues } from "../api.js";
import type { Dictionaries } from "../hot/dictionaries.js";
import { Evaluator, relativeChange, type Evaluate } from "./evaluate.js";
import type { Frame } from "./frame.js";
import type { Measure } from "./measure.js";
import { compareNames, compareNumbers, firstInOrder, type Compare } from "./order.js";
import { shortlist } from "./shortlist.js";
import type { Moment, Order, ParsedQuery } from "./types.js";

/** What the rows are compared with. */
export interface Comparison {
  readonly frame: Frame;
  /** Per time bucket of the range: its counterpart's index, or −1. */
  readonly counterparts: Int32Array;
}

export interface RowSource {
  readonly query: Pick<ParsedQuery, "columns" | "metrics" | "order" | "fill">;
  readonly frame: Frame;
  readonly comparison: Comparison | undefined;
  readonly dictionaries: Dictionaries;
  readonly clock: Moment & { readonly sealedUntil: number };
}

/** Turns cells into rows. */
export class Rows {
  readonly #in: RowSource;
  readonly #metrics: readonly Evaluate[];
  readonly #compared: readonly Evaluate[];
  readonly #asksForViews: boolean;
  /** Metrics of all cells that have a row, as far as rows were ordered by them. */
  readonly #columns: (Float64Array | undefined)[] = [];
  /** Per column of the answer: its place in the key. */
  readonly #places: readonly number[];

  constructor(source: RowSource) {
    const { query, frame, comparison, clock } = source;
    this.#in = source;
    const evaluator = new Evaluator(frame, clock.now);
    this.#metrics = query.metrics.map((metric) => evaluator.of(metric));
    const other = comparison === undefined ? undefined : new Evaluator(comparison.frame, clock.now);
    this.#compared = other === undefined ? [] : query.metrics.map((metric) => other.of(metric));
    this.#asksForViews = query.metrics.includes("views");
    let place = frame.byTime ? 1 : 0;
    this.#places = query.columns.map((column) => (column === "time" ? 0 : place++));
  }

  /** The cells that have a row, in no order. */
  cells(): number[] {
    const { query, frame } = this.#in;
    const { table } = frame;
    if (query.columns.length === 0) return [frame.cellOf(new Uint32Array(0))];
    if (query.fill === "zero") this.#fillTimes();
    const lead = frame.byTime ? frame.plan.lead : 0;
    const cells: number[] = [];
    if (lead === 0 && query.fill === "none" && !frame.isComplete) {
      for (let cell = 0; cell < table.count; cell++) if (this.#hasSomething(cell)) cells.push(cell);
      return cells;
    }
    for (let cell = 0; cell < table.count; cell++) {
      if (frame.timeOf(cell) < lead) continue;
      if (query.fill === "zero" || (this.#hasSomething(cell) && !this.#isToCome(cell))) cells.push(cell);
    }
    return cells;
  }

  /** Has the cell's time bucket not begun, so that all it has comes from those before it? */
  #isToCome(cell: number): boolean {
    const { frame, clock } = this.#in;
    if (!frame.byTime || !frame.isComplete) return false;
    const { table } = frame;
    return (
      frame.edges[frame.timeOf(cell)]! > clock.now && table.views[cell] === 0 && table.createdOf(cell) === 0
    );
  }

  /** The first of them in the query's order; then all columns ascending, so that no two rows are equal. */
  first(cells: readonly number[], limit: number): number[] {
    const { order, columns } = this.#in.query;
    const ties = columns.map((_, column): Order => ({ by: { column }, descending: false }));
    const compares = [...order, ...ties].map((each) => this.#compareBy(each, cells));
    return firstInOrder(this.#shortlist(cells, limit), limit, (a, b) => {
      for (const compare of compares) {
        const result = compare(a, b);
        if (result !== 0) return result;
      }
      return 0;
    });
  }

  row(cell: number): QueryRow {
    const { query, frame, comparison } = this.#in;
    const values = this.#metrics.map((metric) => metric(cell));
    const time = frame.timeOf(cell);
    return {
      dimensions: query.columns.map((_, column) => this.#name(cell, column)),
      ...valuesOf(values),
      state: this.#state(frame.edges[time + 1]!, frame.revised[time] === 1),
      ...(comparison === undefined ? {} : { compare: this.#compare(cell, values, comparison) }),
    };
  }

  #fillTimes(): void {
    const { frame } = this.#in;
    for (let time = 0; time < frame.times; time++) frame.cellOf(Uint32Array.of(time));
  }

  /** Is any metric other than zero and null? Whether there are viewers is told without an estimate. */
  #hasSomething(cell: number): boolean {
    const { table } = this.#in.frame;
    if (this.#asksForViews && table.views[cell] !== 0) return true;
    return this.#in.query.metrics.some((metric, m) => {
      if (metric === "viewers" || metric === "views_per_viewer")
        return table.views[cell]! > table.anonymousOf(cell);
      const { value } = this.#metrics[m]!(cell);
      return value !== 0 && value !== null;
    });
  }

  #compare(cell: number, values: readonly Measure[], comparison: Comparison): ComparedValues | null {
    const { frame } = this.#in;
    const { table } = frame;
    const key = table.keys.slice(cell * table.arity, (cell + 1) * table.arity);
    if (frame.byTime) {
      const counterpart = comparison.counterparts[key[0]! - frame.plan.lead]!;
      if (counterpart < 0) return null;
      key[0] = comparison.frame.plan.lead + counterpart;
    }
    const other = comparison.frame.cellOf(key);
    const compared = this.#compared.map((metric) => metric(other));
    const change = compared.map((each, m) => relativeChange(values[m]!, each).value);
    return { ...valuesOf(compared), change };
  }

  #state(endMs: number, isRevised: boolean): RowState {
    const { now, watermarkMs, sealedUntil } = this.#in.clock;
    if (endMs > watermarkMs || endMs > now) return "partial";
    if (endMs > sealedUntil) return "provisional";
    return isRevised ? "revised" : "final";
  }

  #name(cell: number, column: number): string | null {
    const { query, frame, dictionaries } = this.#in;
    const asked = query.columns[column]!;
    const id = this.#id(cell, this.#places[column]!);
    return asked === "time" ? frame.plan.label(id - frame.plan.lead) : dictionaries.nameOf(asked, id);
  }

  #id(cell: number, place: number): number {
    const { keys, arity } = this.#in.frame.table;
    return keys[cell * arity + place]!;
  }

  #compareBy({ by, descending }: Order, cells: readonly number[]): Compare {
    if ("metric" in by) {
      const values = this.#values(by.metric, cells);
      return (a, b) => compareNumbers(values[a]!, values[b]!, descending);
    }
    const { column } = by;
    if (this.#in.query.columns[column] === "time") {
      return (a, b) => compareNumbers(this.#id(a, 0), this.#id(b, 0), descending);
    }
    return (a, b) => compareNames(this.#name(a, column), this.#name(b, column), descending);
  }

  /** Without those that the first member of the order alone puts behind the limit. */
  #shortlist(cells: readonly number[], limit: number): readonly number[] {
    const [first] = this.#in.query.order;
    if (first === undefined || !("metric" in first.by) || cells.length <= limit) return cells;
    return shortlist(cells, this.#values(first.by.metric, cells), limit, first.descending);
  }

  /** A metric of the cells, by cell; NaN for null. */
  #values(metric: number, cells: readonly number[]): Float64Array {
    return (this.#columns[metric] ??= this.#evaluated(metric, cells));
  }

  #evaluated(metric: number, cells: readonly number[]): Float64Array {
    if (this.#in.query.metrics[metric] === "views") return this.#in.frame.table.views;
    const values = new Float64Array(this.#in.frame.table.count);
    for (const cell of cells) values[cell] = this.#metrics[metric]!(cell).value ?? Number.NaN;
    return values;
  }
}

function valuesOf(values: readonly Measure[]): RowValues {
  return {
    metrics: values.map(({ value }) => value),
    error: values.map(({ error }) => error),
    exact: values.map(({ exact }) => exact),
  };
}
