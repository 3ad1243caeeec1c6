import { hostname } from "node:os";
import { join } from "node:path";
import { readFile, rm, writeFile } from "node:fs/promises";
import { TidemarkError } from "../engine/errors.js";

const LOCK_FILE = "tidemark.lock";

/** State of a process that has ended but still has its pid. */
const ZOMBIE = "Z";

/** Who has a directory open. */
export interface Owner {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the system counts it: tells it from a later one with the same pid. */
  readonly started?: string;
}

export interface Lock {
  readonly owner: Owner;
  /** The lock of one who never released it was there: the files were not closed. */
  readonly isTakenOver: boolean;
  release(): Promise<void>;
}

/**
 * Writes the lock file, unless a living process has it: `invalid-config`, with its pid. The lock of a process that
 * was killed is taken over. Two that take over at the same instant, or on a full disk, both succeed here; the
 * store's fence (see `Environment`) then lets only one of them write.
 */
export async function takeLock(directory: string): Promise<Lock> {
  const path = join(directory, LOCK_FILE);
  const owner = await self();
  const before = await readFile(path, "utf8").catch(() => undefined);
  const holder = before === undefined ? undefined : parseOwner(before);
  if (holder !== undefined && (await isAlive(holder, owner))) {
    throw new TidemarkError(
      "invalid-config",
      `Process ${holder.pid} on ${holder.host} has ${directory} open; stop it, or give this one a directory of its own.`,
    );
  }
  const text = JSON.stringify(owner);
  await writeFile(path, text, { mode: 0o600 }).catch(unlessFull);
  return {
    owner,
    isTakenOver: before !== undefined,
    async release() {
      const now = await readFile(path, "utf8").catch(() => "");
      if (now === text) await rm(path, { force: true });
    },
  };
}

/** On a full disk what is stored can still be read: the lock is a courtesy, the fence is what protects. */
function unlessFull(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOSPC" && error.code !== "EDQUOT") throw error;
}

async function self(): Promise<Owner> {
  const { pid } = process;
  const known = await processOf(pid);
  return { pid, host: hostname(), ...(known && { started: known.started }) };
}

/** The living process that has a directory open, or undefined. */
export async function livingOwner(directory: string): Promise<Owner | undefined> {
  const text = await readFile(join(directory, LOCK_FILE), "utf8").catch(() => undefined);
  const holder = text === undefined ? undefined : parseOwner(text);
  return holder !== undefined && (await isAlive(holder, await self())) ? holder : undefined;
}

function parseOwner(text: string): Owner | undefined {
  try {
    const { pid, host, started } = JSON.parse(text) as Partial<Owner>;
    if (typeof pid !== "number" || !Number.isInteger(pid) || pid < 1) return undefined;
    return { pid, host: String(host), ...(started === undefined ? {} : { started }) };
  } catch {
    return undefined;
  }
}

/** `me` is this process. A lock in its name is an old one where the system does not tell when a process began. */
async function isAlive(holder: Owner, me: Owner): Promise<boolean> {
  const known = await processOf(holder.pid);
  if (known !== undefined) {
    return known.state !== ZOMBIE && (holder.started === undefined || holder.started === known.started);
  }
  if (holder.pid === me.pid) return false;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Fields 3 and 22 of `/proc/pid/stat` (proc(5)): the start is in clock ticks since boot. */
async function processOf(pid: number): Promise<{ state: string; started: string } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (stat === undefined) return undefined;
  // The name in brackets before them may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0]!, started: fields[19]! };
}
