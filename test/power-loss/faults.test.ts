import t from "tap";
import { needs, requireAll } from "../support/env.js";
import { LOSSES, readTrace, type Step } from "./disk.js";
import { checkImages, compile, directory, hasCompiler, marksOf, runTraced, tell } from "./rig.js";
import type { Job } from "./worker.js";

/** Which of every so many faults; the same ones, unless told otherwise: main is green or it is not. */
const SEED = Number(process.env["TIDEMARK_SEED"] ?? 0);
/** Each fault, k = 1, 2, 3 …, where everything is required; else every so many of them. */
const STEP = process.env["TIDEMARK_FAULTS"] === "all" ? 1 : requireAll ? 8 : 400;

const EIO = 5;
const ENOSPC = 28;

/**
 * LMDB itself dies when the very first write of a new file fails, within its open: writes are counted from the second
 * on.
 */
const KINDS = [
  {
    name: "the k-th sync fails (EIO)",
    kind: "sync",
    errno: EIO,
    times: 1,
    first: 1,
    step: Math.ceil(STEP / 2),
  },
  { name: "the k-th write fails (EIO)", kind: "write", errno: EIO, times: 1, first: 2, step: STEP },
  { name: "the k-th write fails half-way (EIO)", kind: "torn", errno: EIO, times: 1, first: 2, step: STEP },
  {
    name: "the disk is full from the k-th write on, for a while",
    kind: "write",
    errno: ENOSPC,
    times: 20,
    first: 2,
    step: STEP,
  },
] as const;

t.setTimeout(600_000);
t.comment(`TIDEMARK_SEED=${SEED}`);

for (const { name, kind, errno, times, first, step } of KINDS) {
  const sentence = `${name}: nothing acknowledged is lost, the process lives, and goes on`;
  t.test(sentence, needs(hasCompiler, "gcc is not on this machine"), async (t) => {
    const scratch = directory(t);
    const root = directory(t);
    const from = first + (SEED % step);
    const args = [kind, errno, times, from, step].map(String);
    const end = await runTraced(compile(scratch), root, args, "faulty-child.ts");
    const steps = readTrace(end.trace);
    const { said } = marksOf(steps);
    const scenarios = said.filter((line) => line.startsWith("ended ")).length;
    t.match(end, { code: 0, signal: null }, `after ${scenarios} scenarios`, {
      last: said.slice(-5),
      errors: end.errors.slice(-2000),
    });
    t.same(
      said.filter((line) => line.startsWith("unhandled ")),
      [],
      "no rejection without a handler",
    );
    t.equal(said.at(-1), "done", "until a scenario ended without the fault");
    const restarted = said.filter((line) => /^restarts [1-9]/.test(line)).length;
    t.comment(`${scenarios} scenarios; in ${restarted} of them the engine had to be opened anew`);
    const jobs = jobsOf(steps);
    const findings = await checkImages({ trace: end.trace, scratch, mode: "engine" }, jobs);
    t.same(tell(findings, end.trace), [], `${jobs.length} images`);
  });
}

/** Of each scenario its end, and one acknowledgement; each with another loss. */
function jobsOf(steps: readonly Step[]): Job[] {
  const moments: number[] = [];
  let acknowledged: number[] = [];
  steps.forEach(({ type, data }, i) => {
    const text = type === "M" ? data.toString() : "";
    if (text.startsWith("acked ")) acknowledged.push(i + 1);
    if (!text.startsWith("ended ")) return;
    moments.push(acknowledged[(SEED + moments.length) % acknowledged.length]!, i + 1);
    acknowledged = [];
  });
  return moments.map((step, number) => ({
    number,
    step,
    loss: LOSSES[(SEED + number * 2 + Math.floor(number / 6)) % LOSSES.length]!,
    seed: (SEED + number) % 2 ** 31,
  }));
}
