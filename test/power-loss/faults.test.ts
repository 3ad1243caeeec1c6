import t, { type Test } from "tap";
import { needs } from "../support/env.js";
import { LOSSES, readTrace, type Step } from "./disk.js";
import { checkImages, compile, directory, hasCompiler, marksOf, runTraced, tell, type Run } from "./rig.js";
import type { Job } from "./worker.js";

/** Which of every so many faults; the same ones, unless told otherwise: main is green or it is not. */
const SEED = Number(process.env["TIDEMARK_SEED"] ?? 0);
const FAULTS = process.env["TIDEMARK_FAULTS"] ?? "sample";
/** Every so many faults one; all of them are k = 1, 2, 3 …; a sample is one of each kind. */
const STEP = FAULTS === "all" ? 1 : FAULTS === "sample" ? 1000 : Number(FAULTS);

const EIO = 5;
const ENOSPC = 28;

/**
 * lmdb 3.5.6 writes its message past the end of a buffer when a page write fails, and may die of it then or later; of
 * nothing else. LMDB itself dies when the very first write of a new file fails, within its open: writes are counted
 * from the second on. The samples are writes of meta pages, after which LMDB refuses to go on and leaves behind one
 * that no transaction wrote.
 */
const KINDS = [
  {
    name: "the k-th sync fails (EIO)",
    kind: "sync",
    errno: EIO,
    times: 1,
    first: 1,
    sample: 5,
    step: FAULTS === "sample" ? STEP : Math.ceil(STEP / 2),
  },
  {
    name: "the k-th write fails (EIO)",
    kind: "write",
    errno: EIO,
    times: 1,
    first: 2,
    sample: 31,
    step: STEP,
  },
  {
    name: "the k-th write fails half-way (EIO)",
    kind: "torn",
    errno: EIO,
    times: 1,
    first: 2,
    sample: 35,
    step: STEP,
  },
  {
    name: "the disk is full from the k-th write on, for a while",
    kind: "write",
    errno: ENOSPC,
    times: 20,
    first: 2,
    sample: 64,
    step: STEP,
  },
] as const;

/** What a process ends with whose heap is broken. */
const BROKEN_HEAP: ReadonlySet<unknown> = new Set(["SIGABRT", "SIGSEGV", "SIGBUS"]);
/** More of them than one in so many faults were no accident. */
const DEATHS_IN = 10;

t.setTimeout(120_000 + 4_000_000 / STEP);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_FAULTS=${FAULTS}`);

const tools = directory(t);
const library = hasCompiler ? compile(tools) : "";

for (const fault of KINDS) {
  const sentence = `${fault.name}: nothing acknowledged is lost, and it goes on, in the process or in the next one`;
  t.test(sentence, needs(hasCompiler, "gcc is not on this machine"), async (t) => {
    let [scenarios, met, restarted, deaths] = [0, 0, 0, 0];
    for (let from = FAULTS === "sample" ? fault.sample : fault.first + (SEED % fault.step); ;) {
      const { end, said, last } = await runFrom(t, fault, from);
      scenarios += said.filter((line) => line.startsWith("ended ")).length;
      met += said.filter((line) => /^=counted .* 1$/.test(line)).length;
      restarted += said.filter((line) => /^restarts [1-9]/.test(line)).length;
      if (end.signal === null || fault.kind === "sync" || !BROKEN_HEAP.has(end.signal)) break;
      t.comment(`${end.signal} at k = ${last}: ${end.errors.trim().split("\n").at(-1)}`);
      deaths++;
      from = last + fault.step;
    }
    t.ok(met > 0, `${met} faults were met`);
    t.comment(`${scenarios} scenarios; in ${restarted} of them the engine had to be opened anew`);
    t.ok(deaths <= Math.ceil(scenarios / DEATHS_IN), `${deaths} deaths of a broken heap`);
  });
}

/** The scenarios from one fault on, until one ends without it or the process dies. */
async function runFrom(
  t: Test,
  { kind, errno, times, step }: (typeof KINDS)[number],
  from: number,
): Promise<{ end: Run; said: readonly string[]; last: number }> {
  const scratch = directory(t);
  const args = [kind, errno, times, from, step].map(String);
  const end = await runTraced(library, directory(t), args, "faulty-child");
  const steps = readTrace(end.trace);
  const { said, store } = marksOf(steps);
  const hasDied = BROKEN_HEAP.has(end.signal) && kind !== "sync";
  if (!hasDied) {
    const more = { last: said.slice(-5), store, errors: end.errors.slice(-2000) };
    t.match(end, { code: 0, signal: null }, `from k = ${from}`, more);
    t.equal(said.at(-1), "done", "until a scenario ended without the fault");
  }
  t.same(
    said.filter((line) => line.startsWith("unhandled ")),
    [],
    "no rejection without a handler",
  );
  const jobs = jobsOf(steps);
  const findings = await checkImages({ trace: end.trace, scratch, mode: "engine" }, jobs);
  t.same(tell(findings, end.trace), [], `${jobs.length} images`);
  const last = Number(store.replace("store-", ""));
  t.ok(last >= from, `up to k = ${last}`);
  return { end, said, last };
}

/** Of each scenario its end, and one acknowledgement; each with another loss. */
function jobsOf(steps: readonly Step[]): Job[] {
  const moments: number[] = [];
  let acknowledged: number[] = [];
  const finish = (step: number): void => {
    const one = acknowledged[(SEED + moments.length) % acknowledged.length];
    moments.push(...(one === undefined ? [] : [one]), step);
    acknowledged = [];
  };
  steps.forEach(({ type, data }, i) => {
    const text = type === "M" ? data.toString() : "";
    if (text.startsWith("acked ")) acknowledged.push(i + 1);
    if (text.startsWith("ended ")) finish(i + 1);
  });
  // The process died before the end of one.
  if (acknowledged.length > 0) finish(steps.length);
  return moments.map((step, number) => ({
    number,
    step,
    loss: LOSSES[(SEED + number * 2 + Math.floor(number / 6)) % LOSSES.length]!,
    seed: (SEED + number) % 2 ** 31,
  }));
}
