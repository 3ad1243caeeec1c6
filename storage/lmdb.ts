/** The storage that lasts: one LMDB environment in one directory. FORMAT.md describes its bytes. */
import { lstat, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import type { Storage } from "../engine/store.js";
import { Environment } from "./environment.js";
import { LmdbLog } from "./lmdb-log.js";
import { LmdbStore } from "./lmdb-store.js";
import { takeLock, type Lock } from "./lock.js";
import { preflight } from "./preflight.js";
import { WriteQueue } from "./write-queue.js";

/** Decoded blocks kept in memory: a year of hours of a few thousand blogs' totals, or a week of their viewers. */
const DEFAULT_CACHE_BYTES = 64 * 1024 * 1024;

const DATA_FILE = "data.mdb";

export interface LmdbOptions {
  /** Bytes of decoded blocks kept in memory, 64 MiB by default. */
  readonly cacheBytes?: number;
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
export async function openLmdb(path: string, options: LmdbOptions = {}): Promise<Storage> {
  const directory = resolve(path);
  const identity = await directoryAt(directory);
  if (openDirectories.has(identity)) {
    throw new TidemarkError(
      "invalid-config",
      `${directory} is open in this process already; use that storage, or close it first.`,
    );
  }
  openDirectories.add(identity);
  let lock: Lock | undefined;
  let environment: Environment | undefined;
  const release = async (): Promise<void> => {
    await environment?.close();
    await lock?.release();
    openDirectories.delete(identity);
  };
  try {
    lock = await takeLock(directory);
    await preflight(join(directory, DATA_FILE));
    const opened = await Environment.open(directory, lock.owner);
    environment = opened;
    return storageOf(opened, options.cacheBytes ?? DEFAULT_CACHE_BYTES, release);
  } catch (error) {
    await release();
    throw error;
  }
}

function storageOf(environment: Environment, cacheBytes: number, release: () => Promise<void>): Storage {
  const queue = new WriteQueue(environment);
  const log = new LmdbLog(environment, queue);
  const store = new LmdbStore(environment, queue, cacheBytes);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await store.idle();
    await queue.close();
    await release();
  };
  return { log, store, close: () => (closing ??= close()) };
}

/** Device and inode of the directory, which is created where there is none. */
async function directoryAt(directory: string): Promise<string> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
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
  return `${stats.dev}:${stats.ino}`;
}

function unusable(directory: string, error: unknown): TidemarkError {
  const detail = `${directory} cannot be a directory for data (${(error as Error).message}).`;
  return new TidemarkError("invalid-config", detail, { cause: error });
}
