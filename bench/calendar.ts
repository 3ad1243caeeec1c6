import { GRAINS, buckets, getZone, parseInstant, supportedZones } from "../engine/calendar/index.js";
import { scanTransitions } from "../engine/calendar/transitions.js";

/**
 * The calendar against Intl itself: what a table costs to build, and what a question costs afterwards.
 * Run: npm run bench -- calendar
 */

const ROUNDS = 5;
const INSTANTS = 200_000;
const FIRST_MS = Date.UTC(2016, 0, 1);
const SPAN_MS = Date.UTC(2026, 0, 1) - FIRST_MS;
const ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"];

/** Always the same instants, spread over ten years without order. */
function instants(count: number): Float64Array {
  let state = 12_345;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return FIRST_MS + Math.floor((state / 2 ** 32) * SPAN_MS);
  });
}

/** Nanoseconds per call of the best of several rounds; the sum keeps the calls from being optimised away. */
function nsPerCall(calls: number, run: () => number): number {
  let best = Infinity;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    sum += run();
    best = Math.min(best, performance.now() - start);
  }
  if (Number.isNaN(sum)) throw new Error("BUG: a bench came to NaN");
  return (best * 1e6) / calls;
}

function sumOf(values: Float64Array, ask: (value: number) => number): number {
  let sum = 0;
  for (const value of values) sum += ask(value);
  return sum;
}

function print(what: string, value: number, unit: string): void {
  console.log(`${what.padEnd(52)} ${value.toFixed(value < 10 ? 2 : 0).padStart(8)} ${unit}`);
}

function benchBuild(): void {
  const names = supportedZones().filter((name) => name !== "UTC");
  const times = names.map((name) => {
    const start = performance.now();
    scanTransitions(name);
    return performance.now() - start;
  });
  times.sort((a, b) => a - b);
  print(`table of one zone, mean of ${names.length}`, times.reduce((a, b) => a + b) / times.length, "ms");
  print("table of one zone, median", times[times.length >> 1] ?? NaN, "ms");
  print("table of one zone, slowest (the first loads ICU)", times.at(-1) ?? NaN, "ms");
}

function benchStartOf(): void {
  const random = instants(INSTANTS);
  const ordered = random.slice().sort();
  for (const name of ZONES) {
    const zone = getZone(name);
    for (const grain of GRAINS) {
      const ns = nsPerCall(INSTANTS, () => sumOf(random, (utcMs) => zone.startOf(grain, utcMs)));
      print(`startOf(${grain}) ${name}, random instants`, ns, "ns");
    }
    const ns = nsPerCall(INSTANTS, () => sumOf(ordered, (utcMs) => zone.startOf("day", utcMs)));
    print(`startOf(day) ${name}, instants in order`, ns, "ns");
  }
}

function benchIntl(): void {
  const few = instants(5000);
  for (const name of ZONES) {
    const format = new Intl.DateTimeFormat("en-CA", { timeZone: name, dateStyle: "short" });
    const ns = nsPerCall(few.length, () => sumOf(few, (utcMs) => format.format(utcMs).length));
    print(`Intl.DateTimeFormat, the local date only, ${name}`, ns, "ns");
  }
}

function benchRest(): void {
  const texts = [...instants(20_000)].map((utcMs) => new Date(utcMs).toISOString());
  const parse = (read: (text: string) => number): number => texts.reduce((sum, text) => sum + read(text), 0);
  print(
    "parseInstant",
    nsPerCall(texts.length, () => parse((text) => parseInstant(text)!)),
    "ns",
  );
  print(
    "Date.parse",
    nsPerCall(texts.length, () => parse((text) => Date.parse(text))),
    "ns",
  );
  const zone = getZone("America/New_York");
  const hours = (): Float64Array => buckets(zone, "hour", FIRST_MS, FIRST_MS + SPAN_MS, 1, 1e6);
  const count = hours().length;
  print(
    `buckets(hour) over ten years, per bucket (${count})`,
    nsPerCall(count, () => hours().length),
    "ns",
  );
}

benchBuild();
benchStartOf();
benchIntl();
benchRest();
