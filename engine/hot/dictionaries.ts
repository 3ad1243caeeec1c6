import type { BucketStore, StoreCommit } from "../store.js";
import type { Schema } from "../schema.js";
import { FIRST_VALUE_ID, Interner, NONE_ID, OTHER_ID } from "./interner.js";

/** The interned values of every dimension, and what is remembered of each subject. */
export class Dictionaries {
  readonly #interners: readonly Interner[];
  /** Per remembered dimension: value id by subject id, batches on their way to the log included. */
  readonly #remembered = new Map<number, Uint32Array>();
  /** The same as the log has it: only this may be stored, since a batch under way may be lost. */
  readonly #logged = new Map<number, Uint32Array>();
  /** Per remembered dimension: subjects whose logged value changed since the last commit. */
  #changed = new Map<number, Set<number>>();
  /** The same of the commit under way. */
  #written: ReadonlyMap<number, ReadonlySet<number>> = new Map();
  readonly #maxValues: number;
  /** Per dimension: values that the store has. */
  #stored: number[];

  constructor(schema: Schema, store: BucketStore, maxValues: number) {
    this.#maxValues = maxValues;
    this.#interners = schema.dimensions.map((_, d) => new Interner(maxValues, store.values(d)));
    this.#stored = this.#interners.map((interner) => interner.size);
    for (const d of schema.remembered) {
      this.#remembered.set(d, store.remembered(d).slice());
      this.#logged.set(d, store.remembered(d).slice());
      this.#changed.set(d, new Set());
    }
  }

  /** Ids of a batch's values, interned in order: `ids[k]` of value k, `ids[0]` is none. */
  idsOf(dimension: number, values: readonly string[]): Uint32Array {
    const ids = new Uint32Array(values.length + 1);
    const interner = this.#interners[dimension]!;
    for (let i = 0; i < values.length; i++) ids[i + 1] = interner.intern(values[i]!);
    return ids;
  }

  find(dimension: number, value: string): number | undefined {
    return this.#interners[dimension]!.find(value);
  }

  nameOf(dimension: number, id: number): string | null {
    return this.#interners[dimension]!.nameOf(id);
  }

  /** All values of a dimension; the first has id 2. */
  allOf(dimension: number): string[] {
    return this.#interners[dimension]!.valuesFrom(0);
  }

  /** Number of values of a dimension: the next one has this id + 2. */
  sizeOf(dimension: number): number {
    return this.#interners[dimension]!.size;
  }

  /** Value id last seen for a subject; `NONE_ID` when none was. */
  recall(dimension: number, subjectId: number): number {
    return this.#remembered.get(dimension)![subjectId] ?? NONE_ID;
  }

  /** A batch on its way to the log says so. */
  remember(dimension: number, subjectId: number, id: number): void {
    setAt(this.#remembered, dimension, subjectId, id);
  }

  /** A batch in the log says so. */
  confirm(dimension: number, subjectId: number, id: number): void {
    if (setAt(this.#logged, dimension, subjectId, id)) this.#changed.get(dimension)!.add(subjectId);
  }

  /** After replay nothing is under way: what the log has is what is known. */
  recovered(): void {
    for (const [dimension, ids] of this.#logged) this.#remembered.set(dimension, ids.slice());
  }

  /** What the store does not have yet. Call `written()` once it has, or `notWritten()`. */
  changes(): DictionaryChanges {
    const unsaved = this.unsaved();
    const sizes = this.#interners.map((interner) => interner.size);
    const changed = this.#changed;
    this.#changed = new Map([...changed.keys()].map((d) => [d, new Set<number>()]));
    this.#written = changed;
    return {
      ...unsaved,
      written: () => {
        this.#stored = sizes;
        this.#written = new Map();
      },
      notWritten: () => {
        for (const [d, set] of changed) for (const subject of set) this.#changed.get(d)!.add(subject);
        this.#written = new Map();
      },
    };
  }

  /** What the store does not have yet, or not for certain. */
  unsaved(): Unsaved {
    const values = this.#interners.flatMap((interner, dimension) => {
      const stored = this.#stored[dimension]!;
      if (interner.size === stored) return [];
      return [{ dimension, firstId: stored + FIRST_VALUE_ID, values: interner.valuesFrom(stored) }];
    });
    const remembered = [...this.#changed].flatMap(([dimension, set]) => {
      const subjects = Uint32Array.from(new Set([...set, ...(this.#written.get(dimension) ?? [])])).sort();
      if (subjects.length === 0) return [];
      const all = this.#logged.get(dimension)!;
      return [{ dimension, subjects, ids: subjects.map((subject) => all[subject]!) }];
    });
    return { values, remembered };
  }

  /** Would every value get the id that it has there? */
  canTakeOver({ values }: Unsaved): boolean {
    return values.every(({ dimension, firstId, values: { length } }) => {
      const { size } = this.#interners[dimension]!;
      return firstId - FIRST_VALUE_ID <= size && firstId - FIRST_VALUE_ID + length <= this.#maxValues;
    });
  }

  /** Learns what another one had not saved, of the same log and at a later record than the store has. */
  takeOver({ values, remembered }: Unsaved): void {
    for (const { dimension, values: all } of values) {
      this.idsOf(dimension, all);
    }
    for (const { dimension, subjects, ids } of remembered) {
      for (const [i, subject] of subjects.entries()) this.confirm(dimension, subject, ids[i]!);
    }
  }
}

type Unsaved = Pick<StoreCommit, "values" | "remembered">;

export interface DictionaryChanges extends Unsaved {
  written(): void;
  notWritten(): void;
}

/** Sets a remembered value; false when nothing changed. */
function setAt(tables: Map<number, Uint32Array>, dimension: number, subjectId: number, id: number): boolean {
  // Subjects that share `(other)` are not one subject; a value beyond the limit is remembered as `(other)`.
  if (subjectId <= OTHER_ID || id === NONE_ID) return false;
  let ids = tables.get(dimension)!;
  if (subjectId >= ids.length) {
    const grown = new Uint32Array(Math.max(subjectId + 1, Math.ceil(ids.length * 1.5), 64));
    grown.set(ids);
    tables.set(dimension, grown);
    ids = grown;
  }
  if (ids[subjectId] === id) return false;
  ids[subjectId] = id;
  return true;
}
