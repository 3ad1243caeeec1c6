import type { CellTable } from "../hot/cell-table.js";
import { MAX_GROUPS, tooManyGroups } from "./aggregation.js";

/**
 * Blogs created from the beginning up to the end of each cell's time bucket, by cell of `table`. `before` has the
 * same groups without time, and what was created before the range; it is used up. Groups and buckets of which
 * `table` has no cell get one, so that at every time the rows add up to all blogs.
 */
export function cumulate(table: CellTable, before: CellTable, times: number): Float64Array {
  const arity = before.arity;
  const offset = table.arity - arity;
  const key = new Uint32Array(arity);
  for (let cell = 0; cell < table.count; cell++) {
    if (table.created[cell] === 0) continue;
    for (let i = 0; i < arity; i++) key[i] = table.keys[cell * table.arity + offset + i]!;
    before.upsert(0, key);
  }
  if (table.count + before.count * times > MAX_GROUPS) throw tooManyGroups();
  const totals = new Float64Array(table.count + before.count * times);
  const timed = new Uint32Array(table.arity);
  for (let time = 0; time < times; time++) {
    if (offset > 0) timed[0] = time;
    for (let group = 0; group < before.count; group++) {
      for (let i = 0; i < arity; i++) timed[offset + i] = before.keys[group * arity + i]!;
      const cell = table.find(0, timed);
      if (cell >= 0) before.created[group]! += table.created[cell]!;
      if (before.created[group]! > 0) totals[table.upsert(0, timed)] = before.created[group]!;
    }
  }
  return totals;
}
