/**
 * Runs test files, compiled, two processes at a time, as one TAP stream. Each argument is a process: the files that run
 * in it, one after the other, with `:` between them.
 */
import { delimiter, relative } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const HERE = fileURLToPath(new URL("../", import.meta.url));
const FLAGS = [`--import=${new URL("support/untracked.js", import.meta.url).href}`];
const TOGETHER = fileURLToPath(new URL("support/together.js", import.meta.url));
const JOBS = Number(process.env["TIDEMARK_JOBS"] ?? 2);
/** Tests have limits of their own; this one is for what hangs. */
const TIMEOUT_MS = 900_000;

const env = { ...process.env, TAP_TIMEOUT: String(TIMEOUT_MS / 1000) };

function spawn(args: readonly string[], name: string): void {
  void t.spawn(process.execPath, [...FLAGS, ...args], { buffered: true, timeout: TIMEOUT_MS, env }, name);
}

t.jobs = JOBS;
// Each process has a limit of its own, all of them together have none.
t.setTimeout(0);
for (const argument of process.argv.slice(2)) {
  const files = argument.split(delimiter);
  if (files.length === 1) spawn(files, relative(HERE, files[0]!).replace(/\.js$/, ".ts"));
  else spawn([TOGETHER, ...files], `${files.length} files in one process`);
}
