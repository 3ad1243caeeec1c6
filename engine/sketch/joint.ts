/**
 * How much two sets overlap, from their sketches at log2m = 14. Source: Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches", arXiv 1702.01284, section on joint estimation: the sets A∖B, B∖A and A∩B have Poisson sizes of
 * rates a, b and x, and the five counts of how registers of A and B compare are sufficient for their likelihood.
 */
import { estimateFromCounts, tokenStandardError } from "./estimator.js";
import { raiseByTokens } from "./registers.js";
import { EXACT_LIMIT, SMALL_LIMIT } from "./token.js";

const LOG2M = 14;
const REGISTERS = 2 ** LOG2M;
/** The greatest register value that a hash reaches by its first set bit; one more stands for none. */
const Q = 64 - LOG2M;
const VALUES = Q + 2;

/** The parts: A∖B, B∖A, A∩B. */
type Rates = readonly [onlyA: number, onlyB: number, both: number];

/** Rates below are zero, in elements. */
const MIN_RATE = 1e-3;
/** A step never takes a rate further down than to this part of it: the likelihood is least known there. */
const MAX_SHRINK = 1 / 16;
/** Some 6 to 10 steps do, where a part is empty some 15. */
const MAX_STEPS = 100;
/** Gain in log-likelihood that is not worth a step: 10^-5 standard errors. */
const MIN_GAIN = 1e-10;
/** Below this rate a part's error is that of a part of one element. */
const LEAST_RATE = 1;
/** An estimate is told from nothing where it is at least so many of its standard errors. */
const RESOLVED_ERRORS = 2;

/** An estimate below cannot come from registers: a set of more than `SMALL_LIMIT` elements, less three of its errors. */
const LEAST_DENSE = SMALL_LIMIT * (1 - 3 * 0.0056);

/** A sketch: its distinct tokens while they are few, otherwise its 2^14 registers, one byte each. */
export type SketchData = { readonly tokens: Uint32Array } | { readonly registers: Uint8Array };

export interface PartSize {
  /** Elements; a whole number where `exact`. */
  readonly value: number;
  /** In elements; 0 where `exact`. */
  readonly standardError: number;
  readonly exact: boolean;
  /** False where the error bar of two standard errors exceeds the value: no more is known than that it is small. */
  readonly resolved: boolean;
}

export interface Overlap {
  readonly onlyA: PartSize;
  readonly onlyB: PartSize;
  readonly both: PartSize;
}

/**
 * Sizes of A∖B, B∖A and A∩B. Two sets of tokens are compared token by token: exact up to 1,024 in the union, with
 * the error of a token count beyond. Otherwise the joint maximum likelihood estimate from the registers, with
 * standard errors from its Fisher information: of |A∩B| less than half of what adding and subtracting three estimates
 * would have, where the sets share little. The estimates of A and B alone need not be the sums of these parts.
 */
export function overlapOf(a: SketchData, b: SketchData): Overlap {
  if ("tokens" in a && "tokens" in b) return tokenOverlap(a.tokens, b.tokens);
  const counts = compareRegisters(registersOf(a), registersOf(b));
  const rates = mostLikely(counts);
  const errors = standardErrors(rates);
  return toOverlap((part) => {
    const value = rates[part]! <= MIN_RATE ? 0 : rates[part]!;
    const standardError = errors[part]!;
    return { value, standardError, exact: false, resolved: value >= RESOLVED_ERRORS * standardError };
  });
}

function toOverlap(part: (index: number) => PartSize): Overlap {
  return { onlyA: part(0), onlyB: part(1), both: part(2) };
}

function tokenOverlap(a: Uint32Array, b: Uint32Array): Overlap {
  const inA = new Set(a);
  let both = 0;
  for (const token of b) if (inA.has(token)) both++;
  const sizes = [a.length - both, b.length - both, both];
  const either = a.length + b.length - both;
  const exact = either <= EXACT_LIMIT;
  const standardError = exact ? 0 : tokenStandardError(either);
  return toOverlap((part) => {
    const value = sizes[part]!;
    return { value, standardError, exact, resolved: value >= RESOLVED_ERRORS * standardError };
  });
}

function registersOf(sketch: SketchData): Uint8Array {
  if ("registers" in sketch) return sketch.registers;
  const registers = new Uint8Array(REGISTERS);
  raiseByTokens(registers, LOG2M, sketch.tokens);
  return registers;
}

/** How many registers have each value, by how those of A and B compare. */
interface Comparison {
  /** A's value where it is the smaller, B's value there. */
  readonly lessA: Uint32Array;
  readonly greaterB: Uint32Array;
  readonly greaterA: Uint32Array;
  readonly lessB: Uint32Array;
  readonly equal: Uint32Array;
}

function compareRegisters(a: Uint8Array, b: Uint8Array): Comparison {
  const column = (): Uint32Array => new Uint32Array(VALUES);
  const [lessA, greaterB, greaterA, lessB, equal] = [column(), column(), column(), column(), column()];
  for (let i = 0; i < REGISTERS; i++) {
    const inA = a[i]!;
    const inB = b[i]!;
    if (inA === inB) equal[inA]!++;
    else if (inA < inB) {
      lessA[inA]!++;
      greaterB[inB]!++;
    } else {
      greaterA[inA]!++;
      lessB[inB]!++;
    }
  }
  return { lessA, greaterB, greaterA, lessB, equal };
}

/** 2^−k / m, the chance of an element to have register i and value k (k ≤ q), or to have no smaller one. */
const CHANCE = Float64Array.from({ length: VALUES }, (_, k) => 2 ** -Math.min(k, Q) / REGISTERS);

/** The log-likelihood, up to a constant. */
function logLikelihood(counts: Comparison, [a, b, x]: Rates): number {
  let sum = 0;
  for (let k = 0; k < VALUES; k++) {
    const y = CHANCE[k]!;
    const { lessA, lessB, greaterA, greaterB, equal } = countsAt(counts, k);
    if (k <= Q) {
      sum -=
        y * (a * (lessA + equal + greaterA) + b * (lessB + equal + greaterB) + x * (lessA + equal + lessB));
    }
    if (k === 0) continue;
    if (lessA > 0) sum += lessA * Math.log(-Math.expm1(-(a + x) * y));
    if (lessB > 0) sum += lessB * Math.log(-Math.expm1(-(b + x) * y));
    if (greaterA > 0) sum += greaterA * Math.log(-Math.expm1(-a * y));
    if (greaterB > 0) sum += greaterB * Math.log(-Math.expm1(-b * y));
    if (equal > 0) sum += equal * Math.log(equalTerm(a, b, x, y));
  }
  return sum;
}

function countsAt(counts: Comparison, k: number): Record<keyof Comparison, number> {
  return {
    lessA: counts.lessA[k]!,
    greaterB: counts.greaterB[k]!,
    greaterA: counts.greaterA[k]!,
    lessB: counts.lessB[k]!,
    equal: counts.equal[k]!,
  };
}

/** 1 − e^(−(a+x)y) − e^(−(b+x)y) + e^(−(a+b+x)y), without cancellation. */
function equalTerm(a: number, b: number, x: number, y: number): number {
  return -Math.expm1(-x * y) + Math.exp(-x * y) * Math.expm1(-a * y) * Math.expm1(-b * y);
}

/** The derivative of log(1 − e^(−ry)) by r. */
function slope(r: number, y: number): number {
  return y / Math.expm1(r * y);
}

type Vector = [number, number, number];

/** Derivatives of the log of `equalTerm` by a, b and x. */
function equalSlopes(a: number, b: number, x: number, y: number): Vector {
  const shareA = -Math.expm1(-a * y);
  const shareB = -Math.expm1(-b * y);
  const scale = (y * Math.exp(-x * y)) / equalTerm(a, b, x, y);
  return [scale * (1 - shareA) * shareB, scale * (1 - shareB) * shareA, scale * (1 - shareA * shareB)];
}

function gradient(counts: Comparison, [a, b, x]: Rates): Vector {
  const g: Vector = [0, 0, 0];
  for (let k = 0; k < VALUES; k++) {
    const y = CHANCE[k]!;
    const { lessA, lessB, greaterA, greaterB, equal } = countsAt(counts, k);
    if (k <= Q) {
      g[0] -= y * (lessA + equal + greaterA);
      g[1] -= y * (lessB + equal + greaterB);
      g[2] -= y * (lessA + equal + lessB);
    }
    if (k === 0) continue;
    const ofA = lessA * slope(a + x, y);
    const ofB = lessB * slope(b + x, y);
    const ofEqual = equal > 0 ? equalSlopes(a, b, x, y) : [0, 0, 0];
    g[0] += ofA + (greaterA > 0 ? greaterA * slope(a, y) : 0) + equal * ofEqual[0]!;
    g[1] += ofB + (greaterB > 0 ? greaterB * slope(b, y) : 0) + equal * ofEqual[1]!;
    g[2] += ofA + ofB + equal * ofEqual[2]!;
  }
  return g;
}

/** Per value: how likely a register of a set of rate r has it, and the derivative of the log of that by r. */
function valueOdds(r: number): { odds: Float64Array; slopes: Float64Array } {
  const odds = new Float64Array(VALUES);
  const slopes = new Float64Array(VALUES);
  for (let k = 0; k < VALUES; k++) {
    const y = CHANCE[k]!;
    const none = k <= Q ? Math.exp(-r * y) : 1;
    odds[k] = k === 0 ? none : none * -Math.expm1(-r * y);
    slopes[k] = (k === 0 ? 0 : slope(r, y)) - (k <= Q ? y : 0);
  }
  return { odds, slopes };
}

type Matrix = [Vector, Vector, Vector];

/** The expected (Fisher) information of all registers about a, b and x. */
function information([a, b, x]: Rates): Matrix {
  const sum: Matrix = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ];
  const add = (odds: number, ofA: number, ofB: number, ofX: number): void => {
    const score = [ofA, ofB, ofX];
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) sum[i]![j]! += odds * score[i]! * score[j]!;
  };
  const [withA, withB] = [valueOdds(a + x), valueOdds(b + x)];
  const [onlyA, onlyB] = [valueOdds(a), valueOdds(b)];
  for (let k = 0; k < VALUES; k++) {
    // The smaller value is k: of all elements of its set; the greater one comes from those of the other set only.
    for (let greater = k + 1; greater < VALUES; greater++) {
      const ofA = withA.slopes[k]!;
      const ofB = withB.slopes[k]!;
      add(withA.odds[k]! * onlyB.odds[greater]!, ofA, onlyB.slopes[greater]!, ofA);
      add(withB.odds[k]! * onlyA.odds[greater]!, onlyA.slopes[greater]!, ofB, ofB);
    }
    const y = CHANCE[k]!;
    const none = k <= Q ? Math.exp(-(a + b + x) * y) : 1;
    const less = k <= Q ? y : 0;
    const [ofA, ofB, ofX] = k === 0 ? [0, 0, 0] : equalSlopes(a, b, x, y);
    add(k === 0 ? none : none * equalTerm(a, b, x, y), ofA - less, ofB - less, ofX - less);
  }
  for (const row of sum) for (let j = 0; j < 3; j++) row[j]! *= REGISTERS;
  return sum;
}

/** What adding and subtracting estimates of A, B and A∪B gives. */
function firstGuess({ lessA, greaterB, greaterA, lessB, equal }: Comparison): Vector {
  const estimate = (...columns: Uint32Array[]): number => {
    const sums = new Uint32Array(VALUES);
    for (const column of columns) for (let k = 0; k < VALUES; k++) sums[k]! += column[k]!;
    return estimateFromCounts(sums, LOG2M);
  };
  const a = estimate(lessA, greaterA, equal);
  const b = estimate(lessB, greaterB, equal);
  const either = estimate(greaterA, greaterB, equal);
  return [Math.max(either - b, 1), Math.max(either - a, 1), Math.max(a + b - either, 1)];
}

/** By Fisher's scoring: Newton's method with the expected information, which is positive definite everywhere. */
function mostLikely(counts: Comparison): Rates {
  let rates = firstGuess(counts);
  let likelihood = logLikelihood(counts, rates);
  for (let step = 0; step < MAX_STEPS; step++) {
    const slopes = gradient(counts, rates);
    // What is zero and should be less stays there.
    const isFree = rates.map((rate, i) => rate > MIN_RATE || slopes[i]! > 0);
    const direction = solve(
      information(rates).map((row, i) =>
        row.map((cell, j) => (isFree[i] && isFree[j] ? cell : Number(i === j))),
      ),
      slopes.map((slope, i) => (isFree[i] ? slope : 0)),
    );
    const gain = direction.reduce((sum, length, i) => sum + length * slopes[i]!, 0);
    if (!(gain > MIN_GAIN)) return rates;
    for (let scale = 1; ; scale /= 2) {
      if (scale < MIN_GAIN) return rates;
      const next = rates.map((rate, i) =>
        Math.max(rate + scale * direction[i]!, rate * MAX_SHRINK, MIN_RATE),
      ) as Vector;
      const after = logLikelihood(counts, next);
      if (after < likelihood) continue;
      rates = next;
      likelihood = after;
      break;
    }
  }
  return rates;
}

/**
 * Standard errors of the parts. The inverse information is the variance of the estimates around the Poisson *rates*; the
 * sizes themselves vary around these by a Poisson variance, which is no error.
 */
function standardErrors(rates: Rates): Vector {
  const at = rates.map((rate) => Math.max(rate, LEAST_RATE)) as Vector;
  const known = information(at);
  return at.map((rate, part) => {
    const unit = at.map((_, i) => Number(i === part));
    return Math.sqrt(Math.max(solve(known, unit)[part]! - rate, 0));
  }) as Vector;
}

/** Solves a 3 × 3 system that is symmetric and positive definite, by Cholesky's decomposition. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): Vector {
  const l = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ];
  const x: Vector = [0, 0, 0];
  for (let i = 0; i < 3; i++) {
    let rest = right[i]!;
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i]![j]!;
      for (let k = 0; k < j; k++) sum -= l[i]![k]! * l[j]![k]!;
      l[i]![j] = i === j ? Math.sqrt(sum) : sum / l[j]![j]!;
      if (j < i) rest -= l[i]![j]! * x[j]!;
    }
    x[i] = rest / l[i]![i]!;
  }
  for (let i = 2; i >= 0; i--) {
    let rest = x[i]!;
    for (let k = i + 1; k < 3; k++) rest -= l[k]![i]! * x[k]!;
    x[i] = rest / l[i]![i]!;
  }
  return x;
}

/**
 * One standard error of |U| − |A| where A ⊂ U, in elements, from the estimates of both: √(V(U) − V(A)) with V the variance
 * of one estimate, since what the sets share errs in both alike. For large sets that is 0.81 % of √(U² − A²), for
 * some thousand elements 0.55 % of it. Up to 2,048 elements A is known by its tokens and has no error to share.
 */
export function nestedDifferenceError(smaller: number, larger: number): number {
  if (larger < LEAST_DENSE) return tokenStandardError(larger);
  const shared = smaller > SMALL_LIMIT ? sizeVariance(smaller) : 0;
  return Math.sqrt(Math.max(sizeVariance(larger) - shared, 0));
}

/** The variance of the estimate of one set: what its registers do not tell of its rate, less the Poisson variance. */
function sizeVariance(size: number): number {
  const { odds, slopes } = valueOdds(size);
  let known = 0;
  for (let k = 0; k < VALUES; k++) known += odds[k]! * slopes[k]! ** 2;
  return 1 / (REGISTERS * known) - size;
}
