import { QUARTER_MS } from "../../../engine/calendar/grain.js";
import { FLAG_CREATED, FLAG_VIEWER, type EventBatch } from "../../../engine/log.js";
import type { Schema } from "../../../engine/schema.js";
import { tokenOf } from "../../../engine/sketch/token.js";
import type { CellTable } from "../../../engine/hot/cell-table.js";

/** Where the events of a quarter go; undefined for events that are in the store already. */
export type TableOfQuarter = (quarterMs: number) => CellTable | undefined;

/**
 * The per-event loop: each event of a batch into one cell per rollup of its quarter-hour. Coarser grains are
 * made from quarters when those are written, never per event.
 */
export class Fold {
  readonly #rollups: number;
  readonly #dimStart: Int32Array;
  readonly #dimList: Int32Array;
  /** Bit per rollup of `Rollup.finer`. */
  readonly #finer: Int32Array;
  readonly #key: Uint32Array;
  readonly #ids: Uint32Array;

  constructor(schema: Schema) {
    this.#rollups = schema.rollups.length;
    this.#dimList = Int32Array.from(schema.rollups.flatMap((rollup) => rollup.dims));
    this.#dimStart = new Int32Array(this.#rollups + 1);
    this.#finer = new Int32Array(this.#rollups);
    for (const { id, dims, finer } of schema.rollups) {
      this.#dimStart[id + 1] = this.#dimStart[id]! + dims.length;
      for (const other of finer) this.#finer[id]! |= 1 << other;
    }
    this.#key = new Uint32Array(schema.maxArity);
    this.#ids = new Uint32Array(schema.dimensions.length);
  }

  /** `ids[dimension][k]`: the interned id of the batch's value k (0 = none). */
  fold(batch: EventBatch, ids: readonly Uint32Array[], tableOf: TableOfQuarter): void {
    const { flags, ts, dims, viewerLo, viewerHi, count } = batch;
    let quarter = -1;
    let table: CellTable | undefined;
    for (let row = 0; row < count; row++) {
      const start = ts[row]! - (ts[row]! % QUARTER_MS);
      if (start !== quarter) {
        quarter = start;
        table = tableOf(start);
      }
      if (table === undefined) continue;
      for (let d = 0; d < dims.length; d++) this.#ids[d] = ids[d]![dims[d]![row]!]!;
      const flag = flags[row]!;
      if ((flag & FLAG_CREATED) !== 0) this.#created(table);
      else this.#viewed(table, (flag & FLAG_VIEWER) === 0 ? 0 : tokenOf(viewerLo[row]!, viewerHi[row]!));
    }
  }

  /** `token` 0: a view without a viewer. */
  #viewed(table: CellTable, token: number): void {
    // Bit per rollup whose sketch knew the viewer: then so do all that it lies inside (the lattice short-cut).
    let known = 0;
    for (let rollup = 0; rollup < this.#rollups; rollup++) {
      const cell = this.#cell(table, rollup);
      table.views[cell]!++;
      if (token === 0) table.anonymous[cell]!++;
      else if ((known & this.#finer[rollup]!) !== 0 || !table.sketches.add(cell, token)) known |= 1 << rollup;
    }
  }

  #created(table: CellTable): void {
    for (let rollup = 0; rollup < this.#rollups; rollup++) {
      const cell = this.#cell(table, rollup);
      table.created[cell]!++;
    }
  }

  #cell(table: CellTable, rollup: number): number {
    const start = this.#dimStart[rollup]!;
    const arity = this.#dimStart[rollup + 1]! - start;
    const key = this.#key;
    for (let i = 0; i < arity; i++) key[i] = this.#ids[this.#dimList[start + i]!]!;
    for (let i = arity; i < key.length; i++) key[i] = 0;
    return table.upsert(rollup, key);
  }
}
