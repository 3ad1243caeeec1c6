import { decodeCanonical, encodeCanonical, type SketchContent } from "./canonical.js";
import { decodeSketch, encodeEmpty, encodeExplicit, encodeRegisters } from "./codec.js";
import {
  estimateFromCounts,
  estimateFromTokens,
  registerStandardError,
  tokenStandardError,
} from "./estimator.js";
import { ExplicitHashes } from "./explicit.js";
import { hashText } from "./murmur3.js";
import {
  clampRegisters,
  countValues,
  foldLimit,
  foldRegisters,
  isWide,
  largestValue,
  NO_LIMIT,
  raiseByTokens,
  uniteRegisters,
} from "./registers.js";
import { DEFAULT_LOG2M, ownSettings, sameExplicit, uniteSettings, type SketchSettings } from "./settings.js";
import { insertToken, newTokenTable, roomyTable, sortedTable } from "./token-table.js";
import {
  EXACT_LIMIT,
  hashValue,
  maxRegisterValue,
  SMALL_LIMIT,
  tokenIndex,
  tokenOf,
  tokenValue,
} from "./token.js";

export interface Estimate {
  /** Distinct elements: a whole number where `exact`. */
  readonly value: number;
  /** One standard error, in elements. */
  readonly standardError: number;
  /** Whether the value is the count itself; up to 1,024 elements it is wrong in at most 1 of 384 cases. */
  readonly exact: boolean;
}

const hashed = new Uint32Array(2);

/**
 * How many distinct elements a set has, in bounded memory. The state is a pure function of the set of hashes: neither
 * order nor repetition nor how unions were taken changes a byte.
 *
 * Up to 2,048 hash tokens it is the set of those; beyond, 2^log2m registers of one byte. The first token lies in the
 * object itself. A sketch that was read from EXPLICIT bytes keeps its hashes as well, up to the cut-off.
 */
export class HyperLogLog {
  #settings: SketchSettings;
  #log2m: number;
  /** Of a small sketch: number of tokens; the only token, as a signed integer, which needs no box; all of them. */
  #count = 0;
  #single = 0;
  #table: Uint32Array | null = null;
  /** Of a dense sketch: the registers; where they are cut; whether one may exceed 127; how many hold each value. */
  #registers: Uint8Array | null = null;
  #limit = NO_LIMIT;
  #isWide = false;
  /** Null when out of date. */
  #counts: Uint32Array | null = null;
  #hashes: ExplicitHashes | null = null;

  /** `log2m`: 4 to 18, by default 14 (0.81 % standard error beyond the small form). Throws `invalid-config`. */
  constructor(options: { log2m?: number } = {}) {
    this.#settings = ownSettings(options.log2m ?? DEFAULT_LOG2M);
    this.#log2m = this.#settings.log2m;
  }

  static #withSettings(settings: SketchSettings): HyperLogLog {
    const sketch = new HyperLogLog({ log2m: settings.log2m });
    sketch.#settings = settings;
    return sketch;
  }

  /** Reads the HLL storage format, version 1: EMPTY, EXPLICIT, SPARSE or FULL. Throws `storage-damaged`. */
  static fromBytes(bytes: Uint8Array): HyperLogLog {
    const { settings, hashes, registers } = decodeSketch(bytes);
    if (registers === null) return HyperLogLog.#ofHashes(settings, hashes ?? new BigInt64Array());
    const largest = 2 ** settings.regwidth - 1;
    return HyperLogLog.#ofRegisters(
      settings,
      registers,
      largest < maxRegisterValue(settings.log2m) ? largest : NO_LIMIT,
    );
  }

  /** Reads what `canonicalBytes` wrote. Throws `storage-damaged`. */
  static fromCanonicalBytes(bytes: Uint8Array): HyperLogLog {
    const { settings, content } = decodeCanonical(bytes);
    if (content.form === "hashes") return HyperLogLog.#ofHashes(settings, content.hashes);
    if (content.form === "registers") {
      return HyperLogLog.#ofRegisters(settings, content.registers, content.limit);
    }
    const sketch = HyperLogLog.#withSettings(settings);
    sketch.mergeTokens(content.tokens, 0, content.tokens.length);
    return sketch;
  }

  static #ofHashes(settings: SketchSettings, hashes: BigInt64Array): HyperLogLog {
    const sketch = HyperLogLog.#withSettings(settings);
    for (const hash of hashes) sketch.addHash(hash);
    sketch.#hashes = ExplicitHashes.within(settings, hashes);
    return sketch;
  }

  static #ofRegisters(settings: SketchSettings, registers: Uint8Array, limit: number): HyperLogLog {
    const sketch = HyperLogLog.#withSettings(settings);
    sketch.#registers = registers;
    sketch.#limit = limit;
    sketch.#isWide = isWide(registers);
    return sketch;
  }

  get log2m(): number {
    return this.#log2m;
  }

  /** What `toBytes` writes into the header. */
  get settings(): SketchSettings {
    return this.#settings;
  }

  get isDense(): boolean {
    return this.#registers !== null;
  }

  /** Number of tokens of a small sketch; 0 for a dense one. */
  get tokenCount(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    if (this.#registers === null) return this.#count === 0;
    return this.#currentCounts(this.#registers)[0] === this.#registers.length;
  }

  /** Adds an element by the hash of its UTF-8 form, as PostgreSQL's `hll_hash_text` does. */
  add(id: string): void {
    hashText(id, hashed, 0);
    this.addHashParts(hashed[0]!, hashed[1]!);
  }

  /** Adds an element by its 64-bit hash, signed or unsigned. */
  addHash(hash: bigint): void {
    this.addHashParts(Number(BigInt.asUintN(32, hash)), Number(BigInt.asUintN(32, hash >> 32n)));
  }

  /** Adds an element by the low and high 32 bits of its hash; true when that changed the sketch. */
  addHashParts(lo: number, hi: number): boolean {
    if (this.#hashes !== null) return this.#addExplicit(lo, hi);
    const registers = this.#registers;
    if (registers === null) return this.#addSmall(tokenOf(lo, hi));
    return this.#raise(registers, lo & (registers.length - 1), hashValue(lo, hi, this.#log2m));
  }

  /** Adds an element by its token; true when that changed the sketch. */
  addToken(token: number): boolean {
    // A token cannot be turned back into the hash that EXPLICIT bytes would need.
    this.#hashes = null;
    return this.#addAny(token);
  }

  /** Adds the elements of `tokens[start, end)`. */
  mergeTokens(tokens: Uint32Array, start: number, end: number): void {
    for (let i = start; i < end; i++) this.addToken(tokens[i]!);
  }

  /**
   * Unites with the registers of a dense sketch, one byte each, their number 2^4 to 2^18. Fewer than this sketch has
   * make it as coarse, more are folded. The argument is not kept.
   */
  mergeRegisters(registers: Uint8Array): void {
    const log2m = Math.log2(registers.length);
    const settings = uniteSettings(this.#settings, ownSettings(log2m));
    this.#hashes = null;
    this.#adopt(settings);
    this.#uniteWith(registers, log2m, NO_LIMIT, false);
  }

  /**
   * Unites with another sketch, which stays as it is. The result has the smaller log2m of both; of unequal settings
   * the smaller regwidth, no explicit form, and SPARSE only where both allow it.
   */
  merge(other: HyperLogLog): this {
    if (other === this) return this;
    this.#mergeHashes(other);
    this.#adopt(uniteSettings(this.#settings, other.#settings));
    if (other.#registers !== null) {
      this.#uniteWith(other.#registers, other.#log2m, other.#limit, other.#isWide);
    } else if (other.#table !== null) this.#uniteWithTable(other.#table);
    else if (other.#count === 1) this.#addAny(other.#single >>> 0);
    return this;
  }

  /** An exact count up to 1,024 elements, an estimate beyond; Infinity where all registers were read as saturated. */
  estimate(): Estimate {
    if (this.#registers === null || this.#hashes !== null) return this.#estimateSmall();
    const value = estimateFromCounts(this.#currentCounts(this.#registers), this.#log2m);
    return { value, standardError: registerStandardError(value, this.#log2m), exact: value === 0 };
  }

  /**
   * The HLL storage format, version 1: EMPTY; EXPLICIT where it was read and still fits; otherwise the smaller of
   * SPARSE and FULL. `maxSparse` writes SPARSE up to so many filled registers, as `hll_set_max_sparse` does.
   */
  toBytes(options: { maxSparse?: number } = {}): Uint8Array {
    if (this.#registers === null && this.#count === 0) return encodeEmpty(this.#settings);
    if (this.#hashes !== null) return encodeExplicit(this.#settings, this.#hashes.sorted());
    return encodeRegisters(this.#settings, this.registers(), options.maxSparse);
  }

  /** An internal byte form: lossless, the same bytes for the same set. */
  canonicalBytes(): Uint8Array {
    return encodeCanonical({ settings: this.#settings, content: this.#content() });
  }

  /** The tokens of a small sketch, ascending. */
  sortedTokens(): Uint32Array {
    if (this.#registers !== null) throw new Error("BUG: a dense sketch has no tokens");
    if (this.#table !== null) return sortedTable(this.#table, this.#count);
    return this.#count === 0 ? new Uint32Array(0) : Uint32Array.of(this.#single);
  }

  /** The registers, one byte each: of a dense sketch its own, to be read only; of a small one a new array. */
  registers(): Uint8Array {
    return this.#registers ?? this.#registersOfTokens();
  }

  clone(): HyperLogLog {
    const copy = HyperLogLog.#withSettings(this.#settings);
    copy.#count = this.#count;
    copy.#single = this.#single;
    copy.#table = this.#table?.slice() ?? null;
    copy.#registers = this.#registers?.slice() ?? null;
    copy.#limit = this.#limit;
    copy.#isWide = this.#isWide;
    copy.#counts = this.#counts?.slice() ?? null;
    copy.#hashes = this.#hashes?.clone() ?? null;
    return copy;
  }

  /** Back to the empty set, with the same settings. */
  clear(): void {
    this.#dropTokens();
    this.#registers = null;
    this.#limit = NO_LIMIT;
    this.#isWide = false;
    this.#counts = null;
    this.#hashes = ExplicitHashes.within(this.#settings);
  }

  #content(): SketchContent {
    if (this.#hashes !== null) return { form: "hashes", hashes: this.#hashes.sorted() };
    if (this.#registers === null) return { form: "tokens", tokens: this.sortedTokens() };
    return { form: "registers", registers: this.#registers, limit: this.#limit };
  }

  #addAny(token: number): boolean {
    const registers = this.#registers;
    if (registers === null) return this.#addSmall(token);
    return this.#raise(registers, tokenIndex(token, this.#log2m), tokenValue(token, this.#log2m));
  }

  #addSmall(token: number): boolean {
    if (this.#count === 0) {
      this.#single = token | 0;
      this.#count = 1;
      return true;
    }
    if (this.#table === null) {
      if (this.#single === (token | 0)) return false;
      this.#table = newTokenTable();
      insertToken(this.#table, this.#single >>> 0);
    }
    if (!insertToken(this.#table, token)) return false;
    this.#count++;
    if (this.#count > SMALL_LIMIT) this.#densify();
    else this.#table = roomyTable(this.#table, this.#count);
    return true;
  }

  #addExplicit(lo: number, hi: number): boolean {
    const hashes = this.#hashes!;
    const isNew = hashes.add(lo, hi);
    if (hashes.isOverfull) this.#hashes = null;
    return this.#addAny(tokenOf(lo, hi)) || isNew;
  }

  #raise(registers: Uint8Array, index: number, value: number): boolean {
    const before = registers[index]!;
    const after = value > this.#limit ? this.#limit : value;
    if (after <= before) return false;
    registers[index] = after;
    const counts = this.#counts;
    if (counts !== null) {
      counts[before]!--;
      counts[after]!++;
    }
    return true;
  }

  /** To be called before the settings are united: unequal ones leave no explicit form. */
  #mergeHashes(other: HyperLogLog): void {
    if (this.#hashes === null) return;
    if (other.#hashes === null || !sameExplicit(this.#settings, other.#settings)) {
      this.#hashes = null;
      return;
    }
    this.#hashes.unite(other.#hashes);
    if (this.#hashes.isOverfull) this.#hashes = null;
  }

  /** Takes on the settings of a union, whose log2m may be smaller. */
  #adopt(settings: SketchSettings): void {
    const log2m = settings.log2m;
    if (this.#registers !== null && log2m !== this.#log2m) {
      this.#registers = foldRegisters(this.#registers, this.#log2m, log2m);
      this.#limit = foldLimit(this.#limit, this.#log2m, log2m);
      this.#counts = null;
    }
    this.#settings = settings;
    this.#log2m = log2m;
  }

  #uniteWith(registers: Uint8Array, log2m: number, limit: number, wide: boolean): void {
    const isFiner = log2m !== this.#log2m;
    const source = isFiner ? foldRegisters(registers, log2m, this.#log2m) : registers;
    const sourceLimit = isFiner ? foldLimit(limit, log2m, this.#log2m) : limit;
    const target = this.#registers ?? this.#densify();
    this.#isWide ||= wide;
    uniteRegisters(target, source, this.#isWide);
    if (this.#limit !== sourceLimit) {
      // Registers that are cut at different values can be compared up to the smaller only.
      this.#limit = Math.min(this.#limit, sourceLimit);
      clampRegisters(target, this.#limit);
    }
    this.#counts = null;
  }

  #uniteWithTable(table: Uint32Array): void {
    for (let slot = 0; slot < table.length; slot++) {
      if (table[slot] !== 0) this.#addAny(table[slot]!);
    }
  }

  #densify(): Uint8Array {
    this.#registers = this.#registersOfTokens();
    this.#counts = null;
    this.#dropTokens();
    return this.#registers;
  }

  #registersOfTokens(): Uint8Array {
    const registers = new Uint8Array(2 ** this.#log2m);
    if (this.#table !== null) raiseByTokens(registers, this.#log2m, this.#table);
    else if (this.#count === 1) raiseByTokens(registers, this.#log2m, Uint32Array.of(this.#single));
    return registers;
  }

  #dropTokens(): void {
    this.#count = 0;
    this.#single = 0;
    this.#table = null;
  }

  #currentCounts(registers: Uint8Array): Uint32Array {
    this.#counts ??= countValues(registers, largestValue(this.#limit, this.#log2m));
    return this.#counts;
  }

  #estimateSmall(): Estimate {
    const count = this.#hashes?.size ?? this.#count;
    // Up to the limit the estimate from the tokens rounds to their number.
    if (this.#hashes !== null || count <= EXACT_LIMIT) return { value: count, standardError: 0, exact: true };
    const value = estimateFromTokens(this.#table!);
    return { value, standardError: tokenStandardError(value), exact: false };
  }
}
