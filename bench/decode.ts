/**
 * From NDJSON bytes to cells, in process: W1 as bodies of 1,000 lines. Why: most senders speak NDJSON, and a server
 * spends more on reading it than on counting. Two ways side by side in one run: the scanner over the bytes (engine/scan),
 * and JSON.parse with an object an event, as it was before and as it still is for unusual lines. Beside them the floor
 * (bench/bare-bytes.ts: nothing checked, hour grain only, five rollups, no log). The cost should grow with the bytes alone.
 *
 * "Decoded" ends with a batch of columns; "counted" with every event in its cells on the memory storage, to be queried.
 * Rates are of wall time, and of CPU time, which another load on the machine does not spoil; the ratios are of CPU time.
 *
 *   TIDEMARK_BENCH_EVENTS=5000000 (default 2,000,000 over the same rate per hour)
 */
import { asyncScheduler, type SchedulerLike } from "rxjs";
import { decodeNdjson, type DecodeContext, type Decoded } from "../engine/body.js";
import { createEngine, defineSchema, type Engine } from "../engine/index.js";
import { Scanner } from "../engine/scan/scanner.js";
import { hashText } from "../engine/sketch/murmur3.js";
import { openMemory } from "../storage/memory.js";
import { parseLines } from "../test/support/json-lines.js";
import { bareBytes } from "./bare-bytes.js";
import { W1_START_MS, generate, toNdjson } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 2_000_000);
const SPAN_MS = (48 * 3_600_000 * EVENTS) / 5_000_000;
const RUNS = Number(process.env["TIDEMARK_BENCH_RUNS"] ?? 5);
/** Batches under way at once, as with eight connections. */
const IN_FLIGHT = 8;

/** Of the floor's tables: twice the pairs of cell and viewer that the events could make. */
const TABLE_BITS = Math.ceil(Math.log2(EVENTS * 5));

const workload = generate({ events: EVENTS, spanMs: SPAN_MS });
const bodies = toNdjson(workload, 1000);
const schema = defineSchema();
const context: DecodeContext = { schema, now: W1_START_MS, hashViewer: hashText };

interface Rate {
  readonly wall: number;
  readonly cpu: number;
}

async function rateOf(work: () => unknown): Promise<Rate> {
  const cpuBegun = process.cpuUsage();
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / 1000;
  const { user, system } = process.cpuUsage(cpuBegun);
  return { wall: EVENTS / seconds, cpu: EVENTS / ((user + system) / 1e6) };
}

function decodeAll(decode: (body: Uint8Array) => Decoded): void {
  let rows = 0;
  for (const body of bodies) rows += decode(body).batch.count;
  if (rows !== EVENTS) throw new Error(`BUG: ${rows} rows of ${EVENTS}`);
}

async function countAll(send: (engine: Engine, body: Uint8Array) => Promise<unknown>): Promise<void> {
  let nowMs = W1_START_MS;
  // The clock of the workload, but real timers: with virtual ones a commit that pauses would never go on.
  const scheduler: SchedulerLike = {
    now: () => nowMs,
    schedule: asyncScheduler.schedule.bind(asyncScheduler),
  };
  const engine = await createEngine({ storage: openMemory(), scheduler });
  for (let i = 0; i < bodies.length; i += IN_FLIGHT) {
    nowMs = Math.max(nowMs, W1_START_MS + (Math.min(i + IN_FLIGHT, bodies.length) / bodies.length) * SPAN_MS);
    await Promise.all(bodies.slice(i, i + IN_FLIGHT).map((body) => send(engine, body)));
  }
  const { total } = await engine.query({ date_range: "all", metrics: ["views"], include: { total: true } });
  if (total?.metrics[0] !== EVENTS) throw new Error(`BUG: ${total?.metrics[0]} views of ${EVENTS}`);
  // What is left over costs no more than needs be: the engine is not closed, its storage is dropped.
}

function bare(): void {
  const { views } = bareBytes(bodies, EVENTS, TABLE_BITS);
  if (views !== EVENTS * 5) throw new Error("BUG: the bare fold lost views");
}

const scanner = new Scanner(schema);
const ways: Record<string, () => unknown> = {
  "bare bytes to cells": bare,
  "decoded, JSON.parse": () => decodeAll((body) => parseLines(body, context)),
  "decoded, scanner": () => decodeAll((body) => decodeNdjson(body, context, scanner)),
  "counted, JSON.parse": () =>
    countAll((engine, body) => engine.ingestBatch(parseLines(body, context).batch)),
  "counted, scanner": () => countAll((engine, body) => engine.ingestBytes(body, "ndjson")),
};
const rates = new Map<string, Rate[]>(Object.keys(ways).map((way) => [way, []]));
for (let run = 0; run < RUNS; run++) {
  for (const [way, work] of Object.entries(ways)) {
    globalThis.gc?.();
    rates.get(way)!.push(await rateOf(work));
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const million = (values: readonly number[]): string => (median(values) / 1e6).toFixed(2).padStart(6);
const ratio = (way: string): string => {
  const bares = rates.get("bare bytes to cells")!;
  const ratios = rates
    .get(way)!
    .map(({ cpu }, run) => cpu / bares[run]!.cpu)
    .sort((a, b) => a - b);
  return `${median(ratios).toFixed(2)} (${ratios[0]!.toFixed(2)}–${ratios.at(-1)!.toFixed(2)})`;
};
process.stdout.write(`${EVENTS} events, ${RUNS} runs, medians (least–greatest)\n`);
process.stdout.write("                     M events a second of wall   of CPU   beside the floor\n");
for (const [way, measured] of rates) {
  const wall = million(measured.map((rate) => rate.wall));
  const cpu = million(measured.map((rate) => rate.cpu));
  const bar = way === "counted, scanner" ? "  (bar ≥ 0.9 M/s and ≥ 0.60)" : "";
  process.stdout.write(`${way.padEnd(40)}${wall}   ${cpu}   ${ratio(way)}${bar}\n`);
}
process.exit(0);
