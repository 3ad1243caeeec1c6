import type { Metric } from "../api.js";
import { CellTable } from "../hot/cell-table.js";
import type { Rollup } from "../schema.js";
import { MAX_GROUPS, tooManyGroups, type Selection } from "./aggregation.js";
import type { ResolvedFilters } from "./filters.js";
import { keyTest } from "./filters.js";
import type { Plan } from "./plan.js";
import type { Source } from "./source.js";
import type { Top } from "./top.js";
import type { Column } from "./types.js";

/** Which cells make the rows of an answer. */
export interface FrameRequest {
  /** Tells it from what else the question reads. */
  readonly name: string;
  readonly rollup: Rollup;
  readonly columns: readonly Column[];
  readonly filters: ResolvedFilters;
  readonly metrics: readonly Metric[];
  /** Groups that must be there, found or not: keys without time. */
  readonly groups?: CellTable | undefined;
  /** Groups that come after these may be left out. */
  readonly top?: Top | undefined;
}

/** What the metrics need beside the cells of their own buckets. */
interface Needs {
  readonly sketches: boolean;
  /** What was created, or who came, before the range. */
  readonly past: boolean;
  readonly pastSketches: boolean;
  /** Every group in every time bucket, in order. */
  readonly series: boolean;
}

/**
 * The groups of an answer in the time buckets of its plan. Where metrics look along time, the table is *complete*:
 * group by group, in each every time bucket, so that the cell before another one in time is the one before it.
 */
export class Frame {
  readonly plan: Plan;
  readonly table: CellTable;
  readonly revised: Uint8Array;
  readonly byTime: boolean;
  readonly isComplete: boolean;
  /** Per group of a complete table: what was before the first time bucket. */
  readonly past: CellTable | undefined;
  /** Where groups were left out: how many there are of each kind (`rowsWith`). */
  readonly kinds: Uint32Array | undefined;

  private constructor(
    plan: Plan,
    byTime: boolean,
    found: Pick<Frame, "table" | "revised" | "past"> & Pick<Partial<Frame>, "kinds">,
    isComplete: boolean,
  ) {
    this.plan = plan;
    this.byTime = byTime;
    this.table = found.table;
    this.revised = found.revised;
    this.past = found.past;
    this.kinds = found.kinds;
    this.isComplete = isComplete;
  }

  /** Reads what is needed. Throws what the source throws. */
  static read(source: Source, plan: Plan, request: FrameRequest): Frame {
    const needs = needsOf(request.metrics);
    const { columns, groups } = request;
    const byTime = columns.includes("time");
    const edges = byTime ? plan.edges : plan.whole;
    const selection = selectionOf(request, needs.sketches);
    const { name } = request;
    const { table, revised, kinds } = source.read(plan, { selection, edges, byTime, name });
    if (!needs.series) return new Frame(plan, byTime, { table, revised, past: undefined, kinds }, false);
    const before = needs.past
      ? source.read(plan, {
          selection: { ...selection, sketches: needs.pastSketches },
          edges: byTime ? plan.before : plan.beforeWhole,
          byTime: false,
          name: `${name} past`,
        }).table
      : undefined;
    const times = edges.length - 1;
    const found = groupsOf(table, byTime, [groups, before]);
    const complete = completed(table, byTime, found, times);
    // What was before, in the order of the groups.
    const past = before && completed(before, false, found, 1);
    return new Frame(plan, byTime, { table: complete, revised, past }, true);
  }

  /** Time buckets of each group, those before the range included. */
  get times(): number {
    return this.byTime ? this.plan.edges.length - 1 : 1;
  }

  get edges(): Float64Array {
    return this.byTime ? this.plan.edges : this.plan.whole;
  }

  /** Index into `edges` of the cell's time bucket. */
  timeOf(cell: number): number {
    return this.byTime ? this.table.keys[cell * this.table.arity]! : 0;
  }

  /** The groups of these cells as one; of a frame that is not by time. */
  united(cells: readonly number[]): Frame {
    if (this.byTime) throw new Error("BUG: cells of several times as one group");
    const table = unitedCells(this.table, cells);
    const past = this.past === undefined ? undefined : unitedCells(this.past, cells);
    return new Frame(this.plan, false, { table, revised: this.revised, past }, this.isComplete);
  }

  /** The keys of all groups, without time. */
  groups(): CellTable {
    return groupsOf(this.table, this.byTime, []);
  }

  /** The cell of a group in a time bucket; one of zeros is made where there was none. */
  cellOf(key: Uint32Array): number {
    return this.table.upsert(0, key);
  }
}

function needsOf(metrics: readonly Metric[]): Needs {
  const needs = { sketches: false, past: false, pastSketches: false, series: false };
  const visit = (metric: Metric): void => {
    switch (metric) {
      case "viewers":
      case "views_per_viewer":
        needs.sketches = true;
        return;
      case "new_viewers":
      case "returning_viewers":
        needs.sketches = needs.past = needs.pastSketches = needs.series = true;
        return;
      case "blogs_total":
        needs.past = needs.series = true;
        return;
      case "views":
      case "views_anonymous":
      case "blogs_created":
        return;
      default:
        if (metric[0] === "ratio") visit(metric[2]);
        else needs.series = true;
        visit(metric[1]);
    }
  };
  metrics.forEach(visit);
  return needs;
}

/** Does it depend on events before the range? */
export function looksAtThePast(metric: Metric): boolean {
  return needsOf([metric]).past;
}

/** How many time buckets before its own a metric looks at. */
export function leadOf(metric: Metric): number {
  if (typeof metric === "string") return 0;
  switch (metric[0]) {
    case "rolling":
      return metric[2] - 1;
    case "moving_average":
      return metric[2] - 1 + leadOf(metric[1]);
    case "change":
      return 1 + leadOf(metric[1]);
    case "ratio":
      return Math.max(leadOf(metric[1]), leadOf(metric[2]));
    case "rate":
      return leadOf(metric[1]);
    case "cumulative":
      return 0;
  }
}

/** Does it change with every moment of a bucket that is open, though nothing comes in? */
export function movesByItself(metric: Metric): boolean {
  if (typeof metric === "string") return false;
  switch (metric[0]) {
    case "rate":
      return true;
    case "moving_average":
    case "change":
      return movesByItself(metric[1]);
    case "ratio":
      return movesByItself(metric[1]) || movesByItself(metric[2]);
    case "rolling":
    case "cumulative":
      return false;
  }
}

export function selectionOf(
  { rollup, columns, filters, top }: Pick<FrameRequest, "rollup" | "columns" | "filters" | "top">,
  sketches: boolean,
): Selection {
  return {
    rollup,
    group: columns.flatMap((column) => (column === "time" ? [] : [rollup.dims.indexOf(column)])),
    passing: rollup.dims.map((dimension) => filters.passing.get(dimension)),
    residual: keyTest(filters, rollup.dims),
    sketches,
    top,
  };
}

function unitedCells(table: CellTable, cells: readonly number[]): CellTable {
  const united = new CellTable(0);
  const all = united.upsert(0, new Uint32Array(0));
  for (const cell of cells) united.addCell(all, table, cell);
  return united;
}

/** The groups of a table, and those of others that may be undefined. */
function groupsOf(table: CellTable, byTime: boolean, others: readonly (CellTable | undefined)[]): CellTable {
  const groups = new CellTable(table.arity - (byTime ? 1 : 0));
  const key = new Uint32Array(groups.arity);
  // Where nothing is grouped by, there is one group, be it empty.
  if (key.length === 0) groups.upsert(0, key);
  for (const from of [table, ...others]) {
    if (from === undefined) continue;
    // Time comes first in a key.
    const offset = from.arity - key.length;
    for (let cell = 0; cell < from.count; cell++) {
      for (let i = 0; i < key.length; i++) key[i] = from.keys[cell * from.arity + offset + i]!;
      groups.upsert(0, key);
    }
  }
  return groups;
}

/** Every group in every time bucket, in order. */
function completed(table: CellTable, byTime: boolean, groups: CellTable, times: number): CellTable {
  if (groups.count * times > MAX_GROUPS) throw tooManyGroups();
  const complete = new CellTable(table.arity, { cells: groups.count * times });
  const key = new Uint32Array(table.arity);
  const offset = byTime ? 1 : 0;
  for (let group = 0; group < groups.count; group++) {
    for (let i = 0; i < groups.arity; i++) key[offset + i] = groups.keys[group * groups.arity + i]!;
    for (let time = 0; time < times; time++) {
      if (byTime) key[0] = time;
      const cell = complete.upsert(0, key);
      const from = table.find(0, key);
      if (from >= 0) complete.addCell(cell, table, from);
    }
  }
  return complete;
}
