import * as fc from "fast-check";
import t from "tap";
import { HyperLogLog } from "../../../engine/sketch/hyperloglog.js";
import {
  nestedDifferenceError,
  overlapOf,
  type Overlap,
  type SketchData,
} from "../../../engine/sketch/joint.js";
import { tokenOf } from "../../../engine/sketch/token.js";
import { Random, slowRegisters } from "./support.js";

const LOG2M = 14;
const M = 2 ** LOG2M;
const LARGEST = 65 - LOG2M;
const long = process.env["TIDEMARK_LONG"] === "1";
const PARTS = ["onlyA", "onlyB", "both"] as const;

/** The chance of a register of a set of `size` to be at most k. */
function chanceUpTo(size: number, k: number): number {
  if (k < 0) return 0;
  return k >= LARGEST ? 1 : Math.exp((-size / M) * 2 ** -k);
}

/** Adds `size` random elements to all `targets`: one by one up to 300,000, beyond register by register. */
function fill(random: Random, size: number, targets: readonly Uint8Array[]): void {
  const raise = (index: number, value: number): void => {
    for (const target of targets) if (value > target[index]!) target[index] = value;
  };
  if (size <= 300_000) {
    for (let i = 0; i < size; i++) {
      const lo = random.next();
      const hi = random.next();
      const above = ((hi << (32 - LOG2M)) | (lo >>> LOG2M)) >>> 0;
      const rest = hi >>> LOG2M;
      const zeros = above !== 0 ? trailingZeros(above) : rest !== 0 ? 32 + trailingZeros(rest) : LARGEST - 1;
      raise(lo & (M - 1), zeros + 1);
    }
    return;
  }
  const chances = Float64Array.from({ length: LARGEST + 1 }, (_, value) => chanceUpTo(size, value));
  const least = chances.findIndex((chance) => chance > 2 ** -33);
  for (let i = 0; i < M; i++) {
    const drawn = (random.next() + 0.5) / 2 ** 32;
    let value = least;
    while (chances[value]! < drawn) value++;
    raise(i, value);
  }
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Registers of A and B, of which A∖B, B∖A and A∩B have so many elements. */
function pair(seed: number, [onlyA, onlyB, both]: readonly number[]): { a: Uint8Array; b: Uint8Array } {
  const random = new Random(seed);
  const [a, b] = [new Uint8Array(M), new Uint8Array(M)];
  fill(random, onlyA!, [a]);
  fill(random, onlyB!, [b]);
  fill(random, both!, [a, b]);
  return { a, b };
}

function estimateOf(registers: Uint8Array): number {
  const sketch = new HyperLogLog();
  sketch.mergeRegisters(registers);
  return sketch.estimate().value;
}

function union(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((value, i) => Math.max(value, b[i]!));
}

function values(overlap: Overlap): number[] {
  return PARTS.map((part) => overlap[part].value);
}

/** The log-likelihood of two sketches, register by register, from the chances of what is at most k. */
function slowLikelihood(a: Uint8Array, b: Uint8Array, [onlyA, onlyB, both]: readonly number[]): number {
  const known = new Map<number, number>();
  const upTo = (i: number, j: number): number =>
    chanceUpTo(onlyA!, i) * chanceUpTo(onlyB!, j) * chanceUpTo(both!, Math.min(i, j));
  let sum = 0;
  for (let r = 0; r < M; r++) {
    const [i, j] = [a[r]!, b[r]!];
    const name = i * 64 + j;
    let term = known.get(name);
    if (term === undefined) {
      term = Math.log(upTo(i, j) - upTo(i - 1, j) - upTo(i, j - 1) + upTo(i - 1, j - 1));
      known.set(name, term);
    }
    sum += term;
  }
  return sum;
}

t.test("no parts near the estimate are likelier, by the chances of each register", (t) => {
  const size = fc.oneof(fc.integer({ min: 300, max: 5000 }), fc.integer({ min: 300, max: 100_000 }));
  fc.assert(
    fc.property(fc.nat(), size, size, size, (seed, onlyA, onlyB, both) => {
      const { a, b } = pair(seed, [onlyA, onlyB, both]);
      const found = overlapOf({ registers: a }, { registers: b });
      const best = values(found);
      const likelihood = slowLikelihood(a, b, best);
      return PARTS.every((part, i) => {
        const step = found[part].standardError / 10;
        return [-step, step].every((change) => {
          const other = best.with(i, Math.max(best[i]! + change, 0.1));
          // A tenth of a standard error costs 0.005 and more; rounding 10^-6 at most.
          return slowLikelihood(a, b, other) < likelihood + 1e-6;
        });
      });
    }),
    { numRuns: long ? 500 : 15 },
  );
  t.end();
});

/** A∖B, B∖A, A∩B, and how many pairs are drawn: Jaccard 0.5 %, 1 %, 5 %, 9 %, 33 %, 48 %. */
const SIZES: readonly (readonly [
  sizes: readonly [number, number, number],
  runs: number,
  compared: readonly number[],
])[] = [
  [[2000, 2000, 2000], 300, [0, 1, 2]],
  [[1000, 3000, 500], 300, [0, 1, 2]],
  [[3000, 100, 3000], 300, [0, 1, 2]],
  [[10_000, 10_000, 2000], 200, [0, 1, 2]],
  [[20_000, 20_000, 400], 200, [0, 1, 2]],
  [[5000, 100_000, 5000], 100, [0, 1, 2]],
  [[100_000, 100_000, 10_000], 100, [0, 1, 2]],
  [[20_000, 0, 50_000], 100, [0, 2]],
  [[1_000_000, 1_000_000, 100_000], 200, [0, 1, 2]],
  [[4_000_000, 500_000, 500_000], 200, [0, 1, 2]],
];

t.test("the errors of the parts are those claimed, within 25 %, without bias", (t) => {
  for (const [sizes, runs, compared] of SIZES) {
    const squares = [0, 0, 0];
    const claimed = [0, 0, 0];
    const bias = [0, 0, 0];
    for (let run = 0; run < runs; run++) {
      const { a, b } = pair(run + 1000 * runs, sizes);
      const found = overlapOf({ registers: a }, { registers: b });
      PARTS.forEach((part, i) => {
        const error = found[part].value - sizes[i]!;
        squares[i]! += error ** 2 / runs;
        claimed[i]! += found[part].standardError ** 2 / runs;
        bias[i]! += error / runs;
      });
    }
    for (const i of compared) {
      const ratio = Math.sqrt(squares[i]! / claimed[i]!);
      const name = `${PARTS[i]} of ${sizes.join(", ")}: ${Math.sqrt(squares[i]!).toFixed(1)} elements`;
      t.ok(ratio > 0.75 && ratio < 1.25, `${name} are ${ratio.toFixed(2)} of what is claimed`);
      // Four standard errors of a mean of so many.
      const most = 4 * Math.sqrt(claimed[i]! / runs);
      t.ok(Math.abs(bias[i]!) < most, `${name}, bias ${bias[i]!.toFixed(1)}, at most ${most.toFixed(1)}`);
    }
  }
  t.end();
});

t.test("of sets that share little, the overlap is told much better than by adding and subtracting", (t) => {
  const sizes = [20_000, 20_000, 400];
  let joint = 0;
  let added = 0;
  for (let run = 0; run < 100; run++) {
    const { a, b } = pair(run, sizes);
    joint += (overlapOf({ registers: a }, { registers: b }).both.value - 400) ** 2;
    added += (estimateOf(a) + estimateOf(b) - estimateOf(union(a, b)) - 400) ** 2;
  }
  t.ok(
    joint * 4 < added,
    `${Math.sqrt(joint / 100).toFixed(0)} against ${Math.sqrt(added / 100).toFixed(0)} elements`,
  );
  t.end();
});

t.test("what is below the error bar is not resolved, what is far above is", (t) => {
  let falsely = 0;
  for (let run = 0; run < 60; run++) {
    const { a, b } = pair(run, [50_000, 50_000, 0]);
    const found = overlapOf({ registers: a }, { registers: b });
    if (found.both.resolved) falsely++;
    if (!found.onlyA.resolved || !found.onlyB.resolved) t.fail(`onlyA and onlyB of seed ${run}`);
    for (const part of PARTS) {
      const { value, standardError, resolved } = found[part];
      if (resolved !== value >= 2 * standardError) t.fail(`${part} of seed ${run}`);
    }
  }
  t.ok(falsely <= 4, `${falsely} of 60 disjoint pairs seem to share elements; 2.5 % are expected`);
  const same = pair(7, [0, 0, 50_000]);
  const found = overlapOf({ registers: same.a }, { registers: same.b });
  t.same([found.onlyA.value, found.onlyB.value], [0, 0]);
  t.same([found.onlyA.resolved, found.onlyB.resolved, found.both.resolved], [false, false, true]);
  t.ok(Math.abs(found.both.value - estimateOf(same.a)) < 0.005 * 50_000, "the whole set");
  const nothing = new Uint8Array(M);
  const withNothing = overlapOf({ registers: same.a }, { registers: nothing });
  t.same([withNothing.onlyB.value, withNothing.both.value], [0, 0]);
  t.ok(Math.abs(withNothing.onlyA.value - estimateOf(same.a)) < 0.005 * 50_000);
  t.same(values(overlapOf({ registers: nothing }, { registers: nothing })), [0, 0, 0]);
  t.end();
});

t.test(
  "the order of the two sets does not matter, nor whether one is given by tokens or by their registers",
  (t) => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 0, max: 800 }),
        fc.integer({ min: 0, max: 60_000 }),
        fc.integer({ min: 0, max: 800 }),
        (seed, onlyA, onlyB, both) => {
          const random = new Random(seed);
          const [small, large] = [new HyperLogLog(), new HyperLogLog()];
          const add = (count: number, ...targets: HyperLogLog[]): void => {
            for (let i = 0; i < count; i++) {
              const [lo, hi] = [random.next(), random.next()];
              for (const target of targets) target.addHashParts(lo, hi);
            }
          };
          add(onlyA, small);
          add(3000 + onlyB, large);
          add(both, small, large);
          const tokens: SketchData = { tokens: small.sortedTokens() };
          const registers: SketchData = { registers: small.registers() };
          const other: SketchData = { registers: large.registers() };
          const found = overlapOf(tokens, other);
          const turned = overlapOf(other, registers);
          const close = (x: number, y: number): boolean => Math.abs(x - y) <= 1e-3 + 1e-5 * Math.abs(x);
          return (
            close(found.onlyA.value, turned.onlyB.value) &&
            close(found.onlyB.value, turned.onlyA.value) &&
            close(found.both.value, turned.both.value) &&
            close(found.both.standardError, turned.both.standardError)
          );
        },
      ),
      { numRuns: long ? 300 : 15 },
    );
    t.end();
  },
);

t.test(
  "two small sets are compared token by token: exact up to 1,024 together, as the sets themselves",
  (t) => {
    const hashes = new Random(11).hashes(3000);
    const tokens = (from: number, to: number): Uint32Array =>
      Uint32Array.from(hashes.slice(from, to), (hash) =>
        tokenOf(Number(BigInt.asUintN(32, hash)), Number(BigInt.asUintN(32, hash >> 32n))),
      ).sort();
    const place = fc.integer({ min: 0, max: 2000 });
    const range = fc.tuple(place, place).map(([x, y]) => [Math.min(x, y), Math.max(x, y)] as const);
    fc.assert(
      fc.property(range, range, ([fromA, toA], [fromB, toB]) => {
        const found = overlapOf({ tokens: tokens(fromA, toA) }, { tokens: tokens(fromB, toB) });
        const both = Math.max(0, Math.min(toA, toB) - Math.max(fromA, fromB));
        const [onlyA, onlyB] = [toA - fromA - both, toB - fromB - both];
        const exact = onlyA + onlyB + both <= 1024;
        return PARTS.every((part, i) => {
          const { value, standardError, resolved } = found[part];
          const expected = [onlyA, onlyB, both][i]!;
          return (
            value === expected &&
            found[part].exact === exact &&
            (exact ? standardError === 0 && resolved : standardError > 0.04 && standardError < 0.21)
          );
        });
      }),
      { numRuns: 200 },
    );
    for (const size of [1024, 1025]) {
      const found = overlapOf({ tokens: tokens(0, 600) }, { tokens: tokens(500, size) });
      t.same(values(found), [500, size - 600, 100]);
      t.equal(found.both.exact, size === 1024, `${size} together`);
    }
    t.end();
  },
);

t.test("registers of real hashes are compared, not only those of the simulation", (t) => {
  const hashes = new Random(3).hashes(9000);
  const a = slowRegisters(hashes.slice(0, 6000), LOG2M);
  const b = slowRegisters(hashes.slice(3000), LOG2M);
  const found = overlapOf({ registers: a }, { registers: b });
  for (const part of PARTS) {
    const { value, standardError } = found[part];
    t.ok(
      Math.abs(value - 3000) < 4 * standardError,
      `${part}: ${value.toFixed(1)} ± ${standardError.toFixed(1)}`,
    );
  }
  t.end();
});

t.test(
  "the error of a difference of nested estimates is that claimed, within 25 %; above 100,000 that is s · √(U² − A²)",
  (t) => {
    const cases = [
      [1000, 2000, 400],
      [2000, 500, 400],
      [3000, 100, 400],
      [3000, 3000, 400],
      [10_000, 1000, 300],
      [50_000, 5000, 150],
      [50_000, 50_000, 100],
      [200_000, 5000, 100],
      [1_000_000, 20_000, 300],
      [1_000_000, 1_000_000, 300],
      [10_000_000, 100_000_000, 300],
    ] as const;
    for (const [inner, more, runs] of cases) {
      let squares = 0;
      let claimed = 0;
      for (let run = 0; run < runs; run++) {
        const { a, b } = pair(run + 17 * inner, [0, more, inner]);
        const before = inner <= 2048 ? inner : estimateOf(a);
        const after = estimateOf(b);
        squares += (after - before - more) ** 2 / runs;
        claimed += nestedDifferenceError(before, after) ** 2 / runs;
      }
      const ratio = Math.sqrt(squares / claimed);
      t.ok(
        ratio > 0.75 && ratio < 1.25,
        `${inner} and ${more} more: ${ratio.toFixed(2)} of ${Math.sqrt(claimed).toFixed(1)}`,
      );
      const simple = (1.04 / Math.sqrt(M)) * Math.sqrt((inner + more) ** 2 - inner ** 2);
      const isSimple = Math.abs(Math.sqrt(claimed) / simple - 1) < 0.1;
      if (inner + more > 100_000) t.ok(isSimple, `s · √(U² − A²) = ${simple.toFixed(1)}`);
    }
    t.equal(nestedDifferenceError(5000, 5000), 0);
    t.equal(nestedDifferenceError(5000, 4990), 0, "estimates of nested sets may cross by rounding");
    t.ok(nestedDifferenceError(1500, 1600) < 0.1, "tokens are all but exact");
    t.end();
  },
);
