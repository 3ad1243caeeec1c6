/**
 * The store that bench/query.ts asks: W2 as an engine and LMDB keep it, every event through `engine.ingestBatch` with
 * the clock of the workload. It is made once, in a directory, and used again as long as its parameters are the same.
 * It must be opened without being written to: `openHistory` gives an engine whose clock can be set and whose
 * retention and comparisons never run.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asyncScheduler, type SchedulerLike } from "rxjs";
import type { Engine, EngineOptions, StorageReport } from "../engine/api.js";
import { TidemarkError } from "../engine/errors.js";
import { createEngine } from "../engine/index.js";
import type { EventBatch } from "../engine/log.js";
import { TURNS } from "../storage/write-queue.js";
import { openLmdb, type LmdbOptions } from "../storage/lmdb.js";
import { createWorkload, toBatches, type WorkloadOptions } from "./workload.js";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** 2026-01-01T14:40Z: the history ends within an hour, a day and a month. */
const W2_START_MS = 1_767_278_400_000;

/** Events of one batch, and batches under way at once. */
const BATCH = 5000;
const IN_FLIGHT = 4;
const RETRY_MS = 200;

export interface History {
  readonly workload: WorkloadOptions & { readonly startMs: number; readonly spanMs: number };
  /** How the store was made. */
  readonly seconds: number;
  readonly storage: StorageReport;
}

/** W2, or less of it: fewer events a day, fewer days or fewer blogs. */
export function w2Options(events: number, days = 180, blogs = 10_000): History["workload"] {
  return { events, seed: 2, startMs: W2_START_MS, spanMs: days * DAY_MS, blogs, authors: blogs / 5 };
}

/** A clock that stands where it is put, and timers that run. */
export class BenchClock implements SchedulerLike {
  nowMs: number;
  readonly schedule = asyncScheduler.schedule.bind(asyncScheduler);

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  now(): number {
    return this.nowMs;
  }
}

export interface OpenHistory {
  readonly engine: Engine;
  readonly clock: BenchClock;
}

export interface OpenOptions {
  readonly storage?: LmdbOptions;
  readonly engine?: Partial<EngineOptions>;
}

/** Everything is kept, and nothing runs by itself: figures are those of the queries alone. */
export async function openHistory(
  directory: string,
  nowMs: number,
  options: OpenOptions = {},
): Promise<OpenHistory> {
  const clock = new BenchClock(nowMs);
  const engine = await createEngine({
    storage: await openLmdb(join(directory, "data"), options.storage),
    scheduler: clock,
    // Work is sliced by the real clock, as in a server, whatever time the events are of.
    ...TURNS,
    reconcileEveryMs: 0,
    retention: { raw: null, quarter: null, hour: null, day: null },
    ...options.engine,
  });
  return { engine, clock };
}

/** The store in `directory`, made now unless it is there with the same parameters. */
export async function ensureHistory(directory: string, workload: History["workload"]): Promise<History> {
  const file = join(directory, "history.json");
  if (existsSync(file)) {
    const known = JSON.parse(readFileSync(file, "utf8")) as History;
    if (JSON.stringify(known.workload) === JSON.stringify(workload)) return known;
  }
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const begun = performance.now();
  const storage = await build(directory, workload);
  const history = { workload, seconds: (performance.now() - begun) / 1000, storage };
  writeFileSync(file, JSON.stringify(history, undefined, 1));
  return history;
}

async function build(directory: string, workload: History["workload"]): Promise<StorageReport> {
  const { engine, clock } = await openHistory(directory, workload.startMs);
  const next = createWorkload(workload);
  let progress = performance.now();
  for (let made = 0; made < workload.events;) {
    const part = next(Math.min(BATCH * IN_FLIGHT, workload.events - made));
    made += part.count;
    for (const ts of part.ts) clock.nowMs = Math.max(clock.nowMs, ts);
    await Promise.all(toBatches(part, BATCH).map((batch) => send(engine, batch)));
    if (performance.now() - progress < MINUTE_MS / 4) continue;
    progress = performance.now();
    process.stderr.write(`  ${made} of ${workload.events} events\n`);
  }
  await engine.checkpoint();
  const storage = engine.storage();
  await engine.close();
  return storage;
}

/** Makes events faster than they can be sealed: when the engine says so, the batch is sent again. */
async function send(engine: Engine, batch: EventBatch): Promise<void> {
  for (;;) {
    try {
      await engine.ingestBatch(batch, { backfill: true });
      return;
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== "overloaded") throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
