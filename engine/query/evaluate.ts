import type { BaseMetric, Metric, RateUnit } from "../api.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../calendar/grain.js";
import { nestedDifferenceError } from "../sketch/joint.js";
import type { Frame } from "./frame.js";
import { tooManyGroups } from "./aggregation.js";
import { atMost, estimate, exactly, measure, type Measure } from "./measure.js";
import type { WINDOW_METRICS } from "./parse-metrics.js";
import { metricName } from "./parse-metrics.js";
import { runningColumns, slidingColumns, type UnionColumns } from "./sliding-union.js";

/** A metric of a cell of the frame's table. */
export type Evaluate = (cell: number) => Measure;

const UNIT_MS: Readonly<Record<RateUnit, number>> = {
  second: 1000,
  minute: MINUTE_MS,
  hour: HOUR_MS,
  day: DAY_MS,
};

const UNDEFINED: Measure = { value: null, error: 0, exact: true };

/** Cells that moving averages may look at: beyond, the answer takes seconds. */
const MAX_LOOKS = 50_000_000;

/** Works out the metrics of one frame; what several of them need is made once. */
export class Evaluator {
  readonly #frame: Frame;
  readonly #now: number;
  /** Functions by their name, so that each is worked out once a cell however often it is asked for. */
  readonly #functions = new Map<string, Evaluate>();
  readonly #windows = new Map<number, UnionColumns>();
  #running: UnionColumns | undefined;
  #all: UnionColumns | undefined;
  #created: Float64Array | undefined;

  /** `now`: of a bucket that is open, so much has passed, ms. */
  constructor(frame: Frame, now: number) {
    this.#frame = frame;
    this.#now = now;
  }

  /** Functions along time are null where the frame is not by time. */
  of(metric: Metric): Evaluate {
    if (typeof metric === "string") return this.#base(metric);
    const name = metricName(metric);
    let evaluate = this.#functions.get(name);
    if (evaluate === undefined) this.#functions.set(name, (evaluate = remembered(this.#function(metric))));
    return evaluate;
  }

  #function(metric: Exclude<Metric, string>): Evaluate {
    if (metric[0] === "ratio") return ratio(this.of(metric[1]), this.of(metric[2]));
    if (!this.#frame.byTime) return () => UNDEFINED;
    switch (metric[0]) {
      case "rolling":
        return measureColumn(metric[1], this.#windowOf(metric[2]));
      case "cumulative":
        return measureColumn(metric[1], this.#cumulated());
      case "rate":
        return this.#rate(this.of(metric[1]), UNIT_MS[metric[2]]);
      case "moving_average":
        return this.#average(this.of(metric[1]), metric[2]);
      case "change":
        return this.#change(this.of(metric[1]));
    }
  }

  #base(metric: BaseMetric): Evaluate {
    const { table } = this.#frame;
    switch (metric) {
      case "blogs_total": {
        const totals = (this.#created ??= createdUntil(this.#frame));
        return (cell) => exactly(totals[cell]!);
      }
      case "new_viewers":
        return this.#newViewers();
      case "returning_viewers": {
        const isNew = this.#newViewers();
        return (cell) => returning(measure("viewers", table, cell), isNew(cell));
      }
      default:
        return (cell) => measure(metric, table, cell);
    }
  }

  #windowOf(length: number): UnionColumns {
    let columns = this.#windows.get(length);
    if (columns === undefined) {
      columns = slidingColumns(this.#frame.table, this.#frame.times, length);
      this.#windows.set(length, columns);
    }
    return columns;
  }

  /** From the first bucket of the range on. */
  #cumulated(): UnionColumns {
    const { table, times, plan } = this.#frame;
    return (this.#running ??= runningColumns(table, times, undefined, plan.lead));
  }

  /** Those who come are new if they were in no bucket before, of all times. */
  #newViewers(): Evaluate {
    const { table, times, past } = this.#frame;
    const all = (this.#all ??= runningColumns(table, times, past, 0));
    const { sketches } = past!;
    return (cell) => {
      const isFirst = cell % times === 0;
      const before = isFirst ? estimate(sketches, cell / times) : viewersAt(all, cell - 1);
      const isDense = isFirst ? sketches.isDense(cell / times) : all.dense[cell - 1] === 1;
      const most = measure("viewers", table, cell).value ?? 0;
      return grown(before, viewersAt(all, cell), isDense, most);
    };
  }

  #rate(inner: Evaluate, unitMs: number): Evaluate {
    const frame = this.#frame;
    return (cell) => {
      const time = frame.timeOf(cell);
      const passedMs = Math.min(frame.edges[time + 1]!, this.#now) - frame.edges[time]!;
      return passedMs > 0 ? scaled(inner(cell), unitMs / passedMs) : UNDEFINED;
    };
  }

  #average(inner: Evaluate, length: number): Evaluate {
    if (this.#frame.table.count * length > MAX_LOOKS) throw tooManyGroups();
    return (cell) => {
      let sum = 0;
      let variance = 0;
      let exact = true;
      for (let at = cell - length + 1; at <= cell; at++) {
        const each = inner(at);
        if (each.value === null) return UNDEFINED;
        sum += each.value;
        variance += each.error ** 2;
        exact &&= each.exact;
      }
      return { value: sum / length, error: Math.sqrt(variance) / length, exact };
    };
  }

  #change(inner: Evaluate): Evaluate {
    return (cell) => relativeChange(inner(cell), inner(cell - 1));
  }
}

function remembered(evaluate: Evaluate): Evaluate {
  const known: Measure[] = [];
  return (cell) => (known[cell] ??= evaluate(cell));
}

function measureColumn(metric: (typeof WINDOW_METRICS)[number], columns: UnionColumns): Evaluate {
  switch (metric) {
    case "views":
      return (cell) => exactly(columns.views[cell]!);
    case "views_anonymous":
      return (cell) => exactly(columns.anonymous[cell]!);
    case "blogs_created":
      return (cell) => exactly(columns.created[cell]!);
    case "viewers":
      return (cell) => atMost(viewersAt(columns, cell), columns.views[cell]! - columns.anonymous[cell]!);
  }
}

function viewersAt(
  { viewers, errors, exact }: UnionColumns,
  cell: number,
): Measure & { readonly value: number } {
  return { value: viewers[cell]!, error: errors[cell]!, exact: exact[cell] === 1 };
}

/** `now / before − 1`; null where there is nothing to compare with. */
export function relativeChange(now: Measure, before: Measure): Measure {
  const { value, error, exact } = quotient(now, before);
  return { value: value === null ? null : value - 1, error, exact };
}

function ratio(first: Evaluate, second: Evaluate): Evaluate {
  return (cell) => quotient(first(cell), second(cell));
}

/** Errors of the two are taken for independent, which makes the sum of their squares an upper bound for nested sets. */
function quotient(first: Measure, second: Measure): Measure {
  if (first.value === null || second.value === null || second.value === 0) return UNDEFINED;
  const value = first.value / second.value;
  const error = Math.hypot(first.error, value * second.error) / second.value;
  return { value, error, exact: first.exact && second.exact };
}

function scaled({ value, error, exact }: Measure, factor: number): Measure {
  return { value: value === null ? null : value * factor, error: error * factor, exact };
}

/**
 * How much a set has grown, which `most` bounds; null where nobody can tell since the error exceeds it. Registers of
 * nested sets err alike, so that their difference errs less than either; tokens and registers do not.
 */
function grown(
  before: Measure & { readonly value: number },
  after: Measure & { readonly value: number },
  isDense: boolean,
  most: number,
): Measure {
  const value = Math.min(Math.max(0, Math.round(after.value - before.value)), most);
  if (before.exact && after.exact) return exactly(value);
  const error = isDense
    ? nestedDifferenceError(before.value, after.value)
    : Math.hypot(before.error, after.error);
  return { value: error > value ? null : value, error, exact: false };
}

function returning(viewers: Measure, isNew: Measure): Measure {
  const exact = viewers.exact && isNew.exact;
  const error = Math.hypot(viewers.error, isNew.error);
  if (isNew.value === null || viewers.value === null) return { value: null, error, exact };
  const value = viewers.value - isNew.value;
  return { value: error > value ? null : value, error, exact };
}

/** Blogs created from the beginning up to the end of each cell's time bucket. */
function createdUntil({ table, times, past }: Frame): Float64Array {
  const totals = new Float64Array(table.count);
  for (let cell = 0; cell < table.count; cell++) {
    const before = cell % times === 0 ? past!.createdOf(cell / times) : totals[cell - 1]!;
    totals[cell] = before + table.createdOf(cell);
  }
  return totals;
}
