/** A storage without files, for engines whose past may be lost, and for tests. */
import type { Grain } from "../engine/calendar/grain.js";
import type { LogRecord, Position } from "../engine/log.js";
import type { Sliced } from "../engine/sliced.js";
import {
  addressName,
  tierName,
  type BucketAddress,
  type BucketHead,
  type BucketStore,
  type CellBlock,
  type Revision,
  type Storage,
  type StoreCommit,
  type StoreMeta,
  type TierSize,
} from "../engine/store.js";
import { sizeOfBlock } from "./block-cache.js";
import { BucketIndex } from "./bucket-index.js";
import { checkBlock, checkCommit } from "./checks.js";
import { closed, damaged } from "./errors.js";
import { MemoryImage } from "./memory-image.js";
import { MemoryLog, type LogDisk } from "./memory-log.js";
import { MemoryQuarantine, QuarantineDisk } from "./memory-quarantine.js";
import { SEGMENT_LIMITS, type SegmentLimits } from "./segment-plan.js";

interface Bucket {
  readonly head: BucketHead;
  /** By rollup. */
  readonly blocks: ReadonlyMap<number, CellBlock>;
}

/**
 * What outlives a `Storage`: everything that was acknowledged. Whoever opens it again takes it over, and what the
 * storage before still had under way is lost, as in a crash.
 */
class MemoryDisk implements LogDisk {
  readonly records: LogRecord[] = [];
  readonly limits: SegmentLimits;
  readonly segmentEnds: Position[] = [];
  readonly quarantine = new QuarantineDisk();
  image: Uint8Array | undefined;
  first: Position = 1;
  completeFrom = Number.NEGATIVE_INFINITY;
  meta: StoreMeta | undefined;
  readonly values = new Map<number, string[]>();
  readonly remembered = new Map<number, Uint32Array>();
  readonly index = new BucketIndex();
  readonly buckets = new Map<string, Bucket>();
  readonly revisions: Revision[] = [];
  /** Who may write and read. */
  owner: object | undefined;

  constructor(limits: SegmentLimits) {
    this.limits = limits;
  }
}

export type { MemoryDisk };

/** `limits` says what the log makes of one segment. */
export function createMemoryDisk(limits: SegmentLimits = SEGMENT_LIMITS): MemoryDisk {
  return new MemoryDisk(limits);
}

/**
 * Opens a disk. Records and blocks are kept as they are given, not copied. Of a new one, which is the default, nobody can
 * open it again: it holds no image of the hot cells.
 */
export function openMemory(disk?: MemoryDisk): Storage {
  const session = new Session(disk ?? createMemoryDisk());
  return {
    ...(disk === undefined ? {} : { images: new MemoryImage(session) }),
    log: new MemoryLog(session),
    store: new MemoryStore(session),
    quarantine: new MemoryQuarantine(session),
    recover: () => Promise.resolve(),
    close: () => session.close(),
  };
}

/** One opening of a disk. */
class Session {
  readonly #disk: MemoryDisk;
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
    disk.owner = this;
  }

  /** The disk, while this session has it. */
  get disk(): MemoryDisk {
    if (this.#disk.owner !== this) throw closed();
    return this.#disk;
  }

  /** Does the work in a later microtask, after all that was asked for before. */
  later<T>(work: (disk: MemoryDisk) => T): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closed());
    const done = this.#last.then(() => work(this.disk));
    this.#last = done.catch(() => undefined);
    return done;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#release());
  }

  async #release(): Promise<void> {
    await this.#last;
    if (this.#disk.owner === this) this.#disk.owner = undefined;
  }
}

class MemoryStore implements BucketStore {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  get #disk(): MemoryDisk {
    return this.#session.disk;
  }

  meta(): StoreMeta | undefined {
    return this.#disk.meta;
  }

  generation(): number {
    return this.#disk.meta?.generation ?? 0;
  }

  values(dimension: number): string[] {
    return [...(this.#disk.values.get(dimension) ?? [])];
  }

  remembered(dimension: number): Uint32Array {
    return this.#disk.remembered.get(dimension)?.slice() ?? new Uint32Array(0);
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#disk.buckets.get(addressName(address))?.head;
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.#disk.buckets.get(addressName(address))?.blocks.get(rollup);
  }

  *blockInSlices(address: BucketAddress, rollup: number): Sliced<CellBlock | undefined> {
    yield 0;
    return this.block(address, rollup);
  }

  blockWith(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.block(address, rollup);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#disk.index.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#disk.index.addresses();
  }

  check(address: BucketAddress): CellBlock[] {
    const bucket = this.#disk.buckets.get(addressName(address));
    if (bucket === undefined) throw damaged(`The bucket ${addressName(address)}`, "is missing");
    return [...bucket.blocks.values()];
  }

  lastRevision(): number {
    return this.#disk.revisions.length;
  }

  revisions(after: number, limit: number): Revision[] {
    return this.#disk.revisions.slice(after, after + limit);
  }

  sizes(): TierSize[] {
    const tiers = new Map<string, TierSize>();
    for (const address of this.#disk.index.addresses()) {
      const { calendar, grain } = address;
      const name = tierName(calendar, grain);
      const tier = tiers.get(name) ?? { calendar, grain, buckets: 0, cells: 0, bytes: 0 };
      const blocks = [...this.#disk.buckets.get(addressName(address))!.blocks.values()];
      const cells = blocks.reduce((sum, { count }) => sum + count, tier.cells);
      const bytes = blocks.reduce((sum, block) => sum + sizeOfBlock(block), tier.bytes);
      tiers.set(name, { calendar, grain, buckets: tier.buckets + 1, cells, bytes });
    }
    return [...tiers.values()];
  }

  commit(commit: StoreCommit): Promise<void> {
    return this.#session.later((disk) => {
      checkCommit(commit, {
        generation: this.generation(),
        lastRevision: disk.revisions.length,
        valuesOf: (dimension) => disk.values.get(dimension)?.length ?? 0,
      });
      for (const { blocks } of commit.buckets) for (const block of blocks) checkBlock(block);
      apply(disk, commit);
    });
  }
}

/** Nothing in here throws. */
function apply(disk: MemoryDisk, commit: StoreCommit): void {
  for (const { address, head, blocks } of commit.buckets) {
    const filled = blocks.filter((block) => block.count > 0);
    disk.buckets.set(addressName(address), {
      head,
      blocks: new Map(filled.map((block) => [block.rollup, block])),
    });
    disk.index.add(address);
  }
  for (const { dimension, values } of commit.values) {
    const known = disk.values.get(dimension);
    if (known === undefined) disk.values.set(dimension, [...values]);
    else for (const value of values) known.push(value);
  }
  for (const { dimension, subjects, ids } of commit.remembered) {
    disk.remembered.set(dimension, updated(disk.remembered.get(dimension), subjects, ids));
  }
  for (const address of commit.removed) {
    disk.buckets.delete(addressName(address));
    disk.index.remove(address);
  }
  disk.revisions.push(...commit.revisions);
  disk.meta = commit.meta;
}

function updated(before: Uint32Array | undefined, subjects: Uint32Array, ids: Uint32Array): Uint32Array {
  const greatest = subjects.reduce((most, subject) => Math.max(most, subject), -1);
  const after = new Uint32Array(Math.max(before?.length ?? 0, greatest + 1));
  if (before !== undefined) after.set(before);
  subjects.forEach((subject, i) => {
    after[subject] = ids[i]!;
  });
  return after;
}
