import type { CellBlock } from "../engine/store.js";

/** Of a block besides its columns: the objects that hold them. */
const OVERHEAD_BYTES = 1024;

interface Entry {
  readonly blocks: Map<number, CellBlock>;
  sizeBytes: number;
}

/** Decoded blocks by bucket and rollup, at most `maxBytes` of them; the bucket longest unused goes first. */
export class BlockCache {
  readonly #maxBytes: number;
  /** Oldest use first. */
  readonly #entries = new Map<string, Entry>();
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(bucket: string, rollup: number): CellBlock | undefined {
    const entry = this.#entries.get(bucket);
    const block = entry?.blocks.get(rollup);
    if (block === undefined) return undefined;
    this.#entries.delete(bucket);
    this.#entries.set(bucket, entry!);
    return block;
  }

  add(bucket: string, block: CellBlock): void {
    const size = sizeOfBlock(block);
    if (size > this.#maxBytes) return;
    const entry = this.#entries.get(bucket) ?? { blocks: new Map<number, CellBlock>(), sizeBytes: 0 };
    this.#entries.delete(bucket);
    this.#entries.set(bucket, entry);
    entry.blocks.set(block.rollup, block);
    entry.sizeBytes += size;
    this.#sizeBytes += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#sizeBytes <= this.#maxBytes) return;
      this.remove(oldest);
    }
  }

  remove(bucket: string): void {
    this.#sizeBytes -= this.#entries.get(bucket)?.sizeBytes ?? 0;
    this.#entries.delete(bucket);
  }
}

/** Bytes of a decoded block in memory. */
export function sizeOfBlock({ keys, views, tokenStart, tokens, dense }: CellBlock): number {
  let size =
    OVERHEAD_BYTES + keys.byteLength + 3 * views.byteLength + tokenStart.byteLength + tokens.byteLength;
  for (const registers of dense.values()) size += registers.byteLength;
  return size;
}
