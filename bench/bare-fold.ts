/**
 * The floor beside which ingest is measured: what a good JavaScript programmer writes in an hour for one purpose.
 * Ids in, hourly cells of total, blog, author, country and blog×country out: counts and exact distinct viewers in
 * one open-addressing table each. No strings, no durability, no lateness, no other grain, nothing bounded.
 */
import { tokenOf } from "../engine/sketch/token.js";
import type { Workload } from "./workload.js";

const HOUR_MS = 3_600_000;

export interface BareCells {
  readonly cells: number;
  readonly views: number;
  readonly pairs: number;
}

/** `tokens`: the viewer's token of each event, made beforehand as in the decoded batches. */
export function bareFold(workload: Workload, tokens: Uint32Array, tokenBits = 24, cellBits = 23): BareCells {
  const cellMask = 2 ** cellBits - 1;
  const cellKeys = new Uint32Array(cellMask + 1);
  const views = new Uint32Array(cellMask + 1);
  const distinct = new Uint32Array(cellMask + 1);
  const pairMask = 2 ** tokenBits - 1;
  const pairCell = new Uint32Array(pairMask + 1);
  const pairToken = new Uint32Array(pairMask + 1);
  const keys = new Uint32Array(5);
  let cells = 0;
  let pairs = 0;
  const firstHour = Math.floor(workload.ts[0]! / HOUR_MS) - 24;
  for (let i = 0; i < workload.count; i++) {
    const hour = Math.floor(workload.ts[i]! / HOUR_MS) - firstHour;
    const blog = workload.blog[i]!;
    const country = workload.country[i]!;
    const token = tokens[i]!;
    // Rollup, hour, blog and country in 3 + 7 + 14 + 8 bits: W1 has 10,000 blogs, 200 countries, 51 hours.
    keys[0] = (1 << 29) | (hour << 22);
    keys[1] = (2 << 29) | (hour << 22) | (blog << 8);
    keys[2] = (3 << 29) | (hour << 22) | (workload.author[i]! << 8);
    keys[3] = (4 << 29) | (hour << 22) | country;
    keys[4] = (5 << 29) | (hour << 22) | (blog << 8) | country;
    for (let r = 0; r < 5; r++) {
      const key = keys[r]!;
      let slot = (Math.imul(key, 0x9e37_79b1) >>> 5) & cellMask;
      while (cellKeys[slot] !== key && cellKeys[slot] !== 0) slot = (slot + 1) & cellMask;
      if (cellKeys[slot] === 0) {
        cellKeys[slot] = key;
        cells++;
      }
      views[slot]!++;
      let at = (Math.imul(token, 0x9e37_79b1) ^ Math.imul(slot, 0xc2b2_ae35)) & pairMask;
      while (pairToken[at] !== 0 && (pairToken[at] !== token || pairCell[at] !== slot))
        at = (at + 1) & pairMask;
      if (pairToken[at] !== 0) continue;
      pairToken[at] = token;
      pairCell[at] = slot;
      distinct[slot]!++;
      pairs++;
    }
  }
  return { cells, views: views.reduce((a, b) => a + b, 0), pairs };
}

/** The tokens of decoded batches, in order. */
export function tokensOf(
  batches: readonly { viewerLo: Uint32Array; viewerHi: Uint16Array; count: number }[],
): Uint32Array {
  const tokens = new Uint32Array(batches.reduce((sum, batch) => sum + batch.count, 0));
  let at = 0;
  for (const batch of batches) {
    for (let row = 0; row < batch.count; row++)
      tokens[at++] = tokenOf(batch.viewerLo[row]!, batch.viewerHi[row]!);
  }
  return tokens;
}
