/**
 * Queries of half a year of views: Q1 to Q7 of the peers' comparison (shared workload W2: 27,000,000 events, 180
 * days, 10,000 blogs), in process and over HTTP, from a real LMDB store that the real engine made; PostgreSQL with
 * hll beside it in the same run, where it is installed; what 10 times the blogs and 10 times the history cost; and
 * what queries wait for while 100,000 events a second come in. Why: an answer should take as long as reading the few
 * cells that it consists of, whatever else is stored.
 *
 * warm: other blogs, or other days of the same buckets, were asked about before; every query is another one, and no
 * answer is kept. cold: no decoded block is kept from one query to the next (the files are in the system's cache).
 * window: the same query of a moving range (7 days until now) again and again, with what the engine keeps by default, but
 * each time later than an answer may be old: its sealed part is kept, as it is after a seal, when it was made ahead of
 * the question, and what is open is read. This is what a dashboard pays; warm is what a question pays that nobody asked.
 * again: the same query twice, with what the engine keeps of answers by default.
 *
 *   TIDEMARK_BENCH_EVENTS=27000000 (default 3,000,000 over the same 180 days)
 *   TIDEMARK_BENCH_DIR=/data/w2 (default: a directory that is removed; a store that is there is used again)
 *   TIDEMARK_BENCH_ONLY=q,http,scale,load,peer (default: all of them)
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, QueryInput } from "../engine/api.js";
import { buildApp } from "../server/app.js";
import { mebibytes, ms, print, quantile, row, timesOf, type Times } from "./figures.js";
import { ensureHistory, openHistory, w2Options, type History, type OpenOptions } from "./history.js";
import { postAll } from "./http-client.js";
import { postgresPeer } from "./peers/postgres.js";
import { compareScales } from "./query-scale.js";
import { underLoad } from "./query-load.js";
import { questionsOf, useCasesOf, type Question } from "./questions.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 3_000_000);
const ONLY = (process.env["TIDEMARK_BENCH_ONLY"] ?? "q,http,scale,load,peer").split(",");
/** Queries of each kind: to warm up with, unless that takes too long, and to measure. */
const WARM_UP = 1500;
const WARM_UP_MS = 3000;
const CALLS = 500;
const COLD_CALLS = 30;
const WINDOW_CALLS = 100;
/** Older than an answer of an open range may be, ms. */
const WINDOW_STEP_MS = 6000;
/** So late that nothing is sealed while the clock is moved: the store stays as it is. */
const NO_SEAL: OpenOptions = { engine: { allowedLatenessMs: 10 * 86_400_000 } };
/** Answers kept: none. */
const FORGETFUL: OpenOptions = { engine: { maxCacheBytes: 0 } };

type Figures = Map<Question, Times>;

async function withEngine<T>(
  directory: string,
  { workload }: History,
  options: OpenOptions,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  const { engine } = await openHistory(directory, workload.startMs + workload.spanMs, options);
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** Warmed up with the blogs of even numbers, measured with those of odd ones. */
async function measure(
  engine: Engine,
  questions: readonly Question[],
  warmUp: number,
  calls: number,
): Promise<Figures> {
  const figures: Figures = new Map();
  for (const question of questions) {
    const until = performance.now() + WARM_UP_MS;
    for (let turn = 0; turn < warmUp && performance.now() < until; turn++)
      await engine.query(question.input(2 * turn));
    globalThis.gc?.();
    figures.set(question, await timesOf(calls, (turn) => engine.query(question.input(2 * turn + 1))));
  }
  return figures;
}

/** Each time the answer is too old to be given again, but its sealed part is kept. */
async function measureWindows(
  directory: string,
  { workload }: History,
  questions: readonly Question[],
): Promise<Figures> {
  const { engine, clock } = await openHistory(directory, workload.startMs + workload.spanMs, NO_SEAL);
  const figures: Figures = new Map();
  for (const question of questions) {
    const { window } = question;
    if (window === undefined) continue;
    const ask = (): Promise<unknown> => {
      clock.nowMs += WINDOW_STEP_MS;
      return engine.query(window);
    };
    await timesOf(WINDOW_CALLS, ask);
    globalThis.gc?.();
    figures.set(question, await timesOf(WINDOW_CALLS, ask));
  }
  await engine.close();
  return figures;
}

async function overHttp(engine: Engine, questions: readonly Question[]): Promise<Figures> {
  const app = buildApp({ engine });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as { port: number };
  const figures: Figures = new Map();
  for (const question of questions) {
    const bodies = Array.from({ length: 2 * CALLS }, (_, turn) =>
      JSON.stringify(question.input(turn < CALLS ? 2 * turn : 2 * turn + 1)),
    );
    const times = await postAll(port, bodies);
    figures.set(question, times.slice(CALLS).sort());
  }
  await app.close();
  return figures;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function describe({ workload, seconds, storage }: History): void {
  const days = workload.spanMs / 86_400_000;
  print(
    `${count(workload.events)} events, ${days} days, ${count(workload.blogs ?? 0)} blogs; made in ` +
      `${seconds.toFixed(0)} s (${count(workload.events / seconds)} events/s with all tiers, on disk)`,
  );
  row("tier", " buckets", " cells", " size", " B/cell");
  for (const { tier, buckets, cells, bytes } of storage.tiers) {
    const size = mebibytes(bytes);
    row(tier, count(buckets), ` ${count(cells)}`, size, (bytes / cells).toFixed(1));
  }
  const { tail, segments } = storage.raw;
  const bytes = tail.bytes + segments.bytes;
  const perEvent = `${(bytes / (tail.events + segments.events)).toFixed(1)}/event`;
  row("raw log", "", "", mebibytes(bytes), perEvent);
  print();
}

async function askAll(directory: string, history: History): Promise<void> {
  const questions = questionsOf(history);
  const peer = ONLY.includes("peer") ? await postgresPeer(directory, history) : undefined;
  const [warm, http] = await withEngine(directory, history, FORGETFUL, async (engine) => [
    await measure(engine, questions, WARM_UP, CALLS),
    ONLY.includes("http") ? await overHttp(engine, questions) : undefined,
  ]);
  const cold = await withEngine(directory, history, { ...FORGETFUL, storage: { cacheBytes: 0 } }, (engine) =>
    measure(engine, questions, 1, COLD_CALLS),
  );
  const again = await withEngine(directory, history, {}, (engine) =>
    measure(engine, questions.map(repeated), 1, COLD_CALLS),
  );
  const repeats = [...again.values()];
  const windows = await measureWindows(directory, history, questions);
  row("ms", "warm p50", "p99", "bar", "window p50", "cold p50", "again p50", "HTTP p50", "PG p50", "PG p99");
  questions.forEach((question, i) => {
    const times = warm.get(question)!;
    const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
    const isHeld = question.barMs === undefined || p50 <= question.barMs;
    row(
      `${question.id} ${question.what}${isHeld ? "" : " !"}`,
      ms(p50),
      ms(p99),
      ms(question.barMs),
      ms(windows.has(question) ? quantile(windows.get(question)!, 0.5) : undefined),
      ms(quantile(cold.get(question)!, 0.5)),
      ms(quantile(repeats[i]!, 0.5)),
      ms(http === undefined ? undefined : quantile(http.get(question)!, 0.5)),
      ms(peer?.get(question.what)?.p50),
      ms(peer?.get(question.what)?.p99),
    );
  });
  print();
}

function repeated(question: Question): Question {
  return { ...question, input: (): QueryInput => question.input(0) };
}

async function useCases(directory: string, history: History): Promise<void> {
  row("over HTTP, ms", "p50", "p99");
  const figures = await withEngine(directory, history, FORGETFUL, (engine) =>
    overHttp(engine, useCasesOf(history)),
  );
  for (const [{ what }, times] of figures) row(what, ms(quantile(times, 0.5)), ms(quantile(times, 0.99)));
  print();
}

const given = process.env["TIDEMARK_BENCH_DIR"];
const directory = given ?? mkdtempSync(join(tmpdir(), "tidemark-bench-"));
try {
  const history = await ensureHistory(directory, w2Options(EVENTS));
  describe(history);
  if (ONLY.includes("q")) await askAll(directory, history);
  if (ONLY.includes("http")) await useCases(directory, history);
  if (ONLY.includes("scale")) await compareScales(directory, EVENTS);
  if (ONLY.includes("load")) await underLoad(directory, EVENTS);
} finally {
  if (given === undefined) rmSync(directory, { recursive: true, force: true });
}
