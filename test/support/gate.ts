import type {
  BucketAddress,
  BucketHead,
  BucketStore,
  CellBlock,
  EventLog,
  Grain,
  LogEntry,
  LogRecord,
  Position,
  Storage,
  StoreCommit,
  StoreMeta,
} from "../../engine/index.js";

/**
 * pass: at once. hold: on `release…()`. fail: rejected, nothing written. lie: written, but rejected: the caller cannot
 * know. cut: neither written nor ever answered, as after a crash.
 */
export type GateMode = "pass" | "hold" | "fail" | "lie" | "cut";

/** A real storage behind a gate, so that a test decides when, and whether, a write arrives. */
export class Gate implements Storage {
  readonly log: GatedLog;
  readonly store: GatedStore;
  readonly #inner: Storage;

  constructor(inner: Storage) {
    this.#inner = inner;
    this.log = new GatedLog(inner.log);
    this.store = new GatedStore(inner.store);
  }

  /** From here on nothing is written any more: the process is dead. */
  cut(): void {
    this.log.mode = "cut";
    this.store.mode = "cut";
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

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

  protected async pass<T>(write: () => Promise<T>): Promise<T> {
    switch (this.mode) {
      case "pass":
        return await write();
      case "fail":
        throw new Error("the gate is shut");
      case "lie":
        await write();
        throw new Error("the gate does not tell");
      case "cut":
        return await new Promise<never>(() => undefined);
      case "hold":
        return await new Promise<T>((resolve, reject) => {
          this.#waiting.push({ write: () => void write().then(resolve, reject), refuse: reject });
        });
    }
  }
}

class GatedLog extends Door implements EventLog {
  readonly #inner: EventLog;

  constructor(inner: EventLog) {
    super();
    this.#inner = inner;
  }

  get head(): Position {
    return this.#inner.head;
  }

  get first(): Position {
    return this.#inner.first;
  }

  append(record: LogRecord): Promise<Position> {
    return this.pass(() => this.#inner.append(record));
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.#inner.read(from);
  }

  trim(before: Position): Promise<void> {
    return this.#inner.trim(before);
  }
}

class GatedStore extends Door implements BucketStore {
  readonly #inner: BucketStore;

  constructor(inner: BucketStore) {
    super();
    this.#inner = inner;
  }

  meta(): StoreMeta | undefined {
    return this.#inner.meta();
  }

  generation(): number {
    return this.#inner.generation();
  }

  values(dimension: number): string[] {
    return this.#inner.values(dimension);
  }

  remembered(dimension: number): Uint32Array {
    return this.#inner.remembered(dimension);
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#inner.head(address);
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.#inner.block(address, rollup);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#inner.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.#inner.addresses();
  }

  commit(commit: StoreCommit): Promise<void> {
    return this.pass(() => this.#inner.commit(commit));
  }
}
