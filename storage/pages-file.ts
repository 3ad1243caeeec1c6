/** The data file of LMDB, read page by page. Never while this process has it open in LMDB: A2 of the facts. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { damaged } from "./errors.js";
import { META, PAGE_HEADER_BYTES, readTree, readWord, type Tree } from "./pages.js";

const MAGIC = 0xbeef_c0de;
/** Data format of LMDB 0.9.9x and 1.0, as lmdb-js 3 builds it. */
const DATA_VERSION = 2;

const LEAST_PAGE_BYTES = 512;
const MOST_PAGE_BYTES = 65_536;
/** The part of a meta page that is read. */
const META_BYTES = 0xa0;
/** Address space of a process: no map is greater. */
const MOST_MAP_BYTES = 2 ** 47;
/** `MDB_INTEGERKEY`: the only flag of the tree of free pages. */
export const FREE_TREE_FLAGS = 0x08;

const NO_META = "has a meta page that LMDB did not write";

/** Offsets in a meta page (`MDB_page_header`, then `MDB_meta`). */
const AT = {
  page: 0x00,
  pageFlags: 0x12,
  magic: 0x18,
  version: 0x1c,
  mapSize: 0x28,
  freeTree: 0x30,
  mainTree: 0x60,
  lastPage: 0x90,
  transaction: 0x98,
} as const;

export interface Meta {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: number;
  readonly freeTree: Tree;
  readonly mainTree: Tree;
}

/**
 * Small synchronous reads: a page of a file that is in the cache takes 2 µs so, and 20 by way of a promise. Who reads
 * many pauses between them.
 */
export class PageFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #descriptor: number;

  private constructor(path: string, descriptor: number) {
    this.path = path;
    this.#descriptor = descriptor;
    this.sizeBytes = fstatSync(descriptor).size;
  }

  /** Undefined when there is no such file. Throws Node's error when it cannot be opened. */
  static open(path: string): PageFile | undefined {
    try {
      return new PageFile(path, openSync(path, "r"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** Fills `bytes` from `at` on; false when the file ends before. */
  fill(bytes: Buffer, at: number): boolean {
    let done = 0;
    while (done < bytes.length) {
      const read = readSync(this.#descriptor, bytes, done, bytes.length - done, at + done);
      if (read === 0) return false;
      done += read;
    }
    return true;
  }

  /**
   * The newest of the two meta pages. Throws `storage-damaged` unless both are what LMDB wrote, one after the other.
   * Where a meta page could not be written, LMDB leaves one behind that has the number and the last page of the older
   * transaction, and the trees of the failed one: never read again, and never the newest.
   */
  newestMeta(): Meta {
    const first = this.#goodMeta(0);
    const second = this.#goodMeta(first.pageSize);
    if (second.pageSize !== first.pageSize) throw damaged(this.#what, "has two page sizes");
    // A transaction writes the meta page of its parity, so the two are never further apart than one; but for a
    // compacted copy, whose first is that of a new file.
    const gap = first.transaction - second.transaction;
    const isParity =
      first.transaction % 2 === 0 && (second.transaction % 2 === 1 || second.transaction === 0);
    if (!isParity || (Math.abs(gap) > 1 && !isNew(first))) {
      throw damaged(this.#what, "has meta pages that do not belong together");
    }
    const newest = gap > 0 ? first : second;
    if (hasRoots(newest)) return newest;
    throw damaged(this.#what, NO_META);
  }

  /** A meta page at an offset, or how it is damaged. */
  metaAt(at: number): Meta | string {
    const meta = this.#metaAt(at);
    return typeof meta === "string" || hasRoots(meta) ? meta : NO_META;
  }

  /** Its trees may begin anywhere. */
  #metaAt(at: number): Meta | string {
    const bytes = Buffer.alloc(META_BYTES);
    if (!this.fill(bytes, at)) return "is cut off within its meta pages";
    const freeTree = readTree(bytes, AT.freeTree);
    const mainTree = readTree(bytes, AT.mainTree);
    const pageSize = freeTree.pad;
    const lastPage = readWord(bytes, AT.lastPage);
    const mapSize = readWord(bytes, AT.mapSize);
    const isGood =
      readWord(bytes, AT.page) === (at === 0 ? 0 : 1) &&
      bytes.readUInt16LE(AT.pageFlags) === META &&
      bytes.readUInt32LE(AT.magic) === MAGIC &&
      bytes.readUInt32LE(AT.version) === DATA_VERSION &&
      pageSize >= LEAST_PAGE_BYTES &&
      pageSize <= MOST_PAGE_BYTES &&
      (pageSize & (pageSize - 1)) === 0 &&
      mapSize <= MOST_MAP_BYTES &&
      lastPage >= 1 &&
      freeTree.flags === FREE_TREE_FLAGS &&
      mainTree.flags === 0;
    if (!isGood) return NO_META;
    return { pageSize, lastPage, transaction: readWord(bytes, AT.transaction), freeTree, mainTree };
  }

  /** The value of `sizeBytes` bytes in pages of its own that begin at `page`; undefined when the file ends before. */
  overflowValue(page: number, sizeBytes: number, pageSize: number): Buffer | undefined {
    const bytes = Buffer.allocUnsafe(sizeBytes);
    return this.fill(bytes, page * pageSize + PAGE_HEADER_BYTES) ? bytes : undefined;
  }

  get #what(): string {
    return `The file ${this.path}`;
  }

  #goodMeta(at: number): Meta {
    const meta = this.#metaAt(at);
    if (typeof meta === "string") throw damaged(this.#what, meta);
    return meta;
  }
}

function isNew({ transaction, lastPage, freeTree, mainTree }: Meta): boolean {
  return transaction === 0 && lastPage === 1 && freeTree.root === -1 && mainTree.root === -1;
}

function hasRoots({ lastPage, freeTree, mainTree }: Meta): boolean {
  return isRoot(freeTree.root, lastPage) && isRoot(mainTree.root, lastPage);
}

function isRoot(page: number, lastPage: number): boolean {
  return page === -1 || (page > 1 && page <= lastPage);
}
