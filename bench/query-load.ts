/**
 * What queries wait for while events come in: all kinds of questions in turn, one every few milliseconds whether the
 * one before is answered or not, at rest and with 100,000 events a second going into the same engine and its LMDB
 * store. `takes` is the time from the call to the answer; `waits` counts from when the question was due, so that it
 * includes whatever kept the event loop busy.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EventBatch } from "../engine/log.js";
import { ms, print, quantile, row } from "./figures.js";
import { ensureHistory, openHistory, w2Options, type OpenHistory } from "./history.js";
import { questionsOf, type Question } from "./questions.js";
import { generate, toBatches } from "./workload.js";

const DAYS = 18;
const EVENTS_PER_S = 100_000;
const BATCH = 1000;
const QUERY_EVERY_MS = 5;
const SECONDS = 12;
const WARM_UP_S = 2;
/** With events coming in, a query takes at most so many times as long. */
const BAR = 3;

export async function underLoad(directory: string, events: number): Promise<void> {
  const history = await ensureHistory(join(directory, "short"), w2Options(events / 10, DAYS));
  const place = join(directory, "loaded");
  rmSync(place, { recursive: true, force: true });
  cpSync(join(directory, "short"), place, { recursive: true });
  const endMs = history.workload.startMs + history.workload.spanMs;
  const opened = await openHistory(place, endMs, { engine: { maxCacheBytes: 0 } });
  const questions = questionsOf(history).filter(({ days }) => days <= DAYS);
  const spanMs = SECONDS * 1000;
  const live = generate({ events: EVENTS_PER_S * SECONDS, seed: 3, startMs: endMs, spanMs });
  const batches = toBatches(live, BATCH);
  const idle = await ask(opened, questions);
  const feeding = feed(opened, batches, endMs);
  const busy = await ask(opened, questions);
  const rate = await feeding;
  row("p99, ms", "at rest", "under load", "ratio", "bar");
  for (const what of ["takes", "waits"] as const) {
    const [before, after] = [quantile(idle[what], 0.99), quantile(busy[what], 0.99)];
    row(what, ms(before), ms(after), (after / before).toFixed(1), BAR.toFixed(0));
  }
  const [before, after] = [quantile(idle.takes, 0.5), quantile(busy.takes, 0.5)];
  row("p50 takes", ms(before), ms(after), (after / before).toFixed(1));
  print(`${Math.round(rate).toLocaleString("en")} events/s in batches of ${BATCH}, durable`);
  await opened.engine.close();
  rmSync(place, { recursive: true, force: true });
}

async function ask(
  { engine }: OpenHistory,
  questions: readonly Question[],
): Promise<Record<"takes" | "waits", Float64Array>> {
  const takes: number[] = [];
  const waits: number[] = [];
  const begun = performance.now();
  for (let turn = 0; ; turn++) {
    const due = begun + turn * QUERY_EVERY_MS;
    if (due > begun + SECONDS * 1000) break;
    const left = due - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    // Those that fell due meanwhile are answered one after the other, as requests that have arrived together are.
    const called = performance.now();
    await engine.query(questions[turn % questions.length]!.input(turn));
    const answered = performance.now();
    if (due - begun < WARM_UP_S * 1000) continue;
    takes.push(answered - called);
    waits.push(answered - due);
  }
  return { takes: Float64Array.from(takes).sort(), waits: Float64Array.from(waits).sort() };
}

/** Sends events of now for as long as `ask` asks; the clock goes on. */
async function feed(
  { engine, clock }: OpenHistory,
  batches: readonly EventBatch[],
  startMs: number,
): Promise<number> {
  const pending: Promise<unknown>[] = [];
  const begun = performance.now();
  for (const [i, batch] of batches.entries()) {
    clock.nowMs = startMs + performance.now() - begun;
    pending.push(engine.ingestBatch(batch));
    const wait = begun + ((i + 1) * BATCH * 1000) / EVENTS_PER_S - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    else await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(pending);
  return (batches.length * BATCH * 1000) / (performance.now() - begun);
}
