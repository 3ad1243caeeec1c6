/**
 * Ingest in process: decoded W1 batches of 1,000 events through `engine.ingestBatch`, beside the bare fold of the same
 * events (bench/bare-fold.ts: hour grain only, five rollups, no log, no strings). Why: this is the price of everything
 * that makes the numbers trustworthy. The cost should grow with the events alone, not with history or blogs.
 *
 * Two figures, both on the memory storage: until every event is counted in its quarter cells and can be queried, and
 * until all of it is also merged into hours, days, weeks, months and years and handed to the store. Only the second
 * has all tiers in it. Sealing runs while events come in and, for what is left, in a checkpoint at the end.
 *
 *   TIDEMARK_BENCH_EVENTS=5000000 (default 2,000,000 over the same rate per hour)
 */
import { asyncScheduler, type SchedulerLike } from "rxjs";
import { createEngine } from "../engine/index.js";
import { TURNS } from "../storage/write-queue.js";
import { openMemory } from "../storage/memory.js";
import { bareFold, tokensOf } from "./bare-fold.js";
import { held, median, print } from "./figures.js";
import { W1_START_MS, generate, toBatches } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 2_000_000);
const SPAN_MS = (48 * 3_600_000 * EVENTS) / 5_000_000;
const RUNS = 5;
/** Batches under way at once, as with eight connections. */
const IN_FLIGHT = 8;

const workload = generate({ events: EVENTS, spanMs: SPAN_MS });
const batches = toBatches(workload, 1000);
const tokens = tokensOf(batches);

interface Rates {
  /** Events a second until all can be queried. */
  readonly counted: number;
  /** Events a second until all is sealed in every tier. */
  readonly sealed: number;
}

async function ingestAll(): Promise<Rates> {
  let nowMs = W1_START_MS;
  // The clock of the workload, but real timers: with virtual ones a commit that pauses would never go on.
  const scheduler: SchedulerLike = {
    now: () => nowMs,
    schedule: asyncScheduler.schedule.bind(asyncScheduler),
  };
  const engine = await createEngine({ storage: openMemory(), scheduler, ...TURNS });
  const begun = performance.now();
  for (let i = 0; i < batches.length; i += IN_FLIGHT) {
    for (const ts of batches[Math.min(i + IN_FLIGHT, batches.length) - 1]!.ts) nowMs = Math.max(nowMs, ts);
    await Promise.all(batches.slice(i, i + IN_FLIGHT).map((batch) => engine.ingestBatch(batch)));
  }
  const counted = performance.now() - begun;
  // A month later all grains but the year are past.
  nowMs += 32 * 24 * 3_600_000;
  await engine.checkpoint();
  const sealed = performance.now() - begun;
  const { hotCells, commits } = engine.stats();
  if (hotCells !== 0) throw new Error(`BUG: ${hotCells} cells were not sealed`);
  const { total } = await engine.query({ date_range: "all", metrics: ["views"], include: { total: true } });
  if (total?.metrics[0] !== EVENTS) throw new Error(`BUG: ${total?.metrics[0]} views of ${EVENTS}`);
  process.stderr.write(
    `  ${commits} commits, counted in ${Math.round(counted)} ms, sealed in ${Math.round(sealed)} ms\n`,
  );
  await engine.close();
  return { counted: (EVENTS / counted) * 1000, sealed: (EVENTS / sealed) * 1000 };
}

function bare(): number {
  const begun = performance.now();
  const { views } = bareFold(workload, tokens);
  if (views !== EVENTS * 5) throw new Error("BUG: the bare fold lost views");
  return EVENTS / ((performance.now() - begun) / 1000);
}

const engines: Rates[] = [];
const bares: number[] = [];
for (let run = 0; run < RUNS; run++) {
  bares.push(bare());
  engines.push(await ingestAll());
}
const million = (values: readonly number[]): string => `${(median(values) / 1e6).toFixed(2)} M/s`;
const ratios = (values: readonly number[]): number[] =>
  values.map((value, run) => value / bares[run]!).sort((a, b) => a - b);
const BAR_RATE = 1_500_000;
const BAR_RATIO = 0.6;

function printRate(what: string, name: string, values: readonly number[]): void {
  const beside = ratios(values);
  const ratio = median(beside);
  const isRatioHeld = held(ratio >= BAR_RATIO);
  const isRateHeld = held(median(values) >= BAR_RATE);
  print(
    `${what.padEnd(49)}${million(values)}  ratio ${ratio.toFixed(2)} (${beside[0]!.toFixed(2)}–${beside.at(-1)!.toFixed(2)})  ` +
      `(bars ≥ 1.5 M/s: ${isRateHeld}, ≥ 0.60: ${isRatioHeld})`,
    { [`${name}_per_s`]: median(values), [`${name}_ratio`]: ratio },
  );
}

print(`${EVENTS} events, ${RUNS} runs, medians (least–greatest)`);
print(`bare fold, hours only, five rollups              ${million(bares)}`, { bare_per_s: median(bares) });
printRate(
  "engine until all can be queried, six rollups",
  "counted",
  engines.map(({ counted }) => counted),
);
printRate(
  "engine until sealed in all tiers",
  "sealed",
  engines.map(({ sealed }) => sealed),
);
