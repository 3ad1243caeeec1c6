import { fork, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { LOSSES, type Step } from "./disk.js";
import { Marks } from "./workload.js";
import type { Assignment, Job, Outcome } from "./worker.js";
import { argsAt, programAt } from "../support/program.js";
import { mulberry32 } from "../support/random.js";

const TRACE = fileURLToPath(new URL("trace.c", import.meta.url));

export const hasCompiler = spawnSync("gcc", ["--version"]).status === 0 && process.platform === "linux";

/** Images need no real disk: memory is faster. */
const FAST = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
/** So many images take longer than the start of a process that checks them. */
const WORTH_A_PROCESS = 40;
/** A process that writes nothing for so long hangs. */
const STILL_MS = 60_000;
/** An image that hangs is a bad one. */
const IMAGE_TIMEOUT_MS = 60_000;

/** A directory that goes with the test. */
export function directory(t: Test): string {
  const path = mkdtempSync(join(FAST, "tidemark-power-"));
  t.teardown(() => {
    for (const each of [path, traceOf(path)]) rmSync(each, { recursive: true, force: true });
  });
  return path;
}

/** Where the trace of a process goes that works in this directory. */
function traceOf(root: string): string {
  return `${root}.trace`;
}

/** Compiles trace.c; the path of the library. */
export function compile(into: string): string {
  const library = join(into, "trace.so");
  const flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"];
  const { status, stderr } = spawnSync("gcc", [...flags, "-o", library, TRACE, "-ldl", "-lpthread"]);
  if (status !== 0) throw new Error(String(stderr));
  return library;
}

export interface Run {
  readonly trace: string;
  readonly root: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly errors: string;
}

function killWhenStill(child: ChildProcess, trace: string): NodeJS.Timeout {
  const sizeOf = (): number => statSync(trace, { throwIfNoEntry: false })?.size ?? 0;
  let last = 0;
  return setInterval(() => {
    const size = sizeOf();
    if (size === last) child.kill("SIGKILL");
    last = size;
  }, STILL_MS);
}

/** Runs child (or another script beside it) under the trace. */
export async function runTraced(
  library: string,
  root: string,
  args: readonly string[],
  script = "child",
): Promise<Run> {
  const trace = traceOf(root);
  const [mode, ...rest] = args as [string, ...string[]];
  const env = {
    ...process.env,
    NODE_OPTIONS: "",
    // A ring would write past the C library.
    UV_USE_IO_URING: "0",
    LD_PRELOAD: library,
    TRACE_FILE: trace,
    TRACE_ROOT: root,
  };
  const child = spawn(process.execPath, [...argsAt(script, import.meta.url), mode, root, ...rest], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const watch = killWhenStill(child, trace);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  clearInterval(watch);
  return { trace, root, code, signal, errors };
}

/** Half of `count` images right after an acknowledgement, a quarter just before a sync ends, a quarter at any moment. */
export function chooseJobs(steps: readonly Step[], count: number, seed: number): Job[] {
  const random = mulberry32(seed);
  const moments = momentsOf(steps);
  const jobs = Array.from({ length: count }, (_, number): Job => {
    const choices = [moments.acknowledged, moments.unsynced, moments.acknowledged, moments.any][number % 4]!;
    // Spread over the whole run, however few there are.
    const at = Math.floor((number * choices.length) / count + random()) % choices.length;
    return {
      number,
      step: choices[at]!,
      loss: LOSSES[Math.floor(number / 4) % LOSSES.length]!,
      seed: Math.floor(random() * 2 ** 31),
    };
  });
  return jobs.sort((a, b) => a.step - b.step);
}

/** From the first mark on: numbers of steps that have happened. */
function momentsOf(steps: readonly Step[]): Record<"acknowledged" | "unsynced" | "any", number[]> {
  const moments = { acknowledged: [] as number[], unsynced: [] as number[], any: [] as number[] };
  steps.forEach(({ type, data }, i) => {
    if (type !== "M" && moments.any.length === 0) return;
    moments.any.push(i + 1);
    if (type === "M" && data.toString().startsWith("acked ")) moments.acknowledged.push(i + 1);
    if (type === "E" || type === "D") moments.unsynced.push(i);
  });
  return moments;
}

export interface Finding {
  readonly job: Job;
  readonly error: string;
}

/** Checks every image, in processes that may die; what is wrong with which. */
export async function checkImages(
  options: Omit<Assignment, "jobs">,
  jobs: readonly Job[],
): Promise<Finding[]> {
  const workers = Math.min(2, availableParallelism(), Math.ceil(jobs.length / WORTH_A_PROCESS));
  const share = Math.ceil(jobs.length / workers);
  const findings = await Promise.all(
    Array.from({ length: workers }, async (_, i) => {
      const scratch = join(options.scratch, `worker-${i}`);
      mkdirSync(scratch, { recursive: true });
      return await checkShare({ ...options, scratch }, jobs.slice(i * share, (i + 1) * share));
    }),
  );
  return findings.flat();
}

async function checkShare(options: Omit<Assignment, "jobs">, jobs: readonly Job[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (let rest = jobs; rest.length > 0;) {
    const { outcomes, death } = await checkUntilDeath({ ...options, jobs: rest });
    for (const { number, error } of outcomes) {
      if (error !== "")
        findings.push({ job: jobs.find((job) => job.number === number)!, error: error ?? death });
    }
    const begun = outcomes.length;
    if (begun === 0) throw new Error(`the worker did not begin: ${death}`);
    rest = rest.slice(begun);
  }
  return findings;
}

/** One process: the outcome of each image that it began; the last has no verdict when the process died of it. */
async function checkUntilDeath(assignment: Assignment): Promise<{ outcomes: Outcome[]; death: string }> {
  const { path, flags } = programAt("worker", import.meta.url);
  const worker = fork(path, {
    execArgv: [...flags],
    env: { ...process.env, NODE_OPTIONS: "" },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let errors = "";
  worker.stderr!.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-2000)));
  const outcomes: Outcome[] = [];
  let timer: NodeJS.Timeout | undefined;
  worker.on("message", (outcome: Outcome) => {
    clearTimeout(timer);
    timer = setTimeout(() => worker.kill("SIGKILL"), IMAGE_TIMEOUT_MS);
    if (outcome.error === undefined) outcomes.push(outcome);
    else outcomes[outcomes.length - 1] = outcome;
  });
  worker.send(assignment);
  const [code, signal] = (await once(worker, "close")) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  return { outcomes, death: `the process died (${signal ?? code}) ${errors}` };
}

/** What the process said in all of its marks. */
export function marksOf(steps: readonly Step[]): Marks {
  const marks = new Marks();
  for (const { type, data } of steps) if (type === "M") marks.read(data.toString());
  return marks;
}

/** What is wrong, in words. The trace is kept: the same run never comes again. */
export function tell(findings: readonly Finding[], trace: string): string[] {
  if (findings.length === 0) return [];
  const kept = join(tmpdir(), basename(trace));
  copyFileSync(trace, kept);
  const told = findings.map(({ job, error }) => `step ${job.step}, ${job.loss}, seed ${job.seed}: ${error}`);
  return [`the trace is in ${kept}`, ...told.slice(0, 10)];
}
