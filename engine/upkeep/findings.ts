import { OTHER_NAME } from "../hot/interner.js";
import type { Dictionaries } from "../hot/dictionaries.js";
import type { Schema } from "../schema.js";
import type { BucketAddress, CellBlock } from "../store.js";
import { differences, type CellValues } from "./compare.js";

/** Cells listed in one report; the counts are complete. */
const MAX_LISTED = 100;

/** A stored cell that is not what it is made of says. */
export interface Mismatch {
  readonly bucket: BucketAddress;
  readonly rollup: string;
  readonly key: readonly (string | null)[];
  readonly stored: CellValues | null;
  readonly recomputed: CellValues | null;
}

/** What a comparison of stored buckets with what they are made of has found so far. */
export class Findings {
  /** Buckets compared, equal or not. */
  compared = 0;
  /** Buckets that nothing finer is left of to compare with. */
  unproven = 0;
  /** The first `MAX_LISTED`. */
  readonly mismatches: Mismatch[] = [];
  mismatchedCells = 0;
  /** Buckets that are wrong, missing or cannot be read, in the order of finding: finer ones first. */
  readonly wrong: BucketAddress[] = [];
  /** Of these: what could not be read, as sentences. */
  readonly damaged: string[] = [];
  readonly #schema: Schema;
  readonly #dictionaries: Dictionaries;

  constructor(schema: Schema, dictionaries: Dictionaries) {
    this.#schema = schema;
    this.#dictionaries = dictionaries;
  }

  /** Holds a stored bucket, none for one that is missing, against what it should be. True where they agree. */
  compare(bucket: BucketAddress, stored: readonly CellBlock[], recomputed: readonly CellBlock[]): boolean {
    this.compared++;
    let isGood = true;
    for (const { rollup, key, left, right } of differences(stored, recomputed)) {
      isGood = false;
      this.mismatchedCells++;
      if (this.mismatches.length === MAX_LISTED) continue;
      const { name, dims } = this.#schema.rollups[rollup]!;
      const names = dims.map((dimension, i) => this.#nameOf(dimension, key[i]!));
      this.mismatches.push({
        bucket,
        rollup: name,
        key: names,
        stored: left ?? null,
        recomputed: right ?? null,
      });
    }
    if (!isGood) this.wrong.push(bucket);
    return isGood;
  }

  /** The bucket could not be read. */
  unreadable(bucket: BucketAddress, error: Error): void {
    this.compared++;
    this.wrong.push(bucket);
    if (this.damaged.length < MAX_LISTED) this.damaged.push(error.message);
  }

  /** An id that a damaged block made up has no name. */
  #nameOf(dimension: number, id: number): string | null {
    try {
      return this.#dictionaries.nameOf(dimension, id);
    } catch {
      return OTHER_NAME;
    }
  }
}
