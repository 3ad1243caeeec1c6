/** Backups: a consistent copy of the data file beside a manifest that tells what it is. */
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { TidemarkError } from "../engine/errors.js";
import { Environment, failureOf } from "./environment.js";
import { livingOwner } from "./lock.js";
import { LmdbLog } from "./lmdb-log.js";
import { preflight } from "./preflight.js";
import { readGeneration } from "./state.js";
import { WriteQueue } from "./write-queue.js";
import { syncPath, syncUp } from "./sync.js";

const DATA_FILE = "data.mdb";
const MANIFEST_FILE = "tidemark-backup.json";
const MANIFEST_KIND = "tidemark-backup";

export interface BackupOptions {
  /** Leaves free pages out: smaller, and slower to make. */
  readonly compact?: boolean;
}

/** What is in a backup. */
export interface BackupManifest {
  readonly kind: typeof MANIFEST_KIND;
  /** RFC 3339. */
  readonly madeAt: string;
  /** Version of the store's layout. */
  readonly formatVersion: number;
  readonly generation: number;
  /** Position of the newest log record: everything up to it is in the backup, and nothing after it. */
  readonly logHead: number;
  /** Of the data file. */
  readonly bytes: number;
  readonly sha256: string;
}

/** Copies what an environment holds: `LmdbStorage.backup`. */
export async function writeBackup(
  environment: Environment,
  path: string,
  { compact = false }: BackupOptions,
): Promise<BackupManifest> {
  const directory = resolve(path);
  const file = join(directory, DATA_FILE);
  const top = await emptyDirectory(directory);
  try {
    await environment.copy(directory, compact);
    await chmod(file, 0o600);
    await syncPath(file);
    const manifest = await describe(directory);
    await writeFile(join(directory, MANIFEST_FILE), `${JSON.stringify(manifest, undefined, 2)}\n`, {
      mode: 0o600,
    });
    await syncPath(join(directory, MANIFEST_FILE));
    await syncUp(directory, dirname(top));
    return manifest;
  } catch (error) {
    for (const name of [DATA_FILE, "lock.mdb", MANIFEST_FILE])
      await rm(join(directory, name), { force: true });
    throw error instanceof TidemarkError ? error : await failureOf(error, directory, 0);
  }
}

/**
 * Backs up a directory that another process may have open, or nobody. Rejects as `LmdbStorage.backup`, and with
 * `storage-damaged` when there is nothing that could be copied.
 */
export async function backupDirectory(
  from: string,
  to: string,
  options: BackupOptions = {},
): Promise<BackupManifest> {
  const directory = resolve(from);
  await requireStore(directory, DATA_FILE);
  // While another process writes, its pages are in motion, but it has checked them when it opened them.
  if ((await livingOwner(directory)) === undefined) await preflight(join(directory, DATA_FILE));
  const environment = Environment.openReader(directory);
  try {
    return await writeBackup(environment, to, options);
  } finally {
    await environment.close();
  }
}

/**
 * Checks a backup and copies it into a directory that is empty or not there. Opening it is left to the caller.
 * Rejects with `invalid-config` when there is no backup or the directory is in use, and with `storage-damaged` when
 * the backup is.
 */
export async function restoreDirectory(from: string, to: string): Promise<BackupManifest> {
  const source = join(resolve(from), DATA_FILE);
  const directory = resolve(to);
  await requireStore(resolve(from), MANIFEST_FILE);
  const manifest = await readManifest(resolve(from));
  await compare(source, manifest);
  const top = await emptyDirectory(directory);
  const target = join(directory, DATA_FILE);
  try {
    await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await chmod(target, 0o600);
    await syncPath(target);
    await compare(target, manifest);
    await preflight(target);
    await syncUp(directory, dirname(top));
    return manifest;
  } catch (error) {
    await rm(target, { force: true });
    throw error instanceof TidemarkError ? error : await failureOf(error, directory, manifest.bytes);
  }
}

/** Opens the copy to see what is in it, which also shows that it can be opened. */
async function describe(directory: string): Promise<BackupManifest> {
  const file = join(directory, DATA_FILE);
  await preflight(file);
  const bytes = (await stat(file)).size;
  const sha256 = await hashOf(file);
  const copy = Environment.openReader(directory);
  try {
    const formatVersion = copy.formatVersion();
    if (formatVersion === undefined) {
      throw new TidemarkError("invalid-config", "There is nothing to back up yet: the store is new.");
    }
    const generation = readGeneration(copy);
    const { head: logHead } = new LmdbLog(copy, new WriteQueue(copy));
    const madeAt = new Date().toISOString();
    return { kind: MANIFEST_KIND, madeAt, formatVersion, generation, logHead, bytes, sha256 };
  } finally {
    await copy.close();
    // LMDB's lock file belongs to a machine, not to a backup.
    await rm(join(directory, "lock.mdb"), { force: true });
  }
}

async function readManifest(directory: string): Promise<BackupManifest> {
  const path = join(directory, MANIFEST_FILE);
  try {
    const manifest = JSON.parse(await readFile(path, "utf8")) as BackupManifest;
    const isGood =
      manifest.kind === MANIFEST_KIND &&
      Number.isSafeInteger(manifest.bytes) &&
      /^[0-9a-f]{64}$/.test(manifest.sha256);
    if (isGood) return manifest;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new TidemarkError("storage-damaged", `${path} is not the manifest of a backup; use another backup.`);
}

async function compare(path: string, { bytes, sha256 }: BackupManifest): Promise<void> {
  const { size } = await stat(path);
  if (size === bytes && (await hashOf(path)) === sha256) return;
  throw new TidemarkError(
    "storage-damaged",
    `${path} is not what was backed up (${size} of ${bytes} bytes, or another checksum); use another backup.`,
  );
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return hash.digest("hex");
}

async function requireStore(directory: string, name: string): Promise<void> {
  const found = await stat(join(directory, name)).catch(() => undefined);
  if (found !== undefined) return;
  throw new TidemarkError("invalid-config", `There is no ${name} in ${directory}; give the right directory.`);
}

/** Makes the directory unless it is there and empty; the topmost one that was made, or the directory. */
async function emptyDirectory(directory: string): Promise<string> {
  const created = await mkdir(directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new TidemarkError("invalid-config", `${directory} cannot be made (${(error as Error).message}).`);
  });
  const names = await readdir(directory);
  if (names.length > 0) {
    throw new TidemarkError("invalid-config", `${directory} is not empty; give a directory of its own.`);
  }
  return created ?? directory;
}
