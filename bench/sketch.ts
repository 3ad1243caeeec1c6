/**
 * What: the cost of hashing a viewer id and of adding, uniting and estimating with `engine/sketch/`.
 * Why: every event is hashed and meets at least one sketch, and every query unites as many as its range has cells.
 * How cost grows: a hash with the length of the id (16 bytes a step); an add not at all; a union and the first
 * estimate after it with the number of registers (2^log2m, here 2^14), a further estimate not at all; while a sketch is
 * small, union and estimate grow with its tokens.
 *
 * Run: npm run bench -- sketch. Medians of 101 repetitions of a fraction of a millisecond each: short, so that on a busy
 * machine most of them are not interrupted. The yardstick tells how fast the machine is at the moment.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { HyperLogLog } from "../engine/sketch/hyperloglog.js";
import { hashText } from "../engine/sketch/murmur3.js";
import { createKeyedHash } from "../engine/sketch/siphash.js";

const REPETITIONS = 101;
/** Long enough for the optimizing compiler to be done. */
const WARM_UP_NS = 300_000_000;
const IDS = 4096;
/** Enough pairs that a predictor cannot learn them, few enough to stay in the second-level cache. */
const PAIRS = 1 << 15;

/** Median time of one call, in nanoseconds; `run` makes `calls` of them. */
function medianNs(calls: number, run: (calls: number) => void, prepare: () => void = () => {}): number {
  const once = (): number => {
    prepare();
    const start = process.hrtime.bigint();
    run(calls);
    return Number(process.hrtime.bigint() - start);
  };
  for (let spent = 0; spent < WARM_UP_NS;) spent += once();
  const times = Array.from({ length: REPETITIONS }, () => once() / calls);
  return times.sort((a, b) => a - b)[REPETITIONS >> 1]!;
}

function report(name: string, value: number, unit: string, bar?: number): void {
  const verdict = bar === undefined ? "" : `  (bar ${bar} ${unit}: ${value <= bar ? "held" : "MISSED"})`;
  console.log(`${name.padEnd(52)} ${value.toFixed(value < 10 ? 2 : 1).padStart(8)} ${unit}${verdict}`);
}

/** Seeded (mulberry32), so that every run meets the same hashes. */
function randomWords(count: number, seed: number): Uint32Array {
  let state = seed;
  return Uint32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word ^= word + Math.imul(word ^ (word >>> 7), 61 | word);
    return (word ^ (word >>> 14)) >>> 0;
  });
}

function filled(count: number, seed: number): HyperLogLog {
  const words = randomWords(count * 2, seed);
  const sketch = new HyperLogLog();
  for (let i = 0; i < count; i++) sketch.addHashParts(words[2 * i]!, words[2 * i + 1]!);
  return sketch;
}

/** Flat one-byte strings of 12 characters, as a decoder makes them. */
const ids = Array.from({ length: IDS }, (_, i) =>
  Buffer.from(`v${10_000_000_000 + i * 7919}`).toString("latin1"),
);
const out = new Uint32Array(2);

function hashes(): void {
  const keyed = createKeyedHash(Uint8Array.from({ length: 16 }, (_, i) => i));
  const text = medianNs(1 << 12, (calls) => {
    for (let i = 0; i < calls; i++) hashText(ids[i & (IDS - 1)]!, out, 0);
  });
  report("murmur3 of a 12-byte string", text, "ns", 110);
  const withKey = medianNs(1 << 11, (calls) => {
    for (let i = 0; i < calls; i++) keyed(ids[i & (IDS - 1)]!, out, 0);
  });
  report("SipHash-2-4 and murmur3 of a 12-byte string", withKey, "ns");
}

function adds(): void {
  const words = randomWords(PAIRS * 2, 1);
  const dense = filled(100_000, 2);
  const add = medianNs(1 << 14, (calls) => {
    for (let i = 0; i < calls; i++) {
      const at = (i & (PAIRS - 1)) << 1;
      dense.addHashParts(words[at]!, words[at + 1]!);
    }
  });
  report("dense add, beyond the hash", add, "ns", 25);
  let growing = new HyperLogLog();
  const grow = medianNs(
    PAIRS,
    (calls) => {
      for (let i = 0; i < calls; i++) growing.addHashParts(words[2 * i]!, words[2 * i + 1]!);
    },
    () => {
      growing = filled(2049, 3);
      growing.estimate();
    },
  );
  report("dense add, registers still rising, counts kept", grow, "ns", 25);
  const small = medianNs(1 << 12, (calls) => {
    for (let i = 0; i < calls;) {
      const sketch = new HyperLogLog();
      for (const end = i + 1024; i < end; i++) {
        const at = (i & (PAIRS - 1)) << 1;
        sketch.addHashParts(words[at]!, words[at + 1]!);
      }
    }
  });
  report("small add, growing from 0 to 1,024 tokens", small, "ns");
  const byId = medianNs(1 << 12, (calls) => {
    for (let i = 0; i < calls; i++) dense.add(ids[i & (IDS - 1)]!);
  });
  report("add(id), with the hash", byId, "ns");
}

function unions(): void {
  const sources = Array.from({ length: 8 }, (_, i) => filled(1_000_000, 10 + i));
  const target = sources[0]!.clone();
  const union = medianNs(20, (calls) => {
    for (let i = 0; i < calls; i++) target.merge(sources[i & 7]!);
  });
  report("union of two full sketches", union / 1000, "µs", 6);
  const small = filled(200, 4);
  const tokens = medianNs(20, (calls) => {
    for (let i = 0; i < calls; i++) target.merge(small);
  });
  report("union with a sketch of 200 tokens", tokens / 1000, "µs");
  const warm = medianNs(20, (calls) => {
    for (let i = 0; i < calls; i++) target.estimate();
  });
  report("estimate of a full sketch", warm / 1000, "µs", 10);
  const both = medianNs(20, (calls) => {
    for (let i = 0; i < calls; i++) target.merge(sources[i & 7]!).estimate();
  });
  report("first estimate after a union, without the union", (both - union) / 1000, "µs");
  const bytes = medianNs(2, (calls) => {
    for (let i = 0; i < calls; i++) HyperLogLog.fromBytes(target.toBytes());
  });
  report("toBytes and fromBytes of a full sketch", bytes / 1000, "µs");
}

/** Heap bytes that one sketch of `viewers` elements keeps. */
function heapBytes(viewers: number): number {
  const kept: HyperLogLog[] = Array.from({ length: 100_000 });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < kept.length; i++) {
    const sketch = new HyperLogLog();
    for (let viewer = 0; viewer < viewers; viewer++) sketch.addHashParts(0xfeed_0000 + viewer, i);
    kept[i] = sketch;
  }
  collect();
  return (process.memoryUsage().heapUsed - before) / kept.length;
}

/** A chain of multiplications, each of which waits for the one before. */
function yardstick(): number {
  return medianNs(1 << 16, (calls) => {
    let product = 1;
    for (let i = 0; i < calls; i++) product = Math.imul(product, 0x01000193);
    if (product === 0) throw new Error("BUG: odd factors have an odd product");
  });
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

report("yardstick: one 32-bit multiplication in a chain", yardstick(), "ns");
hashes();
adds();
unions();
const empty = heapBytes(0);
report("heap of an empty sketch", empty, "B");
report("heap of the first viewer, beyond that", heapBytes(1) - empty, "B", 16);
