/**
 * Estimates of how many distinct elements a sketch has seen. Sources: Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches", arXiv 1702.01284; Ertl, "ExaLogLog", arXiv 2402.13726, for tokens.
 */
import { MAX_TOKEN_RANK, TOKEN_HASH_BITS, TOKEN_RANK_BITS } from "./token.js";

/** α∞ = 1 / (2 ln 2). */
const ALPHA = 0.5 / Math.LN2;

const RANK_MASK = 2 ** TOKEN_RANK_BITS - 1;

/** By rank. The last one stands for the remaining zeros and is as likely as the one before. */
const RANK_PROBABILITIES = Float64Array.from(
  { length: MAX_TOKEN_RANK + 1 },
  (_, rank) => 2 ** -(TOKEN_HASH_BITS + Math.min(rank, MAX_TOKEN_RANK - 1)),
);

/** σ(x) = x + Σ_{k≥1} x^(2^k) · 2^(k−1): the correction for registers that are still 0. */
function sigma(x: number): number {
  if (x === 1) return Infinity;
  let power = x;
  let weight = 1;
  let sum = x;
  for (let before = -1; before !== sum;) {
    before = sum;
    power *= power;
    sum += power * weight;
    weight += weight;
  }
  return sum;
}

/** τ(x) = ⅓ · (1 − x − Σ_{k≥1} (1 − x^(2^−k))² · 2^−k): the correction for registers that cannot grow any more. */
function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let root = x;
  let weight = 1;
  let rest = 1 - x;
  for (let before = 2; before !== rest;) {
    before = rest;
    root = Math.sqrt(root);
    weight *= 0.5;
    rest -= (1 - root) ** 2 * weight;
  }
  return rest / 3;
}

/**
 * The improved raw estimator (arXiv 1702.01284, section 3.4, algorithm 6), unbiased over the whole range, without
 * tables or thresholds. `counts[k]` is the number of registers of value k; its last member (q + 1 in the paper)
 * counts the saturated ones. No register filled: 0. All saturated: Infinity, as no bound can be told.
 */
export function estimateFromCounts(counts: Uint32Array, log2m: number): number {
  const m = 2 ** log2m;
  const q = counts.length - 2;
  let z = m * tau(1 - counts[q + 1]! / m);
  for (let k = q; k >= 1; k--) z = 0.5 * (z + counts[k]!);
  z += m * sigma(counts[0]! / m);
  return (ALPHA * m * m) / z;
}

/** One standard error of an estimate from 2^log2m registers, in elements: 1.04 / √m of it. */
export function registerStandardError(estimate: number, log2m: number): number {
  return (1.04 / Math.sqrt(2 ** log2m)) * estimate;
}

/**
 * The maximum likelihood estimate from a set of distinct tokens (the Poisson model of arXiv 1702.01284, section 4.1,
 * on the token's own distribution, arXiv 2402.13726). A token of rank k has probability p = 2^−(26 + k), the last rank
 * 2^−64, so the likelihood is greatest where λ · (1 − Σp) = Σ λp / (e^(λp) − 1), both sums over the tokens present.
 * For a few thousand tokens all λp are tiny and repeated substitution gains five digits a round. Zeros among the
 * tokens are skipped, so a token table will do.
 */
export function estimateFromTokens(tokens: Uint32Array): number {
  const perRank = countRanks(tokens);
  let estimate = 0;
  let seen = 0;
  for (let rank = 1; rank <= MAX_TOKEN_RANK; rank++) {
    estimate += perRank[rank]!;
    seen += perRank[rank]! * RANK_PROBABILITIES[rank]!;
  }
  for (let before = -1; Math.abs(estimate - before) > 1e-12 * estimate;) {
    before = estimate;
    estimate = 0;
    for (let rank = 1; rank <= MAX_TOKEN_RANK; rank++) {
      if (perRank[rank] === 0) continue;
      const x = before * RANK_PROBABILITIES[rank]!;
      estimate += (perRank[rank]! * x) / Math.expm1(x);
    }
    estimate /= 1 - seen;
  }
  return estimate;
}

function countRanks(tokens: Uint32Array): Uint32Array {
  const perRank = new Uint32Array(MAX_TOKEN_RANK + 1);
  for (let i = 0; i < tokens.length; i++) {
    // An empty slot of a table counts as rank 0, which is not looked at.
    perRank[tokens[i]! & RANK_MASK]!++;
  }
  return perRank;
}

/**
 * One standard error of an estimate from tokens, in elements. The number of pairs of n elements that share a token is
 * all but Poisson, with variance n²/2 · Σp² = n² / (6 · 2^26).
 */
export function tokenStandardError(estimate: number): number {
  return estimate / Math.sqrt(6 * 2 ** TOKEN_HASH_BITS);
}
