/**
 * Memory under a flood of names: ten million distinct blogs, each seen once, against a process that may have 512 MiB.
 * Why: whoever can send events can invent names; the totals must stay exact and the process alive. Memory should level
 * off where `maxValuesPerDimension` and `maxHotCells` say, however many names come. The bound is real where control groups
 * can be made (as root): beyond it the kernel ends the process. Own memory is told apart from pages of the store's file,
 * which are mapped and can be taken back at any time.
 *
 *   TIDEMARK_BENCH_DIR=/data (default: the system's temporary directory)
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { asyncScheduler } from "rxjs";
import { createEngine } from "../engine/index.js";
import { FLAG_VIEWER, type EventBatch } from "../engine/log.js";
import { openLmdb } from "../storage/lmdb.js";
import { W1_START_MS } from "./workload.js";

const BLOGS = 10_000_000;
const BATCH = 10_000;
/** Over two hours, so that quarters and hours are sealed meanwhile. */
const SPAN_MS = 2 * 3_600_000;
const BOUND_MIB = 512;
const LIMITS = { maxValuesPerDimension: 500_000, maxHotCells: 200_000, maxReplayEvents: 300_000 };
const SELF = fileURLToPath(import.meta.url);

function batchOf(from: number): EventBatch {
  const ids = Array.from({ length: BATCH }, (_, i) => from + i);
  return {
    count: BATCH,
    flags: new Uint8Array(BATCH).fill(FLAG_VIEWER),
    ts: Float64Array.from(ids, (id) => W1_START_MS + Math.floor((id / BLOGS) * SPAN_MS)),
    dims: [
      Uint32Array.from(ids, (_, i) => i + 1),
      new Uint32Array(BATCH),
      Uint32Array.from(ids, (id) => (id % 50) + 1),
    ],
    values: [ids.map((id) => `blog-of-some-length-${id}`), [], Array.from({ length: 50 }, (_, i) => `c${i}`)],
    viewerLo: Uint32Array.from(ids, (id) => Math.imul(id, 0x9e37_79b1)),
    viewerHi: Uint16Array.from(ids, (id) => id),
  };
}

/** MiB: pages of the process's own, and pages of files that are mapped (proc(5)). */
function memoryOf(): { own: number; mapped: number } {
  const status = readFileSync("/proc/self/status", "utf8");
  const mib = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024;
  return { own: mib("RssAnon"), mapped: mib("RssFile") };
}

/** A control group with the bound, or undefined where none can be made. */
function makeGroup(): string | undefined {
  for (const [root, file] of [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
    ["/sys/fs/cgroup", "memory.max"],
  ] as const) {
    const group = join(root, `tidemark-bench-${process.pid}`);
    try {
      mkdirSync(group);
      writeFileSync(join(group, file), String(BOUND_MIB * 2 ** 20));
      return group;
    } catch {
      if (existsSync(group)) rmdirSync(group);
    }
  }
  return undefined;
}

async function flood(path: string): Promise<void> {
  let nowMs = W1_START_MS;
  const scheduler = { now: () => nowMs, schedule: asyncScheduler.schedule.bind(asyncScheduler) };
  const engine = await createEngine({
    storage: await openLmdb(path, { cacheBytes: 16 * 2 ** 20 }),
    scheduler,
    ...LIMITS,
  });
  let greatest = 0;
  const begun = performance.now();
  for (let from = 0; from < BLOGS; from += BATCH) {
    const batch = batchOf(from);
    nowMs = batch.ts.at(-1)!;
    for (;;) {
      try {
        await engine.ingestBatch(batch);
        break;
      } catch (error) {
        if ((error as { code?: string }).code !== "overloaded") throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const { own, mapped } = memoryOf();
    if (own > greatest) greatest = own;
    if ((from / BATCH) % 200 === 199) {
      const blogs = ((from + BATCH) / 1e6).toFixed(0).padStart(3);
      process.stdout.write(
        `${blogs} M blogs: ${own.toFixed(0)} MiB, and ${mapped.toFixed(0)} MiB of the file\n`,
      );
    }
  }
  await engine.checkpoint();
  const seconds = (performance.now() - begun) / 1000;
  const { results } = await engine.query({ date_range: "all", metrics: ["views"] });
  const other = await engine.query({
    date_range: "all",
    metrics: ["views"],
    dimensions: ["blog"],
    filters: [["is", "blog", ["(other)"]]],
  });
  const [total, rest] = [results[0]!.metrics[0]!, other.results[0]!.metrics[0]!];
  if (total !== BLOGS || rest !== BLOGS - LIMITS.maxValuesPerDimension)
    throw new Error(`BUG: ${total} views, ${rest} of (other)`);
  await engine.close();
  process.stdout.write(
    `${BLOGS} distinct blogs in ${seconds.toFixed(0)} s: total exact, ${rest} in (other); greatest memory ` +
      `${greatest.toFixed(0)} MiB (bar ≤ ${BOUND_MIB} MiB: ${greatest <= BOUND_MIB ? "held" : "missed"})\n`,
  );
}

if (process.argv[2] === "flood") await flood(process.argv[3]!);
else {
  const path = await mkdtemp(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-memory-"));
  try {
    const group = makeGroup();
    const enter = group === undefined ? "" : `echo $$ > ${group}/cgroup.procs && `;
    const node = `exec "${process.execPath}" --max-old-space-size=300 "${SELF}" flood "${path}"`;
    const { stdout, status, signal } = spawnSync("sh", ["-c", enter + node], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    process.stdout.write(group === undefined ? "no control group: the bound is not enforced\n" : "");
    process.stdout.write(stdout);
    if (group !== undefined) rmdirSync(group);
    if (status !== 0) throw new Error(`the process ended with ${status ?? signal}`);
  } finally {
    await rm(path, { recursive: true });
  }
}
