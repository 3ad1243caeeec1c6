/**
 * What a client of a peer makes of a batch before it sends it: one line for each cell of an hour or a day, of the same
 * six rollups as Tidemark's by default, with its views and its different viewers.
 */
import type { Workload } from "../workload.js";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export interface Cell {
  readonly rollup: string;
  readonly grain: "hour" | "day";
  /** Hours or days since 1970. */
  readonly period: number;
  /** Numbers of the rollup's dimensions, as `12` or `12:34`; empty for the total. */
  readonly key: string;
  views: number;
  readonly viewers: Set<number>;
}

const GRAINS = [
  ["hour", HOUR_MS],
  ["day", DAY_MS],
] as const;

/** Cells of the events from `from` to before `to`. */
export function cellsOf(workload: Workload, from: number, to: number): Iterable<Cell> {
  const cells = new Map<string, Cell>();
  for (let i = from; i < Math.min(to, workload.count); i++) {
    const [blog, author, country] = [workload.blog[i]!, workload.author[i]!, workload.country[i]!];
    const keys: Readonly<Record<string, string>> = {
      total: "",
      blog: `${blog}`,
      author: `${author}`,
      country: `${country}`,
      blog_country: `${blog}:${country}`,
      author_country: `${author}:${country}`,
    };
    for (const [grain, lengthMs] of GRAINS) {
      const period = Math.floor(workload.ts[i]! / lengthMs);
      for (const [rollup, key] of Object.entries(keys)) {
        const name = `${rollup}:${grain}:${period}:${key}`;
        let cell = cells.get(name);
        if (cell === undefined) {
          cell = { rollup, grain, period, key, views: 0, viewers: new Set() };
          cells.set(name, cell);
        }
        cell.views++;
        cell.viewers.add(workload.viewer[i]!);
      }
    }
  }
  return cells.values();
}
