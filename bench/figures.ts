/** What benchmarks measure with (times of calls, one after the other, and their quantiles), and how they say it. */
import { writeSync } from "node:fs";

/** Set by bench/run.ts when it reads figures as JSON lines from this file descriptor. */
export const FIGURES = "TIDEMARK_BENCH_FIGURES";
export const FIGURES_FD = 3;

/** Ascending, ms. */
export type Times = Float64Array;

export async function timesOf(calls: number, call: (turn: number) => unknown): Promise<Times> {
  const times = new Float64Array(calls);
  for (let turn = 0; turn < calls; turn++) {
    const begun = performance.now();
    await call(turn);
    times[turn] = performance.now() - begun;
  }
  return times.sort();
}

export function quantile(times: Times, share: number): number {
  return times[Math.floor((times.length - 1) * share)] ?? Number.NaN;
}

export const held = (isHeld: boolean): string => (isHeld ? "held" : "missed");

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Three digits that count, as `0.045` or `12.3`. */
export function ms(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3);
}

/** A line, and the numbers in it that bench/run.ts keeps as JSON, each by a name with its unit (`p99_ms`). */
export function print(text = "", figures: Readonly<Record<string, number>> = {}): void {
  process.stdout.write(`${text}\n`);
  if (process.env[FIGURES] === undefined) return;
  for (const [name, value] of Object.entries(figures))
    writeSync(FIGURES_FD, `${JSON.stringify([name, value])}\n`);
}

/** One line: a title, then cells of ten columns each. */
export function row(title: string, ...cells: string[]): void {
  print(rowText(title, cells));
}

/** The text of such a line. */
export function rowText(title: string, cells: readonly string[]): string {
  return `${title.padEnd(36)}${cells.map((cell) => cell.padStart(10)).join("")}`.trimEnd();
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}
