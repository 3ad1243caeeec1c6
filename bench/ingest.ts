/**
 * Ingest in process: decoded W1 batches of 1,000 events through `engine.ingestBatch` (judged, logged in memory,
 * folded into quarter cells of all six rollups, sealed into all grains), beside the bare fold of the same events
 * (bench/bare-fold.ts: hour grain only, five rollups, no log, no strings). Why: this is the price of everything
 * that makes the numbers trustworthy. The cost should grow with the events alone, not with history or blogs.
 *
 *   TIDEMARK_BENCH_EVENTS=5000000 (default 2,000,000 over the same rate per hour)
 */
import { VirtualAction, VirtualTimeScheduler } from "rxjs";
import { createEngine } from "../engine/index.js";
import { openMemory } from "../storage/memory.js";
import { bareFold, tokensOf } from "./bare-fold.js";
import { W1_START_MS, generate, toBatches } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 2_000_000);
const SPAN_MS = (48 * 3_600_000 * EVENTS) / 5_000_000;
const RUNS = 5;
/** Batches under way at once, as with eight connections. */
const IN_FLIGHT = 8;

const workload = generate({ events: EVENTS, spanMs: SPAN_MS });
const batches = toBatches(workload, 1000);
const tokens = tokensOf(batches);

async function ingestAll(): Promise<number> {
  const scheduler = new VirtualTimeScheduler(VirtualAction, Infinity);
  scheduler.frame = W1_START_MS;
  const engine = await createEngine({ storage: openMemory(), scheduler });
  const begun = performance.now();
  for (let i = 0; i < batches.length; i += IN_FLIGHT) {
    for (const ts of batches[Math.min(i + IN_FLIGHT, batches.length) - 1]!.ts) {
      scheduler.frame = Math.max(scheduler.frame, ts);
    }
    await Promise.all(batches.slice(i, i + IN_FLIGHT).map((batch) => engine.ingestBatch(batch)));
  }
  const seconds = (performance.now() - begun) / 1000;
  const { hotCells, commits } = engine.stats();
  const { total } = engine.query({ date_range: "all", metrics: ["views"], include: { total: true } });
  if (total?.metrics[0] !== EVENTS) throw new Error(`BUG: ${total?.metrics[0]} views of ${EVENTS}`);
  process.stderr.write(`  ${hotCells} cells hot, ${commits} commits\n`);
  return EVENTS / seconds;
}

function bare(): number {
  const begun = performance.now();
  const { views } = bareFold(workload, tokens);
  if (views !== EVENTS * 5) throw new Error("BUG: the bare fold lost views");
  return EVENTS / ((performance.now() - begun) / 1000);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const engines: number[] = [];
const bares: number[] = [];
for (let run = 0; run < RUNS; run++) {
  bares.push(bare());
  engines.push(await ingestAll());
}
const ratios = engines.map((value, run) => value / bares[run]!);
const million = (value: number): string => `${(value / 1e6).toFixed(2)} M/s`;
process.stdout.write(`${EVENTS} events, ${RUNS} runs, medians\n`);
process.stdout.write(`engine, decoded batches, all tiers and rollups   ${million(median(engines))}\n`);
process.stdout.write(`bare fold, hours only, five rollups              ${million(median(bares))}\n`);
process.stdout.write(
  `ratio, run by run                                ${median(ratios).toFixed(2)}  (bar ≥ 0.40)\n`,
);
