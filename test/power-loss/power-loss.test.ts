import { readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { needs } from "../support/env.js";
import { readTrace, TracedDisk } from "./disk.js";
import {
  checkImages,
  chooseJobs,
  compile,
  directory,
  hasCompiler,
  marksOf,
  runTraced,
  tell,
  type Finding,
} from "./rig.js";

/** Disk images after a power loss; 10,000 in a long run. */
const IMAGES = Number(process.env["TIDEMARK_IMAGES"] ?? 30);
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const IMAGES_PER_RUN = 1000;
const BATCHES_PER_RUN = 100;
/** Of LMDB alone: one lot, or as many as it takes to find a loss. */
const RAW_IMAGES = 80;
const RAW_LOTS = 12;

const needsCompiler = needs(hasCompiler, "gcc is not on this machine");

t.setTimeout(120_000 + IMAGES * 500);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_IMAGES=${IMAGES}`);

t.test(
  `what was acknowledged is there after each of ${IMAGES} power losses, once, and nothing in part`,
  needsCompiler,
  async (t) => {
    const scratch = directory(t);
    const library = compile(scratch);
    let acknowledged = 0;
    for (let checked = 0, run = 0; checked < IMAGES; checked += IMAGES_PER_RUN, run++) {
      const seed = (SEED + run) % 2 ** 31;
      const root = directory(t);
      const { trace, ...end } = await runTraced(library, root, ["engine", `${seed}`, `${BATCHES_PER_RUN}`]);
      t.match(end, { code: 0, signal: null }, "the traced process ends in good order");
      const steps = readTrace(trace);
      checkTrace(t, root, steps);
      acknowledged += marksOf(steps).acknowledged.size;
      const jobs = chooseJobs(steps, Math.min(IMAGES_PER_RUN, IMAGES - checked), seed);
      const findings = await checkImages({ trace, scratch, mode: "engine" }, jobs);
      t.same(tell(findings, trace), [], `${jobs.length} images of run ${run + 1}`);
    }
    t.comment(`${acknowledged} batches acknowledged`);
  },
);

/** The trace is only worth something if all of it, played again, gives the very same file. */
function checkTrace(t: Test, root: string, steps: ReturnType<typeof readTrace>): void {
  const disk = new TracedDisk(steps);
  disk.advance(steps.length);
  const replayed = disk.image("store/data.mdb", "all", () => 0);
  t.ok(
    replayed?.equals(readFileSync(`${root}/store/data.mdb`)),
    "the whole trace gives the file byte for byte",
  );
  const syncs = steps.filter(({ type }) => type === "E").length;
  t.ok(syncs > BATCHES_PER_RUN / 4, `${syncs} syncs`);
  const marks = marksOf(steps);
  t.equal(marks.acknowledged.size, marks.sent.size);
  t.same(marks.said, ["begun", "done"]);
}

t.test("the rig finds the losses of LMDB's default, and none without it", needsCompiler, async (t) => {
  const scratch = directory(t);
  const library = compile(scratch);
  const check = async (mode: "raw" | "raw-overlapping", lots: number): Promise<string[]> => {
    const { trace, ...end } = await runTraced(library, directory(t), [mode, `${SEED}`, "150"]);
    t.match(end, { code: 0, signal: null });
    const steps = readTrace(trace);
    const findings: Finding[] = [];
    for (let lot = 0; lot < lots && findings.length === 0; lot++) {
      findings.push(
        ...(await checkImages({ trace, scratch, mode }, chooseJobs(steps, RAW_IMAGES, SEED + lot))),
      );
    }
    return findings.map(({ job, error }) => `${job.loss}: ${error}`);
  };
  t.same(await check("raw", 1), [], "overlappingSync: false");
  const lost = await check("raw-overlapping", RAW_LOTS);
  t.ok(lost.length > 0, `overlappingSync: true: ${lost.length} bad images, such as "${lost[0]}"`);
});
