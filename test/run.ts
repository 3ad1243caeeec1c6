/**
 * `npm test [-- FILE-OR-FOLDER…]`: compiles the project, runs the test files, shows one line a file and everything that failed,
 * keeps tap's exit code, and ends with the line `N passed, N failed`, counted by tap in assertions.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { delimiter, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { compileProject } from "./support/compile.js";
import { processesOf } from "./support/processes.js";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
/** Run only when they are named, as `npm run test:long` and CI do: kills, power loss, faults, damage, whole processes. */
const LONG: readonly string[] = [
  "server/main",
  "kill",
  "power-loss/faults",
  "power-loss/power-loss",
  "storage/salvage",
  "storage/damaged-copies",
].map(testFile);

function testFile(name: string): string {
  return `test/${name}.test.ts`;
}

const INDENT = 4;
const POINT = /^( *)(not )?ok \d+(?: - )?(.*)$/;
const SUBTEST = /^( *)# Subtest: (.*)$/;
/** Of tap as a whole: the last line that says how many there were. */
const SUMMARY = /^# \{ total: \d+(.*) \}$/;
/** A point that is a test file, and not one of the tests in it. */
const FILE = /^test\/\S+\.test\.ts(?= |$)/;
const NOISE = /^ *(?:1\.\.\d+.*|# time=.*|TAP version \d+|)$/;

interface Summary {
  pass: number;
  fail: number;
  skip: number;
  todo: number;
}

/** Reads TAP line by line; says what a reader wants to know, and counts. */
class Report {
  summary: Summary | undefined;
  failedFiles = 0;
  /** A file of the process that is read. */
  #hasFailedFile = false;
  /** Subtests around the current line, from the file inwards, and whether they were shown. */
  #around: { readonly line: string; shown: boolean }[] = [];
  /** Indent of the YAML block that is being read, or −1; it follows the point before it. */
  #yaml = -1;
  #isFailure = false;

  read(line: string): void {
    if (this.#yaml >= 0) this.#readYaml(line);
    else if (/^ *---$/.test(line)) this.#readYamlStart(line);
    else if (POINT.test(line)) this.#readPoint(line);
    else this.#readOther(line);
  }

  #readYamlStart(line: string): void {
    this.#yaml = line.indexOf("---");
    if (this.#isFailure && this.#yaml > INDENT) this.#show(line);
  }

  #readYaml(line: string): void {
    if (this.#isFailure && this.#yaml > INDENT) this.#show(line);
    if (line === `${" ".repeat(this.#yaml)}...`) this.#yaml = -1;
  }

  #readPoint(line: string): void {
    const [, indent, not, text] = POINT.exec(line)!;
    const depth = indent!.length / INDENT;
    const [, name, skipped] = /^(.*?)(?: # SKIP ?(.*))?$/.exec(text!)!;
    this.#isFailure = not !== undefined && !/ # (?:SKIP|TODO)\b/.test(text!);
    if (FILE.test(name!)) {
      this.#readFile(text!, skipped !== undefined, depth);
    } else if (depth === 0) this.#readProcess(text!);
    else if (this.#isFailure) this.#readFailure(line, depth);
    else if (skipped !== undefined)
      this.#show(`${indent!}skipped: ${name!} (${skipped || "no reason given"})`);
    this.#around.length = Math.min(this.#around.length, depth);
  }

  #readFile(text: string, isSkipped: boolean, depth: number): void {
    if (this.#isFailure) this.failedFiles++;
    this.#hasFailedFile = depth > 0 && (this.#hasFailedFile || this.#isFailure);
    say(`${this.#isFailure ? "✗" : isSkipped ? "–" : "✓"} ${text}`);
    this.#isFailure &&= this.#around[depth]?.shown !== true;
  }

  /** Of several files: when it failed, and none of them did, it crashed. */
  #readProcess(text: string): void {
    if (this.#isFailure && !this.#hasFailedFile) {
      this.failedFiles++;
      say(`✗ ${text}`);
    }
    this.#hasFailedFile = false;
  }

  /** What a failed subtest says of itself was said by what failed in it. */
  #readFailure(line: string, depth: number): void {
    this.#isFailure = this.#around[depth]?.shown !== true;
    if (this.#isFailure) this.#show(line);
  }

  #readOther(line: string): void {
    const subtest = SUBTEST.exec(line);
    const summary = SUMMARY.exec(line);
    if (subtest !== null) {
      const depth = subtest[1]!.length / INDENT;
      this.#around.length = Math.min(this.#around.length, depth);
      this.#around.push({ line: `${subtest[1]!}${subtest[2]!}`, shown: false });
    } else if (summary !== null) this.summary = readSummary(summary[1]!);
    else if (!NOISE.test(line) && !line.startsWith("# ")) this.#show(line);
  }

  #show(line: string): void {
    for (const subtest of this.#around) {
      if (!subtest.shown) say(subtest.line);
      subtest.shown = true;
    }
    say(line);
  }
}

function readSummary(counts: string): Summary {
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(counts)?.[1] ?? 0);
  return { pass: count("pass"), fail: count("fail"), skip: count("skip"), todo: count("todo") };
}

/** A file that crashed counts as a failure even where tap has no assertion to blame, and so does tap itself. */
function lastLine({ summary, failedFiles }: Report, code: number): string {
  const { pass, fail, skip, todo } = summary ?? { pass: 0, fail: 1, skip: 0, todo: 0 };
  const failed = Math.max(fail, failedFiles, code === 0 ? 0 : 1);
  const parts = [`${pass} passed`, `${failed} failed`];
  if (skip > 0) parts.push(`${skip} skipped`);
  if (todo > 0) parts.push(`${todo} todo`);
  return parts.join(", ");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** By process: all test files but the long ones; or each by itself, those that are named or in a folder that is. */
function testsOf(given: readonly string[]): string[][] {
  const files = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" });
  const all = files.filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  all.sort();
  if (given.length === 0) return processesOf(all.filter((name) => !LONG.includes(name)));
  const wanted = given.map((name) => relative(ROOT, resolve(name)));
  const unknown = wanted.filter((name) => !all.some((test) => isWithin(test, name)));
  if (unknown.length > 0) throw new Error(`no tests in ${unknown.join(", ")}`);
  return all.filter((test) => wanted.some((name) => isWithin(test, name))).map((test) => [test]);
}

function isWithin(test: string, name: string): boolean {
  return test === name || test.startsWith(`${name}/`);
}

async function main(): Promise<void> {
  const tests = testsOf(process.argv.slice(2));
  const folder = await compileProject(ROOT);
  const compiled = tests.map((names) =>
    names.map((name) => join(folder, name.replace(/\.ts$/, ".js"))).join(delimiter),
  );
  const args = [join(folder, "test/suite.js"), ...compiled];
  const tap = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number>((resolve, reject) => {
    tap.once("error", reject);
    tap.once("close", (code) => resolve(code ?? 1));
  });
  const report = new Report();
  for await (const line of createInterface({ input: tap.stdout })) report.read(line);
  const code = await ended;
  const line = lastLine(report, code);
  say(line);
  process.exitCode = code === 0 && !line.includes(" 0 failed") ? 1 : code;
}

await main();
