/**
 * Runs the benchmarks, one process each, and keeps what they printed in bench/RESULTS.md, and the same with their
 * figures as numbers in bench/results.json.
 *
 *   npm run bench              all of them
 *   npm run bench -- ingest    one
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProject } from "../test/support/compile.js";
import { FIGURES, FIGURES_FD } from "./figures.js";

const BENCHMARKS = [
  "sketch",
  "calendar",
  "ingest",
  "http",
  "storage",
  "raw",
  "cells",
  "recovery",
  "memory",
  "steady",
  "live",
  "query",
  "decode",
];
const RESULTS = fileURLToPath(new URL("RESULTS.md", import.meta.url));
const RESULTS_JSON = fileURLToPath(new URL("results.json", import.meta.url));

/** What one benchmark said. */
interface Result {
  readonly output: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** Where and when it was. */
interface Run {
  readonly date: string;
  readonly commit: string;
  /** Whether the code measured was that of the commit. */
  readonly changed: boolean;
  readonly machine: string;
  /** Processes that wanted to run, at the start, over a minute: the neighbours. */
  readonly load: number;
}

/** `compiled`: the project as plain JavaScript, as it is in production. */
function run(name: string, compiled: string): Result {
  const file = join(compiled, "bench", `${name}.js`);
  process.stdout.write(`\n== ${name}\n`);
  const { stdout, output, status } = spawnSync(process.execPath, ["--expose-gc", file], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit", "pipe"],
    env: { ...process.env, [FIGURES]: "1" },
  });
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`bench/${name}.ts ended with ${status}`);
  const lines = (output[FIGURES_FD] ?? "").split("\n").filter((line) => line !== "");
  const figures = Object.fromEntries(lines.map((line) => JSON.parse(line) as [string, number]));
  return { output: stdout.trimEnd(), figures };
}

function thisRun(): Run {
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: git("rev-parse", "--short", "HEAD"),
    changed: git("status", "--porcelain", "engine", "storage", "server") !== "",
    machine: machine(),
    load: loadavg()[0]!,
  };
}

/** Sections that were not run this time are kept as they are. */
function keep({ date, commit, changed, machine }: Run, results: ReadonlyMap<string, Result>): string {
  const sections = new Map<string, string>();
  for (const [, name, section] of read(RESULTS).matchAll(/^## (\S+)\n([\s\S]*?)(?=^## |(?![\s\S]))/gm)) {
    sections.set(name!, section!.trim());
  }
  const where = `${date}, commit ${commit}${changed ? " with changes" : ""}, ${machine}`;
  for (const [name, { output }] of results) sections.set(name, `${where}\n\n\`\`\`\n${output}\n\`\`\``);
  const body = BENCHMARKS.filter((name) => sections.has(name)).map(
    (name) => `## ${name}\n\n${sections.get(name)}\n`,
  );
  return `# Results\n\nThe last run of each benchmark (\`npm run bench\`). The machines are shared and noisy: trust the ratios,\nwhich are measured side by side in one run, more than the absolute figures.\n\n${body.join("\n")}`;
}

/** The same by benchmark. */
function keepJson(run: Run, results: ReadonlyMap<string, Result>): string {
  const known = JSON.parse(read(RESULTS_JSON) || "{}") as Record<string, unknown>;
  for (const [name, { output, figures }] of results)
    known[name] = { ...run, figures, output: output.split("\n") };
  const ordered = BENCHMARKS.filter((name) => name in known).map((name) => [name, known[name]]);
  return `${JSON.stringify(Object.fromEntries(ordered), undefined, 2)}\n`;
}

/** Empty when there is none. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function machine(): string {
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${gib} GiB, Node ${process.version}`;
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !BENCHMARKS.includes(name));
if (unknown.length > 0)
  throw new Error(`No benchmark ${unknown.join(", ")}; there are ${BENCHMARKS.join(", ")}.`);
const made = thisRun();
const compiled = await compileProject(fileURLToPath(new URL("..", import.meta.url)));
const results = new Map((asked.length > 0 ? asked : BENCHMARKS).map((name) => [name, run(name, compiled)]));
writeFileSync(RESULTS, keep(made, results));
writeFileSync(RESULTS_JSON, keepJson(made, results));
