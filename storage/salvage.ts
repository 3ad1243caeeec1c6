/** `tidemark repair`: makes a new data file of whatever can still be read in a damaged one. */
import { rename, rm, mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import { blockChecksum } from "./block-codec.js";
import { Environment, type Db, type Put } from "./environment.js";
import { HEAD } from "./keys.js";
import { livingOwner, takeLock } from "./lock.js";
import { PageFile, type Meta } from "./pages-file.js";
import { DamagedFile, type FoundRecord } from "./salvage-pages.js";
import { settle } from "./salvage-settle.js";
import { QUARANTINE } from "./segment-format.js";
import { isFramed } from "./verify.js";

const DATA_FILE = "data.mdb";
const LOCK_FILE = "tidemark.lock";
/** Written at once. */
const BATCH_BYTES = 4 * 1024 * 1024;

const NAMES = ["meta", "log", "segments", "revisions", "buckets", "dictionary", "quarantine"] as const;
/** Those that an older version did not have. */
const LATER: ReadonlySet<Name> = new Set<Name>(["segments", "revisions", "quarantine"]);
type Name = (typeof NAMES)[number];

/** Without these nobody knows where the log ended. */
const END_OF_LOG: ReadonlySet<string> = new Set(["main", "log", "meta"]);

/** Pages that are named one by one. */
const MOST_PAGES = 100;

/** Only keys of buckets have so many. */
const BUCKET_KEY_BYTES = 12;

/** Databases by the first byte of their framed records. */
const BY_MAGIC: Readonly<Record<string, Name>> = {
  L: "log",
  R: "revisions",
  S: "segments",
  P: "segments",
  G: "segments",
  I: "dictionary",
  M: "meta",
  N: "meta",
  F: "meta",
};

export interface Repair {
  /** Where the damaged files are now. */
  readonly kept: string;
  readonly records: Readonly<Record<Name, number>>;
  /** What was lost or is in doubt, as sentences; empty when everything was saved. */
  readonly losses: readonly string[];
}

/**
 * Reads what can be read in a damaged directory, writes it to new files in its place, and keeps the old directory
 * beside it. Buckets of which something is missing are left for the engine to make anew from raw events: the next
 * opening checks everything. Nothing is changed when it rejects: with `invalid-config` when there is nothing to
 * repair or a living process has it open, `storage-damaged` when nothing could be read, `storage-full`,
 * `storage-failed`.
 */
export async function repairDirectory(path: string, nowMs: number): Promise<Repair> {
  const directory = resolve(path);
  const owner = await livingOwner(directory);
  if (owner !== undefined) {
    throw new TidemarkError("invalid-config", `Process ${owner.pid} has ${directory} open; stop it first.`);
  }
  const file = PageFile.open(join(directory, DATA_FILE));
  if (file === undefined || file.sizeBytes === 0) {
    file?.close();
    throw new TidemarkError("invalid-config", `There is no store in ${directory}; give the right directory.`);
  }
  const target = `${directory}.repaired`;
  try {
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { mode: 0o700 });
    const found = await rebuild(file, target);
    // The next opening takes it for an unclean stop, and checks every record.
    await writeFile(join(target, LOCK_FILE), "{}", { mode: 0o600 });
    const kept = `${directory}.damaged-${new Date(nowMs).toISOString().replace(/[:.]/g, "-")}`;
    await rename(directory, kept);
    await rename(target, directory);
    return { ...found, kept };
  } finally {
    file.close();
    await rm(target, { recursive: true, force: true });
  }
}

async function rebuild(file: PageFile, target: string): Promise<Omit<Repair, "kept">> {
  const damagedFile = new DamagedFile(file, usableMeta(file));
  const lock = await takeLock(target);
  const environment = Environment.open(target);
  try {
    await environment.claim(lock.owner);
    const salvage = new Salvage(damagedFile, environment);
    await salvage.run();
    const losses = [...salvage.losses(), ...(await settle(environment, salvage.isLogInDoubt))];
    return { records: salvage.records, losses };
  } finally {
    await environment.close();
    await lock.release();
  }
}

/** The newest that says something sensible, in a file that may be shorter than it says. */
function usableMeta(file: PageFile): Meta {
  const first = file.metaAt(0);
  const pageSizes = typeof first === "string" ? [4096, 16_384, 65_536] : [first.pageSize];
  const metas = [first, ...pageSizes.map((size) => file.metaAt(size))].filter(
    (meta) => typeof meta !== "string",
  );
  const newest = metas.sort((a, b) => b.transaction - a.transaction)[0];
  if (newest !== undefined) return newest;
  throw new TidemarkError(
    "storage-damaged",
    `${file.path} has no meta page that LMDB wrote: nothing can be found in it; restore a backup.`,
  );
}

class Salvage {
  readonly records: Record<Name, number> = {
    meta: 0,
    log: 0,
    segments: 0,
    revisions: 0,
    buckets: 0,
    dictionary: 0,
    quarantine: 0,
  };
  readonly #file: DamagedFile;
  readonly #environment: Environment;
  readonly #damaged = new Map<Name, number>();
  #batch: Put[] = [];
  #batchBytes = 0;
  #won = 0;

  constructor(file: DamagedFile, environment: Environment) {
    this.#file = file;
    this.#environment = environment;
  }

  /** What only lies in the file first: what the trees reach is written over it. */
  async run(): Promise<void> {
    // The trees have to be read before it is known what they do not reach.
    for (const name of this.#file.databases.keys()) for (const _ of this.#file.records(name));
    for (const leaf of this.#file.looseLeaves()) {
      for (const record of this.#file.loose(leaf)) await this.#takeLoose(record, leaf.isFree);
    }
    const again = this.#file.anew();
    for (const name of NAMES) {
      for (const record of again.records(name)) await this.#takeReached(name, record);
    }
    await this.#flush();
  }

  /** Whether records may have been lost of which nothing tells. */
  get isLogInDoubt(): boolean {
    const { badPages, databases } = this.#file;
    const isBad = [...badPages.values()].some(({ database }) => END_OF_LOG.has(database));
    return isBad || !databases.has("log") || !databases.has("meta") || this.#damaged.has("meta");
  }

  losses(): string[] {
    const { badPages, databases, isFreeListKnown } = this.#file;
    const pages = [...badPages]
      .slice(0, MOST_PAGES)
      .map(([page, { database, problem }]) => `Page ${page} of "${database}" ${problem}.`);
    const missing = NAMES.filter((name) => !databases.has(name) && !LATER.has(name));
    return [
      ...pages,
      ...missing.map((name) => `The database "${name}" was not found.`),
      ...[...this.#damaged].map(([name, count]) => `${count} records of "${name}" fail their checksum.`),
      ...(this.#won > 0 ? [`${this.#won} records were found only in pages that no tree reached.`] : []),
      ...(this.records.quarantine > 0 && (this.#won > 0 || this.isLogInDoubt)
        ? ["Refused events may have been counted since: compare before you replay the quarantine."]
        : []),
      ...(isFreeListKnown
        ? []
        : ["The list of free pages cannot be read: old records may be among those found."]),
    ];
  }

  async #takeReached(name: Name, record: FoundRecord): Promise<void> {
    if (!isGood(name, record)) this.#damaged.set(name, (this.#damaged.get(name) ?? 0) + 1);
    else {
      this.records[name]++;
      await this.#put(name, record);
    }
  }

  /** Of free pages, only records that never change: they may have been copied when a page that is bad now was made. */
  async #takeLoose(record: FoundRecord, isFree: boolean): Promise<void> {
    const name = databaseOf(record);
    if (name === undefined || !isGood(name, record) || (isFree && name !== "log" && name !== "meta")) return;
    if (!isFree) this.#won++;
    await this.#put(name, record);
  }

  async #put(name: Name, { key, value }: FoundRecord): Promise<void> {
    if (name === "meta" && key.toString("latin1") === "format") return;
    const db: Db = this.#environment[name];
    this.#batch.push({ db, key: Buffer.from(key), value: Buffer.from(value) });
    this.#batchBytes += value.length;
    if (this.#batchBytes >= BATCH_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#batch.length > 0) await this.#environment.write(this.#batch);
    this.#batch = [];
    this.#batchBytes = 0;
  }
}

function isBlock(name: Name, key: Buffer): boolean {
  return name === "buckets" && key[3] !== HEAD;
}

function isGood(name: Name, { key, value }: FoundRecord): boolean {
  if (name === "meta" && key.toString("latin1") === "format") return true;
  if (name === "segments" && key[0] === QUARANTINE) return true;
  if (!isBlock(name, key)) return isFramed(key, value);
  try {
    // Its head and the next opening tell whether the rest of it is good too.
    blockChecksum(value, "A block");
    return true;
  } catch {
    return false;
  }
}

/**
 * By its form; undefined for what is no record of ours, and for refused events: one that has been counted since, found in an
 * old page, would be counted again.
 */
function databaseOf({ key, value }: FoundRecord): Name | undefined {
  if (key.length === BUCKET_KEY_BYTES) return "buckets";
  const magic = String.fromCharCode(value[0] ?? 0);
  if (magic === "T") return key.length === 6 ? "dictionary" : "meta";
  return BY_MAGIC[magic];
}
