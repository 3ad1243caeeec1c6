/**
 * 32-bit hash tokens (Ertl, "ExaLogLog", arXiv 2402.13726: sparse mode, v = 26): the low 26 bits of a 64-bit hash and
 * the number of zeros above them. A set of tokens is a sketch that is all but exact for a few thousand elements and
 * gives, without loss, the registers of every HyperLogLog of up to 2^26 registers.
 */

/** How many low bits of the hash a token keeps as they are. */
export const TOKEN_HASH_BITS = 26;

/** The low bits of a token, which hold the rank: 1 to 39. */
export const TOKEN_RANK_BITS = 6;

/** The rank when all 38 bits above the kept ones are zero. */
export const MAX_TOKEN_RANK = 64 - TOKEN_HASH_BITS + 1;

/** A sketch keeps its tokens up to this many; a 2,049th makes it dense (8 KiB of tokens against 16 KiB of registers). */
export const SMALL_LIMIT = 2048;

/**
 * Up to this many tokens the count is called exact. Two of n elements share a token with a probability of
 * n² / (6 · 2^26): at 1,024 that is 1 in 384.
 */
export const EXACT_LIMIT = 1024;

const HASH_MASK = 2 ** TOKEN_HASH_BITS - 1;
const RANK_MASK = 2 ** TOKEN_RANK_BITS - 1;

/** Number of trailing zeros of a 32-bit integer that is not 0. */
function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** The token of a 64-bit hash, given as two 32-bit halves: an unsigned 32-bit integer, never 0. */
export function tokenOf(lo: number, hi: number): number {
  // Bits 26…57 of the hash, then bits 58…63 in case those are all zero.
  const above = (hi << (32 - TOKEN_HASH_BITS)) | (lo >>> TOKEN_HASH_BITS);
  const rest = hi >>> TOKEN_HASH_BITS;
  const rank =
    above !== 0 ? 1 + trailingZeros(above) : rest !== 0 ? 33 + trailingZeros(rest) : MAX_TOKEN_RANK;
  return (((lo & HASH_MASK) << TOKEN_RANK_BITS) | rank) >>> 0;
}

/** The register that a token belongs to in a HyperLogLog of 2^log2m registers. */
export function tokenIndex(token: number, log2m: number): number {
  return (token >>> TOKEN_RANK_BITS) & ((1 << log2m) - 1);
}

/** The register value that the token's hash has in a HyperLogLog of 2^log2m registers, log2m ≤ 26: 1 to 65 − log2m. */
export function tokenValue(token: number, log2m: number): number {
  const kept = token >>> (TOKEN_RANK_BITS + log2m);
  return kept !== 0 ? 1 + trailingZeros(kept) : TOKEN_HASH_BITS - log2m + (token & RANK_MASK);
}

/** The value of a register whose hash has no bit set above its index; no register is greater. */
export function maxRegisterValue(log2m: number): number {
  return 65 - log2m;
}

/** The register value of a 64-bit hash, given as two 32-bit halves, in a HyperLogLog of 2^log2m registers. */
export function hashValue(lo: number, hi: number, log2m: number): number {
  const above = (hi << (32 - log2m)) | (lo >>> log2m);
  if (above !== 0) return 1 + trailingZeros(above);
  const rest = hi >>> log2m;
  return rest !== 0 ? 33 + trailingZeros(rest) : 65 - log2m;
}

/** Whether a 32-bit integer can be the token of some hash. */
export function isToken(token: number): boolean {
  const rank = token & RANK_MASK;
  return rank >= 1 && rank <= MAX_TOKEN_RANK;
}
