import { randomInt } from "node:crypto";
import { open, type Database, type RootDatabase } from "lmdb";
import { TidemarkError } from "../engine/errors.js";
import { closed, damaged } from "./errors.js";
import { checkFormat, encodeFormat, FORMAT_VERSION } from "./format.js";
import type { Owner } from "./lock.js";
import { metaKey } from "./keys.js";
import { freeBytes, LEAST_FREE_BYTES, Room, sizeOf, type FileSizes } from "./room.js";

export type Db = Database<Uint8Array, Uint8Array>;

type Root = RootDatabase<Uint8Array, Uint8Array>;

/** One write of a transaction; without a value the key is removed. */
export interface Put {
  readonly db: Db;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** Stands for a database that is not there. */
const EMPTY = {
  getBinary: () => undefined,
  getKeys: () => [],
  getRange: () => [],
  getKeysCount: () => 0,
} as unknown as Db;

const DATABASE = { encoding: "binary", keyEncoding: "binary" } as const;
const FORMAT_KEY = metaKey("format");
const OWNER_KEY = metaKey("owner");
/** Greatest epoch: doubles, as which LMDB's versions are kept, are exact up to here. */
const MAX_EPOCH = 2 ** 47;

/** LMDB reports a full disk as EIO; a quota has a code of its own. */
const FULL_CODES: ReadonlySet<unknown> = new Set([5, 28, 122, "EIO", "ENOSPC", "EDQUOT"]);

/** EPERM, EACCES, EROFS. */
const ACCESS_CODES: ReadonlySet<unknown> = new Set([1, 13, 30, "EPERM", "EACCES", "EROFS"]);

/** Once a meta page could not be written LMDB neither writes nor begins to read; lmdb-js tells it in words only. */
const PANIC = "MDB_PANIC";

/** `MDB_PAGE_NOTFOUND`, `MDB_CORRUPTED`, `MDB_VERSION_MISMATCH`, `MDB_INVALID`. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([-30797, -30796, -30794, -30793]);

export const DATABASES = [
  "meta",
  "log",
  "segments",
  "revisions",
  "buckets",
  "dictionary",
  "quarantine",
  "fence",
] as const;

/** One LMDB environment: its named databases, and the only way to write to them. */
export class Environment {
  readonly log: Db;
  readonly segments: Db;
  readonly revisions: Db;
  readonly buckets: Db;
  readonly dictionary: Db;
  readonly quarantine: Db;
  readonly meta: Db;
  readonly #root: Root;
  readonly #fence: Db;
  readonly #path: string;
  readonly #room: Room;
  readonly #pageSize: number;
  #owner: Owner | undefined;
  #epoch = 0;
  /** Why nothing more is written here: after a failed write LMDB may never answer the next, nor let this be closed. */
  #failure: TidemarkError | undefined;
  #isClosed = false;

  private constructor(path: string, root: Root, room: Room) {
    // Read only, a database that an older version did not have stays undefined.
    const open: (name: string, options: typeof DATABASE) => Db | undefined = root.openDB.bind(root);
    const database = (name: string): Db => open(name, DATABASE) ?? EMPTY;
    this.#path = path;
    this.#room = room;
    this.#root = root;
    this.#pageSize = statsOf(root).pageSize;
    this.meta = database("meta");
    this.log = database("log");
    this.segments = database("segments");
    this.revisions = database("revisions");
    this.buckets = database("buckets");
    this.dictionary = database("dictionary");
    this.quarantine = database("quarantine");
    this.#fence = root.openDB("fence", { ...DATABASE, useVersions: true });
  }

  /**
   * Opens the files of a directory that is there, and creates them when they are not. Nothing can be written before
   * `claim`. Throws LMDB's error.
   */
  static open(path: string, room: Room = new Room(path)): Environment {
    const root = openRoot(path, false);
    try {
      return new Environment(path, root, room);
    } catch (error) {
      // Whoever opens it again in this process would get the same one, and what it failed of.
      void root.close();
      throw error;
    }
  }

  /** Opens files that are there, to be read only: beside another process that writes them, for one. */
  static openReader(path: string): Environment {
    return new Environment(path, openRoot(path, true), new Room(path));
  }

  /**
   * Checks the format, or writes it to new files, and makes this the one environment that may write: each
   * transaction asks whether the fence still has this epoch, so that a process that lost its lock file, in another
   * container for one, cannot overwrite what its successor acknowledged. Files of an older version become ones of
   * the newest by it: an older Tidemark refuses them from then on.
   *
   * Rejects with `storage-damaged`, `storage-version`, `storage-full` or `storage-failed`. On a full disk the first
   * write claims it.
   */
  async claim(owner: Owner): Promise<void> {
    this.#owner = owner;
    await this.#claim();
  }

  async #claim(): Promise<void> {
    const owner = this.#owner;
    if (owner === undefined) throw new Error("BUG: a write before the claim");
    const version = this.formatVersion();
    await this.#room.admitBytes();
    const epoch = randomInt(1, MAX_EPOCH);
    const value = Buffer.from(JSON.stringify(owner));
    await this.#transaction(0, () => this.#fence.put(OWNER_KEY, value, epoch));
    this.#epoch = epoch;
    if (version === FORMAT_VERSION) return;
    await this.#commit([{ db: this.meta, key: FORMAT_KEY, value: encodeFormat() }]);
  }

  /** Undefined for new files. Throws `storage-damaged` or `storage-version`. */
  formatVersion(): number | undefined {
    const format = this.get(this.meta, FORMAT_KEY);
    if (format !== undefined) return checkFormat(format);
    if (!this.#isNew()) throw damaged(`The store in ${this.#path}`, "has no format record");
    return undefined;
  }

  /**
   * One transaction: all of it, or, after a rejection with `storage-full` or `storage-failed`, nothing. Resolves when
   * it is on disk. After a failure of LMDB every other one rejects too, until the files are opened anew.
   */
  async write(puts: readonly Put[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#epoch === 0) await this.#claim();
    await this.#room.admit(puts, this.#pageSize, () => this.#sizes());
    await this.#commit(puts);
  }

  async #commit(puts: readonly Put[]): Promise<void> {
    const isOurs = await this.#transaction(sizeOf(puts), () =>
      this.#fence.ifVersion(OWNER_KEY, this.#epoch, () => {
        for (const put of puts) this.#queue(put);
      }),
    );
    if (!isOurs) throw this.#fenced();
  }

  /** Resolves when what `begin` has LMDB write is on disk. */
  async #transaction<T>(sizeBytes: number, begin: () => Promise<T>): Promise<T> {
    try {
      const result = await begin();
      await this.#root.flushed;
      return result;
    } catch (error) {
      this.#failure = await this.#failureOf(error, sizeBytes);
      throw this.#failure;
    }
  }

  get(db: Db, key: Uint8Array): Uint8Array | undefined {
    this.assertOpen();
    try {
      return db.getBinary(key);
    } catch (error) {
      throw unreadable(this.#path, error);
    }
  }

  /** All keys of `[start, end)`, ascending. */
  keys(db: Db, start: Uint8Array, end: Uint8Array): Uint8Array[] {
    this.assertOpen();
    try {
      return Array.from(db.getKeys({ start, end }));
    } catch (error) {
      throw unreadable(this.#path, error);
    }
  }

  assertOpen(): void {
    if (this.#isClosed) throw closed();
  }

  /** Nothing may be under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#root.close();
  }

  /** A consistent copy of everything, made while others read and write, as `data.mdb` of a directory that is there. */
  async copy(directory: string, isCompact: boolean): Promise<void> {
    this.assertOpen();
    try {
      await this.#root.backup(directory, isCompact);
    } catch (error) {
      throw await failureOf(error, directory, 0);
    }
  }

  /** Pages of the file, and those of them that hold something. */
  #sizes(): FileSizes {
    const { lastPageNumber } = statsOf(this.#root);
    let used = 0;
    const { meta, log, segments, revisions, buckets, dictionary, quarantine } = this;
    for (const db of [meta, log, segments, revisions, buckets, dictionary, quarantine]) {
      const { treeBranchPageCount, treeLeafPageCount, overflowPages } = statsOf(db);
      used += treeBranchPageCount + treeLeafPageCount + overflowPages;
    }
    return { pages: lastPageNumber + 1, usedPages: used };
  }

  async #failureOf(error: unknown, sizeBytes: number): Promise<TidemarkError> {
    const failure = await failureOf(error, this.#path, sizeBytes);
    if (failure.code === "storage-full") await this.#room.makeRoom();
    return failure;
  }

  #isNew(): boolean {
    return [this.meta, this.log, this.buckets, this.dictionary].every(
      (db) => db.getKeysCount({ limit: 1 }) === 0,
    );
  }

  #queue({ db, key, value }: Put): void {
    // The promises of single writes inside a conditional block are resolved already; the block's own counts.
    if (value === undefined) void db.remove(key);
    else void db.put(key, value);
  }

  #fenced(): TidemarkError {
    const owner = this.#fence.get(OWNER_KEY);
    const who =
      owner === undefined ? "Another process" : `Another process (${Buffer.from(owner).toString()})`;
    return new TidemarkError(
      "storage-failed",
      `${who} has taken over ${this.#path}. Nothing was written; stop this process, it must not go on.`,
    );
  }
}

/** What LMDB or Node could not do, in the words of the ports. `sizeBytes` is what was to be written. */
export async function failureOf(error: unknown, path: string, sizeBytes: number): Promise<TidemarkError> {
  const cause = await rootCause(error);
  const { code, message } = cause as { code?: unknown; message?: unknown };
  if (DAMAGE_CODES.has(code)) return unreadable(path, cause);
  if (ACCESS_CODES.has(code)) {
    const detail = `${path} cannot be used (${String(message)}); give this user the right to write there.`;
    return new TidemarkError("invalid-config", detail, { cause });
  }
  if (FULL_CODES.has(code)) {
    const free = freeBytes(path);
    if (free < sizeBytes + LEAST_FREE_BYTES) {
      return new TidemarkError("storage-full", `The disk of ${path} has ${free} bytes left; make room.`, {
        cause,
      });
    }
  }
  const detail = `Writing to ${path} failed (${String(message)}); look at the disk and the system's log.`;
  return new TidemarkError("storage-failed", detail, { cause });
}

function unreadable(path: string, error: unknown): TidemarkError {
  if ((error as Error).message.includes(PANIC)) {
    const detail = `${path} cannot be read until it is opened anew, because a write to it has failed.`;
    return new TidemarkError("storage-failed", detail, { cause: error });
  }
  return damaged(`The store in ${path}`, `cannot be read (${(error as Error).message})`, error);
}

function openRoot(path: string, readOnly: boolean): Root {
  const options = {
    ...DATABASE,
    path,
    readOnly,
    // A directory called `data.v1` is no file.
    noSubdir: false,
    maxDbs: 12,
    // With it, unflushed pages of a restored image count as committed: facts, "Open with overlappingSync: false".
    overlappingSync: false,
    // With it, a failed commit also rejects a promise that nobody can reach, which ends the process.
    eventTurnBatching: false,
    permissionsMode: 0o600,
  };
  return open<Uint8Array, Uint8Array>(options);
}

/** lmdb rejects with a placeholder; the reason is behind a promise of its own, which must be handled too. */
async function rootCause(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return error;
  return commitError.catch((cause: unknown) => cause);
}

interface Stats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** lmdb's types say only that it is an object. */
function statsOf(db: Db): Stats {
  return db.getStats() as Stats;
}
