/**
 * What is looked at before LMDB maps a file: LMDB trusts its pages, and a truncated file or a garbled meta page ends
 * the process with a signal instead of an error.
 */
import { open, type FileHandle } from "node:fs/promises";
import { damaged } from "./errors.js";

const MAGIC = 0xbeef_c0de;
/** Data format of LMDB 0.9.9x and 1.0, as lmdb-js 3 builds it. */
const DATA_VERSION = 2;
const META_PAGE_FLAG = 0x08;
/** Root of an empty tree. */
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

const LEAST_PAGE_BYTES = 512;
const MOST_PAGE_BYTES = 65_536;
/** The part of a meta page that is read. */
const META_BYTES = 0xa0;

/** Offsets in a meta page (`MDB_page_header`, then `MDB_meta`). */
const AT = {
  pageFlags: 0x12,
  magic: 0x18,
  version: 0x1c,
  pageSize: 0x30,
  freeRoot: 0x58,
  mainRoot: 0x88,
  lastPage: 0x90,
  transaction: 0x98,
} as const;

interface Meta {
  readonly pageSize: number;
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/**
 * Throws `storage-damaged` when LMDB must not open this file, and Node's error when it cannot be read. A file that is
 * absent or empty is a new one.
 */
export async function preflight(path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size > 0) await check(file, path, size);
  } finally {
    await file.close();
  }
}

async function check(file: FileHandle, path: string, size: number): Promise<void> {
  const what = `The file ${path}`;
  const first = await readMeta(file, what, 0);
  const second = await readMeta(file, what, first.pageSize);
  if (second.pageSize !== first.pageSize) throw damaged(what, "has two page sizes");
  // A transaction writes the meta page of its parity, so the two are never further apart than one.
  const gap = first.transaction - second.transaction;
  const parity =
    first.transaction % 2n === 0n && (second.transaction % 2n === 1n || second.transaction === 0n);
  if (!parity || gap > 1n || gap < -1n) throw damaged(what, "has meta pages that do not belong together");
  const newest = gap > 0n ? first : second;
  if (BigInt(size) < (newest.lastPage + 1n) * BigInt(newest.pageSize)) {
    throw damaged(what, `is cut off: it has ${size} bytes and needs ${newest.lastPage + 1n} pages`);
  }
}

async function readMeta(file: FileHandle, what: string, at: number): Promise<Meta> {
  const bytes = Buffer.alloc(META_BYTES);
  const { bytesRead } = await file.read(bytes, 0, META_BYTES, at);
  if (bytesRead < META_BYTES) throw damaged(what, "is cut off within its meta pages");
  const pageSize = bytes.readUInt32LE(AT.pageSize);
  const lastPage = bytes.readBigUInt64LE(AT.lastPage);
  const good =
    bytes.readUInt32LE(AT.magic) === MAGIC &&
    bytes.readUInt32LE(AT.version) === DATA_VERSION &&
    (bytes.readUInt16LE(AT.pageFlags) & META_PAGE_FLAG) !== 0 &&
    pageSize >= LEAST_PAGE_BYTES &&
    pageSize <= MOST_PAGE_BYTES &&
    (pageSize & (pageSize - 1)) === 0 &&
    lastPage >= 1n &&
    isRoot(bytes.readBigUInt64LE(AT.freeRoot), lastPage) &&
    isRoot(bytes.readBigUInt64LE(AT.mainRoot), lastPage);
  if (!good) throw damaged(what, "has a meta page that LMDB did not write");
  return { pageSize, lastPage, transaction: bytes.readBigUInt64LE(AT.transaction) };
}

function isRoot(page: bigint, lastPage: bigint): boolean {
  return page === NO_PAGE || (page > 1n && page <= lastPage);
}
