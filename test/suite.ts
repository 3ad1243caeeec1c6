/** Runs the test files that it is given, compiled, each in a process of its own, two at a time, as one TAP stream. */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const HERE = fileURLToPath(new URL("../", import.meta.url));
const FLAGS = ["--enable-source-maps", `--import=${new URL("support/untracked.js", import.meta.url).href}`];
const JOBS = Number(process.env["TIDEMARK_JOBS"] ?? 2);
/** Tests have limits of their own; this one is for what hangs. */
const TIMEOUT_MS = 900_000;

const env = { ...process.env, TAP_TIMEOUT: String(TIMEOUT_MS / 1000) };

t.jobs = JOBS;
// Each file has a limit of its own, all of them together have none.
t.setTimeout(0);
for (const file of process.argv.slice(2)) {
  const name = relative(HERE, file).replace(/\.js$/, ".ts");
  void t.spawn(process.execPath, [...FLAGS, file], { buffered: true, timeout: TIMEOUT_MS, env }, name);
}
