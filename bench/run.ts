/**
 * Runs the benchmarks, one process each, and keeps what they printed in bench/RESULTS.md.
 *
 *   npm run bench              all of them
 *   npm run bench -- ingest    one
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

const BENCHMARKS = [
  "sketch",
  "calendar",
  "ingest",
  "storage",
  "raw",
  "cells",
  "recovery",
  "memory",
  "live",
  "query",
  "decode",
];
const RESULTS = fileURLToPath(new URL("RESULTS.md", import.meta.url));

function run(name: string): string {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  process.stdout.write(`\n== ${name}\n`);
  const { stdout, status } = spawnSync(process.execPath, ["--expose-gc", "--import", "tsx", file], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`bench/${name}.ts ended with ${status}`);
  return stdout.trimEnd();
}

/** Sections that were not run this time are kept as they are. */
function keep(results: ReadonlyMap<string, string>): string {
  const sections = new Map<string, string>();
  for (const [, name, section] of readResults().matchAll(/^## (\S+)\n([\s\S]*?)(?=^## |(?![\s\S]))/gm)) {
    sections.set(name!, section!.trim());
  }
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const dirty = execFileSync("git", ["status", "--porcelain", "engine", "storage", "server"], {
    encoding: "utf8",
  });
  const where = `${new Date().toISOString().slice(0, 10)}, commit ${commit}${dirty === "" ? "" : " with changes"}, ${machine()}`;
  for (const [name, output] of results) sections.set(name, `${where}\n\n\`\`\`\n${output}\n\`\`\``);
  const body = BENCHMARKS.filter((name) => sections.has(name)).map(
    (name) => `## ${name}\n\n${sections.get(name)}\n`,
  );
  return `# Results\n\nThe last run of each benchmark (\`npm run bench\`). The machines are shared and noisy: trust the ratios,\nwhich are measured side by side in one run, more than the absolute figures.\n\n${body.join("\n")}`;
}

function readResults(): string {
  try {
    return readFileSync(RESULTS, "utf8");
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
const results = new Map((asked.length > 0 ? asked : BENCHMARKS).map((name) => [name, run(name)]));
writeFileSync(RESULTS, keep(results));
