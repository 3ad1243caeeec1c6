import { CellTable } from "../hot/cell-table.js";

/** The sealed part of what a question reads: only a late event changes it. */
export interface SealedPart {
  readonly table: CellTable;
  readonly revised: Uint8Array;
  /** Blocks that were read, by tier. */
  readonly sources: ReadonlyMap<string, number>;
  /** `Buckets.lastWritten` of its range when it was read. */
  readonly written: number;
}

interface Kept {
  readonly part: SealedPart;
  readonly sizeBytes: number;
}

/** A part that is larger would take longer to copy than it saves. */
const MAX_PART_BYTES = 512 * 1024;

/** Sealed parts by question and range, the least recently used given up first. */
export class SealedParts {
  readonly #maxBytes: number;
  /** In order of use. */
  readonly #kept = new Map<string, Kept>();
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What is kept, if nothing was written into its range since. */
  get(key: string, lastWritten: number): SealedPart | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#drop(key, kept);
    if (kept.part.written < lastWritten) return undefined;
    this.#hold(key, kept);
    return kept.part;
  }

  /** Keeps a copy of the table, if it is small. */
  put(key: string, table: CellTable, rest: Omit<SealedPart, "table">): void {
    const limit = Math.min(MAX_PART_BYTES, this.#maxBytes);
    if (table.sizeBytes > limit) return;
    const part = { table: copyOf(table), ...rest };
    const sizeBytes = part.table.sizeBytes + 2 * key.length;
    if (sizeBytes > limit) return;
    const before = this.#kept.get(key);
    if (before !== undefined) this.#drop(key, before);
    this.#hold(key, { part, sizeBytes });
    for (const [oldest, kept] of this.#kept) {
      if (this.#sizeBytes <= this.#maxBytes) break;
      this.#drop(oldest, kept);
    }
  }

  #hold(key: string, kept: Kept): void {
    this.#kept.set(key, kept);
    this.#sizeBytes += kept.sizeBytes;
  }

  #drop(key: string, { sizeBytes }: Kept): void {
    this.#kept.delete(key);
    this.#sizeBytes -= sizeBytes;
  }
}

/** Without the room and the delays of a table that is being filled. */
function copyOf(table: CellTable): CellTable {
  const copy = new CellTable(table.arity, table.count);
  copy.addTable(table);
  copy.detach();
  return copy;
}
