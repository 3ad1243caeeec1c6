import { QUARTER_MS } from "../calendar/grain.js";
import type { Position } from "../log.js";
import { CellTable, type TableSize } from "./cell-table.js";
import type { QuarterDelta } from "./seal.js";

/** From so many on, it takes time to let columns grow. */
const MANY_CELLS = 1024;

/** Where the first event of a delta came from. */
interface Origin {
  /** The first record that went into it. */
  readonly firstPosition: Position;
  /** Events folded before that record, since the start. */
  readonly eventsBefore: number;
  /** When that was, ms. */
  readonly since: number;
}

/** Events of one quarter-hour that the store does not have yet. */
export interface Delta extends QuarterDelta, Origin {
  readonly table: CellTable;
  backfill: boolean;
  /** Cells as of the last count, and whether there may be more. */
  counted: number;
  mayHaveGrown: boolean;
}

/** By the quarter's start. */
export type DeltasByQuarter = ReadonlyMap<number, Delta>;

/** The deltas of all quarters: those that take events in, and those that a commit is bringing to the store. */
export class Deltas {
  readonly #arity: number;
  /** In order of their first record. */
  #active = new Map<number, Delta>();
  #writing: DeltasByQuarter = new Map();
  /** Cells of all deltas but those that the deltas below have more than was counted. */
  #cells = 0;
  #grown: Delta[] = [];

  /** `arity`: the greatest number of ids in a key. */
  constructor(arity: number) {
    this.#arity = arity;
  }

  /** Those that take events in. */
  get active(): DeltasByQuarter {
    return this.#active;
  }

  get writing(): DeltasByQuarter {
    return this.#writing;
  }

  /** How many there are. */
  get size(): number {
    return this.#active.size + this.#writing.size;
  }

  get cells(): number {
    for (const delta of this.#grown) {
      this.#cells += delta.table.count - delta.counted;
      delta.counted = delta.table.count;
      delta.mayHaveGrown = false;
    }
    this.#grown = [];
    return this.#cells;
  }

  /** Events folded before the first one of any delta; undefined when there is none. */
  get eventsBefore(): number | undefined {
    const [writing] = this.#writing.values();
    const [active] = this.#active.values();
    const before = [writing, active].flatMap((delta) => delta?.eventsBefore ?? []);
    return before.length === 0 ? undefined : Math.min(...before);
  }

  /** The older one, where a commit is bringing one to the store. */
  oldestOf(quarterMs: number): Delta | undefined {
    return this.#writing.get(quarterMs) ?? this.#active.get(quarterMs);
  }

  /** Of quarters that begin in `[fromMs, toMs)`. */
  *within(fromMs: number, toMs: number): Generator<readonly [quarterMs: number, table: CellTable]> {
    for (const deltas of [this.#writing, this.#active]) {
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

  /** Of the quarter's delta, to fold events into; a new one begins with `origin`. */
  tableOf(quarterMs: number, backfill: boolean, origin: Origin): CellTable {
    const known = this.#active.get(quarterMs);
    if (known === undefined) {
      const table = new CellTable(this.#arity, this.#expectedSize(quarterMs));
      this.#add(quarterMs, { table, backfill, ...origin });
      return table;
    }
    known.backfill ||= backfill;
    this.#mayGrow(known);
    return known.table;
  }

  /** Adds what is known of a quarter already, of later records than what is there. */
  add(quarterMs: number, delta: Origin & QuarterDelta): void {
    const known = this.#active.get(quarterMs);
    if (known === undefined) return this.#add(quarterMs, delta);
    this.#merge(known, delta);
    this.#mayGrow(known);
  }

  /** Deltas that a commit is to bring to the store; what comes from now on goes into others. */
  take(isTaken: (quarterMs: number, delta: Delta) => boolean): DeltasByQuarter {
    const taken = new Map<number, Delta>();
    for (const [quarterMs, delta] of this.#active) if (isTaken(quarterMs, delta)) taken.set(quarterMs, delta);
    for (const quarterMs of taken.keys()) this.#active.delete(quarterMs);
    return (this.#writing = taken);
  }

  /** The store has them. */
  written(): void {
    this.#writing = new Map();
    this.#countAnew();
  }

  /** The store does not have them: the older ones first, as before. */
  giveBack(): void {
    const active = new Map(this.#writing);
    for (const [quarterMs, newer] of this.#active) {
      const older = active.get(quarterMs);
      if (older === undefined) active.set(quarterMs, newer);
      else this.#merge(older, newer);
    }
    this.#active = active;
    this.#writing = new Map();
    this.#countAnew();
  }

  #add(quarterMs: number, delta: Origin & QuarterDelta): void {
    const uncounted = { ...delta, counted: 0, mayHaveGrown: true };
    this.#active.set(quarterMs, uncounted);
    this.#grown.push(uncounted);
  }

  #mayGrow(delta: Delta): void {
    if (!delta.mayHaveGrown) this.#grown.push(delta);
    delta.mayHaveGrown = true;
  }

  #merge(older: Delta, newer: QuarterDelta): void {
    older.table.addTable(newer.table);
    older.backfill ||= newer.backfill;
  }

  /** A quarter that begins where another one with many cells ends will have as many: then nothing has to grow. */
  #expectedSize(quarterMs: number): TableSize | undefined {
    const before = quarterMs - QUARTER_MS;
    const { table } = this.#active.get(before) ?? this.#writing.get(before) ?? {};
    return table === undefined || table.count < MANY_CELLS ? undefined : table.size;
  }

  /** After deltas went, or were put together. */
  #countAnew(): void {
    this.#cells = 0;
    this.#grown = [...this.#active.values(), ...this.#writing.values()];
    for (const delta of this.#grown) {
      delta.counted = 0;
      delta.mayHaveGrown = true;
    }
  }
}
