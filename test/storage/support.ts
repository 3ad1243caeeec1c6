import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { open as openRaw } from "lmdb";
import type { Test } from "tap";
import { TidemarkError } from "../../engine/errors.js";
import type { LogEntry } from "../../engine/log.js";
import { openLmdb } from "../../storage/lmdb.js";
import { argsAt } from "../support/program.js";
import { generationCommit, record } from "./samples.js";

const CHILD = argsAt("child", import.meta.url);

/** A path for a store, in a directory that goes with the test. */
export async function newPath(t: Test): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "tidemark-lmdb-"));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  return join(parent, "store");
}

export async function errorOf(work: Promise<unknown>): Promise<TidemarkError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
  throw new Error("it was expected to fail");
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof TidemarkError ? error.code : String(error)),
  );
}

/** The code of what a call throws. */
export function codeThrown(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof TidemarkError) return error.code;
    throw error;
  }
  return "none";
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export async function all(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const list: LogEntry[] = [];
  for await (const entry of entries) list.push(entry);
  return list;
}

export interface Child {
  readonly process: ChildProcess;
  readonly lines: Interface;
  next(): Promise<string>;
}

export function startChild(mode: string, directory: string, wrapper: readonly string[] = []): Child {
  const [command, ...args] = [...wrapper, process.execPath, ...CHILD, mode, directory];
  // What tap puts there is for the tests themselves.
  const env = { ...process.env, NODE_OPTIONS: "" };
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  const lines = createInterface({ input: child.stdout });
  // Only for those who ask line by line: an iterator that nobody reads holds the child up.
  let iterator: AsyncIterator<string> | undefined;
  const next = async (): Promise<string> => {
    iterator ??= lines[Symbol.asyncIterator]();
    return String((await iterator.next()).value);
  };
  return { process: child, lines, next };
}

/** A closed store with five records and three commits. */
export async function writtenStore(t: Test): Promise<string> {
  const path = await newPath(t);
  const storage = await openLmdb(path);
  for (const number of [1, 2, 3, 4, 5]) await storage.log.append(record(number));
  for (const generation of [1, 2, 3]) await storage.store.commit(generationCommit(generation));
  await storage.close();
  return path;
}

/** Changes a closed store behind Tidemark's back, through LMDB. */
export async function tamper(
  path: string,
  database: string,
  change: (db: {
    put(k: Uint8Array, v: Uint8Array): unknown;
    remove(k: Uint8Array): unknown;
    get(k: Uint8Array): Uint8Array;
    count(): number;
  }) => unknown,
): Promise<void> {
  const raw = { encoding: "binary", keyEncoding: "binary" } as const;
  const root = openRaw<Uint8Array, Uint8Array>({ path, noSubdir: false, overlappingSync: false, ...raw });
  const db = root.openDB(database, raw);
  await change({
    put: (key, value) => db.put(key, value),
    remove: (key) => db.remove(key),
    get: (key) => db.getBinary(key)!,
    count: () => db.getKeysCount(),
  });
  await root.close();
}
