/** The storage that lasts: one LMDB environment in one directory. FORMAT.md describes its bytes. */
import { lstat, mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import type { ImagePort } from "../engine/image-port.js";
import type { BucketAddress, Storage } from "../engine/store.js";
import { writeBackup, type BackupManifest, type BackupOptions } from "./backup.js";
import { DATABASES, Environment, failureOf } from "./environment.js";
import { closed } from "./errors.js";
import { ImageFile } from "./image-file.js";
import { LmdbLog } from "./lmdb-log.js";
import { LmdbStore } from "./lmdb-store.js";
import type { SegmentLimits } from "./segment-plan.js";
import { takeLock, type Lock } from "./lock.js";
import type { Structure } from "./pages-check.js";
import { LogPort, QuarantineHandle, StorePort } from "./ports.js";
import { preflight } from "./preflight.js";
import { LmdbQuarantine } from "./quarantine.js";
import { Room, type RoomOptions } from "./room.js";
import { verifyInChild } from "./verify-child.js";
import type { DamagedRecord } from "./verify.js";
import { WriteQueue } from "./write-queue.js";
import { syncUp } from "./sync.js";

/**
 * Blocks kept in memory. Measured with 150,000 views a day of 10,000 blogs: what single blogs are read out of takes 0.3 to 0.5 MB
 * a day and 5 MB a month, what rankings are read from 0.8 MB a day. Half a year of both is less than this.
 */
const DEFAULT_CACHE_BYTES = 128 * 1024 * 1024;

/**
 * After an unclean stop all values of files up to this size are read, well under a second; of greater ones only
 * what the store cannot be opened without, so that recovery does not grow with history.
 */
const FULL_CHECK_BYTES = 256 * 1024 * 1024;

const DATA_FILE = "data.mdb";

export interface LmdbOptions extends RoomOptions {
  /** Bytes of blocks kept in memory, 128 MiB by default. */
  readonly cacheBytes?: number;
  /**
   * When every record is read and its checksum compared, in a process of its own, before the files are opened here:
   * `auto` (default) after an unclean stop, of files over 256 MiB without cell blocks and segments, which check
   * themselves when they are read; `always` all of it, cell blocks decoded, at every opening; `never`. The structure
   * of the files is checked at every opening all the same.
   */
  readonly verify?: "auto" | "always" | "never";
  /** What the log makes one segment of; about a million events by default. */
  readonly segments?: SegmentLimits;
}

/** A storage in a directory of its own. */
export interface LmdbStorage extends Storage {
  /** Records that were found damaged when it was opened, and without which it could be. */
  readonly damage: readonly DamagedRecord[];
  /**
   * Copies everything, as of one moment, into a directory that is empty or not there, while reads and writes go on.
   * Resolves when it is on disk. Rejects with `invalid-config` when the directory is in use, `storage-full` or
   * `storage-failed`.
   */
  backup(path: string, options?: BackupOptions): Promise<BackupManifest>;
}

/** Directories open in this process, by device and inode: LMDB must not open a file twice in one process. */
const openDirectories = new Set<string>();

/**
 * Opens the directory, or creates it (mode 0700, files 0600).
 *
 * Rejects with `invalid-config` when the path cannot be such a directory or is open already, here or in another
 * living process; `storage-damaged` when the files cannot be trusted; `storage-version` when another version of
 * Tidemark wrote them; `storage-full` or `storage-failed` when they cannot be written. Nothing is left open then.
 */
export async function openLmdb(path: string, options: LmdbOptions = {}): Promise<LmdbStorage> {
  const directory = resolve(path);
  const { identity, created } = await directoryAt(directory);
  if (openDirectories.has(identity)) {
    throw new TidemarkError(
      "invalid-config",
      `${directory} is open in this process already; use that storage, or close it first.`,
    );
  }
  openDirectories.add(identity);
  let lock: Lock | undefined;
  const release = async (): Promise<void> => {
    await lock?.release();
    openDirectories.delete(identity);
  };
  try {
    lock = await takeLock(directory);
    const structure = await preflight(join(directory, DATA_FILE));
    const damage = structure === undefined ? [] : await damageOf(directory, structure, lock, options.verify);
    return await DirectoryStorage.open({ directory, lock, options, structure, damage, created, release });
  } catch (error) {
    await release();
    throw error instanceof TidemarkError ? error : await failureOf(error, directory, 0);
  }
}

async function damageOf(
  directory: string,
  { pageSize, pages }: Structure,
  { isTakenOver }: Lock,
  verify: LmdbOptions["verify"] = "auto",
): Promise<readonly DamagedRecord[]> {
  if (verify === "never" || (verify === "auto" && !isTakenOver)) return [];
  const automatic = pages * pageSize <= FULL_CHECK_BYTES ? "sums" : "records";
  return (await verifyInChild(directory, verify === "always" ? "values" : automatic)).damage;
}

interface Opening {
  readonly directory: string;
  readonly lock: Lock;
  readonly options: LmdbOptions;
  readonly structure: Structure | undefined;
  readonly damage: readonly DamagedRecord[];
  readonly created: string | undefined;
  readonly release: () => Promise<void>;
}

/** What is open now: given up as a whole when it is opened anew. */
interface Opened {
  readonly environment: Environment;
  readonly queue: WriteQueue;
  readonly log: LmdbLog;
  readonly store: LmdbStore;
  readonly quarantine: LmdbQuarantine;
}

class DirectoryStorage implements LmdbStorage {
  readonly log: LogPort;
  readonly store: StorePort;
  readonly quarantine: QuarantineHandle;
  readonly images: ImagePort;
  readonly damage: readonly DamagedRecord[];
  readonly damagedBuckets: readonly BucketAddress[];
  readonly #opening: Opening;
  readonly #room: Room;
  #opened: Opened;
  #isOpen = true;
  #closing: Promise<void> | undefined;

  private constructor(opening: Opening, room: Room, opened: Opened) {
    this.#opening = opening;
    this.#room = room;
    this.#opened = opened;
    this.damage = opening.damage;
    this.damagedBuckets = opening.damage.flatMap(({ address }) => address ?? []);
    this.log = new LogPort(opened.log);
    this.store = new StorePort(opened.store);
    this.quarantine = new QuarantineHandle(opened.quarantine);
    this.images = new ImageFile(opening.directory);
  }

  static async open(opening: Opening): Promise<DirectoryStorage> {
    const { directory, options, lock, created, structure } = opening;
    const room = new Room(directory, options);
    // Databases that are not there are made when they are opened.
    if (!isComplete(structure)) await room.admitBytes();
    const environment = Environment.open(directory, room);
    try {
      await environment.claim(lock.owner).catch(unlessFull);
      await syncUp(directory, created === undefined ? directory : dirname(created));
      await room.layBallast();
      return new DirectoryStorage(opening, room, openedIn(environment, options));
    } catch (error) {
      await environment.close();
      throw error;
    }
  }

  async recover(): Promise<void> {
    if (this.#closing !== undefined) throw closed();
    if (this.#isOpen) await this.#shut();
    const { directory, lock, options } = this.#opening;
    try {
      await preflight(join(directory, DATA_FILE));
      const environment = Environment.open(directory, this.#room);
      this.#isOpen = true;
      this.#opened = { ...this.#opened, environment };
      this.#opened = openedIn(environment, options);
      // From here on it can be read, whether it can be written or not.
      this.log.target = this.#opened.log;
      this.store.target = this.#opened.store;
      this.quarantine.target = this.#opened.quarantine;
      await environment.claim(lock.owner);
      await this.#room.layBallast();
    } catch (error) {
      throw error instanceof TidemarkError ? error : await failureOf(error, directory, 0);
    }
  }

  async backup(path: string, options: BackupOptions = {}): Promise<BackupManifest> {
    if (!this.#isOpen) throw closed();
    return await writeBackup(this.#opened.environment, path, options);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#isOpen) await this.#shut();
    await this.#opening.release();
  }

  async #shut(): Promise<void> {
    const { store, log, queue, environment } = this.#opened;
    await store.close();
    await log.close();
    await queue.close();
    this.#isOpen = false;
    await environment.close();
  }
}

/** Whether all databases are there; lmdb-js ends their names with a zero byte. */
function isComplete(structure: Structure | undefined): boolean {
  return structure !== undefined && DATABASES.every((name) => structure.databases.has(`${name}\0`));
}

/** What is stored can be read all the same; the first write tries again. */
function unlessFull(error: unknown): void {
  if (!(error instanceof TidemarkError) || error.code !== "storage-full") throw error;
}

/** Throws `storage-damaged` when records or buckets are missing. */
function openedIn(
  environment: Environment,
  { cacheBytes = DEFAULT_CACHE_BYTES, segments }: LmdbOptions,
): Opened {
  const queue = new WriteQueue(environment);
  const log = new LmdbLog(environment, queue, segments === undefined ? {} : { limits: segments });
  const quarantine = new LmdbQuarantine(environment, (puts) => log.writeAside(puts));
  return { environment, queue, log, store: new LmdbStore(environment, queue, cacheBytes), quarantine };
}

interface Directory {
  /** Device and inode. */
  readonly identity: string;
  /** The topmost directory that did not exist before. */
  readonly created: string | undefined;
}

async function directoryAt(directory: string): Promise<Directory> {
  let created: string | undefined;
  try {
    created = await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw unusable(directory, error);
  }
  const stats = await lstat(directory, { bigint: true });
  if (stats.isSymbolicLink()) {
    throw new TidemarkError("invalid-config", `${directory} is a symbolic link; give the directory itself.`);
  }
  if (!stats.isDirectory()) {
    throw new TidemarkError("invalid-config", `${directory} is not a directory; give the path of one.`);
  }
  return { identity: `${stats.dev}:${stats.ino}`, created };
}

function unusable(directory: string, error: unknown): TidemarkError {
  const detail = `${directory} cannot be a directory for data (${(error as Error).message}).`;
  return new TidemarkError("invalid-config", detail, { cause: error });
}
