import { CALENDAR_END_MS, CALENDAR_START_MS } from "./calendar/grain.js";
import { TidemarkError } from "./errors.js";
import { checkText } from "./event.js";
import { MAX_BATCH_EVENTS } from "./limits.js";
import { FLAG_ID, type EventBatch } from "./log.js";
import type { Schema } from "./schema.js";

/** Checks decoded columns that come from outside; a bad batch is refused whole (`invalid-config`). */
export function checkBatch(batch: EventBatch, schema: Schema): void {
  const { count, dims, values, ts, idLo, idHi } = batch;
  if (!Number.isInteger(count) || count < 0) throw bad("its count is not a whole number from 0 on");
  if (count > MAX_BATCH_EVENTS) {
    throw new TidemarkError("too-many-events", `A batch holds at most ${MAX_BATCH_EVENTS} events.`);
  }
  if (dims.length !== schema.dimensions.length || values.length !== dims.length) {
    throw bad("it has not one column and one dictionary per declared dimension");
  }
  const columns = [batch.flags, ts, batch.viewerLo, batch.viewerHi, ...dims];
  if (idLo !== undefined && idHi !== undefined) columns.push(idLo, idHi);
  if (columns.some((column) => column.length < count)) throw bad("a column is shorter than its count");
  checkRows(batch, schema);
  for (let d = 0; d < dims.length; d++) checkValues(batch, d, schema.dimensions[d]!);
}

function checkRows({ count, ts, flags, dims, idLo, idHi }: EventBatch, schema: Schema): void {
  const hasIds = idLo !== undefined && idHi !== undefined;
  for (let row = 0; row < count; row++) {
    const ms = ts[row]!;
    if (!(ms >= CALENDAR_START_MS && ms < CALENDAR_END_MS && ms % 1 === 0))
      throw bad(`row ${row} has no valid ts`);
    if (dims[schema.subject]![row] === 0) throw bad(`row ${row} has no ${schema.dimensions[schema.subject]}`);
    if (!hasIds && (flags[row]! & FLAG_ID) !== 0)
      throw bad(`row ${row} is flagged to have an id, and has none`);
  }
}

function checkValues({ count, dims, values }: EventBatch, dimension: number, name: string): void {
  const known = values[dimension]!;
  for (let row = 0; row < count; row++) {
    if (dims[dimension]![row]! > known.length) throw bad(`row ${row} is not in the dictionary of ${name}`);
  }
  for (const value of known) {
    const problem = value === "" ? `a ${name} is empty` : checkText(name, value)?.detail;
    if (problem !== undefined) throw bad(problem);
  }
}

function bad(what: string): TidemarkError {
  return new TidemarkError("invalid-config", `The batch is refused: ${what}.`);
}
