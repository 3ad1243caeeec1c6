import type { Metric } from "../api.js";
import type { CellTable } from "../hot/cell-table.js";
import { LOG2M, type SketchPool } from "../hot/sketch-pool.js";
import {
  estimateFromCounts,
  estimateFromTokens,
  registerStandardError,
  tokenStandardError,
} from "../sketch/estimator.js";
import { countValues } from "../sketch/registers.js";
import { EXACT_LIMIT, SMALL_LIMIT, maxRegisterValue } from "../sketch/token.js";

export interface Measure {
  /** Null where it is not defined. */
  readonly value: number | null;
  /** One standard error, in the metric's unit. */
  readonly error: number;
  readonly exact: boolean;
}

const tokens = new Uint32Array(SMALL_LIMIT);

/** A metric of one cell. `createdUntil`: blogs created up to the end of the cell's bucket. */
export function measure(metric: Metric, table: CellTable, cell: number, createdUntil: number): Measure {
  switch (metric) {
    case "views":
      return exactly(table.views[cell]!);
    case "viewers":
      return viewersOf(table, cell);
    case "views_anonymous":
      return exactly(table.anonymous[cell]!);
    case "blogs_created":
      return exactly(table.created[cell]!);
    case "blogs_total":
      return exactly(createdUntil);
    case "views_per_viewer":
      return viewsPerViewer(table, cell);
  }
}

function exactly(value: number): Measure {
  return { value, error: 0, exact: true };
}

/** Never more than the views that had a viewer, whatever the estimate says. */
function viewersOf(table: CellTable, cell: number): { value: number; error: number; exact: boolean } {
  const { value, error, exact } = estimate(table.sketches, cell);
  const most = table.views[cell]! - table.anonymous[cell]!;
  return { value: Math.min(Math.round(value), most), error, exact };
}

/** Views of viewers only: an anonymous view is nobody's. The views are exact, so the error is that of the viewers. */
function viewsPerViewer(table: CellTable, cell: number): Measure {
  const viewers = viewersOf(table, cell);
  if (viewers.value === 0) return { value: null, error: 0, exact: true };
  const value = (table.views[cell]! - table.anonymous[cell]!) / viewers.value;
  return { value, error: (value * viewers.error) / viewers.value, exact: viewers.exact };
}

/** The same numbers that `HyperLogLog.estimate` gives for the same set. */
function estimate(sketches: SketchPool, cell: number): { value: number; error: number; exact: boolean } {
  if (sketches.isDense(cell)) {
    const counts = countValues(sketches.registers(cell), maxRegisterValue(LOG2M));
    const value = estimateFromCounts(counts, LOG2M);
    return { value, error: registerStandardError(value, LOG2M), exact: false };
  }
  const count = sketches.tokenCount(cell);
  if (count <= EXACT_LIMIT) return { value: count, error: 0, exact: true };
  sketches.copyTokens(cell, tokens, 0);
  const value = estimateFromTokens(tokens.subarray(0, count));
  return { value, error: tokenStandardError(value), exact: false };
}
