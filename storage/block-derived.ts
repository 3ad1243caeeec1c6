/**
 * A block that is not there: its rows are the sums of those of a finer rollup of the same bucket, because its
 * dimensions are the first ones of that. FORMAT.md, "Derived block".
 */
import { isProjection } from "../engine/hot/merge-blocks.js";
import { CHUNK, type Sliced } from "../engine/sliced.js";
import type { CellBlock } from "../engine/store.js";
import { ByteReader } from "./bytes.js";
import { crc32c } from "./crc32c.js";
import { damaged, wrongVersion } from "./errors.js";

export const DERIVED_MAGIC = 0x44;
const DERIVED_VERSION = 1;
/** Magic, version, rollup, arity; rows, tokens, dense rows; source, its checksum; checksum. */
const DERIVED_BYTES = 28;

export interface Derived {
  readonly rollup: number;
  readonly arity: number;
  readonly count: number;
  readonly tokens: number;
  readonly dense: number;
  /** The rollup that it is made from, and the checksum of that block. */
  readonly source: number;
  readonly checksum: number;
}

export function encodeDerived(block: CellBlock, source: number, checksum: number): Uint8Array {
  const taken = new Uint8Array(DERIVED_BYTES);
  const bytes = Buffer.from(taken.buffer);
  taken.set([DERIVED_MAGIC, DERIVED_VERSION, block.rollup, block.arity]);
  const numbers = [block.count, block.tokens.length, block.dense.size, source, checksum];
  numbers.forEach((value, i) => bytes.writeUInt32LE(value, 4 + 4 * i));
  bytes.writeUInt32LE(crc32c(taken, 0, DERIVED_BYTES - 4), DERIVED_BYTES - 4);
  return taken;
}

export function readDerived({ bytes, what, end }: ByteReader): Derived {
  if (end !== DERIVED_BYTES) throw damaged(what, "is not as long as it says");
  if (bytes.readUInt32LE(end - 4) !== crc32c(bytes, 0, end - 4)) throw damaged(what, "fails its checksum");
  if (bytes[1] !== DERIVED_VERSION) throw wrongVersion(what, bytes[1]!, DERIVED_VERSION);
  const [count, tokens, dense, source, checksum] = [4, 8, 12, 16, 20].map((at) => bytes.readUInt32LE(at));
  return {
    rollup: bytes[2]!,
    arity: bytes[3]!,
    count: count!,
    tokens: tokens!,
    dense: dense!,
    source: source!,
    checksum: checksum!,
  };
}

export function isDerived(bytes: Uint8Array): boolean {
  return bytes[0] === DERIVED_MAGIC;
}

/** What a derived block says. `checksumOf`: of the bucket's own blocks. */
export function derivedFrom(
  bytes: Uint8Array,
  what: string,
  checksumOf: (rollup: number) => number | undefined,
): Derived {
  const derived = readDerived(new ByteReader(bytes, what));
  const { source, checksum } = derived;
  if (checksumOf(source) !== checksum)
    throw damaged(what, `is not made from the rollup ${source} that is there`);
  return derived;
}

/**
 * For each block the one that it can be derived from, or undefined. Only blocks with a key are derived: the total is
 * one row, and reading it must not cost that of thousands.
 */
export function* findSources(blocks: readonly CellBlock[]): Sliced<(CellBlock | undefined)[]> {
  const derived = new Map<CellBlock, CellBlock>();
  const finestFirst = [...blocks].sort((a, b) => b.arity - a.arity);
  for (const block of finestFirst) {
    for (const finer of finestFirst) {
      if (derived.has(finer) || !(yield* isDerivable(block, finer))) continue;
      derived.set(block, finer);
      break;
    }
  }
  return blocks.map((block) => derived.get(block));
}

function* isDerivable(block: CellBlock, finer: CellBlock): Sliced<boolean> {
  if (block.arity === 0 || finer.arity <= block.arity || finer.count < block.count) return false;
  if (!(yield* haveSameCounts(block, finer))) return false;
  return yield* isProjection(block, finer);
}

/** Compares keys and views alone: where the dimensions are others, that ends with the first rows. */
function* haveSameCounts({ keys, views, arity, count }: CellBlock, finer: CellBlock): Sliced<boolean> {
  let at = 0;
  for (let row = 0; row < count; row++) {
    let sum = 0;
    for (; at < finer.count && isAt(finer, at, keys, row, arity); at++) sum += finer.views[at]!;
    if (sum !== views[row]) return false;
    if (row % CHUNK === 0) yield CHUNK;
  }
  return at === finer.count;
}

function isAt(finer: CellBlock, at: number, keys: Uint32Array, row: number, arity: number): boolean {
  for (let i = 0; i < arity; i++)
    if (finer.keys[at * finer.arity + i] !== keys[row * arity + i]) return false;
  return true;
}
