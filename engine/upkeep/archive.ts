import type { LogEntry } from "../log.js";
import type { StoredBucket } from "../store.js";

/** What a tier gives up, in a form that needs nothing else to be read. */
export type ArchiveChunk =
  | { readonly kind: "raw"; readonly entries: readonly LogEntry[] }
  | {
      readonly kind: "buckets";
      readonly buckets: readonly StoredBucket[];
      /** Names of the schema's rollups, by id. */
      readonly rollups: readonly string[];
      /** Per dimension: the values that the blocks' keys stand for; the first has id 2. */
      readonly values: readonly (readonly string[])[];
      /** Per rollup: the dimension of each id of a key. */
      readonly dims: readonly (readonly number[])[];
    };

/** A cold archive: where expiring tiers go before they are dropped. */
export interface Archive {
  /** Resolves when the chunk is on disk. After a rejection nothing is dropped, and the chunk is given again later. */
  write(chunk: ArchiveChunk): Promise<void>;
}
