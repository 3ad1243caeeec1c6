/**
 * Room on the disk: looked at before every write, a quota of our own, and a ballast that is given back when the disk
 * is full. LMDB must not come upon a full disk: lmdb 3.5.6 then writes its message past the end of a buffer
 * (`last_error = malloc(100)` in mdb_page_flush), which may end the process.
 */
import { randomFillSync } from "node:crypto";
import { statfsSync } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import type { Put } from "./environment.js";

const BALLAST_FILE = "tidemark.ballast";

/** Less free space than this beside what was to be written, and a failed write counts as "disk full". */
export const LEAST_FREE_BYTES = 1024 * 1024;

/** Left free for whoever else writes between the look and the write; less on small disks. */
const RESERVE_BYTES = 16 * 1024 * 1024;
const RESERVE_SHARE = 1 / 64;

/** A ballast is laid down only where the disk has so many times its size. */
const PLENTY = 8;
const BALLAST_SLICE_BYTES = 1024 * 1024;

/** Pages that any transaction copies on its way to what it changes. */
const PATH_PAGES = 32;
/** Free pages lie scattered, and those that a transaction frees are not its own: so many times as many are needed. */
const FRAGMENTED = 3;
/** A transaction that removes something and writes no more than this makes room in the end. */
const SMALL_BYTES = 4 * 1024 * 1024;
/** Values from this size on have pages of their own. */
const LARGE_VALUE_BYTES = 2000;

/** What the smallest transaction may take: pages on the way to what it changes, and lists of free pages. */
const SMALLEST_BYTES = 64 * 4096;

export interface FileSizes {
  readonly pages: number;
  readonly usedPages: number;
}

export interface RoomOptions {
  /** The data file grows no further than this, but for the bookkeeping of one transaction; no limit by default. */
  readonly maxBytes?: number;
  /**
   * Size of a file that keeps room on the disk, so that retention can still run when others have filled it; 0, the
   * default, for none. It is laid down only where the disk has eight times as much.
   */
  readonly ballastBytes?: number;
}

export class Room {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #ballastBytes: number;
  /** The ballast was given back and is not there again: what is left on the disk is for what makes room. */
  #isShort = false;

  constructor(directory: string, { maxBytes = Infinity, ballastBytes = 0 }: RoomOptions = {}) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#ballastBytes = ballastBytes;
  }

  /** Lays the ballast down where there is plenty of room; where not, nothing happens. */
  async layBallast(): Promise<void> {
    if (this.#ballastBytes === 0) return;
    const path = join(this.#directory, BALLAST_FILE);
    const there = await stat(path).catch(() => undefined);
    if (there?.size === this.#ballastBytes) {
      this.#isShort = false;
      return;
    }
    if (freeBytes(this.#directory) < this.#ballastBytes * PLENTY) return;
    try {
      await fill(path, this.#ballastBytes);
      this.#isShort = false;
    } catch {
      // A ballast in part is none, and takes the room of those who filled the disk meanwhile.
      await rm(path, { force: true });
    }
  }

  /** The disk is full: gives the ballast back. */
  async makeRoom(): Promise<void> {
    if (this.#ballastBytes === 0) return;
    this.#isShort = true;
    await rm(join(this.#directory, BALLAST_FILE), { force: true });
  }

  /** Rejects with `storage-full` when the puts would pass the quota or may find the disk full. */
  async admit(puts: readonly Put[], pageSize: number, sizes: () => FileSizes): Promise<void> {
    const needed = pagesOf(puts, pageSize);
    await this.admitBytes(needed * pageSize);
    if ((this.#maxBytes === Infinity && !this.#isShort) || makesRoom(puts)) return;
    const { pages, usedPages } = sizes();
    if (pages - usedPages >= needed * FRAGMENTED) return;
    if ((pages + needed) * pageSize > this.#maxBytes) {
      throw full(
        `The store in ${this.#directory} has reached its ${this.#maxBytes} bytes; raise the limit, or keep less.`,
      );
    }
    if (this.#isShort) await this.#admitShort(needed * pageSize);
  }

  /** Rejects with `storage-full`, and gives the ballast back, when a write of so many bytes may find the disk full. */
  async admitBytes(neededBytes: number = SMALLEST_BYTES): Promise<void> {
    const { free, total } = spaceOf(this.#directory);
    if (free >= neededBytes + Math.min(RESERVE_BYTES, total * RESERVE_SHARE)) return;
    await this.makeRoom();
    throw full(`The disk of ${this.#directory} has ${free} bytes left; make room.`);
  }

  async #admitShort(neededBytes: number): Promise<void> {
    await this.layBallast();
    const free = freeBytes(this.#directory);
    if (!this.#isShort || free >= this.#ballastBytes + neededBytes + LEAST_FREE_BYTES) return;
    throw full(`The disk of ${this.#directory} has ${free} bytes left, which retention needs; make room.`);
  }
}

/** Infinite where the system does not tell. */
export function freeBytes(path: string): number {
  return spaceOf(path).free;
}

/** Synchronous: 3 µs, a write's thousandth part. */
function spaceOf(path: string): { free: number; total: number } {
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    return { free: bavail * bsize, total: blocks * bsize };
  } catch {
    return { free: Infinity, total: 0 };
  }
}

export function sizeOf(puts: readonly Put[]): number {
  let size = 0;
  for (const { key, value } of puts) size += key.length + (value?.length ?? 0);
  return size;
}

function makesRoom(puts: readonly Put[]): boolean {
  return puts.some(({ value }) => value === undefined) && sizeOf(puts) <= SMALL_BYTES;
}

/** At most: each put may change a page of its own. */
function pagesOf(puts: readonly Put[], pageSize: number): number {
  let pages = PATH_PAGES + puts.length;
  let small = 0;
  for (const { key, value } of puts) {
    if (value === undefined) continue;
    if (value.length < LARGE_VALUE_BYTES) small += key.length + value.length + 16;
    else pages += Math.ceil((value.length + 24) / pageSize);
  }
  // A page that splits is half full.
  return pages + Math.ceil((2 * small) / pageSize);
}

function full(detail: string): TidemarkError {
  return new TidemarkError("storage-full", detail);
}

/** Random bytes, so that a file system that compresses keeps the room too. */
async function fill(path: string, sizeBytes: number): Promise<void> {
  const slice = randomFillSync(Buffer.alloc(BALLAST_SLICE_BYTES));
  const handle = await open(path, "w", 0o600);
  try {
    for (let at = 0; at < sizeBytes; at += slice.length) {
      await handle.write(slice, 0, Math.min(slice.length, sizeBytes - at));
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
