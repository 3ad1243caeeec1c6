import type { CellBlock } from "../store.js";
import { BlockBuilder } from "./block-builder.js";

/**
 * The union of blocks of one rollup, at least one of them: what `CellTable.addBlock` for each and then `toBlocks`
 * would give, without a hash table, because all rows come in order.
 */
export function mergeBlocks(blocks: readonly CellBlock[]): CellBlock {
  const [first] = blocks;
  if (first === undefined) throw new Error("BUG: no blocks to merge");
  const { rollup, arity } = first;
  if (blocks.some((block) => block.rollup !== rollup || block.arity !== arity)) {
    throw new Error("BUG: blocks of two rollups");
  }
  if (blocks.length === 1) return first;
  const rows = blocks.reduce((sum, { count }) => sum + count, 0);
  const builder = new BlockBuilder(rollup, arity, arity === 0 ? Math.min(rows, 1) : rows);
  const queue = new RowQueue(blocks, arity);
  let before: CellBlock | undefined;
  let beforeRow = 0;
  for (let block = queue.block; block !== undefined; block = queue.block) {
    const { row } = queue;
    if (before !== undefined && haveSameKey(before, beforeRow, block, row, arity)) builder.add(block, row);
    else builder.begin(block, row);
    before = block;
    beforeRow = row;
    queue.next();
  }
  return builder.finish();
}

/** The union of buckets: their blocks, merged by rollup. */
export function mergeByRollup(blocks: readonly CellBlock[]): CellBlock[] {
  const byRollup = new Map<number, CellBlock[]>();
  for (const block of blocks) {
    const known = byRollup.get(block.rollup);
    if (known === undefined) byRollup.set(block.rollup, [block]);
    else known.push(block);
  }
  return [...byRollup.values()].map((group) => (group.length === 1 ? group[0]! : mergeBlocks(group)));
}

/**
 * The block of a rollup whose dimensions are the first `arity` of those of `block`'s rollup, made from that alone:
 * every event counts in one cell of each rollup of its bucket, so the coarser cell is the sum of the finer ones.
 */
export function projectBlock(block: CellBlock, rollup: number, arity: number): CellBlock {
  if (arity > block.arity) throw new Error(`BUG: ${arity} ids of a key of ${block.arity}`);
  const builder = new BlockBuilder(rollup, arity, arity === 0 ? Math.min(block.count, 1) : block.count);
  for (let row = 0; row < block.count; row++) {
    if (row > 0 && haveSameKey(block, row - 1, block, row, arity)) builder.add(block, row);
    else builder.begin(block, row);
  }
  return builder.finish();
}

/** Are the first `length` ids of two keys the same? */
function haveSameKey(a: CellBlock, rowA: number, b: CellBlock, rowB: number, length: number): boolean {
  const atA = rowA * a.arity;
  const atB = rowB * b.arity;
  for (let i = 0; i < length; i++) if (a.keys[atA + i] !== b.keys[atB + i]) return false;
  return true;
}

/** The rows of many blocks in order of their keys: a binary heap of blocks by their next row. */
class RowQueue {
  readonly #blocks: readonly CellBlock[];
  readonly #arity: number;
  /** Per block: its next row, and that row's key. */
  readonly #rows: Uint32Array;
  readonly #heads: Uint32Array;
  readonly #heap: Uint32Array;
  #size = 0;

  constructor(blocks: readonly CellBlock[], arity: number) {
    this.#blocks = blocks;
    this.#arity = arity;
    this.#rows = new Uint32Array(blocks.length);
    this.#heads = new Uint32Array(blocks.length * arity);
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
    const { keys } = this.#blocks[block]!;
    const from = this.#rows[block]! * arity;
    for (let i = 0; i < arity; i++) this.#heads[block * arity + i] = keys[from + i]!;
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
    const heads = this.#heads;
    const arity = this.#arity;
    const atA = a * arity;
    const atB = b * arity;
    for (let i = 0; i < arity; i++) {
      const left = heads[atA + i]!;
      const right = heads[atB + i]!;
      if (left !== right) return left < right;
    }
    return false;
  }
}
