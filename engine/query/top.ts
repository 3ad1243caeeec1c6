import type { Metric } from "../api.js";
import { BlockBuilder } from "../hot/block-builder.js";
import { atOnce } from "../sliced.js";
import type { CellBlock } from "../store.js";
import { thresholdOf } from "./shortlist.js";
import type { ParsedQuery } from "./types.js";

/** Counters that rows can be ranked by without looking at anything else. */
const COUNTERS = { views: "views", views_anonymous: "anonymous", blogs_created: "created" } as const;
type Counter = (typeof COUNTERS)[keyof typeof COUNTERS];

/** A ranking lists so many rows of a block: what dashboards show, and some more. */
const LISTED = 256;
/** With all that tie with the last of them at most so many: the tokens of a row, which are copied, can take 8 KiB. */
const MAX_LISTED = 1024;

/** What a row has, as bits: views, views with a viewer, anonymous views, blogs created. */
const HAS = { views: 1, viewers: 2, views_per_viewer: 2, views_anonymous: 4, blogs_created: 8 } as const;
const KINDS_OF_ROWS = 16;

/** Only the first `limit` groups by a counter are asked for, the greatest first, whatever tells ties apart. */
export interface Top {
  readonly counter: Counter;
  readonly limit: number;
}

/** The rows of a block that a ranking shows, and what it must say of all others. */
export interface Ranked {
  /** Every row of the block that has as much as the least of these, in the order of keys. */
  readonly block: CellBlock;
  /** Rows of the whole block by what they have: see `rowsWith`. */
  readonly kinds: Uint32Array;
}

/** Undefined where the answer shows or needs more than its first rows, or ranks them by something else. */
export function topOf(query: ParsedQuery): Top | undefined {
  const { columns, compare, cursor, filters, include, limit, metrics, order } = query;
  const [first] = order;
  if (first === undefined || !first.descending || !("metric" in first.by)) return undefined;
  if (columns.length === 0 || columns.includes("time") || filters.length > 0 || limit > LISTED)
    return undefined;
  if (compare !== undefined || cursor !== undefined || include.other) return undefined;
  const counter = counterOf(metrics[first.by.metric]!);
  return counter === undefined || !metrics.every(isOfOneRow) ? undefined : { counter, limit };
}

function counterOf(metric: Metric): Counter | undefined {
  return typeof metric === "string" && metric in COUNTERS
    ? COUNTERS[metric as keyof typeof COUNTERS]
    : undefined;
}

function isOfOneRow(metric: Metric): metric is keyof typeof HAS {
  return typeof metric === "string" && metric in HAS;
}

/** How many rows of the block have something of the metrics, which are those of a query that has a `Top`. */
export function rowsWith(kinds: Uint32Array, metrics: readonly Metric[]): number {
  const asked = metrics.reduce((bits, metric) => bits | HAS[metric as keyof typeof HAS], 0);
  let rows = 0;
  for (let kind = 0; kind < KINDS_OF_ROWS; kind++) if ((kind & asked) !== 0) rows += kinds[kind]!;
  return rows;
}

/** What is known of a stored block, which never changes. */
interface Rankings {
  readonly kinds: Uint32Array;
  /** Undefined where too many tie. */
  readonly byCounter: Map<Counter, CellBlock | undefined>;
}

/** Null: asked for once. The second time shows that the block stays in memory and is asked about again. */
const known = new WeakMap<CellBlock, Rankings | null>();

/**
 * The rows of a block that hold its first `limit`. Undefined where the block must be gone through itself: it is small,
 * is asked about for the first time, or has too few such rows, or too many that tie.
 */
export function rankedOf(block: CellBlock, { counter, limit }: Top): Ranked | undefined {
  if (block.count <= LISTED) return undefined;
  let rankings = known.get(block);
  if (rankings === undefined) {
    known.set(block, null);
    return undefined;
  }
  if (rankings === null) known.set(block, (rankings = { kinds: kindsOf(block), byCounter: new Map() }));
  const { byCounter, kinds } = rankings;
  if (!byCounter.has(counter)) byCounter.set(counter, listOf(block, block[counter]));
  const list = byCounter.get(counter);
  return list === undefined || list.count < limit ? undefined : { block: list, kinds };
}

function kindsOf({ count, views, anonymous, created }: CellBlock): Uint32Array {
  const kinds = new Uint32Array(KINDS_OF_ROWS);
  for (let row = 0; row < count; row++) {
    const kind =
      (views[row] === 0 ? 0 : HAS.views) |
      (views[row]! > anonymous[row]! ? HAS.viewers : 0) |
      (anonymous[row] === 0 ? 0 : HAS.views_anonymous) |
      (created[row] === 0 ? 0 : HAS.blogs_created);
    kinds[kind]!++;
  }
  return kinds;
}

/** All rows that have at least what the last of the first `LISTED` has; only more than that where too many have as much. */
function listOf(block: CellBlock, values: Float64Array): CellBlock | undefined {
  const threshold = thresholdOf(values, block.count, LISTED);
  const rows = rowsAbove(block, values, (value) => value >= threshold && value > 0);
  if (rows.length <= MAX_LISTED) return partOf(block, rows);
  const fewer = rowsAbove(block, values, (value) => value > threshold);
  return fewer.length === 0 ? undefined : partOf(block, fewer);
}

function rowsAbove({ count }: CellBlock, values: Float64Array, passes: (value: number) => boolean): number[] {
  const rows: number[] = [];
  for (let row = 0; row < count; row++) if (passes(values[row]!)) rows.push(row);
  return rows;
}

/** These rows, which ascend, as a block; registers are shared. */
function partOf(block: CellBlock, rows: readonly number[]): CellBlock {
  const builder = new BlockBuilder(block.rollup, block.arity, [block]);
  for (const row of rows) builder.add(block, row);
  return atOnce(builder.finish());
}
