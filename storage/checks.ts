/** What every storage asks of what it is given. Whoever breaks it has a bug: nothing of this comes from outside. */
import { CHUNK, TOKENS_OF_ROW, atOnce, eachChunk, type Sliced } from "../engine/sliced.js";
import type { CellBlock, StoreCommit } from "../engine/store.js";

/** Registers of a dense sketch: p = 14, as `CellBlock` says. */
export const DENSE_REGISTERS = 1 << 14;
/** A register has six bits in the block's form; 51 is the greatest value that p = 14 knows. */
export const MAX_REGISTER = 63;

/** Id of the first value of a dictionary, as `StoreCommit` says. */
export const FIRST_VALUE_ID = 2;

/** What a commit has to go on from. */
export interface CommitBase {
  readonly generation: number;
  readonly lastRevision: number;
  /** Number of values of a dimension. */
  readonly valuesOf: (dimension: number) => number;
}

export function checkCommit(commit: StoreCommit, { generation, lastRevision, valuesOf }: CommitBase): void {
  if (commit.meta.generation !== generation + 1) {
    throw new Error(`BUG: commit ${commit.meta.generation} after ${generation}`);
  }
  for (const { dimension, firstId } of commit.values) {
    const next = valuesOf(dimension) + FIRST_VALUE_ID;
    if (firstId !== next)
      throw new Error(`BUG: dimension ${dimension} goes on at ${next}, not at ${firstId}`);
  }
  commit.revisions.forEach(({ seq }, i) => {
    if (seq !== lastRevision + 1 + i) throw new Error(`BUG: revision ${seq} after ${lastRevision + i}`);
  });
  for (const { subjects, ids } of commit.remembered) {
    if (subjects.length !== ids.length) throw new Error("BUG: as many remembered ids as subjects");
  }
}

export function checkBlock(block: CellBlock): void {
  return atOnce(checkBlockInSlices(block));
}

export function* checkBlockInSlices(block: CellBlock): Sliced<void> {
  if (block.arity === 0 && block.count > 1) throw new Error("BUG: two rows without a key");
  if (block.tokenStart[0] !== 0) throw new Error("BUG: tokens begin at 0");
  yield* eachChunk(block.count, (from, to) => {
    checkKeys(block, from, to);
    for (const counters of [block.views, block.anonymous, block.created]) checkCounters(counters, from, to);
  });
  yield* checkTokens(block);
  for (const [row, registers] of block.dense) {
    if (!(row < block.count)) throw new Error(`BUG: registers of row ${row} of ${block.count}`);
    if (registers.length !== DENSE_REGISTERS) throw new Error(`BUG: ${registers.length} registers`);
    if (block.tokenStart[row] !== block.tokenStart[row + 1]) throw new Error("BUG: registers beside tokens");
  }
}

function checkKeys({ keys, arity }: CellBlock, from: number, to: number): void {
  for (let row = Math.max(1, from); row < to; row++) {
    let i = row * arity;
    const end = i + arity;
    while (i < end && keys[i] === keys[i - arity]) i++;
    if (!(i < end && keys[i]! > keys[i - arity]!)) throw new Error(`BUG: row ${row} does not ascend`);
  }
}

function checkCounters(counters: Float64Array, from: number, to: number): void {
  for (let row = from; row < to; row++) {
    const value = counters[row]!;
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`BUG: ${value} is not a count`);
  }
}

function* checkTokens({ tokens, tokenStart, count }: CellBlock): Sliced<void> {
  let work = 0;
  for (let row = 0; row < count; row++) {
    const start = tokenStart[row]!;
    const end = tokenStart[row + 1]!;
    if (!(end >= start)) throw new Error(`BUG: tokens of row ${row} end before they begin`);
    for (let i = start + 1; i < end; i++) {
      if (!(tokens[i]! > tokens[i - 1]!)) throw new Error(`BUG: tokens of row ${row} do not ascend`);
    }
    work += (end - start + 1) / TOKENS_OF_ROW;
    if (work < CHUNK) continue;
    yield work;
    work = 0;
  }
}
