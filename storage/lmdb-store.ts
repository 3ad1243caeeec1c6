import type { Grain } from "../engine/calendar/grain.js";
import { TidemarkError } from "../engine/errors.js";
import { addressName, type BucketAddress, type BucketHead } from "../engine/store.js";
import type { BucketStore, CellBlock, StoreCommit, StoreMeta } from "../engine/store.js";
import { BlockCache } from "./block-cache.js";
import { blockChecksum, decodeBlock } from "./block-codec.js";
import { encodeBuckets, prepareCommit, type StagedCommit } from "./commit.js";
import { readRemembered, readValues } from "./dictionary-pages.js";
import type { Environment } from "./environment.js";
import { damaged } from "./errors.js";
import { bucketKey } from "./keys.js";
import { describe, loadState, readGeneration, readHead, readMeta, type StoreState } from "./state.js";
import type { BlockEntry } from "./store-codec.js";
import type { WriteQueue } from "./write-queue.js";

/**
 * Sealed buckets in LMDB. LMDB commits in a thread of its own: a read may see a commit before its promise is resolved.
 * Each read therefore asks the snapshot for its generation first, and takes what is known in memory, the cache
 * included, to that generation.
 */
export class LmdbStore implements BucketStore {
  readonly #environment: Environment;
  readonly #queue: WriteQueue;
  readonly #cache: BlockCache;
  #state: StoreState;
  /** The commit that a read may see next. */
  #staged: StagedCommit | undefined;
  #lastCommit: Promise<void> = Promise.resolve();

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
    const state = this.#current();
    if (!state.index.has(address)) return undefined;
    const { revision, position } = readHead(this.#environment, state, address);
    return { revision, position };
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    const state = this.#current();
    const name = addressName(address);
    const cached = this.#cache.get(name, rollup);
    if (cached !== undefined) return cached;
    if (!state.index.has(address)) return undefined;
    const { blocks } = readHead(this.#environment, state, address);
    const entry = blocks.find((block) => block.rollup === rollup);
    if (entry === undefined) return undefined;
    const block = this.#read(state, address, entry);
    this.#cache.add(name, block);
    return block;
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#current().index.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#current().index.addresses();
  }

  commit(commit: StoreCommit): Promise<void> {
    const done = this.#lastCommit.then(() => this.#commit(commit));
    this.#lastCommit = done.catch(() => undefined);
    return done;
  }

  /** Resolves when no commit is under way. */
  idle(): Promise<void> {
    return this.#lastCommit;
  }

  async #commit(commit: StoreCommit): Promise<void> {
    const buckets = await encodeBuckets(commit.buckets);
    await this.#queue.add(() => {
      const { puts, staged } = prepareCommit(this.#environment, this.#current(), commit, buckets);
      this.#staged = staged;
      return puts;
    });
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
      this.#cache.remove(addressName(address));
    }
    this.#state = { generation, calendars: staged.calendars, counts: staged.counts, index };
    this.#staged = undefined;
  }

  #read(state: StoreState, address: BucketAddress, entry: BlockEntry): CellBlock {
    const { calendar, grain, startMs } = address;
    const key = bucketKey(state.calendars.indexOf(calendar), grain, entry.rollup, startMs);
    const bytes = this.#environment.get(this.#environment.buckets, key);
    const what = `Rollup ${entry.rollup} of ${describe(address)}`;
    if (bytes === undefined) throw damaged(what, "is missing");
    if (bytes.length !== entry.sizeBytes || blockChecksum(bytes, what) !== entry.checksum) {
      throw damaged(what, "is not the block that its bucket's head names");
    }
    const block = decodeBlock(bytes, what);
    if (block.rollup !== entry.rollup || block.count !== entry.rows) {
      throw damaged(what, "is not the block that its bucket's head names");
    }
    return block;
  }
}
