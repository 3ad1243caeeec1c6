/** A storage without files, for engines whose past may be lost, and for tests. */
import type { Grain } from "../engine/calendar/grain.js";
import type { EventLog, LogEntry, LogRecord, Position } from "../engine/log.js";
import {
  addressName,
  type BucketAddress,
  type BucketHead,
  type BucketStore,
  type CellBlock,
  type Storage,
  type StoreCommit,
  type StoreMeta,
} from "../engine/store.js";
import { BucketIndex } from "./bucket-index.js";
import { checkBlock, checkCommit } from "./checks.js";
import { closed, overtaken } from "./errors.js";

interface Bucket {
  readonly head: BucketHead;
  /** By rollup. */
  readonly blocks: ReadonlyMap<number, CellBlock>;
}

/**
 * What outlives a `Storage`: everything that was acknowledged. Whoever opens it again takes it over, and what the
 * storage before still had under way is lost, as in a crash.
 */
class MemoryDisk {
  /** Record i is at position `first + i`. */
  readonly records: LogRecord[] = [];
  first: Position = 1;
  meta: StoreMeta | undefined;
  readonly values = new Map<number, string[]>();
  readonly remembered = new Map<number, Uint32Array>();
  readonly index = new BucketIndex();
  readonly buckets = new Map<string, Bucket>();
  /** Who may write and read. */
  owner: object | undefined;
}

export type { MemoryDisk };

export function createMemoryDisk(): MemoryDisk {
  return new MemoryDisk();
}

/** Opens a disk, a new one by default. Records and blocks are kept as they are given, not copied. */
export function openMemory(disk: MemoryDisk = createMemoryDisk()): Storage {
  const session = new Session(disk);
  return {
    log: new MemoryLog(session),
    store: new MemoryStore(session),
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

class MemoryLog implements EventLog {
  readonly #session: Session;
  /** Position given out last. */
  #last: Position;

  constructor(session: Session) {
    this.#session = session;
    this.#last = this.head;
  }

  get head(): Position {
    const { first, records } = this.#session.disk;
    return first + records.length - 1;
  }

  get first(): Position {
    return this.#session.disk.first;
  }

  append(record: LogRecord): Promise<Position> {
    const position = ++this.#last;
    return this.#session.later(({ records }) => {
      records.push(record);
      return position;
    });
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.#entries(Math.max(from, this.first), this.head);
  }

  trim(before: Position): Promise<void> {
    return this.#session.later((disk) => {
      const count = Math.max(0, Math.min(before, this.head + 1) - disk.first);
      disk.records.splice(0, count);
      disk.first += count;
    });
  }

  async *#entries(from: Position, head: Position): AsyncGenerator<LogEntry> {
    for (let position = from; position <= head; position++) {
      const { first, records } = this.#session.disk;
      if (position < first) throw overtaken(position);
      yield { position, record: records[position - first]! };
    }
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

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#disk.index.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#disk.index.addresses();
  }

  commit(commit: StoreCommit): Promise<void> {
    return this.#session.later((disk) => {
      checkCommit(commit, this.generation(), (dimension) => disk.values.get(dimension)?.length ?? 0);
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
