import { QUARTER_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import type { Position } from "../log.js";
import type { Schema } from "../schema.js";
import {
  UTC_CALENDAR,
  type BucketAddress,
  type BucketHead,
  type BucketStore,
  type CellBlock,
  type StoredBucket,
} from "../store.js";
import { CellTable } from "./cell-table.js";
import type { Dictionaries } from "./dictionaries.js";
import { sealBuckets } from "./seal.js";

/** Cells worked on between two pauses while a commit is prepared: about 10 ms. */
const CELLS_PER_SLICE = 20_000;

/** Events of one quarter-hour that the store does not have yet. */
interface Delta {
  readonly table: CellTable;
  /** The first record that went into it. */
  readonly firstPosition: Position;
  /** When that was, ms. */
  readonly since: number;
}

/** What a commit is bringing to the store. */
interface Writing {
  readonly deltas: ReadonlyMap<number, Delta>;
  readonly generation: number;
  readonly sealedUntil: Readonly<Record<string, number>>;
}

export interface CommitRequest {
  /** Which quarters to write. */
  readonly include: (quarterMs: number, since: number) => boolean;
  /** Buckets that end at or before this instant become sealed. */
  readonly sealUntil: number;
  readonly watermark: number;
  readonly dedupeFrom: Position;
  /** Lets other work run between two slices of a large commit. */
  readonly pause: () => Promise<void>;
}

/**
 * The state of all buckets: what the store has, plus the deltas that it does not have yet. Every event lands in
 * the delta of its quarter-hour, be the quarter open, past or long sealed; a commit merges deltas into the store.
 */
export class Buckets {
  readonly schema: Schema;
  /** UTC first, then the home zones. */
  readonly calendars: readonly Zone[];
  readonly dictionaries: Dictionaries;
  readonly #store: BucketStore;
  #active = new Map<number, Delta>();
  #writing: Writing | undefined;
  #sealedUntil: Readonly<Record<string, number>>;
  #position: Position;

  constructor(schema: Schema, calendars: readonly Zone[], store: BucketStore, dictionaries: Dictionaries) {
    this.schema = schema;
    this.calendars = calendars;
    this.#store = store;
    this.dictionaries = dictionaries;
    this.#sealedUntil = store.meta()?.sealedUntil ?? {};
    this.#position = store.meta()?.position ?? 0;
  }

  /** Everything up to this record is counted. */
  get position(): Position {
    return this.#position;
  }

  /** The delta of a quarter, for events of the record at `position`. */
  tableOf(quarterMs: number, position: Position, now: number): CellTable {
    const known = this.#active.get(quarterMs);
    if (known !== undefined) return known.table;
    const table = new CellTable(this.schema.maxArity);
    this.#active.set(quarterMs, { table, firstPosition: position, since: now });
    return table;
  }

  /** The record at `position` is folded. */
  folded(position: Position): void {
    this.#position = position;
  }

  /** Is the record's part in this quarter in the store already? Asked during replay. */
  isStored(quarterMs: number, position: Position): boolean {
    const head = this.#store.head({ calendar: UTC_CALENDAR, grain: "quarter", startMs: quarterMs });
    return head !== undefined && head.position >= position;
  }

  /** Buckets of the calendar that end at or before this instant are sealed; −Infinity for none. */
  sealedUntil(calendar: string): number {
    this.#settle();
    return this.#sealedUntil[calendar] ?? Number.NEGATIVE_INFINITY;
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#store.head(address);
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.#store.block(address, rollup);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#store.starts(calendar, grain, fromMs, toMs);
  }

  /** The cells that the store does not have, for quarters that begin in `[fromMs, toMs)`. */
  *deltas(fromMs: number, toMs: number): Generator<readonly [quarterMs: number, table: CellTable]> {
    this.#settle();
    for (const deltas of [this.#writing?.deltas, this.#active]) {
      if (deltas === undefined) continue;
      if ((toMs - fromMs) / QUARTER_MS < deltas.size) {
        for (
          let quarter = Math.ceil(fromMs / QUARTER_MS) * QUARTER_MS;
          quarter < toMs;
          quarter += QUARTER_MS
        ) {
          const delta = deltas.get(quarter);
          if (delta !== undefined) yield [quarter, delta.table];
        }
      } else {
        for (const [quarter, { table }] of deltas)
          if (quarter >= fromMs && quarter < toMs) yield [quarter, table];
      }
    }
  }

  get hotBuckets(): number {
    return this.#active.size + (this.#writing?.deltas.size ?? 0);
  }

  get hotCells(): number {
    let cells = 0;
    for (const { table } of this.#active.values()) cells += table.count;
    for (const { table } of this.#writing?.deltas.values() ?? []) cells += table.count;
    return cells;
  }

  /** Is there a delta in memory, not on its way to the store, that meets the condition? */
  hasDelta(condition: (quarterMs: number, since: number) => boolean): boolean {
    for (const [quarterMs, { since }] of this.#active) if (condition(quarterMs, since)) return true;
    return false;
  }

  /** Writes the deltas asked for and seals what is due, in one transaction. Rejects with the store's error. */
  async commit(request: CommitRequest): Promise<void> {
    if (this.#writing !== undefined) throw new Error("BUG: two commits at once");
    const deltas = this.#take(request);
    const sealedUntil = this.#nextSealedUntil(request.sealUntil);
    const generation = this.#store.generation() + 1;
    this.#writing = { deltas, generation, sealedUntil };
    const position = this.#position;
    const meta = {
      schema: this.schema.fingerprint,
      generation,
      position: this.#replayFrom(position),
      watermark: request.watermark,
      sealedUntil,
      dedupeFrom: request.dedupeFrom,
    };
    const changes = this.dictionaries.changes();
    try {
      const buckets = await this.#prepare(deltas, position, request);
      await this.#store.commit({ meta, buckets, values: changes.values, remembered: changes.remembered });
      changes.written();
      this.#settle();
    } catch (error) {
      changes.notWritten();
      this.#giveBack(deltas);
      throw error;
    }
  }

  /**
   * A read may see a commit before its promise is resolved: from that moment on its deltas count as stored.
   * Called before every read, so that nothing is counted twice and nothing is missing.
   */
  #settle(): void {
    const writing = this.#writing;
    if (writing === undefined || this.#store.generation() < writing.generation) return;
    this.#writing = undefined;
    this.#sealedUntil = writing.sealedUntil;
  }

  #take(request: CommitRequest): Map<number, Delta> {
    const taken = new Map<number, Delta>();
    for (const [quarterMs, delta] of this.#active) {
      if (request.include(quarterMs, delta.since) || quarterMs + QUARTER_MS <= request.sealUntil) {
        taken.set(quarterMs, delta);
      }
    }
    for (const quarterMs of taken.keys()) this.#active.delete(quarterMs);
    return taken;
  }

  #giveBack(deltas: ReadonlyMap<number, Delta>): void {
    this.#writing = undefined;
    for (const [quarterMs, delta] of deltas) {
      const newer = this.#active.get(quarterMs);
      if (newer !== undefined) delta.table.addTable(newer.table);
      this.#active.set(quarterMs, delta);
    }
  }

  async #prepare(
    deltas: ReadonlyMap<number, Delta>,
    position: Position,
    request: CommitRequest,
  ): Promise<StoredBucket[]> {
    const buckets: StoredBucket[] = [];
    const tables = new Map([...deltas].map(([quarterMs, { table }]) => [quarterMs, table]));
    const { schema, calendars } = this;
    const store = this.#store;
    const sealedUntil = this.#sealedUntil;
    let cells = 0;
    for (const bucket of sealBuckets({
      schema,
      store,
      calendars,
      deltas: tables,
      position,
      sealedUntil,
      sealUntil: request.sealUntil,
    })) {
      buckets.push(bucket);
      for (const block of bucket.blocks) cells += block.count;
      if (cells < CELLS_PER_SLICE) continue;
      cells = 0;
      await request.pause();
    }
    return buckets;
  }

  #nextSealedUntil(sealUntil: number): Record<string, number> {
    const next: Record<string, number> = {};
    for (const { name } of this.calendars) {
      next[name] = Math.max(this.#sealedUntil[name] ?? Number.NEGATIVE_INFINITY, sealUntil);
    }
    return next;
  }

  /** Replay may begin after this record: all deltas that stay in memory began later. */
  #replayFrom(position: Position): Position {
    let from = position;
    for (const { firstPosition } of this.#active.values()) from = Math.min(from, firstPosition - 1);
    return from;
  }
}
