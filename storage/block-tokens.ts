/**
 * The tokens of one sketch as bits: FORMAT.md, "Tokens". The 26 low bits of a hash are uniform, so the steps between
 * n sorted ones are all but geometric, and a Rice code for the mean step that is left comes within an eighth of a bit
 * of the entropy; the rank is geometric with 1/2, for which unary is the entropy.
 */
import { SMALL_LIMIT, TOKEN_HASH_BITS, TOKEN_RANK_BITS } from "../engine/sketch/token.js";
import { wordAt, type BitReader, type BitWriter } from "./block-bits.js";

const HASHES = 2 ** TOKEN_HASH_BITS;
const RANKS = 2 ** TOKEN_RANK_BITS;
/** −ln(φ − 1): for a mean step μ the best Rice parameter is 1 + ⌊log2(0.4812 · μ)⌋ (Kiely, JPL 42-159, 2004). */
const RICE_FACTOR = 0.4812;
/** The factor over the number of tokens: a division a token would cost as much as all the rest. */
const FACTORS = Float64Array.from({ length: SMALL_LIMIT + 1 }, (_, left) => RICE_FACTOR / left);
/** No quotients of n steps add up to more: each is below 2.08 · n · step / range, and ln 2^26 = 18 bounds the sum of the latter. */
const MAX_QUOTIENT_BITS = 38;
const MAX_TOKEN_BITS = MAX_QUOTIENT_BITS + 1 + TOKEN_HASH_BITS + RANKS;

/** The least that a token takes: a bit of its step and one of its rank. */
export const LEAST_TOKEN_BITS = 2;

export function writeTokens(bits: BitWriter, tokens: Uint32Array, start: number, end: number): void {
  bits.reserve((end - start) * MAX_TOKEN_BITS);
  let before = 0;
  for (let i = start; i < end; i++) {
    const token = tokens[i]!;
    const hash = token >>> TOKEN_RANK_BITS;
    const step = hash - before;
    const left = end - i;
    const rank = (token - 1) & (RANKS - 1);
    if (left === 1) writeLast(bits, step, HASHES - before, rank);
    else {
      const parameter = riceParameter(HASHES - before, left);
      const quotient = step >>> parameter;
      writeCode(bits, quotient, step & ((1 << parameter) - 1), parameter, rank);
    }
    before = hash;
  }
}

/** Reads `count` tokens to `tokens` from `start` on, which must have room for them. */
export function readTokens(bits: BitReader, count: number, tokens: Uint32Array, start: number): void {
  const { words } = bits;
  let { at } = bits;
  let before = 0;
  for (let left = count, out = start; left > 0; left--, out++) {
    const range = HASHES - before;
    let next = wordAt(words, at);
    if (left > 1) {
      const parameter = riceParameter(range, left);
      let quotient = trailingZeros(next);
      at += quotient + 1;
      if (next === 0) [quotient, at] = longRun(bits, at);
      before += (quotient << parameter) + (wordAt(words, at) & ((1 << parameter) - 1));
      at += parameter;
    } else if (range > 1) {
      const width = 31 - Math.clz32(range - 1);
      const short = (2 << width) - range;
      let step = next & ((1 << width) - 1);
      at += width;
      if (step >= short) {
        step += step + ((next >>> width) & 1) - short;
        at++;
      }
      before += step;
    }
    next = wordAt(words, at);
    let rank = trailingZeros(next);
    at += rank + 1;
    if (next === 0) [rank, at] = longRun(bits, at);
    if (before >>> 0 >= HASHES) throw bits.broken();
    tokens[out] = (before << TOKEN_RANK_BITS) | ((rank + 1) & (RANKS - 1));
  }
  bits.at = at;
}

/** Of a word that is not 0. Of 0: −1, so that what follows goes on where it was. */
function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function longRun(bits: BitReader, at: number): [zeros: number, at: number] {
  bits.at = at;
  return [bits.unary(), bits.at];
}

function riceParameter(range: number, left: number): number {
  return 32 - Math.clz32(range * (left <= SMALL_LIMIT ? FACTORS[left]! : RICE_FACTOR / left));
}

/** A quotient in unary, so many bits of a remainder, and a rank in unary. */
function writeCode(bits: BitWriter, quotient: number, rest: number, width: number, rank: number): void {
  const used = quotient + 1 + width;
  if (used < 31) return writeRanked(bits, (1 << quotient) | (rest << (quotient + 1)), used, rank);
  bits.unary(quotient);
  bits.write(rest, width);
  bits.unary(rank);
}

/** Truncated binary: the first `2^width − range` numbers take a bit less than the others. Then the rank in unary. */
function writeLast(bits: BitWriter, step: number, range: number, rank: number): void {
  if (range === 1) return bits.unary(rank);
  const width = 31 - Math.clz32(range - 1);
  const short = (2 << width) - range;
  if (step < short) return writeRanked(bits, step, width, rank);
  const number = step + short;
  writeRanked(bits, (number >>> 1) | ((number & 1) << width), width + 1, rank);
}

/** `used` bits, and a rank in unary: nearly always in one word. */
function writeRanked(bits: BitWriter, value: number, used: number, rank: number): void {
  if (used + rank < 31) return bits.write(value | (1 << (used + rank)), used + rank + 1);
  bits.write(value, used);
  bits.unary(rank);
}
