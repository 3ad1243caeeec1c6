/**
 * LMDB's pages, read without LMDB: data format 2 as lmdb-js 3.5 builds it on 64-bit little-endian machines
 * (`MDB_page_header`, `MDB_node`, `MDB_db`, `MDB_meta` in its mdb.c).
 */

export const PAGE_HEADER_BYTES = 24;
/** LMDB's `CURSOR_STACK`: no tree is deeper. */
export const MOST_DEPTH = 32;
export const NODE_HEADER_BYTES = 8;
/** `MDB_db`: what is known of a tree. */
export const TREE_BYTES = 48;
/** `MDB_ovpage`: page, transaction and number of pages of a value that has pages of its own. */
export const OVERFLOW_REF_BYTES = 24;

export const BRANCH = 0x01;
export const LEAF = 0x02;
export const OVERFLOW = 0x04;
export const META = 0x08;

/** Flags of a leaf's node: the value has pages of its own; the value is a `MDB_db`. */
export const BIG_DATA = 0x01;
export const SUB_DATA = 0x02;

/** Longest key that LMDB takes with pages of 4 KiB; facts, "Keys ≤ 1978 bytes". */
const MOST_KEY_BYTES = 1978;

const WORD = 2 ** 32;

/** A tree as its parent knows it; `root` is −1 when it is empty. */
export interface Tree {
  readonly pad: number;
  readonly flags: number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  readonly root: number;
}

/** Exact up to 2^53; what is greater is no page and no size, and stays greater. */
export function readWord(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * WORD;
}

export function readTree(bytes: Buffer, at: number): Tree {
  const isEmpty = bytes.readUInt32LE(at + 40) === 0xffff_ffff && bytes.readUInt32LE(at + 44) === 0xffff_ffff;
  return {
    pad: bytes.readUInt32LE(at),
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    branchPages: readWord(bytes, at + 8),
    leafPages: readWord(bytes, at + 16),
    overflowPages: readWord(bytes, at + 24),
    entries: readWord(bytes, at + 32),
    root: isEmpty ? -1 : readWord(bytes, at + 40),
  };
}

/** The pages that a value of this size takes when it has pages of its own. */
export function overflowPagesOf(sizeBytes: number, pageSize: number): number {
  return Math.floor((PAGE_HEADER_BYTES - 1 + sizeBytes) / pageSize) + 1;
}

/** Where a value is that has pages of its own. */
export interface OverflowRef {
  readonly page: number;
  readonly transaction: number;
  readonly pages: number;
}

export type KeyOrder = (a: Buffer, b: Buffer) => number;

/** The order of named databases. */
export const byteOrder: KeyOrder = (a, b) => a.compare(b);

/** `MDB_INTEGERKEY`, the order of the tree of free pages. */
export const numberOrder: KeyOrder = (a, b) =>
  a.length === 8 && b.length === 8 ? readWord(a, 0) - readWord(b, 0) : Number.NaN;

/** One branch or leaf page. Nothing but `problem` may be asked before that found none. */
export class Page {
  readonly bytes: Buffer;
  /** Where it lies in the file. */
  readonly number: number;

  constructor(bytes: Buffer, number: number) {
    this.bytes = bytes;
    this.number = number;
  }

  get flags(): number {
    return this.bytes.readUInt16LE(18);
  }

  get transaction(): number {
    return readWord(this.bytes, 8);
  }

  get isLeaf(): boolean {
    return this.flags === LEAF;
  }

  get count(): number {
    return this.bytes.readUInt16LE(20) >>> 1;
  }

  key(index: number): Buffer {
    const at = this.#node(index);
    return this.bytes.subarray(at + 8, at + 8 + this.bytes.readUInt16LE(at + 6));
  }

  /** Of a branch: the page below. */
  child(index: number): number {
    const at = this.#node(index);
    return this.bytes.readUInt32LE(at) + this.bytes.readUInt16LE(at + 4) * WORD;
  }

  nodeFlags(index: number): number {
    return this.bytes.readUInt16LE(this.#node(index) + 4);
  }

  /** Of a leaf: the size of a value, wherever it is. */
  valueBytes(index: number): number {
    return this.bytes.readUInt32LE(this.#node(index));
  }

  /** Of a leaf: the value, or its `MDB_db`; of a value with pages of its own, use `overflow`. */
  value(index: number): Buffer {
    const at = this.#data(index);
    return this.bytes.subarray(at, at + this.valueBytes(index));
  }

  overflow(index: number): OverflowRef {
    const at = this.#data(index);
    const { bytes } = this;
    return {
      page: readWord(bytes, at),
      transaction: readWord(bytes, at + 8),
      pages: readWord(bytes, at + 16),
    };
  }

  /** What is wrong with it, as the end of a sentence, or undefined: everything that can be told from the page alone. */
  problem(newestTransaction: number, order: KeyOrder): string | undefined {
    const { bytes, flags } = this;
    if (readWord(bytes, 0) !== this.number) return "says that it is another page";
    if (flags !== BRANCH && flags !== LEAF) return `is of no kind that belongs in a tree (${flags})`;
    if (!(this.transaction <= newestTransaction)) return "is of a transaction that has not been";
    const lower = bytes.readUInt16LE(20);
    const upper = bytes.readUInt16LE(22);
    const space = bytes.length - PAGE_HEADER_BYTES;
    const isRoomy = lower % 2 === 0 && lower <= upper && upper <= space;
    if (!isRoomy) return "has bounds that cannot be";
    if (lower < (flags === BRANCH ? 4 : 2)) return "has too few entries";
    return this.#nodesProblem(upper, space) ?? this.#orderProblem(order);
  }

  /** Nodes lie without gaps from `upper` to the page's end, so that none can overlap when their sizes add up. */
  #nodesProblem(upper: number, space: number): string | undefined {
    const { bytes, count, isLeaf } = this;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const offset = bytes.readUInt16LE(PAGE_HEADER_BYTES + 2 * i);
      if (offset % 2 !== 0 || offset < upper || offset + NODE_HEADER_BYTES > space)
        return "has a node outside";
      const at = PAGE_HEADER_BYTES + offset;
      const keyBytes = bytes.readUInt16LE(at + 6);
      if (keyBytes > MOST_KEY_BYTES) return "has a key that is too long";
      const size = NODE_HEADER_BYTES + keyBytes + (isLeaf ? this.#inlineBytes(at) : 0);
      if (offset + size > space) return "has a node that does not end in it";
      total += size + (size & 1);
    }
    return total === space - upper ? undefined : "has nodes that overlap";
  }

  #inlineBytes(at: number): number {
    return (this.bytes.readUInt16LE(at + 4) & BIG_DATA) === 0
      ? this.bytes.readUInt32LE(at)
      : OVERFLOW_REF_BYTES;
  }

  #orderProblem(order: KeyOrder): string | undefined {
    // The first key of a branch is never looked at; LMDB leaves it empty.
    for (let i = this.isLeaf ? 1 : 2; i < this.count; i++) {
      if (!(order(this.key(i - 1), this.key(i)) < 0)) return "has keys out of order";
    }
    return undefined;
  }

  #node(index: number): number {
    return PAGE_HEADER_BYTES + this.bytes.readUInt16LE(PAGE_HEADER_BYTES + 2 * index);
  }

  #data(index: number): number {
    const at = this.#node(index);
    return at + NODE_HEADER_BYTES + this.bytes.readUInt16LE(at + 6);
  }
}
