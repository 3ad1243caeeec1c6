import { raiseByTokens, uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT } from "../sketch/token.js";
import type { CellBlock } from "../store.js";
import { LOG2M, REGISTERS } from "./sketch-pool.js";
import { TokenUnion } from "./token-union.js";

/** First length of the token column; it grows by half. */
const FIRST_TOKENS = 1024;

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
  #tokens = new Uint32Array(FIRST_TOKENS);
  readonly #dense = new Map<number, Uint8Array>();
  readonly #union = new TokenUnion();
  #count = 0;
  #tokenEnd = 0;
  /** The rows given for the row that is being made. */
  readonly #blocks: CellBlock[] = [];
  readonly #rows: number[] = [];

  /** `rows`: the block gets no more. `arity`: so many ids of a given row's key, from the left, are the new row's. */
  constructor(rollup: number, arity: number, rows: number) {
    this.#rollup = rollup;
    this.#arity = arity;
    this.#keys = new Uint32Array(rows * arity);
    this.#views = new Float64Array(rows);
    this.#anonymous = new Float64Array(rows);
    this.#created = new Float64Array(rows);
    this.#tokenStart = new Uint32Array(rows + 1);
  }

  /** Begins a row with the key of this one. */
  begin(block: CellBlock, row: number): void {
    this.#finishRow();
    const count = this.#count++;
    for (let i = 0; i < this.#arity; i++) {
      this.#keys[count * this.#arity + i] = block.keys[row * block.arity + i]!;
    }
    this.add(block, row);
  }

  /** Adds to the row begun last. */
  add(block: CellBlock, row: number): void {
    const last = this.#count - 1;
    this.#views[last]! += block.views[row]!;
    this.#anonymous[last]! += block.anonymous[row]!;
    this.#created[last]! += block.created[row]!;
    this.#blocks.push(block);
    this.#rows.push(row);
  }

  finish(): CellBlock {
    this.#finishRow();
    const count = this.#count;
    return {
      rollup: this.#rollup,
      arity: this.#arity,
      count,
      keys: exactly(this.#keys, count * this.#arity),
      views: exactly(this.#views, count),
      anonymous: exactly(this.#anonymous, count),
      created: exactly(this.#created, count),
      tokenStart: exactly(this.#tokenStart, count + 1),
      tokens: exactly(this.#tokens, this.#tokenEnd),
      dense: this.#dense,
    };
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
    this.#reserve(end - start);
    let at = this.#tokenEnd;
    for (let i = start; i < end; i++) this.#tokens[at++] = tokens[i]!;
    this.#tokenEnd = at;
  }

  #uniteTokens(): void {
    let most = 0;
    for (let i = 0; i < this.#rows.length; i++) {
      const { tokens, tokenStart } = this.#blocks[i]!;
      const [start, end] = [tokenStart[this.#rows[i]!]!, tokenStart[this.#rows[i]! + 1]!];
      this.#union.add(tokens, start, end);
      most += end - start;
    }
    this.#reserve(most);
    const end = this.#union.copyTo(this.#tokens, this.#tokenEnd);
    if (end - this.#tokenEnd <= SMALL_LIMIT) this.#tokenEnd = end;
    else {
      const registers = new Uint8Array(REGISTERS);
      raiseByTokens(registers, LOG2M, this.#tokens.subarray(this.#tokenEnd, end));
      this.#dense.set(this.#count - 1, registers);
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
  }

  #reserve(tokens: number): void {
    const needed = this.#tokenEnd + tokens;
    if (needed <= this.#tokens.length) return;
    const grown = new Uint32Array(Math.max(needed, Math.ceil(this.#tokens.length * 1.5)));
    grown.set(this.#tokens.subarray(0, this.#tokenEnd));
    this.#tokens = grown;
  }
}

function exactly<T extends Uint32Array | Float64Array>(column: T, length: number): T {
  return (column.length === length ? column : column.slice(0, length)) as T;
}
