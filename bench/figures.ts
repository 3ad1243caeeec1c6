/** What the query benchmarks measure with: times of calls, one after the other, and their quantiles. */

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

/** Three digits that count, as `0.045` or `12.3`. */
export function ms(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3);
}

export function print(text = ""): void {
  process.stdout.write(`${text}\n`);
}

/** One line: a title, then cells of ten columns each. */
export function row(title: string, ...cells: string[]): void {
  print(`${title.padEnd(36)}${cells.map((cell) => cell.padStart(10)).join("")}`.trimEnd());
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}
