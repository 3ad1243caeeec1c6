import { mergeBlocks } from "../engine/hot/merge-blocks.js";
import { cellBlock, type CellBlock } from "../engine/store.js";
import {
  PACKED_VERSION,
  compareFirstKey,
  findGroup,
  groupAt,
  readFirstKey,
  readHeader,
  type Header,
} from "./block-frame.js";
import { GroupReader, leastGroupBits } from "./block-group.js";
import { compareKey, emptyRows, seekRow, type Rows, type Sketches } from "./block-rows.js";
import { PackedGroupReader, leastPackedBits } from "./block-v1.js";
import { ByteReader } from "./bytes.js";
import { ParsedGroup } from "./parsed-group.js";
import { SketchColumn } from "./sketch-column.js";

/** Of the objects besides the bytes. */
const OVERHEAD_BYTES = 512;

/**
 * The bytes of a block that is not derived, to find single rows in. Header and index are checked at once, a group
 * when it is first read. Throws `storage-damaged` or `storage-version`; `what` names the block in the sentence.
 */
export class OpenBlock {
  /** Grows with the groups that were read. */
  sizeBytes: number;
  /** How often it was read. */
  reads = 0;
  readonly #reader: ByteReader;
  readonly #header: Header;
  /** Groups that were read, of version 2. */
  readonly #parsed: (ParsedGroup | undefined)[] = [];

  constructor(bytes: Uint8Array, what: string) {
    this.#reader = new ByteReader(bytes, what);
    this.#header = readHeader(this.#reader, leastBits);
    this.sizeBytes = OVERHEAD_BYTES + bytes.length;
  }

  get rollup(): number {
    return this.#header.rollup;
  }

  get arity(): number {
    return this.#header.arity;
  }

  /** Rows. */
  get count(): number {
    return this.#header.count;
  }

  /** The rows whose key begins with `prefix`, as a block of their own, or undefined. */
  rows(prefix: Uint32Array): CellBlock | undefined {
    const reader = this.#reader;
    const header = this.#header;
    this.reads++;
    const found: CellBlock[] = [];
    const first = findGroup(reader, header, prefix);
    for (let number = first; number >= 0 && number < header.groups; number++) {
      if (number > first && compareFirstKey(reader, header, number, prefix) > 0) break;
      const part = this.#rowsOfGroup(number, prefix);
      if (part !== undefined) found.push(part);
    }
    return found.length === 0 ? undefined : mergeBlocks(found);
  }

  #rowsOfGroup(number: number, prefix: Uint32Array): CellBlock | undefined {
    const { version, rollup } = this.#header;
    if (version === PACKED_VERSION) return this.#rowsOfPackedGroup(number, prefix);
    let parsed = this.#parsed[number];
    if (parsed === undefined) {
      this.#parsed[number] = parsed = this.#parse(number);
      this.sizeBytes += parsed.sizeBytes;
    }
    const before = parsed.sizeBytes;
    const rows = parsed.rowsWith(prefix, rollup);
    this.sizeBytes += parsed.sizeBytes - before;
    return rows;
  }

  #parse(number: number): ParsedGroup {
    const header = this.#header;
    const { group, from, to } = groupAt(this.#reader, header, number);
    return new ParsedGroup(group, header.arity, to - from, (keys) =>
      readFirstKey(this.#reader, header, number, keys, 0),
    );
  }

  /** All rows of a group of version 1 have to be read for one. */
  #rowsOfPackedGroup(number: number, prefix: Uint32Array): CellBlock | undefined {
    const header = this.#header;
    const { rollup, arity } = header;
    const { group, from, to } = groupAt(this.#reader, header, number);
    const all = to - from;
    const rows = emptyRows(arity, all);
    readFirstKey(this.#reader, header, number, rows.keys, 0);
    const source = openGroup(header, group, rows, 0, all);
    const start = seekRow(rows, 0, all, prefix);
    let end = start;
    let room = 0;
    for (; end < all && compareKey(rows.keys, end * arity, prefix) === 0; end++) room += source.room(end);
    if (start === end) return undefined;
    if (room > 8 * group.bytes.length) throw group.broken();
    const sketches = new SketchColumn(end - start, Math.ceil(room));
    for (let row = 0; row < start; row++) source.skip();
    for (let row = start; row < end; row++) sketches.read(source);
    return cellBlock({
      rollup,
      arity,
      count: end - start,
      keys: rows.keys.slice(start * arity, end * arity),
      views: rows.views.slice(start, end),
      anonymous: rows.anonymous.slice(start, end),
      created: rows.created.slice(start, end),
      ...sketches.columns(),
    });
  }
}

export function leastBits(header: Header): number {
  return header.version === PACKED_VERSION ? leastPackedBits(header) : leastGroupBits(header);
}

export function openGroup(
  { version }: Header,
  group: ByteReader,
  rows: Rows,
  at: number,
  count: number,
): Sketches {
  const Reader = version === PACKED_VERSION ? PackedGroupReader : GroupReader;
  return new Reader(group, rows, at, count);
}
