/** The storage that lasts: one LMDB environment in one directory. FORMAT.md describes its bytes. */
import { lstat, mkdir, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import type { Storage } from "../engine/store.js";
import { Environment, failureOf } from "./environment.js";
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
  const { identity, created } = await directoryAt(directory);
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
    await syncDirectories(directory, created);
    return storageOf(opened, options.cacheBytes ?? DEFAULT_CACHE_BYTES, release);
  } catch (error) {
    await release();
    throw error instanceof TidemarkError ? error : await failureOf(error, directory, 0);
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

/** Puts the names of new files and directories on disk too: LMDB does so only with what is in its files. */
async function syncDirectories(directory: string, created: string | undefined): Promise<void> {
  const top = created === undefined ? directory : dirname(created);
  for (let path = directory; ; path = dirname(path)) {
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (path === top) return;
  }
}

function unusable(directory: string, error: unknown): TidemarkError {
  const detail = `${directory} cannot be a directory for data (${(error as Error).message}).`;
  return new TidemarkError("invalid-config", detail, { cause: error });
}
