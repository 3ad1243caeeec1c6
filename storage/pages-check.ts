/** The structure of LMDB's file as a whole: every page of every tree, and the list of free pages. */
import { damaged } from "./errors.js";
import { Bits } from "./pages-bits.js";
import type { Meta, PageFile } from "./pages-file.js";
import {
  BIG_DATA,
  byteOrder,
  MOST_DEPTH,
  numberOrder,
  OVERFLOW,
  overflowPagesOf,
  Page,
  PAGE_HEADER_BYTES,
  readTree,
  readWord,
  SUB_DATA,
  TREE_BYTES,
  type KeyOrder,
  type Tree,
} from "./pages.js";
import { nextTurn } from "./write-queue.js";

/** Longest work without a pause, ms. */
const SLICE_MS = 10;
/** Pages between two looks at the clock. */
const PAGES_PER_LOOK = 32;
/** The one flag that a named database of lmdb-js may have: its values have versions. */
const VERSIONS_FLAG = 0x100;

export interface Structure {
  readonly pageSize: number;
  readonly pages: number;
  readonly usedPages: number;
  readonly freePages: number;
  readonly databases: ReadonlyMap<string, Tree>;
}

/** A page still to be looked at, with the keys between which its own must lie. */
interface Visit {
  readonly page: number;
  readonly level: number;
  readonly low: Buffer | undefined;
  readonly high: Buffer | undefined;
}

interface TreeWalk {
  readonly name: string;
  readonly tree: Tree;
  readonly order: KeyOrder;
  /** Looks at one entry of a leaf; what is wrong with it, or undefined. */
  readonly entry: (page: Page, index: number) => string | undefined;
  branchPages: number;
  leafPages: number;
  overflowPages: number;
  entries: number;
}

/**
 * Walks everything that LMDB would trust when it has this meta page. Throws `storage-damaged`, with the page, at the
 * first thing that is not as LMDB writes it. Values in pages of their own are not read, but for their headers: their
 * checksums are checked when they are used. Memory: two bits a page, and the branches on the way down.
 */
export async function checkStructure(file: PageFile, meta: Meta): Promise<Structure> {
  return new StructureCheck(file, meta).run();
}

class StructureCheck {
  readonly #file: PageFile;
  readonly #meta: Meta;
  readonly #used: Bits;
  readonly #free: Bits;
  readonly #scratch: Buffer;
  readonly #header = Buffer.alloc(PAGE_HEADER_BYTES);
  readonly #lists: { readonly key: number; readonly list: Buffer }[] = [];
  #sliceBegan = performance.now();
  #sinceLook = 0;

  constructor(file: PageFile, meta: Meta) {
    this.#file = file;
    this.#meta = meta;
    this.#used = new Bits(meta.lastPage + 1);
    this.#free = new Bits(meta.lastPage + 1);
    this.#scratch = Buffer.alloc(meta.pageSize);
    this.#used.take(0, 2);
  }

  async run(): Promise<Structure> {
    const databases = new Map<string, Tree>();
    await this.#walk("main", this.#meta.mainTree, byteOrder, (page, i) => {
      if (page.nodeFlags(i) !== SUB_DATA || page.valueBytes(i) !== TREE_BYTES) return "has no database in it";
      const tree = readTree(page.value(i), 0);
      if (tree.pad !== 0 || (tree.flags & ~VERSIONS_FLAG) !== 0) return "has a database of no known kind";
      databases.set(page.key(i).toString("latin1"), tree);
      return undefined;
    });
    for (const [name, tree] of databases) {
      await this.#walk(name, tree, byteOrder, (page, i) => {
        const flags = page.nodeFlags(i);
        if (flags !== 0 && flags !== BIG_DATA) return "has a value of no known kind";
        return page.key(i).length === 0 ? "has an empty key" : undefined;
      });
    }
    await this.#freePages();
    const { pageSize, lastPage } = this.#meta;
    const [usedPages, freePages] = [this.#used.count, this.#free.count];
    return { pageSize, pages: lastPage + 1, usedPages, freePages, databases };
  }

  async #walk(name: string, tree: Tree, order: KeyOrder, entry: TreeWalk["entry"]): Promise<void> {
    const walk = { name, tree, order, entry, branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0 };
    const stack: Visit[] = [];
    if (tree.depth > MOST_DEPTH) throw this.#damaged(`The database "${name}"`, "is deeper than can be");
    if (tree.root !== -1) stack.push({ page: tree.root, level: 1, low: undefined, high: undefined });
    for (let visit = stack.pop(); visit !== undefined; visit = stack.pop()) {
      this.#visit(walk, visit, stack);
      await this.#breathe();
    }
    for (const part of ["branchPages", "leafPages", "overflowPages", "entries"] as const) {
      if (walk[part] === tree[part]) continue;
      throw this.#damaged(`The database "${name}"`, `has ${walk[part]} ${part} and knows of ${tree[part]}`);
    }
  }

  #visit(walk: TreeWalk, visit: Visit, stack: Visit[]): void {
    const page = this.#read(walk, visit);
    if (!page.isLeaf) {
      walk.branchPages++;
      pushChildren(page, visit, stack);
      return;
    }
    walk.leafPages++;
    walk.entries += page.count;
    for (let i = 0; i < page.count; i++) {
      const problem = walk.entry(page, i) ?? this.#valueProblem(walk, page, i);
      if (problem !== undefined) throw this.#damagedPage(walk.name, page.number, problem);
    }
  }

  /** Reads a page and checks it by itself and in its place. */
  #read(walk: TreeWalk, { page: number, level, low, high }: Visit): Page {
    const problem = this.#take(number, 1);
    if (problem !== undefined) throw this.#damagedPage(walk.name, number, problem);
    const { pageSize, transaction } = this.#meta;
    if (!this.#file.fill(this.#scratch, number * pageSize)) {
      throw this.#damagedPage(walk.name, number, "lies beyond the end of the file: it was cut off");
    }
    const page = new Page(this.#scratch, number);
    const found = page.problem(transaction, walk.order) ?? placeProblem(page, walk, level, low, high);
    if (found !== undefined) throw this.#damagedPage(walk.name, number, found);
    return page;
  }

  /** LMDB believes the header of a value's first page when it frees the value. */
  #valueProblem(walk: TreeWalk, leaf: Page, index: number): string | undefined {
    if (leaf.nodeFlags(index) !== BIG_DATA) return undefined;
    const { pageSize, transaction } = this.#meta;
    const { page, pages } = leaf.overflow(index);
    // More of them when a value was written over a longer one.
    if (!(pages >= overflowPagesOf(leaf.valueBytes(index), pageSize))) return "has a value of another size";
    const problem = this.#take(page, pages);
    if (problem !== undefined) return `has a value in page ${page} that ${problem}`;
    walk.overflowPages += pages;
    const header = this.#header;
    if ((page + pages) * pageSize > this.#file.sizeBytes || !this.#file.fill(header, page * pageSize)) {
      return `has a value in page ${page}, beyond the end of the file: it was cut off`;
    }
    const isGood =
      readWord(header, 0) === page &&
      readWord(header, 8) <= transaction &&
      header.readUInt16LE(18) === OVERFLOW &&
      header.readUInt32LE(20) === pages;
    return isGood ? undefined : `has a value in page ${page}, whose header LMDB did not write`;
  }

  /** Marks pages as used; what is wrong with that, or undefined. */
  #take(page: number, count: number): string | undefined {
    if (!(page > 1 && page + count - 1 <= this.#meta.lastPage)) return "is not in the file";
    return this.#used.take(page, count) ? undefined : "is used twice";
  }

  async #freePages(): Promise<void> {
    const { freeTree, pageSize } = this.#meta;
    await this.#walk("free pages", freeTree, numberOrder, (page, i) => {
      const flags = page.nodeFlags(i);
      if (page.key(i).length !== 8 || (flags !== 0 && flags !== BIG_DATA))
        return "has an entry of no known kind";
      const size = page.valueBytes(i);
      // The scratch page is read over: what is kept must be a copy.
      const list =
        flags === 0
          ? Buffer.from(page.value(i))
          : this.#file.overflowValue(page.overflow(i).page, size, pageSize);
      if (list === undefined || list.length % 8 !== 0 || list.length === 0) return "has a broken list";
      this.#lists.push({ key: readWord(page.key(i), 0), list });
      return undefined;
    });
    for (const { key, list } of this.#lists) {
      const problem = this.#listProblem(list);
      if (problem !== undefined) throw this.#damaged(`The list ${key} of free pages`, problem);
      await this.#breathe();
    }
  }

  /**
   * A list of page numbers after their count. lmdb-js leaves zeros in it, and writes a run of pages as its length,
   * negated, before its first page (`mdb_midl_xmerge`).
   */
  #listProblem(list: Buffer): string | undefined {
    const count = readWord(list, 0);
    if (!(count < list.length / 8)) return "is shorter than it says";
    for (let i = 1; i <= count; i++) {
      let entry = list.readBigInt64LE(i * 8);
      let run = 1n;
      if (entry === 0n) continue;
      if (entry < 0n) {
        if (i === count) return "ends within a run";
        run = -entry;
        entry = list.readBigInt64LE(++i * 8);
      }
      if (entry < 2n || entry + run - 1n > BigInt(this.#meta.lastPage))
        return `has page ${entry}, which is not in the file`;
      const [page, pages] = [Number(entry), Number(run)];
      if (this.#used.any(page, pages)) return `has page ${page}, which is used`;
      if (!this.#free.take(page, pages)) return `has page ${page} twice`;
    }
    return undefined;
  }

  async #breathe(): Promise<void> {
    if (++this.#sinceLook < PAGES_PER_LOOK) return;
    this.#sinceLook = 0;
    if (performance.now() - this.#sliceBegan < SLICE_MS) return;
    await nextTurn();
    this.#sliceBegan = performance.now();
  }

  #damagedPage(database: string, page: number, problem: string): Error {
    return this.#damaged(`Page ${page} of "${database}"`, problem);
  }

  #damaged(what: string, problem: string): Error {
    return damaged(`${what} in ${this.#file.path}`, problem);
  }
}

function placeProblem(
  page: Page,
  { order, tree }: TreeWalk,
  level: number,
  low: Buffer | undefined,
  high: Buffer | undefined,
): string | undefined {
  if (page.isLeaf !== (level === tree.depth)) return "is at the wrong depth";
  const first = page.key(page.isLeaf ? 0 : 1);
  if (low !== undefined && !(order(first, low) >= 0)) return "has keys below those of its place";
  if (high !== undefined && !(order(page.key(page.count - 1), high) < 0))
    return "has keys above those of its place";
  return undefined;
}

/** The leftmost is looked at first. */
function pushChildren(page: Page, { level, low, high }: Visit, stack: Visit[]): void {
  // The page's buffer is read over: keys that are kept must be copies.
  const kept = new Page(Buffer.from(page.bytes), page.number);
  for (let i = kept.count - 1; i >= 0; i--) {
    stack.push({
      page: kept.child(i),
      level: level + 1,
      low: i === 0 ? low : kept.key(i),
      high: i === kept.count - 1 ? high : kept.key(i + 1),
    });
  }
}
