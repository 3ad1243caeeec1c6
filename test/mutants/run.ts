/**
 * `npm run mutants [-- name…]`: plants each bug of list.ts in a copy of the tree and runs the command that must find it.
 * Names are those of bugs or of commands.
 * Prints what was found by what, and `N of N caught`; fails when one was not.
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProject } from "../support/compile.js";
import { COMMANDS, MUTANTS, type Mutant } from "./list.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const COPIED = ["engine", "storage", "server", "test", "package.json", "tsconfig.json"];
/** A bug that makes its command hang is found too. */
const TIMEOUT_MS = 240_000;
const TAIL = 1500;

type CommandName = keyof typeof COMMANDS;

interface Run {
  readonly isGood: boolean;
  readonly seconds: number;
  readonly output: string;
}

async function copyTree(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), "tidemark-mutants-"));
  for (const name of COPIED) await cp(join(ROOT, name), join(copy, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  return copy;
}

async function run(copy: string, name: CommandName): Promise<Run> {
  const { args, env } = COMMANDS[name];
  const begun = performance.now();
  const compiled = await compileProject(copy);
  const [script, ...rest] = args;
  const program = join(compiled, script.replace(/\.ts$/, ".js"));
  const child = spawn(process.execPath, ["--enable-source-maps", program, ...rest], {
    cwd: copy,
    env: { ...process.env, NODE_OPTIONS: "", ...env },
    // A group of its own, so that a command that hangs goes with its children.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-TAIL)));
  }
  const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), TIMEOUT_MS);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  return { isGood: code === 0, seconds: (performance.now() - begun) / 1000, output };
}

async function plant(copy: string, { file, before, after }: Mutant): Promise<() => Promise<void>> {
  const path = join(copy, file);
  const text = await readFile(path, "utf8");
  if (text.split(before).length !== 2) throw new Error(`${file} does not have this exactly once: ${before}`);
  await writeFile(
    path,
    text.replace(before, () => after),
  );
  return () => writeFile(path, text);
}

async function main(wanted: readonly string[]): Promise<void> {
  const isWanted = ({ name, caughtBy }: Mutant): boolean =>
    wanted.length === 0 || wanted.includes(name) || wanted.includes(caughtBy);
  const mutants = MUTANTS.filter(isWanted);
  const copy = await copyTree();
  try {
    for (const command of new Set(mutants.map(({ caughtBy }) => caughtBy))) {
      const { isGood, seconds, output } = await run(copy, command);
      if (!isGood) throw new Error(`without a bug, "${command}" fails already:\n${output}`);
      say(`without a bug: ${command} is good (${seconds.toFixed(0)} s)`);
    }
    let caught = 0;
    for (const mutant of mutants) if (await isCaught(copy, mutant)) caught++;
    say(`${caught} of ${mutants.length} caught`);
    process.exitCode = caught === mutants.length && caught > 0 ? 0 : 1;
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function isCaught(copy: string, mutant: Mutant): Promise<boolean> {
  const undo = await plant(copy, mutant);
  const { isGood, seconds } = await run(copy, mutant.caughtBy);
  await undo();
  say(`${isGood ? "NOT CAUGHT" : "caught"}  ${mutant.name} (${mutant.caughtBy}, ${seconds.toFixed(0)} s)`);
  return !isGood;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main(process.argv.slice(2));
