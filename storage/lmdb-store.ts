import type { Grain } from "../engine/calendar/grain.js";
import { TidemarkError } from "../engine/errors.js";
import { projectBlock } from "../engine/hot/merge-blocks.js";
import { atOnce, type Sliced } from "../engine/sliced.js";
import { tierName, type BucketAddress, type BucketHead } from "../engine/store.js";
import type {
  BucketStore,
  CellBlock,
  Revision,
  StoreCommit,
  StoreMeta,
  StoredBucket,
  TierSize,
} from "../engine/store.js";
import { BlockCache, CachedBucket, type Opened } from "./block-cache.js";
import { blockChecksum, decodeInSlices, sumUpBlock, type SourceOf } from "./block-codec.js";
import { derivedFrom, isDerived } from "./block-derived.js";
import { BlockEncoder, type EncodedBucket } from "./block-encoder.js";
import { prepareCommit, type StagedCommit } from "./commit.js";
import { readRemembered, readValues } from "./dictionary-pages.js";
import type { Environment } from "./environment.js";
import { damaged } from "./errors.js";
import { bucketKey, revisionKey } from "./keys.js";
import { OpenBlock } from "./open-block.js";
import { describe, loadState, readGeneration, readHead, readMeta, type StoreState } from "./state.js";
import { decodeRevision, type BlockEntry, type HeadRecord } from "./store-codec.js";
import type { WriteQueue } from "./write-queue.js";

/** From so many rows on, one group is read to find one key, instead of the whole block. */
const ONE_ROW_FROM = 1024;
/**
 * A block that single rows were asked of so often is read whole after all, one block a turn, unless it has more rows
 * than that: about 2 ms, of which the next hundred questions are each 10 µs shorter.
 */
const READS_BEFORE_WHOLE = 16;
const WHOLE_UP_TO_ROWS = 8192;

/** Grains whose new buckets are kept decoded. */
const KEPT_GRAINS: ReadonlySet<Grain> = new Set(["quarter", "hour", "day"]);

/**
 * Sealed buckets in LMDB. LMDB commits in a thread of its own: a read may see a commit before its promise is
 * resolved. Each read therefore asks the snapshot for its generation first, and takes what is known in memory, the
 * cache included, to that generation.
 */
export class LmdbStore implements BucketStore {
  readonly #environment: Environment;
  readonly #queue: WriteQueue;
  readonly #cache: BlockCache;
  readonly #encoder = new BlockEncoder();
  #state: StoreState;
  /** The commit that a read may see next. */
  #staged: StagedCommit | undefined;
  #lastCommit: Promise<void> = Promise.resolve();
  /** In this turn, instead of single rows. */
  #hasReadWhole = false;

  /** Throws `storage-damaged` when buckets are missing. */
  constructor(environment: Environment, queue: WriteQueue, cacheBytes: number) {
    this.#environment = environment;
    this.#queue = queue;
    this.#cache = new BlockCache(cacheBytes);
    this.#state = loadState(environment);
  }

  meta(): StoreMeta | undefined {
    return readMeta(this.#environment, this.#current().generation)?.meta;
  }

  generation(): number {
    return this.#current().generation;
  }

  values(dimension: number): string[] {
    return readValues(this.#environment, dimension, this.#current().counts.values[dimension] ?? 0);
  }

  remembered(dimension: number): Uint32Array {
    const pages = this.#current().counts.rememberedPages[dimension] ?? 0;
    return readRemembered(this.#environment, dimension, pages);
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#bucketOf(address)?.head;
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    const bucket = this.#bucketOf(address);
    return bucket?.block(rollup) ?? (bucket && this.#readWhole(bucket, rollup));
  }

  *blockInSlices(address: BucketAddress, rollup: number): Sliced<CellBlock | undefined> {
    const bucket = this.#bucketOf(address);
    const known = bucket?.block(rollup);
    const entry = bucket?.entryOf(rollup);
    if (known !== undefined || bucket === undefined || entry === undefined) return known;
    try {
      return yield* this.#blockInSlices(this.#current(), bucket, entry);
    } catch (error) {
      throw ofBucket(address, error);
    }
  }

  blockWith(address: BucketAddress, rollup: number, prefix: Uint32Array): CellBlock | undefined {
    const bucket = this.#bucketOf(address);
    if (bucket === undefined) return undefined;
    const known = bucket.block(rollup);
    if (known !== undefined) return known;
    const entry = bucket.entryOf(rollup);
    if (entry === undefined) return undefined;
    if (entry.rows < ONE_ROW_FROM || this.#isWorthWhole(bucket, entry))
      return this.#readWhole(bucket, rollup);
    return within(address, () => this.#rowsOf(bucket, entry, prefix));
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#known().index.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#current().index.addresses();
  }

  check(address: BucketAddress): CellBlock[] {
    const { bucket, blocks } = this.#written(address);
    return blocks.map((entry) => this.#read(this.#current(), bucket, entry));
  }

  /** As `check`, by the checksums alone: nothing is decoded. */
  sumUp(address: BucketAddress): void {
    const { bucket, blocks } = this.#written(address);
    const state = this.#current();
    for (const entry of blocks) {
      const { bytes, what } = this.#bytesOf(state, address, entry);
      if (isDerived(bytes)) derivedFrom(bytes, what, (rollup) => bucket.entryOf(rollup)?.checksum);
      else sumUpBlock(bytes, what);
    }
  }

  /** A bucket that must be there, past what is remembered of it. */
  #written(address: BucketAddress): { bucket: CachedBucket; blocks: readonly BlockEntry[] } {
    const state = this.#current();
    if (!state.index.has(address)) throw damaged(`The head of ${describe(address)}`, "is missing");
    const head = this.#readHead(state, address);
    return { bucket: new CachedBucket(address, head), blocks: head.blocks };
  }

  lastRevision(): number {
    return this.#current().counts.revisions.next - 1;
  }

  revisions(after: number, limit: number): Revision[] {
    const { counts, calendars } = this.#current();
    const from = Math.max(after + 1, counts.revisions.first);
    const to = Math.min(from + limit, counts.revisions.next);
    return Array.from({ length: Math.max(0, to - from) }, (_, i) => this.#revision(from + i, calendars));
  }

  sizes(): TierSize[] {
    const state = this.#current();
    const tiers = new Map<string, { -readonly [K in keyof TierSize]: TierSize[K] }>();
    for (const address of state.index.addresses()) {
      const { calendar, grain } = address;
      const name = tierName(calendar, grain);
      const tier = tiers.get(name) ?? { calendar, grain, buckets: 0, cells: 0, bytes: 0 };
      tiers.set(name, tier);
      tier.buckets++;
      for (const { rows, sizeBytes } of this.#readHead(state, address).blocks) {
        tier.cells += rows;
        tier.bytes += sizeBytes;
      }
    }
    return [...tiers.values()];
  }

  expect(bucket: StoredBucket): void {
    this.#encoder.begin(bucket);
  }

  commit(commit: StoreCommit): Promise<void> {
    const done = this.#lastCommit.then(() => this.#commit(commit));
    this.#lastCommit = done.catch(() => undefined);
    return done;
  }

  /** Takes no more commits, and resolves when none is under way. */
  async close(): Promise<void> {
    await this.#lastCommit;
    await this.#encoder.close();
  }

  async #commit(commit: StoreCommit): Promise<void> {
    const buckets = await this.#encoder.encode(commit.buckets);
    await this.#queue.add(() => {
      const { puts, staged } = prepareCommit(this.#environment, this.#current(), commit, buckets);
      this.#staged = staged;
      return puts;
    });
    this.#keep(commit.buckets, buckets);
  }

  /** What was just written is what the next coarser buckets, and late events, will be merged with. */
  #keep(written: StoreCommit["buckets"], encoded: readonly EncodedBucket[]): void {
    this.#current();
    for (const [i, { address, head, blocks }] of written.entries()) {
      if (!KEPT_GRAINS.has(address.grain)) continue;
      const entries = encoded[i]!.blocks.map(({ entry }) => entry);
      const filled = blocks.filter(({ count }) => count > 0);
      this.#cache.add(new CachedBucket(address, { ...head, blocks: entries }), filled);
    }
  }

  /**
   * The state for what is known in memory. It changes only with a commit of this very store: while none is under way,
   * nothing has to be read to know that it holds.
   */
  #known(): StoreState {
    this.#environment.assertOpen();
    return this.#staged === undefined ? this.#state : this.#current();
  }

  /** The state at the generation that this turn's reads see. */
  #current(): StoreState {
    const generation = readGeneration(this.#environment);
    if (generation !== this.#state.generation) this.#advance(generation);
    return this.#state;
  }

  #advance(generation: number): void {
    const staged = this.#staged;
    if (staged?.generation !== generation) {
      throw new TidemarkError(
        "storage-failed",
        `Another process has written generation ${generation} of this store; stop this one, it must not go on.`,
      );
    }
    const { index } = this.#state;
    for (const address of staged.buckets) {
      index.add(address);
      this.#cache.remove(address);
    }
    for (const address of staged.removed) {
      index.remove(address);
      this.#cache.remove(address);
    }
    this.#state = { generation, calendars: staged.calendars, counts: staged.counts, index };
    this.#staged = undefined;
  }

  #revision(seq: number, calendars: readonly string[]): Revision {
    const key = revisionKey(seq);
    const bytes = this.#environment.get(this.#environment.revisions, key);
    if (bytes === undefined) throw damaged(`Revision ${seq}`, "is missing");
    return decodeRevision(key, bytes, seq, calendars);
  }

  #readHead(state: StoreState, address: BucketAddress): HeadRecord {
    return within(address, () => readHead(this.#environment, state, address));
  }

  #bucketOf(address: BucketAddress): CachedBucket | undefined {
    const { index } = this.#known();
    const known = this.#cache.get(address);
    if (known !== undefined) return known;
    if (!index.has(address)) return undefined;
    const state = this.#current();
    if (!state.index.has(address)) return undefined;
    const bucket = new CachedBucket(address, this.#readHead(state, address));
    this.#cache.add(bucket);
    return bucket;
  }

  /** The rows whose key begins with `prefix`, out of their groups. */
  #rowsOf(bucket: CachedBucket, { rollup }: BlockEntry, prefix: Uint32Array): CellBlock | undefined {
    const opened = this.#open(bucket, rollup);
    if (opened === undefined) return undefined;
    const { block, arity } = opened;
    const before = block.sizeBytes;
    const rows = block.rows(prefix);
    this.#cache.keepGrown(bucket, block, block.sizeBytes - before);
    return rows === undefined || block.rollup === rollup ? rows : projectBlock(rows, rollup, arity);
  }

  /** The block of a rollup, or the one that it is the sum of. */
  #open(bucket: CachedBucket, rollup: number): Opened | undefined {
    const known = bucket.opened(rollup);
    if (known !== undefined) return known;
    const entry = bucket.entryOf(rollup);
    if (entry === undefined) return undefined;
    const { bytes, what } = this.#bytesOf(this.#current(), bucket.address, entry);
    const opened = isDerived(bytes) ? this.#openSource(bucket, bytes, what) : openedOf(bytes, what);
    if (opened !== undefined) this.#cache.keepOpened(bucket, rollup, opened);
    return opened;
  }

  #openSource(bucket: CachedBucket, bytes: Uint8Array, what: string): Opened | undefined {
    const { source, arity } = derivedFrom(bytes, what, (rollup) => bucket.entryOf(rollup)?.checksum);
    const opened = this.#open(bucket, source);
    return opened && { block: opened.block, arity };
  }

  #isWorthWhole(bucket: CachedBucket, { rollup }: BlockEntry): boolean {
    const block = bucket.opened(rollup)?.block;
    if (block === undefined || block.reads < READS_BEFORE_WHOLE || block.count > WHOLE_UP_TO_ROWS)
      return false;
    if (this.#hasReadWhole) return false;
    this.#hasReadWhole = true;
    queueMicrotask(() => (this.#hasReadWhole = false));
    return true;
  }

  #readWhole(bucket: CachedBucket, rollup: number): CellBlock | undefined {
    const entry = bucket.entryOf(rollup);
    if (entry === undefined) return undefined;
    const block = this.#read(this.#current(), bucket, entry);
    this.#cache.keepBlock(bucket, block);
    return block;
  }

  #read(state: StoreState, bucket: CachedBucket, entry: BlockEntry): CellBlock {
    return within(bucket.address, () => atOnce(this.#blockInSlices(state, bucket, entry)));
  }

  *#blockInSlices(state: StoreState, bucket: CachedBucket, entry: BlockEntry): Sliced<CellBlock> {
    const { bytes, what } = this.#bytesOf(state, bucket.address, entry);
    const block = yield* decodeInSlices(bytes, what, this.#sourceOf(state, bucket));
    if (block.rollup !== entry.rollup || block.count !== entry.rows) throw foreign(what);
    return block;
  }

  /** A block may say only that it is the sum of another one of its bucket. */
  #sourceOf(state: StoreState, bucket: CachedBucket): SourceOf {
    return (rollup) => {
      const entry = bucket.entryOf(rollup);
      return entry && this.#bytesOf(state, bucket.address, entry).bytes;
    };
  }

  /** The bytes of a block, which are those that its bucket's head names. */
  #bytesOf(
    state: StoreState,
    address: BucketAddress,
    entry: BlockEntry,
  ): { bytes: Uint8Array; what: string } {
    const { calendar, grain, startMs } = address;
    const key = bucketKey(state.calendars.indexOf(calendar), grain, entry.rollup, startMs);
    const bytes = this.#environment.get(this.#environment.buckets, key);
    const what = `Rollup ${entry.rollup} of ${describe(address)}`;
    if (bytes === undefined) throw damaged(what, "is missing");
    if (bytes.length !== entry.sizeBytes || blockChecksum(bytes, what) !== entry.checksum)
      throw foreign(what);
    return { bytes, what };
  }
}

function within<T>(bucket: BucketAddress, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw ofBucket(bucket, error);
  }
}

/** Names the bucket in the error when it is damaged, so that it can be made anew. */
function ofBucket(bucket: BucketAddress, error: unknown): unknown {
  if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") return error;
  return new TidemarkError(error.code, error.message, { extra: { bucket }, cause: error });
}

function foreign(what: string): TidemarkError {
  return damaged(what, "is not the block that its bucket's head names");
}

function openedOf(bytes: Uint8Array, what: string): Opened {
  const block = new OpenBlock(bytes, what);
  return { block, arity: block.arity };
}
