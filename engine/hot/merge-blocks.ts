import { atOnce, type Sliced } from "../sliced.js";
import type { CellBlock } from "../store.js";
import { BlockBuilder } from "./block-builder.js";

/** Rows of the sources that are united between two yields. */
const ROWS_PER_STEP = 512;
/** An id below it and one of 32 bits after it are one whole number that a double has exactly. */
const MAX_EXACT_ID = 2 ** 21;

/**
 * The union of blocks of one rollup, at least one of them: what `CellTable.addBlock` for each and then `toBlocks`
 * would give, without a hash table, because all rows come in order.
 */
export function mergeBlocks(blocks: readonly CellBlock[]): CellBlock {
  return atOnce(mergeInSlices(blocks));
}

export function* mergeInSlices(blocks: readonly CellBlock[]): Sliced<CellBlock> {
  const [first] = blocks;
  if (first === undefined) throw new Error("BUG: no blocks to merge");
  const { rollup, arity } = first;
  if (blocks.some((block) => block.rollup !== rollup || block.arity !== arity)) {
    throw new Error("BUG: blocks of two rollups");
  }
  if (blocks.length === 1) return first;
  const builder = new BlockBuilder(rollup, arity, blocks);
  const queue = new RowQueue(blocks, arity);
  while (moveRows(queue, builder)) yield builder.takeWork();
  return yield* builder.finish();
}

/** The union of buckets: their blocks, merged by rollup. */
export function mergeByRollup(blocks: readonly CellBlock[]): CellBlock[] {
  return atOnce(mergeByRollupInSlices(blocks));
}

export function* mergeByRollupInSlices(blocks: readonly CellBlock[]): Sliced<CellBlock[]> {
  const byRollup = new Map<number, CellBlock[]>();
  for (const block of blocks) {
    const known = byRollup.get(block.rollup);
    if (known === undefined) byRollup.set(block.rollup, [block]);
    else known.push(block);
  }
  const merged: CellBlock[] = [];
  for (const group of byRollup.values()) merged.push(yield* mergeInSlices(group));
  return merged;
}

/**
 * The block of a rollup whose dimensions are the first `arity` of those of `block`'s rollup, made from that alone:
 * every event counts in one cell of each rollup of its bucket, so the coarser cell is the sum of the finer ones.
 */
export function projectBlock(block: CellBlock, rollup: number, arity: number): CellBlock {
  return atOnce(projectInSlices(block, rollup, arity));
}

export function* projectInSlices(block: CellBlock, rollup: number, arity: number): Sliced<CellBlock> {
  const builder = yield* projected(block, rollup, arity);
  return yield* builder.finish();
}

/** Is it what `projectBlock` makes of `finer`? */
export function* isProjection(block: CellBlock, finer: CellBlock): Sliced<boolean> {
  const builder = yield* projected(finer, block.rollup, block.arity);
  return yield* builder.equals(block);
}

function* projected(block: CellBlock, rollup: number, arity: number): Sliced<BlockBuilder> {
  if (arity > block.arity) throw new Error(`BUG: ${arity} ids of a key of ${block.arity}`);
  const builder = new BlockBuilder(rollup, arity, [block]);
  for (let from = 0; from < block.count; from += ROWS_PER_STEP) {
    const to = Math.min(from + ROWS_PER_STEP, block.count);
    for (let row = from; row < to; row++) builder.add(block, row);
    yield builder.takeWork();
  }
  return builder;
}

/** Tells whether there may be more. */
function moveRows(queue: RowQueue, builder: BlockBuilder): boolean {
  for (let i = 0; i < ROWS_PER_STEP; i++) {
    const { block } = queue;
    if (block === undefined) return false;
    builder.add(block, queue.row);
    queue.next();
  }
  return true;
}

/** The rows of many blocks in order of their keys: a binary heap of blocks by their next row. */
class RowQueue {
  readonly #blocks: readonly CellBlock[];
  readonly #arity: number;
  /** Per block: its next row, and the first two ids of that row's key as one number. */
  readonly #rows: Uint32Array;
  readonly #prefixes: Float64Array;
  /** Are keys of the same prefix the same? */
  readonly #isExact: boolean;
  readonly #heap: Uint32Array;
  #size = 0;

  constructor(blocks: readonly CellBlock[], arity: number) {
    this.#blocks = blocks;
    this.#arity = arity;
    this.#rows = new Uint32Array(blocks.length);
    this.#prefixes = new Float64Array(blocks.length);
    this.#isExact =
      arity < 2 || (arity === 2 && blocks.every(({ keys }) => (keys.at(-2) ?? 0) < MAX_EXACT_ID));
    this.#heap = new Uint32Array(blocks.length);
    for (let i = 0; i < blocks.length; i++) {
      if (blocks[i]!.count === 0) continue;
      this.#heap[this.#size++] = i;
      this.#readHead(i);
    }
    for (let i = (this.#size >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  /** The block of the least row; undefined at the end. */
  get block(): CellBlock | undefined {
    return this.#size === 0 ? undefined : this.#blocks[this.#heap[0]!];
  }

  get row(): number {
    return this.#rows[this.#heap[0]!]!;
  }

  next(): void {
    const least = this.#heap[0]!;
    if (++this.#rows[least]! < this.#blocks[least]!.count) this.#readHead(least);
    else if (--this.#size > 0) this.#heap[0] = this.#heap[this.#size]!;
    else return;
    this.#sink(0);
  }

  #readHead(block: number): void {
    const arity = this.#arity;
    if (arity === 0) return;
    const { keys } = this.#blocks[block]!;
    const at = this.#rows[block]! * arity;
    this.#prefixes[block] = arity === 1 ? keys[at]! : keys[at]! * 2 ** 32 + keys[at + 1]!;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const size = this.#size;
    const held = heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#isLess(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#isLess(heap[child]!, held)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = held;
  }

  #isLess(a: number, b: number): boolean {
    const left = this.#prefixes[a]!;
    const right = this.#prefixes[b]!;
    // A rounded one is never on the wrong side.
    if (left !== right) return left < right;
    return !this.#isExact && this.#isKeyLess(a, b);
  }

  #isKeyLess(a: number, b: number): boolean {
    const arity = this.#arity;
    const left = this.#blocks[a]!.keys;
    const right = this.#blocks[b]!.keys;
    const atA = this.#rows[a]! * arity;
    const atB = this.#rows[b]! * arity;
    for (let i = 0; i < arity; i++) {
      const difference = left[atA + i]! - right[atB + i]!;
      if (difference !== 0) return difference < 0;
    }
    return false;
  }
}
