import { randomInt } from "node:crypto";
import { statfs } from "node:fs/promises";
import { open, type Database, type RootDatabase } from "lmdb";
import { TidemarkError } from "../engine/errors.js";
import { closed, damaged } from "./errors.js";
import { checkFormat, encodeFormat } from "./format.js";
import type { Owner } from "./lock.js";
import { metaKey } from "./keys.js";

export type Db = Database<Uint8Array, Uint8Array>;

type Root = RootDatabase<Uint8Array, Uint8Array>;

/** One write of a transaction; without a value the key is removed. */
export interface Put {
  readonly db: Db;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

const DATABASE = { encoding: "binary", keyEncoding: "binary" } as const;
const FORMAT_KEY = metaKey("format");
const OWNER_KEY = metaKey("owner");
/** Greatest epoch: doubles, as which LMDB's versions are kept, are exact up to here. */
const MAX_EPOCH = 2 ** 47;

/** Less free space than this beside what was to be written, and a failed write counts as "disk full". */
const LEAST_FREE_BYTES = 1024 * 1024;

/** LMDB reports a full disk as EIO; a quota has a code of its own. */
const FULL_CODES: ReadonlySet<unknown> = new Set([5, 28, 122, "EIO", "ENOSPC", "EDQUOT"]);

/** EPERM, EACCES, EROFS. */
const ACCESS_CODES: ReadonlySet<unknown> = new Set([1, 13, 30, "EPERM", "EACCES", "EROFS"]);

/** `MDB_PAGE_NOTFOUND`, `MDB_CORRUPTED`, `MDB_VERSION_MISMATCH`, `MDB_INVALID`. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([-30797, -30796, -30794, -30793]);

/** One LMDB environment: its named databases, and the only way to write to them. */
export class Environment {
  readonly log: Db;
  readonly buckets: Db;
  readonly dictionary: Db;
  readonly meta: Db;
  readonly #root: Root;
  readonly #fence: Db;
  readonly #path: string;
  #epoch = 0;
  #isClosed = false;

  private constructor(path: string, root: Root) {
    const database = (name: string): Db => root.openDB(name, DATABASE);
    this.#path = path;
    this.#root = root;
    this.meta = database("meta");
    this.log = database("log");
    this.buckets = database("buckets");
    this.dictionary = database("dictionary");
    this.#fence = root.openDB("fence", { ...DATABASE, useVersions: true });
  }

  /**
   * Opens the files of a directory that is there, and creates them when they are not. Rejects with
   * `storage-damaged`, `storage-version`, or LMDB's error.
   */
  static async open(path: string, owner: Owner): Promise<Environment> {
    let root: Root | undefined;
    try {
      root = openRoot(path);
      const environment = new Environment(path, root);
      await environment.#claim(owner);
      return environment;
    } catch (error) {
      await root?.close();
      throw error;
    }
  }

  /**
   * Checks the format, or writes it to new files, and makes this the one environment that may write: each
   * transaction asks whether the fence still has this epoch, so that a process that lost its lock file, in another
   * container for one, cannot overwrite what its successor acknowledged.
   */
  async #claim(owner: Owner): Promise<void> {
    const format = this.get(this.meta, FORMAT_KEY);
    if (format !== undefined) checkFormat(format);
    else if (!this.#isNew()) throw damaged(`The store in ${this.#path}`, "has no format record");
    const epoch = randomInt(1, MAX_EPOCH);
    await this.#fence.put(OWNER_KEY, Buffer.from(JSON.stringify(owner)), epoch);
    await this.#root.flushed;
    this.#epoch = epoch;
    if (format !== undefined) return;
    await this.write([{ db: this.meta, key: FORMAT_KEY, value: encodeFormat() }]);
  }

  /**
   * One transaction: all of it, or, after a rejection with `storage-full` or `storage-failed`, nothing. Resolves when
   * it is on disk.
   */
  async write(puts: readonly Put[]): Promise<void> {
    let isOurs: boolean;
    try {
      isOurs = await this.#fence.ifVersion(OWNER_KEY, this.#epoch, () => {
        for (const put of puts) this.#queue(put);
      });
      await this.#root.flushed;
    } catch (error) {
      throw await failureOf(error, this.#path, sizeOf(puts));
    }
    if (!isOurs) throw this.#fenced();
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
    const free = await freeBytes(path);
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
  return damaged(`The store in ${path}`, `cannot be read (${(error as Error).message})`, error);
}

function openRoot(path: string): Root {
  const options = {
    ...DATABASE,
    path,
    // A directory called `data.v1` is no file.
    noSubdir: false,
    maxDbs: 8,
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

async function freeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

function sizeOf(puts: readonly Put[]): number {
  let size = 0;
  for (const { key, value } of puts) size += key.length + (value?.length ?? 0);
  return size;
}
