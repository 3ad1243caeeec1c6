import type { Grain } from "../engine/calendar/grain.js";
import type { BucketAddress, BucketHead, CellBlock } from "../engine/store.js";
import type { OpenBlock } from "./open-block.js";
import type { BlockEntry, HeadRecord } from "./store-codec.js";

/** Of a block besides its columns: the objects that hold them. */
const OVERHEAD_BYTES = 1024;
/** Of a bucket: its head and its place here. */
const BUCKET_BYTES = 1024;

/** Of the cache, that a new bucket may take. */
const MOST_AT_ONCE = 1 / 8;

/** Where the rows of a rollup are found. */
export interface Opened {
  /** The rollup's own block, or the one that it is derived from. */
  readonly block: OpenBlock;
  /** Of the rollup. */
  readonly arity: number;
}

/** What is known in memory of one bucket: its head, and of its blocks those that were read, whole or only opened. */
export class CachedBucket {
  readonly address: BucketAddress;
  readonly head: BucketHead;
  /** Used since the cache last looked for something to forget. */
  isUsed = false;
  sizeBytes = BUCKET_BYTES;
  readonly #entries: readonly BlockEntry[];
  readonly #blocks = new Map<number, CellBlock>();
  readonly #opened = new Map<number, Opened>();

  constructor(address: BucketAddress, { revision, position, blocks }: HeadRecord) {
    this.address = address;
    this.head = { revision, position };
    this.#entries = blocks;
  }

  entryOf(rollup: number): BlockEntry | undefined {
    return this.#entries.find((entry) => entry.rollup === rollup);
  }

  block(rollup: number): CellBlock | undefined {
    return this.#blocks.get(rollup);
  }

  opened(rollup: number): Opened | undefined {
    return this.#opened.get(rollup);
  }

  setBlock(block: CellBlock): void {
    this.#blocks.set(block.rollup, block);
  }

  setOpened(rollup: number, opened: Opened): void {
    this.#opened.set(rollup, opened);
  }
}

type Tier = Map<number, CachedBucket>;

/**
 * Buckets as far as they were read, at most `maxBytes` of them. What is to be forgotten is chosen as by a clock's
 * hand that goes round: of two rounds, what was not used between them.
 */
export class BlockCache {
  readonly #maxBytes: number;
  readonly #tiers = new Map<string, Map<Grain, Tier>>();
  /** The hand stands before the first. */
  readonly #round = new Set<CachedBucket>();
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get({ calendar, grain, startMs }: BucketAddress): CachedBucket | undefined {
    const bucket = this.#tiers.get(calendar)?.get(grain)?.get(startMs);
    if (bucket !== undefined) bucket.isUsed = true;
    return bucket;
  }

  /** Takes the place of what is known of the bucket. With these blocks, unless they would take too much of the cache. */
  add(bucket: CachedBucket, blocks: readonly CellBlock[] = []): void {
    const { address } = bucket;
    this.remove(address);
    if (bucket.sizeBytes > this.#maxBytes) return;
    const size = blocks.reduce((sum, block) => sum + sizeOfBlock(block), 0);
    if (size <= this.#maxBytes * MOST_AT_ONCE) {
      for (const block of blocks) bucket.setBlock(block);
      bucket.sizeBytes += size;
    }
    this.#tierOf(address).set(address.startMs, bucket);
    this.#round.add(bucket);
    this.#sizeBytes += bucket.sizeBytes;
    this.#shrink();
  }

  keepBlock(bucket: CachedBucket, block: CellBlock): void {
    const size = sizeOfBlock(block);
    if (!this.#hasRoom(bucket, size)) return;
    bucket.setBlock(block);
    this.#grow(bucket, size);
  }

  /** The opened block of another rollup, which this one is derived from, is kept once. */
  keepOpened(bucket: CachedBucket, rollup: number, opened: Opened): void {
    const size = opened.block.rollup === rollup ? opened.block.sizeBytes : 0;
    if (!this.#hasRoom(bucket, size)) return;
    bucket.setOpened(rollup, opened);
    this.#grow(bucket, size);
  }

  /** An opened block has grown by so many bytes. */
  keepGrown(bucket: CachedBucket, block: OpenBlock, bytes: number): void {
    if (bytes === 0 || bucket.opened(block.rollup)?.block !== block) return;
    if (this.#round.has(bucket)) this.#grow(bucket, bytes);
  }

  remove(address: BucketAddress): void {
    const tier = this.#tierOf(address);
    const bucket = tier.get(address.startMs);
    if (bucket === undefined) return;
    tier.delete(address.startMs);
    this.#round.delete(bucket);
    this.#sizeBytes -= bucket.sizeBytes;
  }

  /** Not of a bucket that was forgotten meanwhile, nor of what is larger than the whole cache. */
  #hasRoom(bucket: CachedBucket, size: number): boolean {
    return this.#round.has(bucket) && bucket.sizeBytes + size <= this.#maxBytes;
  }

  #grow(bucket: CachedBucket, size: number): void {
    bucket.sizeBytes += size;
    this.#sizeBytes += size;
    this.#shrink();
  }

  #shrink(): void {
    for (const bucket of this.#round) {
      if (this.#sizeBytes <= this.#maxBytes) return;
      if (bucket.isUsed) {
        bucket.isUsed = false;
        this.#round.delete(bucket);
        this.#round.add(bucket);
      } else this.remove(bucket.address);
    }
  }

  #tierOf({ calendar, grain }: BucketAddress): Tier {
    let grains = this.#tiers.get(calendar);
    if (grains === undefined) this.#tiers.set(calendar, (grains = new Map<Grain, Tier>()));
    let tier = grains.get(grain);
    if (tier === undefined) grains.set(grain, (tier = new Map<number, CachedBucket>()));
    return tier;
  }
}

/** Bytes of a decoded block in memory. */
export function sizeOfBlock({ keys, views, tokenStart, tokens, dense }: CellBlock): number {
  let size =
    OVERHEAD_BYTES + keys.byteLength + 3 * views.byteLength + tokenStart.byteLength + tokens.byteLength;
  for (const registers of dense.values()) size += registers.byteLength;
  return size;
}
