import { raiseByTokens, uniteRegisters } from "../sketch/registers.js";
import { SMALL_LIMIT } from "../sketch/token.js";
import { CHUNK, ROWS_OF_DENSE, TOKENS_OF_ROW, type Sliced } from "../sliced.js";
import { cellBlock, registersOf, type CellBlock } from "../store.js";
import { copyInSlices } from "./column.js";
import { giveScratchBack, takeScratch, type ScratchColumns } from "./scratch-columns.js";
import { LOG2M, REGISTERS } from "./sketch-pool.js";
import { TokenUnion, mergeRuns } from "./token-union.js";

/** Tokens that are sorted sooner by insertion than by merging: most rows have fewer. */
const MAX_INSERTED = 24;
/** Compared between two yields. */
const VALUES_PER_STEP = CHUNK * TOKENS_OF_ROW;

/**
 * Puts a block together from rows of other blocks, in ascending order of their keys: each row of the new block is the
 * sum of the counts and the union of the sketches of the rows that were given for it.
 */
export class BlockBuilder {
  readonly #rollup: number;
  readonly #arity: number;
  readonly #columns: ScratchColumns;
  readonly #dense = new Map<number, Uint8Array>();
  readonly #union = new TokenUnion();
  #count = 0;
  #tokenEnd = 0;
  /** The first `#given` are the rows given for the row that is being made. */
  readonly #blocks: CellBlock[] = [];
  readonly #rows: number[] = [];
  #given = 0;
  /** Done since `takeWork` last asked, in rows. */
  #work = 0;

  /**
   * Rows come from `sources`, each once at most. `arity`: so many ids of a given row's key, from the left, are the new
   * row's.
   */
  constructor(rollup: number, arity: number, sources: readonly CellBlock[]) {
    this.#rollup = rollup;
    this.#arity = arity;
    const rows = sources.reduce((sum, { count }) => sum + count, 0);
    const tokens = sources.reduce((sum, source) => sum + source.tokens.length, 0);
    this.#columns = takeScratch(rows, rows * arity, tokens);
    this.#columns.tokenStart[0] = 0;
  }

  /** Adds a row to the one with its key: the last one, or a new one. */
  add(block: CellBlock, row: number): void {
    const { views, anonymous, created } = this.#columns;
    if (this.#isLast(block, row)) {
      const last = this.#count - 1;
      views[last]! += block.views[row]!;
      anonymous[last]! += block.anonymous[row]!;
      created[last]! += block.created[row]!;
    } else {
      const next = this.#begin(block, row);
      views[next] = block.views[row]!;
      anonymous[next] = block.anonymous[row]!;
      created[next] = block.created[row]!;
    }
    this.#blocks[this.#given] = block;
    this.#rows[this.#given++] = row;
    this.#work++;
  }

  /** How much was done since this was last asked, in about rows. */
  takeWork(): number {
    const work = this.#work;
    this.#work = 0;
    return work;
  }

  /** The block; nothing may be added any more. */
  *finish(): Sliced<CellBlock> {
    this.#finishRow();
    const count = this.#count;
    const { keys, views, anonymous, created, tokenStart, tokens } = this.#columns;
    const block = cellBlock({
      rollup: this.#rollup,
      arity: this.#arity,
      count,
      keys: yield* copyOf(keys, count * this.#arity),
      views: yield* copyOf(views, count),
      anonymous: yield* copyOf(anonymous, count),
      created: yield* copyOf(created, count),
      tokenStart: yield* copyOf(tokenStart, count + 1),
      tokens: yield* copyOf(tokens, this.#tokenEnd),
      dense: this.#dense,
    });
    giveScratchBack(this.#columns);
    return block;
  }

  /** Is it this block? Instead of `finish`: nothing is copied. */
  *equals(block: CellBlock): Sliced<boolean> {
    this.#finishRow();
    const isSame = yield* this.#isSame(block);
    giveScratchBack(this.#columns);
    return isSame;
  }

  *#isSame({ count, dense, ...columns }: CellBlock): Sliced<boolean> {
    if (count !== this.#count || columns.tokens.length !== this.#tokenEnd || dense.size !== this.#dense.size)
      return false;
    for (const name of ["keys", "views", "anonymous", "created", "tokenStart", "tokens"] as const) {
      if (!(yield* begins(this.#columns[name], columns[name]))) return false;
    }
    for (const [row, registers] of this.#dense) {
      const other = dense.get(row);
      if (other === undefined || !(yield* begins(registers, other))) return false;
    }
    return true;
  }

  #isLast(block: CellBlock, row: number): boolean {
    if (this.#count === 0) return false;
    const { keys } = this.#columns;
    const last = (this.#count - 1) * this.#arity;
    const from = row * block.arity;
    for (let i = 0; i < this.#arity; i++) if (keys[last + i] !== block.keys[from + i]) return false;
    return true;
  }

  #begin(block: CellBlock, row: number): number {
    this.#finishRow();
    const { keys } = this.#columns;
    const at = this.#count * this.#arity;
    const from = row * block.arity;
    for (let i = 0; i < this.#arity; i++) keys[at + i] = block.keys[from + i]!;
    return this.#count++;
  }

  #finishRow(): void {
    if (this.#given === 0) return;
    if (this.#hasRegisters()) this.#uniteRegisters();
    else this.#uniteTokens();
    this.#columns.tokenStart[this.#count] = this.#tokenEnd;
    this.#given = 0;
  }

  #hasRegisters(): boolean {
    for (let i = 0; i < this.#given; i++) {
      if (registersOf(this.#blocks[i]!, this.#rows[i]!) !== undefined) return true;
    }
    return false;
  }

  #uniteTokens(): void {
    const from = this.#tokenEnd;
    const end = this.#copyTokens();
    if (end - from <= SMALL_LIMIT) {
      this.#tokenEnd = end;
      return;
    }
    const registers = new Uint8Array(REGISTERS);
    raiseByTokens(registers, LOG2M, this.#columns.tokens.subarray(from, end));
    this.#dense.set(this.#count - 1, registers);
    this.#work += ROWS_OF_DENSE;
  }

  /** The union of the tokens of the rows given; returns where it ends. */
  #copyTokens(): number {
    const { tokens } = this.#columns;
    const at = this.#tokenEnd;
    const { tokens: first, tokenStart: starts } = this.#blocks[0]!;
    const start = starts[this.#rows[0]!]!;
    const end = starts[this.#rows[0]! + 1]!;
    this.#work += (end - start) / TOKENS_OF_ROW;
    if (this.#given === 1) {
      for (let i = start, to = at; i < end; i++) tokens[to++] = first[i]!;
      return at + end - start;
    }
    if (this.#given > 2) return this.#copyMany();
    const { tokens: second, tokenStart } = this.#blocks[1]!;
    const row = this.#rows[1]!;
    return mergeRuns(first, start, end, second, tokenStart[row]!, tokenStart[row + 1]!, tokens, at);
  }

  #copyMany(): number {
    let total = 0;
    for (let i = 0; i < this.#given; i++) {
      const { tokenStart } = this.#blocks[i]!;
      total += tokenStart[this.#rows[i]! + 1]! - tokenStart[this.#rows[i]!]!;
    }
    return total <= MAX_INSERTED ? this.#insertMany() : this.#uniteMany();
  }

  /** As `#uniteMany`, for few tokens: each is put in its place. */
  #insertMany(): number {
    const out = this.#columns.tokens;
    const start = this.#tokenEnd;
    let end = start;
    for (let i = 0; i < this.#given; i++) {
      const { tokens, tokenStart } = this.#blocks[i]!;
      const last = tokenStart[this.#rows[i]! + 1]!;
      for (let from = tokenStart[this.#rows[i]!]!; from < last; from++) {
        const token = tokens[from]!;
        let at = end;
        while (at > start && out[at - 1]! > token) at--;
        if (at > start && out[at - 1] === token) continue;
        for (let to = end++; to > at; to--) out[to] = out[to - 1]!;
        out[at] = token;
      }
    }
    return end;
  }

  #uniteMany(): number {
    for (let i = 0; i < this.#given; i++) {
      const { tokens, tokenStart } = this.#blocks[i]!;
      const start = tokenStart[this.#rows[i]!]!;
      const end = tokenStart[this.#rows[i]! + 1]!;
      this.#union.add(tokens, start, end);
      this.#work += (end - start) / TOKENS_OF_ROW;
    }
    return this.#union.copyTo(this.#columns.tokens, this.#tokenEnd);
  }

  #uniteRegisters(): void {
    this.#work += ROWS_OF_DENSE * this.#given;
    const alone = this.#given === 1 ? registersOf(this.#blocks[0]!, this.#rows[0]!) : undefined;
    this.#dense.set(this.#count - 1, alone ?? this.#united());
  }

  #united(): Uint8Array {
    const united = new Uint8Array(REGISTERS);
    for (let i = 0; i < this.#given; i++) {
      const block = this.#blocks[i]!;
      const row = this.#rows[i]!;
      const registers = registersOf(block, row);
      // No hash gives a register of more than 65 − LOG2M, so none is wide.
      if (registers !== undefined) uniteRegisters(united, registers, false);
      else
        raiseByTokens(united, LOG2M, block.tokens.subarray(block.tokenStart[row], block.tokenStart[row + 1]));
    }
    return united;
  }
}

/** Is `start` what the column begins with? */
function* begins(column: ArrayLike<number>, start: ArrayLike<number>): Sliced<boolean> {
  for (let from = 0; from < start.length; from += VALUES_PER_STEP) {
    const to = Math.min(from + VALUES_PER_STEP, start.length);
    for (let i = from; i < to; i++) if (column[i] !== start[i]) return false;
    yield (to - from) / TOKENS_OF_ROW;
  }
  return true;
}

function* copyOf<T extends Uint32Array | Float64Array>(column: T, length: number): Sliced<T> {
  const copy = new (column.constructor as new (length: number) => T)(length);
  yield* copyInSlices(column.subarray(0, length) as T, copy);
  return copy;
}
