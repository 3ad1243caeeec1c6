import { toBlocks } from "../hot/block.js";
import { CellTable } from "../hot/cell-table.js";
import type { Dictionaries } from "../hot/dictionaries.js";
import { Fold } from "../hot/fold.js";
import { knownIds } from "../hot/known-ids.js";
import type { EventLog, Position } from "../log.js";
import type { Schema } from "../schema.js";
import type { CellBlock } from "../store.js";

export interface RawSource {
  readonly schema: Schema;
  readonly log: EventLog;
  readonly dictionaries: Dictionaries;
}

/**
 * The quarters of `[fromMs, toMs)` made anew from the raw events, each from the records up to `through(quarter)`.
 * Only quarters with events are in the answer. Memory follows the cells of the range.
 */
export async function recomputeQuarters(
  { schema, log, dictionaries }: RawSource,
  fromMs: number,
  toMs: number,
  through: (quarterMs: number) => Position,
): Promise<Map<number, CellBlock[]>> {
  const tables = new Map<number, CellTable>();
  const fold = new Fold(schema);
  for await (const { position, record } of log.readRange(fromMs, toMs)) {
    fold.fold(record.events, knownIds(record.events, dictionaries), (quarterMs) => {
      if (quarterMs < fromMs || quarterMs >= toMs || position > through(quarterMs)) return undefined;
      return tableAt(tables, quarterMs, schema);
    });
  }
  return new Map([...tables].map(([quarterMs, table]) => [quarterMs, toBlocks(table, schema)]));
}

function tableAt(tables: Map<number, CellTable>, quarterMs: number, schema: Schema): CellTable {
  let table = tables.get(quarterMs);
  if (table === undefined) tables.set(quarterMs, (table = new CellTable(schema.maxArity)));
  return table;
}
