import type { BaseMetric } from "../api.js";
import type { CellTable } from "../hot/cell-table.js";
import { LOG2M, type SketchPool } from "../hot/sketch-pool.js";
import {
  estimateFromCounts,
  estimateFromTokens,
  registerStandardError,
  tokenStandardError,
} from "../sketch/estimator.js";
import { EXACT_LIMIT, SMALL_LIMIT } from "../sketch/token.js";

export interface Measure {
  /** Null where it is not defined. */
  readonly value: number | null;
  /** One standard error, in the metric's unit. */
  readonly error: number;
  readonly exact: boolean;
}

const tokens = new Uint32Array(SMALL_LIMIT);

/** Metrics that a cell tells by itself. */
export type CellMetric = Exclude<BaseMetric, "blogs_total" | "new_viewers" | "returning_viewers">;

/** A metric of one cell. */
export function measure(metric: CellMetric, table: CellTable, cell: number): Measure {
  switch (metric) {
    case "views":
      return exactly(table.views[cell]!);
    case "viewers":
      return viewersOf(table, cell);
    case "views_anonymous":
      return exactly(table.anonymousOf(cell));
    case "blogs_created":
      return exactly(table.createdOf(cell));
    case "views_per_viewer":
      return viewsPerViewer(table, cell);
  }
}

export function exactly(value: number): Measure {
  return { value, error: 0, exact: true };
}

/** Never more than the views that had a viewer, whatever the estimate says. */
function viewersOf(table: CellTable, cell: number): Measure & { readonly value: number } {
  return atMost(estimate(table.sketches, cell), viewsOfViewers(table, cell));
}

/** A whole number, and no more than can be. */
export function atMost(
  { value, error, exact }: Measure & { readonly value: number },
  most: number,
): Measure & { readonly value: number } {
  return { value: Math.min(Math.round(value), most), error, exact };
}

function viewsOfViewers(table: CellTable, cell: number): number {
  return table.views[cell]! - table.anonymousOf(cell);
}

/** Views of viewers only: an anonymous view is nobody's. The views are exact, so the error is that of the viewers. */
function viewsPerViewer(table: CellTable, cell: number): Measure {
  const viewers = viewersOf(table, cell);
  if (viewers.value === 0) return { value: null, error: 0, exact: true };
  const value = viewsOfViewers(table, cell) / viewers.value;
  return { value, error: (value * viewers.error) / viewers.value, exact: viewers.exact };
}

/** The same numbers that `HyperLogLog.estimate` gives for the same set, not rounded. */
export function estimate(sketches: SketchPool, cell: number): Measure & { readonly value: number } {
  if (sketches.isDense(cell)) {
    const value = estimateFromCounts(sketches.valueCounts(cell), LOG2M);
    return { value, error: registerStandardError(value, LOG2M), exact: false };
  }
  const count = sketches.tokenCount(cell);
  if (count <= EXACT_LIMIT) return { value: count, error: 0, exact: true };
  const value = sketches.estimated(cell, () => {
    sketches.copyUnordered(cell, tokens, 0);
    return estimateFromTokens(tokens.subarray(0, count));
  });
  return { value, error: tokenStandardError(value), exact: false };
}
