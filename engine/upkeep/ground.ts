import type { Buckets } from "../hot/buckets.js";
import type { EventLog } from "../log.js";
import type { BucketAddress, BucketStore, CellBlock } from "../store.js";

/** What upkeep works on. */
export interface Ground {
  readonly log: EventLog;
  readonly store: BucketStore;
  readonly buckets: Buckets;
  /** By the engine's clock, ms. */
  readonly now: () => number;
  /** So many cells were worked on since it was called last: lets other work run where that adds up to much. */
  readonly pause: (cells: number) => Promise<void>;
}

/** Cells worked on between two pauses: about 10 ms. */
const CELLS_PER_SLICE = 20_000;

export function createPause(nextTurn: () => Promise<void>): Ground["pause"] {
  let cells = 0;
  return async (more) => {
    cells += more;
    if (cells < CELLS_PER_SLICE) return;
    cells = 0;
    await nextTurn();
  };
}

/** What is stored of a bucket now, read anew and checked; none where there is no bucket. Throws `storage-damaged`. */
export function readBucket(store: BucketStore, address: BucketAddress): readonly CellBlock[] {
  return store.head(address) === undefined ? [] : store.check(address);
}

/** Have two half-open ranges of time an instant in common? */
export function overlaps(
  range: { readonly fromMs: number; readonly toMs: number },
  fromMs: number,
  toMs: number,
): boolean {
  return range.fromMs < toMs && range.toMs > fromMs;
}
