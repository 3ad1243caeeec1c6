import { CALENDAR_END_MS, CALENDAR_START_MS } from "./calendar/grain.js";
import { TidemarkError } from "./errors.js";
import { MAX_BATCH_EVENTS } from "./limits.js";
import type { EventBatch } from "./log.js";
import type { Schema } from "./schema.js";

/** Checks decoded columns that come from outside; a bad batch is refused whole (`invalid-config`). */
export function checkBatch(batch: EventBatch, schema: Schema): void {
  const { count, dims, values, ts, idLo, idHi } = batch;
  if (count > MAX_BATCH_EVENTS) {
    throw new TidemarkError("too-many-events", `A batch holds at most ${MAX_BATCH_EVENTS} events.`);
  }
  if (dims.length !== schema.dimensions.length || values.length !== dims.length) {
    throw bad("it has not one column and one dictionary per declared dimension");
  }
  const columns = [batch.flags, ts, batch.viewerLo, batch.viewerHi, ...dims];
  if (idLo !== undefined && idHi !== undefined) columns.push(idLo, idHi);
  if (columns.some((column) => column.length < count)) throw bad("a column is shorter than its count");
  for (let row = 0; row < count; row++) {
    const ms = ts[row]!;
    if (!(ms >= CALENDAR_START_MS && ms < CALENDAR_END_MS && ms % 1 === 0))
      throw bad(`row ${row} has no valid ts`);
    if (dims[schema.subject]![row] === 0) throw bad(`row ${row} has no ${schema.dimensions[schema.subject]}`);
  }
  for (let d = 0; d < dims.length; d++) {
    const known = values[d]!.length;
    for (let row = 0; row < count; row++)
      if (dims[d]![row]! > known) throw bad(`row ${row} is not in its dictionary`);
  }
}

function bad(what: string): TidemarkError {
  return new TidemarkError("invalid-config", `The batch is refused: ${what}.`);
}
