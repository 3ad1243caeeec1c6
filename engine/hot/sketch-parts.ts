import { countValues, uniteRegisters } from "../sketch/registers.js";
import { TOKEN_RANK_BITS, SMALL_LIMIT, maxRegisterValue, tokenIndex, tokenValue } from "../sketch/token.js";

/** Precision of every sketch inside the engine. */
export const LOG2M = 14;
export const REGISTERS = 1 << LOG2M;

const MAX_VALUE = maxRegisterValue(LOG2M);

/** Of a chain: there is no further part. */
export const NO_PART = -1;

/** Tokens that may have met before it is noticed that there are too many: a part has no more than a small sketch. */
const MOST_MET = 2 * SMALL_LIMIT;
/** Slots of the set in which tokens of several parts meet: a power of two, half full at most. */
const SLOTS = 2 * MOST_MET;
const SLOT_SHIFT = 32 - Math.log2(SLOTS);

/** Where tokens of several parts meet, and what they are once no part has more of them. */
const slots = new Uint32Array(SLOTS);
const met = new Uint32Array(MOST_MET + 1);

/** Registers, or tokens `[start, end)`; neither is ever changed by whoever has it. */
export type Source = Uint8Array | Uint32Array;

/**
 * Sketches that are not united yet: chains of parts, each of them the sketch of one row of a block. Most rows of an
 * answer are cut off, or consist of one part only, and are never united at all.
 */
export class SketchParts {
  readonly #sources: Source[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #nexts: number[] = [];
  /** Bytes of blocks that are held for it. */
  heldBytes = 0;
  #lastTokens: Uint32Array | undefined;

  /** A part before the chain `next`; returns the new chain. */
  add(source: Source, start: number, end: number, next: number): number {
    this.#starts.push(start);
    this.#ends.push(end);
    this.#nexts.push(next);
    return this.#sources.push(source) - 1;
  }

  /** Counts what is held of a block for one of its rows; all rows have the same tokens. */
  hold(source: Source): void {
    if (source === this.#lastTokens) return;
    if (source instanceof Uint32Array) this.#lastTokens = source;
    this.heldBytes += source.byteLength;
  }

  isSingle(part: number): boolean {
    return this.#nexts[part] === NO_PART;
  }

  isDense(part: number): boolean {
    return this.#sources[part] instanceof Uint8Array;
  }

  /** The registers of a dense part. */
  registers(part: number): Uint8Array {
    return this.#sources[part] as Uint8Array;
  }

  /** Number of tokens of one part. */
  size(part: number): number {
    return this.#ends[part]! - this.#starts[part]!;
  }

  copy(part: number, out: Uint32Array, offset: number): void {
    copyTokens(this.#sources[part] as Uint32Array, this.#starts[part]!, this.#ends[part]!, out, offset);
  }

  /** The union of a chain: its tokens in no order, or registers. A new array. */
  unite(chain: number): Source {
    let most = 0;
    let dense = false;
    for (let part = chain; part !== NO_PART; part = this.#nexts[part]!) {
      dense ||= this.isDense(part);
      most = Math.max(most, this.size(part));
    }
    if (dense) return this.#unitedRegisters(chain);
    if (most > SMALL_LIMIT / 2) {
      const registers = this.#raisedRegisters(chain);
      // Each register that is not 0 has a token of its own: so many are never a small sketch.
      if (registers !== undefined) return registers;
    }
    const size = this.#meet(chain);
    return size <= SMALL_LIMIT ? met.slice(0, size) : this.#unitedRegisters(chain);
  }

  /** Puts the distinct tokens of a chain to `met`; how many, or more than there may be in a small sketch. */
  #meet(chain: number): number {
    slots.fill(0);
    let size = 0;
    for (let part = chain; part !== NO_PART && size <= SMALL_LIMIT; part = this.#nexts[part]!) {
      size = meet(this.#sources[part] as Uint32Array, this.#starts[part]!, this.#ends[part]!, size);
    }
    return size;
  }

  #unitedRegisters(chain: number): Uint8Array {
    let registers: Uint8Array | undefined;
    for (let part = chain; part !== NO_PART; part = this.#nexts[part]!) {
      if (!this.isDense(part)) continue;
      if (registers === undefined) registers = this.registers(part).slice();
      // No hash gives a register of more than 65 − LOG2M, so none is wide.
      else uniteRegisters(registers, this.registers(part), false);
    }
    registers ??= new Uint8Array(REGISTERS);
    for (let part = chain; part !== NO_PART; part = this.#nexts[part]!) {
      if (this.isDense(part)) continue;
      raise(registers, this.#sources[part] as Uint32Array, this.#starts[part]!, this.#ends[part]!);
    }
    return registers;
  }

  /** The registers of a chain of tokens; undefined where these may be few. */
  #raisedRegisters(chain: number): Uint8Array | undefined {
    const registers = new Uint8Array(REGISTERS);
    const counts = new Uint32Array(MAX_VALUE + 1);
    counts[0] = REGISTERS;
    for (let part = chain; part !== NO_PART; part = this.#nexts[part]!) {
      const tokens = this.#sources[part] as Uint32Array;
      raiseCounted(registers, counts, tokens, this.#starts[part]!, this.#ends[part]!);
    }
    if (REGISTERS - counts[0] <= SMALL_LIMIT) return undefined;
    knownCounts.set(registers, counts);
    return registers;
  }
}

/** How many registers have each value, of registers that never change. */
const knownCounts = new WeakMap<Uint8Array, Uint32Array>();

/** How many registers have each value; `isSteady`: they will never be changed. */
export function countRegisters(registers: Uint8Array, isSteady: boolean): Uint32Array {
  if (!isSteady) return countValues(registers, MAX_VALUE);
  let counts = knownCounts.get(registers);
  if (counts === undefined) knownCounts.set(registers, (counts = countValues(registers, MAX_VALUE)));
  return counts;
}

/**
 * Puts those of `tokens[start, end)` that are not there yet behind the first `size` of `met`; how many there are
 * then.
 */
function meet(tokens: Uint32Array, start: number, end: number, size: number): number {
  // Local names: a module's own are looked up at every use.
  const [table, out] = [slots, met];
  let count = size;
  for (let i = start; i < end; i++) {
    const token = tokens[i]!;
    let slot = Math.imul(token, 0x9e37_79b1) >>> SLOT_SHIFT;
    let held = table[slot]!;
    while (held !== 0 && held !== token) {
      slot = (slot + 1) & (SLOTS - 1);
      held = table[slot]!;
    }
    // Written whether it is new or not: which of the two cannot be guessed, and a branch would be.
    table[slot] = token;
    out[count] = token;
    count += ~(held | -held) >>> 31;
  }
  return count;
}

export function copyTokens(
  from: Uint32Array,
  start: number,
  end: number,
  out: Uint32Array,
  offset: number,
): void {
  for (let i = start, at = offset; i < end; i++, at++) out[at] = from[i]!;
}

/** Raises registers by `tokens[start, end)`. */
export function raise(registers: Uint8Array, tokens: Uint32Array, start: number, end: number): void {
  for (let i = start; i < end; i++) {
    const token = tokens[i]!;
    const index = (token >>> TOKEN_RANK_BITS) & (REGISTERS - 1);
    const value = tokenValue(token, LOG2M);
    if (value > registers[index]!) registers[index] = value;
  }
}

/** The same, and keeps count of the registers by value. */
function raiseCounted(
  registers: Uint8Array,
  counts: Uint32Array,
  tokens: Uint32Array,
  start: number,
  end: number,
): void {
  for (let i = start; i < end; i++) {
    const token = tokens[i]!;
    const index = (token >>> TOKEN_RANK_BITS) & (REGISTERS - 1);
    const value = tokenValue(token, LOG2M);
    const before = registers[index]!;
    if (value <= before) continue;
    registers[index] = value;
    counts[before]!--;
    counts[value]!++;
  }
}

/** True when it changed the registers. */
export function addToRegisters(registers: Uint8Array, token: number): boolean {
  const index = tokenIndex(token, LOG2M);
  const value = tokenValue(token, LOG2M);
  if (value <= registers[index]!) return false;
  registers[index] = value;
  return true;
}
