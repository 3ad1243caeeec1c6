import { raiseByTokens, uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT } from "../sketch/token.js";
import { ROWS_OF_DENSE, TOKENS_OF_ROW, type Sliced } from "../sliced.js";
import type { CellBlock } from "../store.js";
import { LOG2M, REGISTERS } from "./sketch-pool.js";
import { TokenUnion } from "./token-union.js";

/** A column that is so full is kept as it is. */
const WORTH_KEEPING = 0.9;

/**
 * Puts a block together from rows of other blocks, in ascending order of their keys: each row of the new block is the
 * sum of the counts and the union of the sketches of the rows that were given for it.
 */
export class BlockBuilder {
  readonly #rollup: number;
  readonly #arity: number;
  readonly #keys: Uint32Array;
  readonly #views: Float64Array;
  readonly #anonymous: Float64Array;
  readonly #created: Float64Array;
  readonly #tokenStart: Uint32Array;
  /** Where all rows are different it is full in the end: memory that is not written to costs nothing. */
  readonly #tokens: Uint32Array;
  readonly #dense = new Map<number, Uint8Array>();
  readonly #union = new TokenUnion();
  #count = 0;
  #tokenEnd = 0;
  /** The rows given for the row that is being made. */
  readonly #blocks: CellBlock[] = [];
  readonly #rows: number[] = [];
  /** Done since `takeWork` last asked, in rows. */
  #work = 0;

  /**
   * Rows come from `sources`, each once at most. `arity`: so many ids of a given row's key, from the left, are the new
   * row's.
   */
  constructor(rollup: number, arity: number, sources: readonly CellBlock[]) {
    this.#rollup = rollup;
    this.#arity = arity;
    const given = sources.reduce((sum, { count }) => sum + count, 0);
    const rows = arity === 0 ? Math.min(given, 1) : given;
    this.#tokens = new Uint32Array(sources.reduce((sum, { tokens }) => sum + tokens.length, 0));
    this.#keys = new Uint32Array(rows * arity);
    this.#views = new Float64Array(rows);
    this.#anonymous = new Float64Array(rows);
    this.#created = new Float64Array(rows);
    this.#tokenStart = new Uint32Array(rows + 1);
  }

  /** Adds a row to the one with its key: the last one, or a new one. */
  add(block: CellBlock, row: number): void {
    if (!this.#isLast(block, row)) this.#begin(block, row);
    const last = this.#count - 1;
    this.#views[last]! += block.views[row]!;
    this.#anonymous[last]! += block.anonymous[row]!;
    this.#created[last]! += block.created[row]!;
    this.#blocks.push(block);
    this.#rows.push(row);
    this.#work++;
  }

  /** How much was done since this was last asked, in about rows. */
  takeWork(): number {
    const work = this.#work;
    this.#work = 0;
    return work;
  }

  *finish(): Sliced<CellBlock> {
    this.#finishRow();
    const count = this.#count;
    return {
      rollup: this.#rollup,
      arity: this.#arity,
      count,
      keys: yield* exactly(this.#keys, count * this.#arity),
      views: yield* exactly(this.#views, count),
      anonymous: yield* exactly(this.#anonymous, count),
      created: yield* exactly(this.#created, count),
      tokenStart: yield* exactly(this.#tokenStart, count + 1),
      tokens: yield* exactly(this.#tokens, this.#tokenEnd),
      dense: this.#dense,
    };
  }

  #isLast(block: CellBlock, row: number): boolean {
    if (this.#count === 0) return false;
    const last = (this.#count - 1) * this.#arity;
    const from = row * block.arity;
    for (let i = 0; i < this.#arity; i++) if (this.#keys[last + i] !== block.keys[from + i]) return false;
    return true;
  }

  #begin(block: CellBlock, row: number): void {
    this.#finishRow();
    const at = this.#count++ * this.#arity;
    const from = row * block.arity;
    for (let i = 0; i < this.#arity; i++) this.#keys[at + i] = block.keys[from + i]!;
  }

  #finishRow(): void {
    if (this.#rows.length === 0) return;
    const [block, row] = [this.#blocks[0]!, this.#rows[0]!];
    if (this.#hasRegisters()) this.#uniteRegisters();
    else if (this.#rows.length === 1)
      this.#copyTokens(block, block.tokenStart[row]!, block.tokenStart[row + 1]!);
    else this.#uniteTokens();
    this.#tokenStart[this.#count] = this.#tokenEnd;
    this.#blocks.length = 0;
    this.#rows.length = 0;
  }

  #hasRegisters(): boolean {
    for (let i = 0; i < this.#rows.length; i++) {
      const { dense } = this.#blocks[i]!;
      if (dense.size > 0 && dense.has(this.#rows[i]!)) return true;
    }
    return false;
  }

  #copyTokens({ tokens }: CellBlock, start: number, end: number): void {
    let at = this.#tokenEnd;
    for (let i = start; i < end; i++) this.#tokens[at++] = tokens[i]!;
    this.#tokenEnd = at;
    this.#work += (end - start) / TOKENS_OF_ROW;
  }

  #uniteTokens(): void {
    for (let i = 0; i < this.#rows.length; i++) {
      const { tokens, tokenStart } = this.#blocks[i]!;
      const [start, end] = [tokenStart[this.#rows[i]!]!, tokenStart[this.#rows[i]! + 1]!];
      this.#union.add(tokens, start, end);
      this.#work += (end - start) / TOKENS_OF_ROW;
    }
    const end = this.#union.copyTo(this.#tokens, this.#tokenEnd);
    if (end - this.#tokenEnd <= SMALL_LIMIT) this.#tokenEnd = end;
    else {
      const registers = new Uint8Array(REGISTERS);
      raiseByTokens(registers, LOG2M, this.#tokens.subarray(this.#tokenEnd, end));
      this.#dense.set(this.#count - 1, registers);
      this.#work += ROWS_OF_DENSE;
    }
  }

  #uniteRegisters(): void {
    const united = new Uint8Array(REGISTERS);
    for (let i = 0; i < this.#rows.length; i++) {
      const [{ dense, tokens, tokenStart }, row] = [this.#blocks[i]!, this.#rows[i]!];
      const registers = dense.get(row);
      // No hash gives a register of more than 65 − LOG2M, so none is wide.
      if (registers !== undefined) uniteRegisters(united, registers, false);
      else raiseByTokens(united, LOG2M, tokens.subarray(tokenStart[row], tokenStart[row + 1]));
    }
    this.#dense.set(this.#count - 1, united);
    this.#work += ROWS_OF_DENSE * this.#rows.length;
  }
}

/** Copies what is filled of a column, unless that is nearly all. */
function* exactly<T extends Uint32Array | Float64Array>(column: T, length: number): Sliced<T> {
  if (length === column.length) return column;
  if (length > column.length * WORTH_KEEPING) return column.subarray(0, length) as T;
  yield length / TOKENS_OF_ROW;
  return column.slice(0, length) as T;
}
