/**
 * The project compiled once for a whole run of the tests, or of benchmarks, and every process that they start: from
 * JavaScript each of those starts in a third of the time, and nothing is measured that would not be run. Types are for
 * `npm run typecheck`.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import type Typescript from "typescript";

const COMPILED = ["engine", "storage", "server", "test", "examples", "bench"];
/** Times of files are not kept to the last digit. */
const SAME_MS = 1;
const LEFT_OUT: ReadonlySet<string> = new Set([...COMPILED, ".git", ".tap", "coverage", "data"]);

/** Compiles what has changed, and returns the folder: the project as it is, with a `.js` beside every `.ts`. */
export async function compileProject(root: string): Promise<string> {
  const home = join(root, ".tap", "compiled");
  const output = join(home, "main");
  mkdirSync(output, { recursive: true });
  link(join(root, "..", "shared"), join(home, "shared"));
  for (const name of readdirSync(root)) if (!LEFT_OUT.has(name)) link(join(root, name), join(output, name));
  const configured = statSync(join(root, "tsconfig.json")).mtimeMs;
  const folders = COMPILED.filter((name) => existsSync(join(root, name)));
  for (const name of folders) unlink(join(output, name));
  const old = folders.flatMap((name) => [...mirror(join(root, name), join(output, name), configured)]);
  if (old.length > 0) await compile(root, old);
  return output;
}

interface Job {
  readonly folder: string;
  readonly name: string;
  readonly source: string;
  readonly output: string;
}

/** What is not compiled is linked; what is to be compiled again is returned. */
function* mirror(from: string, to: string, configured: number): Generator<Job> {
  mkdirSync(to, { recursive: true });
  const entries = readdirSync(from, { withFileTypes: true });
  const known = new Set(entries.map(({ name }) => stemOf(name)));
  for (const name of readdirSync(to)) {
    if (!known.has(stemOf(name))) rmSync(join(to, name), { recursive: true, force: true });
  }
  for (const entry of entries) {
    const { name } = entry;
    const source = join(from, name);
    if (entry.isDirectory()) {
      yield* mirror(source, join(to, name), configured);
      continue;
    }
    link(source, join(to, name));
    const output = join(to, name.replace(/\.ts$/, ".js"));
    if (name.endsWith(".ts") && !isCurrent(source, output, configured)) {
      yield { folder: from, name, source, output };
    }
  }
}

/** What a file has in common with what is made of it. */
function stemOf(name: string): string {
  return name.replace(/\.(?:ts|js)(?:\.map|\.\d+)?$/, "");
}

function isCurrent(source: string, output: string, configured: number): boolean {
  const compiled = statSync(output, { throwIfNoEntry: false });
  if (compiled === undefined || compiled.ctimeMs < configured) return false;
  return Math.abs(statSync(source).mtimeMs - compiled.mtimeMs) < SAME_MS;
}

async function compile(root: string, jobs: readonly Job[]): Promise<void> {
  const { default: ts } = await import("typescript");
  const text = readFileSync(join(root, "tsconfig.json"), "utf8");
  const { compilerOptions: given } = JSON.parse(text) as { compilerOptions: unknown };
  const { options } = ts.convertCompilerOptionsFromJson(given, root);
  // One file alone does not show that the package is of modules.
  options.module = ts.ModuleKind.ESNext;
  for (const job of jobs) compileOne(ts, options, job);
}

/** Renamed into place, because somebody else may compile, or run, at the same time. */
function compileOne(
  ts: typeof Typescript,
  options: Typescript.CompilerOptions,
  { folder, name, source, output }: Job,
): void {
  const time = statSync(source).mtime;
  const sourceRoot = `${pathToFileURL(folder).href}/`;
  const compilerOptions = { ...options, noEmit: false, declaration: false, sourceRoot };
  const { outputText, sourceMapText } = ts.transpileModule(readFileSync(source, "utf8"), {
    compilerOptions,
    fileName: name,
  });
  writeFileSync(`${output}.map`, sourceMapText!);
  const unfinished = `${output}.${process.pid}`;
  writeFileSync(unfinished, outputText);
  utimesSync(unfinished, time, time);
  renameSync(unfinished, output);
}

/** What is compiled now was once not: nothing may be written through the link. */
function unlink(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) rmSync(path);
}

/** Relative, so that a copy of the project has links of its own. */
function link(target: string, path: string): void {
  try {
    symlinkSync(relative(dirname(path), target), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
