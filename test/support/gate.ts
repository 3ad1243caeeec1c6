import type { Sliced } from "../../engine/sliced.js";
import type { Grain } from "../../engine/index.js";
import type {
  EventLog,
  LogClaims,
  LogEntry,
  LogGap,
  LogRecord,
  LogSizes,
  Position,
} from "../../engine/log.js";
import type { ImagePort } from "../../engine/image-port.js";
import type { QuarantineChange, QuarantinePort } from "../../engine/quarantine-port.js";
import type {
  BucketAddress,
  BucketHead,
  BucketStore,
  CellBlock,
  Revision,
  Storage,
  StoreCommit,
  StoredBucket,
  StoreMeta,
  TierSize,
} from "../../engine/store.js";

/**
 * pass: at once. hold: on `release…()`. fail: rejected, nothing written. lie: written, but rejected: the caller cannot
 * know. cut: neither written nor ever answered, as after a crash.
 */
export type GateMode = "pass" | "hold" | "fail" | "lie" | "cut";

/** A real storage behind a gate, so that a test decides when, and whether, a write arrives. */
export class Gate implements Storage {
  readonly log: GatedLog;
  readonly store: GatedStore;
  /** Its writes go through the door of the log. */
  readonly quarantine: QuarantinePort;
  /** Images are written and given up as commits are, but that no one is held for long. */
  readonly images?: ImagePort;
  readonly #inner: Storage;

  constructor(inner: Storage) {
    this.#inner = inner;
    this.log = new GatedLog(inner);
    this.store = new GatedStore(inner);
    this.quarantine = gatedQuarantine(inner.quarantine, this.log);
    if (inner.images !== undefined) this.images = gatedImages(inner.images, this.store);
  }

  /** From here on nothing is written any more: the process is dead. */
  cut(): void {
    this.log.mode = "cut";
    this.store.mode = "cut";
  }

  get damagedBuckets(): readonly BucketAddress[] {
    return this.#inner.damagedBuckets ?? [];
  }

  /** A disk on which writes fail cannot be opened anew either. */
  async recover(): Promise<void> {
    const modes = [this.log.mode, this.store.mode];
    if (modes.includes("cut")) return await NEVER;
    if (modes.includes("fail")) throw new Error("the gate is shut");
    await this.#inner.recover();
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

const NEVER = new Promise<never>(() => undefined);

class Door {
  mode: GateMode = "pass";
  readonly #waiting: { readonly write: () => void; readonly refuse: (error: Error) => void }[] = [];

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets the first `count` waiting writes through; later ones still wait while the mode is "hold". */
  release(count = Number.POSITIVE_INFINITY): void {
    for (const { write } of this.#waiting.splice(0, count)) write();
  }

  /** Every waiting write fails, unwritten. */
  refuse(): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(new Error("the gate is shut"));
  }

  async pass<T>(write: () => Promise<T>): Promise<T> {
    switch (this.mode) {
      case "pass":
        return await write();
      case "fail":
        throw new Error("the gate is shut");
      case "lie":
        await write();
        throw new Error("the gate does not tell");
      case "cut":
        return await NEVER;
      case "hold":
        return await new Promise<T>((resolve, reject) => {
          this.#waiting.push({ write: () => void write().then(resolve, reject), refuse: reject });
        });
    }
  }
}

class GatedLog extends Door implements EventLog {
  readonly #inner: Storage;

  constructor(inner: Storage) {
    super();
    this.#inner = inner;
  }

  get head(): Position {
    return this.#inner.log.head;
  }

  get first(): Position {
    return this.#inner.log.first;
  }

  get completeFrom(): number {
    return this.#inner.log.completeFrom;
  }

  gaps(): readonly LogGap[] {
    return this.#inner.log.gaps();
  }

  append(record: LogRecord, quarantine?: QuarantineChange): Promise<Position> {
    return this.pass(() => this.#inner.log.append(record, quarantine));
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.#inner.log.read(from);
  }

  readRange(fromMs: number, toMs: number): AsyncIterable<LogEntry> {
    return this.#inner.log.readRange(fromMs, toMs);
  }

  claims(from: Position): AsyncIterable<LogClaims> {
    return this.#inner.log.claims(from);
  }

  async compact(before: Position): Promise<void> {
    await (this.mode === "cut" ? NEVER : this.#inner.log.compact(before));
  }

  async trim(before: Position): Promise<void> {
    await (this.mode === "cut" ? NEVER : this.#inner.log.trim(before));
  }

  sizes(): LogSizes {
    return this.#inner.log.sizes();
  }
}

function gatedQuarantine(inner: QuarantinePort, door: Door): QuarantinePort {
  return {
    state: () => inner.state(),
    names: () => inner.names(),
    read: (name) => inner.read(name),
    write: (change) => door.pass(() => inner.write(change)),
  };
}

function gatedImages(inner: ImagePort, door: Door): ImagePort {
  const pass = async (write: () => Promise<void>): Promise<void> => {
    await (door.mode === "hold" ? write() : door.pass(write));
  };
  return {
    hasMemory: inner.hasMemory,
    read: () => inner.read(),
    write: (image) => pass(() => inner.write(image)),
    drop: () => pass(() => inner.drop()),
  };
}

class GatedStore extends Door implements BucketStore {
  readonly #inner: Storage;

  constructor(inner: Storage) {
    super();
    this.#inner = inner;
  }

  meta(): StoreMeta | undefined {
    return this.#inner.store.meta();
  }

  generation(): number {
    return this.#inner.store.generation();
  }

  values(dimension: number): string[] {
    return this.#inner.store.values(dimension);
  }

  remembered(dimension: number): Uint32Array {
    return this.#inner.store.remembered(dimension);
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#inner.store.head(address);
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.#inner.store.block(address, rollup);
  }

  blockInSlices(address: BucketAddress, rollup: number): Sliced<CellBlock | undefined> {
    return this.#inner.store.blockInSlices(address, rollup);
  }

  blockWith(address: BucketAddress, rollup: number, key: Uint32Array): CellBlock | undefined {
    return this.#inner.store.blockWith(address, rollup, key);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#inner.store.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#inner.store.addresses();
  }

  check(address: BucketAddress): readonly CellBlock[] {
    return this.#inner.store.check(address);
  }

  expect(bucket: StoredBucket): void {
    this.#inner.store.expect?.(bucket);
  }

  lastRevision(): number {
    return this.#inner.store.lastRevision();
  }

  revisions(after: number, limit: number): Revision[] {
    return this.#inner.store.revisions(after, limit);
  }

  sizes(): TierSize[] {
    return this.#inner.store.sizes();
  }

  commit(commit: StoreCommit): Promise<void> {
    return this.pass(() => this.#inner.store.commit(commit));
  }
}
