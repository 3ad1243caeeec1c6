import { TidemarkError } from "../../engine/index.js";
import type { EventLog } from "../../engine/log.js";
import type { ImagePort } from "../../engine/image-port.js";
import type { QuarantinePort } from "../../engine/quarantine-port.js";
import type { BucketStore, Storage } from "../../engine/store.js";

/** What survives a crash. */
export interface Disk {
  open(): Storage | Promise<Storage>;
  /** Does the process before leave the disk by itself when it dies? Otherwise it is closed, engine or no engine. */
  readonly diesAlone: boolean;
}

/** What befalls a write, and all that wait behind it. */
export interface Fault {
  /** So many writes still succeed. */
  readonly after: number;
  /** error: told to the writer. full: as error, until there is room. crash: nobody is ever told anything. */
  readonly kind: "error" | "full" | "crash";
  /** Of the writes that it befalls, the first so many are on the disk all the same; nobody knows before it is opened. */
  readonly kept: number;
  /** So often the disk cannot be opened anew. */
  readonly failedRecoveries: number;
}

/** A write: an append, a change of the quarantine (with an append, or alone), a commit, a trim or a compaction. */
export interface Write {
  /** found: not known to be written before the disk was opened anew. */
  readonly state: "waiting" | "written" | "lost" | "unknown" | "found";
}

interface Job extends Write {
  state: Write["state"];
  readonly work: (storage: Storage) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

const NEVER = new Promise<never>(() => undefined);

/** A disk that fails when it is told to, and then does not say how much of the last writes it has. */
export class FaultyDisk implements Disk {
  readonly diesAlone: boolean;
  readonly #disk: Disk;
  #fault: Fault | undefined;
  #limbo: Job[] = [];
  #recoveriesToFail = 0;
  /** What the last append of all, or change of the quarantine alone, became. */
  lastAppend: Write | undefined;
  isFull = false;
  /** No write succeeds before the disk is opened anew. */
  hasFailed = false;
  #crashed: () => void = () => undefined;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.diesAlone = disk.diesAlone;
  }

  async open(): Promise<Storage> {
    const inner = await this.#disk.open();
    await this.settle(inner);
    this.#fault = undefined;
    this.#recoveriesToFail = 0;
    this.isFull = false;
    this.hasFailed = false;
    return new FaultyStorage(this, inner);
  }

  /** The promise resolves when a fault of kind "crash" has come. */
  arm(fault: Fault): Promise<void> {
    this.#fault = fault;
    return new Promise((resolve) => (this.#crashed = resolve));
  }

  /** A fault is still to come. */
  get isArmed(): boolean {
    return this.#fault !== undefined;
  }

  disarm(): void {
    this.#fault = undefined;
  }

  /** The fault of the next write, if its time has come. */
  next(): Fault | undefined {
    const fault = this.#fault;
    if (fault === undefined) return undefined;
    this.#fault = fault.after === 0 ? undefined : { ...fault, after: fault.after - 1 };
    return fault.after === 0 ? fault : undefined;
  }

  /** These writes have met a fault. */
  befall(jobs: readonly Job[], fault: Fault): void {
    jobs.forEach((job, i) => (job.state = i < fault.kept ? "unknown" : "lost"));
    this.#limbo.push(...jobs.filter(({ state }) => state === "unknown"));
    this.#recoveriesToFail = fault.failedRecoveries;
    this.hasFailed = true;
    if (fault.kind === "full") this.isFull = true;
    if (fault.kind === "crash") this.#crashed();
  }

  /** Can the disk be opened anew? Throws when not. */
  checkRecovery(): void {
    if (this.isFull) throw errorOf("full");
    if (this.#recoveriesToFail-- > 0) throw errorOf("error");
  }

  /** It comes out what was on the disk. */
  async settle(inner: Storage): Promise<void> {
    for (const job of this.#limbo.splice(0)) {
      await job.work(inner);
      job.state = "found";
    }
    this.hasFailed = false;
  }
}

export function errorOf(kind: "error" | "full"): TidemarkError {
  return kind === "full"
    ? new TidemarkError("storage-full", "the disk is full")
    : new TidemarkError("storage-failed", "the disk does not answer");
}

/** One opening of the disk: writes go one after the other. */
class FaultyStorage implements Storage {
  readonly log: EventLog;
  readonly store: BucketStore;
  readonly quarantine: QuarantinePort;
  readonly images?: ImagePort;
  readonly #disk: FaultyDisk;
  readonly #inner: Storage;
  readonly #jobs: Job[] = [];
  #running: Promise<void> | undefined;
  #failure: TidemarkError | undefined;
  #isDead = false;

  constructor(disk: FaultyDisk, inner: Storage) {
    this.#disk = disk;
    this.#inner = inner;
    this.log = overlaid(inner.log, {
      append: (record, change) => this.#append(({ log }) => log.append(record, change)),
      compact: (before) => this.#write(({ log }) => log.compact(before)).done,
      trim: (before) => this.#write(({ log }) => log.trim(before)).done,
    });
    this.store = overlaid(inner.store, {
      commit: (commit) => this.#write(({ store }) => store.commit(commit)).done,
    });
    this.quarantine = overlaid(inner.quarantine, {
      write: (change) => this.#append(({ quarantine }) => quarantine.write(change)),
    });
    if (inner.images === undefined) return;
    this.images = overlaid(inner.images, {
      write: (image) => this.#write(({ images }) => images!.write(image)).done,
      drop: () => this.#write(({ images }) => images!.drop()).done,
    });
  }

  #append<T>(work: (storage: Storage) => Promise<T>): Promise<T> {
    const { job, done } = this.#write(work);
    this.#disk.lastAppend = job;
    return done;
  }

  #write<T>(work: (storage: Storage) => Promise<T>): { job: Job; done: Promise<T> } {
    const job: Job = { state: "lost", work, resolve: () => undefined, reject: () => undefined };
    const done = new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      Object.assign(job, { state: "waiting", resolve, reject });
      this.#jobs.push(job);
      this.#running ??= this.#run();
    });
    return { job, done };
  }

  async recover(): Promise<void> {
    if (this.#isDead) return await NEVER;
    if (this.#running !== undefined) throw new Error("BUG: recovery while writes are under way");
    this.#disk.checkRecovery();
    await this.#inner.recover();
    await this.#disk.settle(this.#inner);
    this.#failure = undefined;
  }

  async close(): Promise<void> {
    if (!this.#isDead) await this.#running;
    await this.#inner.close();
  }

  async #run(): Promise<void> {
    while (this.#jobs.length > 0) {
      await Promise.resolve();
      const fault = this.#disk.isFull ? FULL : this.#disk.next();
      if (fault !== undefined) {
        this.#fail(fault);
        if (this.#isDead) return;
        continue;
      }
      const job = this.#jobs.shift()!;
      try {
        const value = await job.work(this.#inner);
        job.state = "written";
        job.resolve(value);
      } catch (error) {
        job.state = "lost";
        job.reject(error);
      }
    }
    this.#running = undefined;
  }

  #fail(fault: Fault): void {
    const jobs = this.#jobs.splice(0);
    this.#disk.befall(jobs, fault);
    this.#isDead = fault.kind === "crash";
    if (fault.kind === "crash") return;
    this.#failure = errorOf(fault.kind);
    for (const { reject } of jobs) reject(this.#failure);
  }
}

const FULL: Fault = { after: 0, kind: "full", kept: 0, failedRecoveries: 0 };

/** The target, but for the methods given. */
function overlaid<T extends object>(target: T, own: Partial<T>): T {
  const methods = new Map<string | symbol, unknown>(Object.entries(own));
  return new Proxy(target, {
    get(_, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const method = value.bind(target) as unknown;
      methods.set(name, method);
      return method;
    },
  });
}
