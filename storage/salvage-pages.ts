/** Finds what can still be read in a damaged data file: what its trees reach, and what only lies in it. */
import type { Meta, PageFile } from "./pages-file.js";
import { Bits } from "./pages-bits.js";
import {
  BIG_DATA,
  byteOrder,
  MOST_DEPTH,
  numberOrder,
  Page,
  readTree,
  readWord,
  SUB_DATA,
  TREE_BYTES,
  type KeyOrder,
  type Tree,
} from "./pages.js";

export interface FoundRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A leaf that no tree reaches. */
export interface LooseLeaf {
  readonly page: number;
  readonly transaction: number;
  /** It is on the list of free pages: what it holds is old, or lies elsewhere too. */
  readonly isFree: boolean;
}

interface Step {
  readonly page: number;
  readonly low: Buffer | undefined;
  readonly high: Buffer | undefined;
  readonly level: number;
}

export class DamagedFile {
  readonly #file: PageFile;
  readonly #meta: Meta;
  readonly #seen: Bits;
  /** Undefined when the list of free pages cannot be read. */
  readonly #free: Bits | undefined;
  /** Pages of trees that cannot be read: of which database, and how. */
  readonly badPages = new Map<number, { readonly database: string; readonly problem: string }>();
  readonly databases: ReadonlyMap<string, Tree>;

  constructor(file: PageFile, meta: Meta) {
    this.#file = file;
    this.#meta = meta;
    this.#seen = new Bits(this.pages);
    this.databases = this.#namedTrees();
    this.#free = this.#freePages();
  }

  /** The same, as if nothing had been read yet. */
  anew(): DamagedFile {
    return new DamagedFile(this.#file, this.#meta);
  }

  get isFreeListKnown(): boolean {
    return this.#free !== undefined;
  }

  get pages(): number {
    const inFile = Math.ceil(this.#file.sizeBytes / this.#meta.pageSize);
    return Math.min(inFile, this.#meta.lastPage + 1);
  }

  /** The records that a tree reaches, those in pages that cannot be read left out. */
  *records(name: string): Generator<FoundRecord> {
    const tree = this.databases.get(name);
    if (tree === undefined) return;
    for (const { page, index } of this.#entries(name, tree, byteOrder)) {
      const value = this.#valueOf(page, index);
      if (value !== undefined) yield { key: Buffer.from(page.key(index)), value };
    }
  }

  /** Leaves that no tree reaches, oldest first. To be asked when all trees have been read. */
  looseLeaves(): LooseLeaf[] {
    const leaves: LooseLeaf[] = [];
    for (let number = 2; number < this.pages; number++) {
      if (this.#seen.any(number, 1)) continue;
      const page = this.#pageAt(number);
      if (typeof page === "string" || !page.isLeaf) continue;
      const isFree = this.#free?.any(number, 1) ?? false;
      leaves.push({ page: number, transaction: page.transaction, isFree });
    }
    return leaves.sort((a, b) => a.transaction - b.transaction);
  }

  /** The records of a loose leaf. */
  *loose({ page: number }: LooseLeaf): Generator<FoundRecord> {
    const page = this.#pageAt(number);
    if (typeof page === "string") return;
    for (let index = 0; index < page.count; index++) {
      const value = (page.nodeFlags(index) & SUB_DATA) === 0 ? this.#valueOf(page, index) : undefined;
      if (value !== undefined) yield { key: page.key(index), value };
    }
  }

  #namedTrees(): Map<string, Tree> {
    const trees = new Map<string, Tree>();
    for (const { page, index } of this.#entries("main", this.#meta.mainTree, byteOrder)) {
      if (page.nodeFlags(index) !== SUB_DATA || page.valueBytes(index) !== TREE_BYTES) continue;
      // lmdb-js ends names with a zero byte.
      const name = page.key(index).toString("latin1").replace(/\0$/, "");
      trees.set(name, readTree(page.value(index), 0));
    }
    return trees;
  }

  #freePages(): Bits | undefined {
    const before = this.badPages.size;
    const free = new Bits(this.#meta.lastPage + 1);
    for (const { page, index } of this.#entries("free pages", this.#meta.freeTree, numberOrder)) {
      const list = this.#valueOf(page, index);
      if (list === undefined || !addList(free, list, this.#meta.lastPage)) return undefined;
    }
    return this.badPages.size === before ? free : undefined;
  }

  *#entries(database: string, tree: Tree, order: KeyOrder): Generator<{ page: Page; index: number }> {
    const stack: Step[] = [{ page: tree.root, low: undefined, high: undefined, level: 1 }];
    for (let step = stack.pop(); step !== undefined; step = stack.pop()) {
      if (step.page === -1) continue;
      const page = this.#reached(database, step, order);
      if (page === undefined) continue;
      if (!page.isLeaf) pushChildren(page, step, stack);
      else for (let index = 0; index < page.count; index++) yield { page, index };
    }
  }

  #reached(database: string, { page: number, low, high, level }: Step, order: KeyOrder): Page | undefined {
    const isThere = number > 1 && number < this.pages && level <= MOST_DEPTH;
    if (!isThere || this.#seen.any(number, 1)) {
      this.badPages.set(number, { database, problem: isThere ? "is used twice" : "is not in the file" });
      return undefined;
    }
    this.#seen.take(number, 1);
    const page = this.#pageAt(number, order);
    const problem = typeof page === "string" ? page : misplaced(page, low, high, order);
    if (problem === undefined) return page as Page;
    this.badPages.set(number, { database, problem });
    return undefined;
  }

  #pageAt(number: number, order: KeyOrder = byteOrder): Page | string {
    const { pageSize, transaction } = this.#meta;
    const bytes = Buffer.allocUnsafe(pageSize);
    if (!this.#file.fill(bytes, number * pageSize)) return "lies beyond the end of the file";
    const page = new Page(bytes, number);
    return page.problem(transaction, order) ?? page;
  }

  #valueOf(page: Page, index: number): Buffer | undefined {
    if ((page.nodeFlags(index) & BIG_DATA) === 0) return Buffer.from(page.value(index));
    const { page: first, pages } = page.overflow(index);
    if (!(first > 1 && first + pages <= this.pages)) return undefined;
    for (let i = first; i < first + pages; i++) if (!this.#seen.any(i, 1)) this.#seen.take(i, 1);
    return this.#file.overflowValue(first, page.valueBytes(index), this.#meta.pageSize);
  }
}

function misplaced(
  page: Page,
  low: Buffer | undefined,
  high: Buffer | undefined,
  order: KeyOrder,
): string | undefined {
  const first = page.key(page.isLeaf ? 0 : 1);
  if (low !== undefined && !(order(first, low) >= 0)) return "has keys below those of its place";
  if (high !== undefined && !(order(page.key(page.count - 1), high) < 0)) {
    return "has keys above those of its place";
  }
  return undefined;
}

function pushChildren(page: Page, { low, high, level }: Step, stack: Step[]): void {
  for (let i = page.count - 1; i >= 0; i--) {
    stack.push({
      page: page.child(i),
      low: i === 0 ? low : page.key(i),
      high: i === page.count - 1 ? high : page.key(i + 1),
      level: level + 1,
    });
  }
}

/** False when the list is not one: see `pages-check.ts`. */
function addList(free: Bits, list: Buffer, lastPage: number): boolean {
  const count = readWord(list, 0);
  if (list.length % 8 !== 0 || !(count < list.length / 8)) return false;
  for (let i = 1; i <= count; i++) {
    let [page, run] = [Number(list.readBigInt64LE(i * 8)), 1];
    if (page === 0) continue;
    if (page < 0) {
      if (i === count) return false;
      run = -page;
      page = Number(list.readBigInt64LE(++i * 8));
    }
    if (page < 2 || page + run - 1 > lastPage || !free.take(page, run)) return false;
  }
  return true;
}
