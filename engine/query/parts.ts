import { CellTable } from "../hot/cell-table.js";
import { Lru } from "./lru.js";

/** The sealed part of what a question reads: only a late event changes it. */
export interface SealedPart {
  readonly table: CellTable;
  readonly revised: Uint8Array;
  /** Blocks that were read, by tier. */
  readonly sources: ReadonlyMap<string, number>;
  /** `Buckets.lastWritten` of its range when it was read. */
  readonly written: number;
}

/** A part that is larger would take longer to copy than it saves. */
const MAX_PART_BYTES = 512 * 1024;

/** Sealed parts by question and range, the least recently used given up first. */
export class SealedParts {
  readonly #maxBytes: number;
  readonly #kept: Lru<SealedPart>;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#kept = new Lru(maxBytes);
  }

  /** What is kept, if nothing was written into its range since. */
  get(key: string, lastWritten: number): SealedPart | undefined {
    const part = this.#kept.get(key);
    if (part === undefined || part.written >= lastWritten) return part;
    this.#kept.delete(key);
    return undefined;
  }

  /** Keeps a copy of the table, if it is small. */
  put(key: string, table: CellTable, rest: Omit<SealedPart, "table">): void {
    const limit = Math.min(MAX_PART_BYTES, this.#maxBytes);
    if (table.sizeBytes > limit) return;
    const part = { table: copyOf(table), ...rest };
    const sizeBytes = part.table.sizeBytes + 2 * key.length;
    if (sizeBytes <= limit) this.#kept.set(key, part, sizeBytes);
  }
}

/** Without the room and the delays of a table that is being filled. */
function copyOf(table: CellTable): CellTable {
  const copy = new CellTable(table.arity, table.count);
  copy.addTable(table);
  copy.detach();
  return copy;
}
