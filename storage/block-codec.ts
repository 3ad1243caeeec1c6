/**
 * The bytes of a cell block: FORMAT.md, "Cell block". Rows lie in groups; an index holds each group's place,
 * checksum and first key, so that one key is found by reading the index and one group.
 */
import { projectBlock, projectInSlices } from "../engine/hot/merge-blocks.js";
import { atOnce, type Sliced } from "../engine/sliced.js";
import { cellBlock, registersOf, type CellBlock } from "../engine/store.js";
import { DERIVED_MAGIC, encodeDerived, findSources, readDerived, type Derived } from "./block-derived.js";
import {
  frameChecksum,
  groupsOf,
  readFirstKey,
  readHeader,
  writeFrame,
  type NewGroup,
} from "./block-frame.js";
import { encodeGroup } from "./block-group.js";
import { emptyRows } from "./block-rows.js";
import { ByteReader } from "./bytes.js";
import { checkBlockInSlices } from "./checks.js";
import { damaged } from "./errors.js";
import { OpenBlock, leastBits, openGroup } from "./open-block.js";
import { SketchColumn } from "./sketch-column.js";

/**
 * To find one key, the index is checked as a whole and a group is read as a whole: rows of a group are therefore as many
 * as the square root of this share of all rows, measured, and no fewer than `LEAST_GROUP_ROWS`.
 */
const ROWS_SHARE = 1 / 7;
const LEAST_GROUP_ROWS = 64;
/** A group also ends when its sketches have more than so many bytes for each of the rows that it may have. */
const SKETCH_BYTES_OF_ROW = 32;
/** About what a token and registers take in a group. */
const TOKEN_BYTES = 3.5;
const REGISTERS_BYTES = 5800;
/** To code so many tokens takes about as long as the rest of a row does. */
const TOKENS_CODED_OF_ROW = 4;

/** The bytes of another block of the same bucket; undefined when there is none of that rollup. */
export type SourceOf = (rollup: number) => Uint8Array | undefined;

const noSource: SourceOf = () => undefined;

/** Throws `Error("BUG: …")` when the block is not what `CellBlock` promises. */
export function encodeBlock(block: CellBlock): Uint8Array {
  return atOnce(encodeInSlices(block));
}

export function* encodeInSlices(block: CellBlock): Sliced<Uint8Array> {
  yield* checkBlockInSlices(block);
  const { rollup, arity, count, keys, tokenStart, dense } = block;
  const starts = groupStarts(block);
  const groups: NewGroup[] = [];
  for (const [number, from] of starts.entries()) {
    const to = starts[number + 1] ?? count;
    groups.push({ from, parts: encodeGroup(block, from, to) });
    yield to - from + (tokenStart[to]! - tokenStart[from]!) / TOKENS_CODED_OF_ROW;
  }
  return yield* writeFrame(
    { rollup, arity, count, tokens: tokenStart[count]!, dense: dense.size },
    keys,
    groups,
  );
}

/**
 * The bytes of each of a bucket's blocks. Where a block is the sum of a finer one, which is looked for and proven, its
 * bytes only say so; whoever reads it needs the finer one's bytes as well.
 */
export function encodeBlocks(blocks: readonly CellBlock[]): Uint8Array[] {
  return atOnce(encodeAllInSlices(blocks));
}

/** `derives`: whether a block may be told as the sum of another one. */
export function* encodeAllInSlices(
  blocks: readonly CellBlock[],
  derives: boolean = true,
): Sliced<Uint8Array[]> {
  const sources = derives ? yield* findSources(blocks) : [];
  const encoded = new Map<CellBlock, Uint8Array>();
  for (const [i, block] of blocks.entries()) {
    if (sources[i] === undefined) encoded.set(block, yield* encodeInSlices(block));
  }
  return blocks.map((block, i) => {
    const source = sources[i];
    if (source === undefined) return encoded.get(block)!;
    return encodeDerived(block, source.rollup, blockChecksum(encoded.get(source)!, "A new block"));
  });
}

/**
 * Throws `storage-damaged` or `storage-version`. `what` names the block in the sentence. `sourceOf` is asked when the
 * block is derived from another one.
 */
export function decodeBlock(bytes: Uint8Array, what: string, sourceOf: SourceOf = noSource): CellBlock {
  return atOnce(decodeInSlices(bytes, what, sourceOf));
}

export function* decodeInSlices(
  bytes: Uint8Array,
  what: string,
  sourceOf: SourceOf = noSource,
): Sliced<CellBlock> {
  if (bytes[0] === DERIVED_MAGIC) return yield* decodeDerived(bytes, what, sourceOf);
  const reader = new ByteReader(bytes, what);
  const header = readHeader(reader, leastBits);
  const { rollup, arity, count, tokens, dense } = header;
  const rows = emptyRows(arity, count);
  const sketches = new SketchColumn(count, tokens);
  for (const { number, group, from, to } of groupsOf(reader, header)) {
    readFirstKey(reader, header, number, rows.keys, from * arity);
    const source = openGroup(header, group, rows, from, to - from);
    const before = sketches.end;
    for (let row = from; row < to; row++) sketches.read(source);
    source.finish();
    yield to - from + (sketches.end - before) / TOKENS_CODED_OF_ROW;
  }
  if (sketches.end !== tokens || sketches.dense.size !== dense) throw reader.broken();
  return cellBlock({ rollup, count, ...rows, ...sketches.columns() });
}

/**
 * The one row whose key is `key`, as a block of its own, or undefined. Reads, and checks, the index and the one
 * group that can hold it. Errors and `sourceOf` as with `decodeBlock`.
 */
export function decodeRow(
  bytes: Uint8Array,
  key: Uint32Array,
  what: string,
  sourceOf: SourceOf = noSource,
): CellBlock | undefined {
  if (bytes[0] === DERIVED_MAGIC) {
    const derived = readDerived(new ByteReader(bytes, what));
    checkKeyLength(key, derived.arity);
    const rows = decodeRows(sourceBytes(derived, what, sourceOf), key, what);
    return rows && projectBlock(rows, derived.rollup, derived.arity);
  }
  checkKeyLength(key, bytes[3] ?? 0);
  return decodeRows(bytes, key, what);
}

/** The rows whose key begins with `prefix`, as a block of their own, or undefined. Not of a derived block. */
export function decodeRows(bytes: Uint8Array, prefix: Uint32Array, what: string): CellBlock | undefined {
  return new OpenBlock(bytes, what).rows(prefix);
}

/** The checksum that stands for a whole block: that of its header and index, which hold those of the groups. */
export function blockChecksum(bytes: Uint8Array, what: string): number {
  const reader = new ByteReader(bytes, what);
  if (bytes[0] !== DERIVED_MAGIC) return frameChecksum(reader);
  readDerived(reader);
  return reader.bytes.readUInt32LE(bytes.length - 4);
}

/**
 * Compares every checksum of a block that is not derived, and decodes nothing: much faster than `decodeBlock`, and as good
 * against bytes that have changed since they were encoded. Throws like `decodeBlock`.
 */
export function sumUpBlock(bytes: Uint8Array, what: string): void {
  const reader = new ByteReader(bytes, what);
  const groups = groupsOf(reader, readHeader(reader, leastBits));
  while (groups.next().done !== true);
}

/** The first row of every group. */
function groupStarts(block: CellBlock): number[] {
  const { count, tokenStart } = block;
  const starts: number[] = [];
  const most = Math.max(LEAST_GROUP_ROWS, Math.ceil(Math.sqrt(count * ROWS_SHARE)));
  let end = 0;
  let sketchBytes = 0;
  for (let row = 0; row < count; row++) {
    if (row === end || sketchBytes > most * SKETCH_BYTES_OF_ROW) {
      starts.push(row);
      end = row + most;
      sketchBytes = 0;
    }
    const tokens = tokenStart[row + 1]! - tokenStart[row]!;
    sketchBytes += registersOf(block, row) === undefined ? TOKEN_BYTES * tokens : REGISTERS_BYTES;
  }
  return starts;
}

function checkKeyLength(key: Uint32Array, arity: number): void {
  if (key.length !== arity) throw new Error(`BUG: a key of ${key.length} ids for arity ${arity}`);
}

function* decodeDerived(bytes: Uint8Array, what: string, sourceOf: SourceOf): Sliced<CellBlock> {
  const derived = readDerived(new ByteReader(bytes, what));
  const finer = yield* decodeInSlices(sourceBytes(derived, what, sourceOf), what);
  if (finer.arity < derived.arity) throw damaged(what, "is made from rows that are coarser");
  const block = yield* projectInSlices(finer, derived.rollup, derived.arity);
  const { count, tokens, dense } = derived;
  if (block.count !== count || block.tokens.length !== tokens || block.dense.size !== dense) {
    throw damaged(what, "is not what it is made from");
  }
  return block;
}

/** The bytes that a derived block is made from, which are the very ones that it was written beside. */
function sourceBytes({ source, checksum }: Derived, what: string, sourceOf: SourceOf): Uint8Array {
  const bytes = sourceOf(source);
  if (bytes === undefined) throw damaged(what, `is made from rollup ${source}, which is missing`);
  if (bytes[0] === DERIVED_MAGIC || blockChecksum(bytes, what) !== checksum) {
    throw damaged(what, `is not made from the rollup ${source} that is there`);
  }
  return bytes;
}
