import { QUARTER_MS } from "../calendar/grain.js";
import { FLAG_ID, type EventBatch, type Position } from "../log.js";
import { gatherRows } from "../gather.js";
import type { Schema } from "../schema.js";
import type { Dictionaries } from "./dictionaries.js";
import type { IdWindow } from "./dedupe.js";
import { NONE_ID } from "./interner.js";

export interface AdmissionLimits {
  readonly maxLatenessMs: number;
  readonly maxSkewMs: number;
}

export interface AdmissionContext {
  readonly now: number;
  /** At or before the position that the batch will get. */
  readonly position: Position;
  readonly backfill: boolean;
  /** Quarters that end at or before this instant are sealed. */
  readonly sealedUntil: number;
}

/** What became of each row of a batch. */
export interface Admission {
  /** The accepted rows. */
  readonly batch: EventBatch;
  readonly duplicate: number;
  /** Of the accepted. */
  readonly late: number;
  /** Rows refused, by their index in the batch that was given. */
  readonly tooOld: readonly number[];
  readonly tooFarAhead: readonly number[];
}

/** Judges rows one by one against clock and ids; each accepted row claims its id at once. */
export function admit(
  batch: EventBatch,
  ids: IdWindow,
  limits: AdmissionLimits,
  context: AdmissionContext,
): Admission {
  const oldest = context.backfill ? Number.NEGATIVE_INFINITY : context.now - limits.maxLatenessMs;
  const newest = context.now + limits.maxSkewMs;
  const tooOld: number[] = [];
  const tooFarAhead: number[] = [];
  const kept = new Uint32Array(batch.count);
  let count = 0;
  let duplicate = 0;
  let late = 0;
  for (let row = 0; row < batch.count; row++) {
    const ts = batch.ts[row]!;
    if (ts < oldest) tooOld.push(row);
    else if (ts > newest) tooFarAhead.push(row);
    else if (isDuplicate(batch, row, ids, context)) duplicate++;
    else {
      kept[count++] = row;
      if (ts - (ts % QUARTER_MS) + QUARTER_MS <= context.sealedUntil) late++;
    }
  }
  const accepted = count === batch.count ? batch : gatherRows([{ batch, rows: kept.subarray(0, count) }]);
  return { batch: accepted, duplicate, late, tooOld, tooFarAhead };
}

function isDuplicate(batch: EventBatch, row: number, ids: IdWindow, context: AdmissionContext): boolean {
  if ((batch.flags[row]! & FLAG_ID) === 0) return false;
  return !ids.add(batch.idLo![row]!, batch.idHi![row]!, context.now, context.position);
}

/** A batch and the ids of its values: `ids[dimension][k]` of value k, 0 of none. */
export interface InternedBatch {
  readonly events: EventBatch;
  readonly ids: readonly Uint32Array[];
}

/**
 * Interns a batch's values, fills in what events leave out and their subject is known for, and learns from those
 * that say it, row by row in log order. Done before the batch is logged, so that a bucket is a function of the log
 * alone.
 */
export function internAndFill(batch: EventBatch, schema: Schema, dictionaries: Dictionaries): InternedBatch {
  let filled: InternedBatch = {
    events: batch,
    ids: batch.values.map((values, d) => dictionaries.idsOf(d, values)),
  };
  for (const dimension of schema.remembered) {
    filled = fillDimension(filled, dimension, schema.subject, dictionaries);
  }
  return filled;
}

/** What a logged batch says of its subjects. `ids` are those of its values, as for the fold. */
export function confirmRemembered(
  batch: EventBatch,
  ids: readonly Uint32Array[],
  schema: Schema,
  dictionaries: Dictionaries,
): void {
  const subjects = batch.dims[schema.subject]!;
  const subjectIds = ids[schema.subject]!;
  for (const dimension of schema.remembered) {
    const column = batch.dims[dimension]!;
    const valueIds = ids[dimension]!;
    const said = new Uint32Array(subjectIds.length);
    for (let row = 0; row < batch.count; row++) {
      const subject = subjects[row]!;
      const id = valueIds[column[row]!]!;
      // Most rows say what an earlier one of the batch has said.
      if (id === NONE_ID || said[subject] === id) continue;
      said[subject] = id;
      dictionaries.confirm(dimension, subjectIds[subject]!, id);
    }
  }
}

function fillDimension(
  batch: InternedBatch,
  dimension: number,
  subject: number,
  dictionaries: Dictionaries,
): InternedBatch {
  const { events, ids } = batch;
  const column = events.dims[dimension]!;
  const valueIds = ids[dimension]!;
  const subjects = events.dims[subject]!;
  const subjectIds = ids[subject]!;
  const said = new Uint32Array(subjectIds.length);
  let filled: FilledDimension | undefined;
  for (let row = 0; row < events.count; row++) {
    const at = subjects[row]!;
    const id = valueIds[column[row]!]!;
    if (id === NONE_ID) {
      const known = dictionaries.recall(dimension, subjectIds[at]!);
      const name = dictionaries.nameOf(dimension, known);
      if (name === null) continue;
      filled ??= new FilledDimension(batch, dimension);
      filled.fill(row, known, name);
    } else if (said[at] !== id) {
      said[at] = id;
      dictionaries.remember(dimension, subjectIds[at]!, id);
    }
  }
  return filled?.batch() ?? batch;
}

/** A copy of a batch's dimension, to be filled in. */
class FilledDimension {
  readonly #batch: InternedBatch;
  readonly #dimension: number;
  readonly #column: Uint32Array;
  readonly #values: string[];
  readonly #valueIds: number[];
  readonly #indexes: Map<string, number>;

  constructor(batch: InternedBatch, dimension: number) {
    const { events, ids } = batch;
    this.#batch = batch;
    this.#dimension = dimension;
    this.#column = events.dims[dimension]!.slice(0, events.count);
    this.#values = events.values[dimension]!.slice();
    this.#valueIds = Array.from(ids[dimension]!);
    this.#indexes = new Map(this.#values.map((value, i) => [value, i + 1]));
  }

  fill(row: number, id: number, name: string): void {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#values.push(name);
      this.#valueIds.push(id);
      this.#indexes.set(name, index);
    }
    this.#column[row] = index;
  }

  batch(): InternedBatch {
    const { events, ids } = this.#batch;
    return {
      events: {
        ...events,
        dims: events.dims.with(this.#dimension, this.#column),
        values: events.values.with(this.#dimension, this.#values),
      },
      ids: ids.with(this.#dimension, Uint32Array.from(this.#valueIds)),
    };
  }
}
