/**
 * Restart after kill -9: how long `openLmdb` and `createEngine` take until queries are answered. Why: a crash at the
 * worst moment must not become an outage. The time should grow with what was not yet written down in buckets, which
 * `maxReplayEvents` bounds, and not with history: the second part has the same open hour behind 1, 4 and 16 times the
 * history. (The check of the whole file after an unclean stop, which does grow with it, is shown apart: it is
 * `verify`.)
 *
 *   TIDEMARK_BENCH_DIR=/data (default: the system's temporary directory)
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { asyncScheduler, type SchedulerLike } from "rxjs";
import { TidemarkError, createEngine } from "../engine/index.js";
import { openLmdb } from "../storage/lmdb.js";
import { W1_START_MS, generate, toBatches } from "./workload.js";

const HOUR_MS = 3_600_000;
/** All in one hour: nothing of it is sealed. */
const HOT_EVENTS = 5_000_000;
const HISTORY_EVENTS = 500_000;
const BATCH = 10_000;
const SELF = fileURLToPath(import.meta.url);

interface Opened {
  readonly openMs: number;
  readonly engineMs: number;
  readonly views: number;
  readonly hotCells: number;
}

interface Written {
  readonly now: number;
  /** What the kill leaves to the log alone. */
  readonly unsavedEvents: number;
}

/** The clock stands at the end of the workload; timers are real. */
function clockAt(nowMs: { value: number }): SchedulerLike {
  return { now: () => nowMs.value, schedule: asyncScheduler.schedule.bind(asyncScheduler) };
}

/** Writes history and an open hour, says so, and waits to be killed. */
async function write(path: string, history: number, hot: number): Promise<void> {
  const now = { value: W1_START_MS };
  const engine = await createEngine({ storage: await openLmdb(path), scheduler: clockAt(now) });
  const parts = [
    generate({ events: history, spanMs: (48 * HOUR_MS * history) / HISTORY_EVENTS }),
    generate({ events: hot, startMs: W1_START_MS + 40 * 24 * HOUR_MS, spanMs: 0.95 * HOUR_MS, seed: 2 }),
  ];
  for (const part of parts) {
    if (part.count === 0) continue;
    for (const batch of toBatches(part, BATCH)) {
      for (const ts of batch.ts) now.value = Math.max(now.value, ts);
      await retried(() => engine.ingestBatch(batch, { backfill: true }));
    }
    // History is written down; what the hot part leaves open is up to the engine.
    if (part === parts[0]) await engine.checkpoint();
  }
  process.stdout.write(`${JSON.stringify({ now: now.value, ...engine.stats() })}\n`);
  setInterval(() => undefined, HOUR_MS);
}

/** As a sender does whom the engine tells that the disk is behind. */
async function retried<T>(send: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      const seconds = error instanceof TidemarkError ? error.extra["retryAfterS"] : undefined;
      if (typeof seconds !== "number") throw error;
      await setTimeout(seconds * 1000);
    }
  }
}

async function open(path: string, nowMs: number): Promise<void> {
  const begun = performance.now();
  const storage = await openLmdb(path);
  const opened = performance.now();
  const engine = await createEngine({ storage, scheduler: clockAt({ value: nowMs }) });
  const [row] = (await engine.query({ date_range: "all", metrics: ["views"] })).results;
  const ready = performance.now();
  const result: Opened = {
    openMs: opened - begun,
    engineMs: ready - opened,
    views: row!.metrics[0]!,
    hotCells: engine.stats().hotCells,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.kill(process.pid, "SIGKILL"));
}

/** Resolves with the writer's last words, once it is dead. */
async function writeAndKill(path: string, history: number, hot: number): Promise<Written> {
  const child = spawn(process.execPath, [SELF, "write", path, String(history), String(hot)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
    return JSON.parse(line) as Written;
  }
  throw new Error("BUG: the writer said nothing");
}

async function measure(name: string, history: number, hot: number): Promise<void> {
  const path = await mkdtemp(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-recovery-"));
  try {
    const { now, unsavedEvents } = await writeAndKill(path, history, hot);
    const { size } = await stat(join(path, "data.mdb"));
    const { stdout } = spawnSync(process.execPath, [SELF, "open", path, String(now)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { openMs, engineMs, views, hotCells } = JSON.parse(stdout) as Opened;
    if (views !== history + hot) throw new Error(`BUG: ${views} views of ${history + hot}`);
    process.stdout.write(
      `${name.padEnd(34)} file ${(size / 2 ** 20).toFixed(0).padStart(5)} MiB, open and check ${openMs.toFixed(0).padStart(5)} ms, ` +
        `engine ready ${engineMs.toFixed(0).padStart(5)} ms (${unsavedEvents} events of ${hotCells} cells replayed)\n`,
    );
  } finally {
    await rm(path, { recursive: true });
  }
}

const [role, path = "", first = "", second = ""] = process.argv.slice(2);
if (role === "write") await write(path, Number(first), Number(second));
else if (role === "open") await open(path, Number(first));
else {
  await measure("5 M events of one open hour", 0, HOT_EVENTS);
  for (const factor of [1, 4, 16]) {
    await measure(`200,000 hot, history × ${factor}`, HISTORY_EVENTS * factor, 200_000);
  }
}
