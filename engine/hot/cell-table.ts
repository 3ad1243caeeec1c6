import { copyAnew, type CopyColumn } from "./column-copies.js";
import type { TableImage } from "../image-port.js";
import { registersOf, type CellBlock } from "../store.js";
import { CELL_MASK, CellIndex, MAX_CELLS, slotOf, tagOf } from "./cell-index.js";
import { grownColumn, grownLength } from "./column.js";
import { SketchPool } from "./sketch-pool.js";

/** One event makes a cell in each of the six default rollups. */
const INITIAL_CELLS = 8;

/** How large a table is expected to become. */
export interface TableSize {
  readonly cells: number;
  /** 32-bit words of the slab that tokens lie in. */
  readonly tokenWords: number;
}

/** What blocks and tables both count. */
type Counts = Pick<CellBlock, "views" | "anonymous" | "created">;

/**
 * Cells by (rollup, key) as flat columns with an open-addressing index: counts and a sketch each. One table holds
 * all rollups of one bucket, or the groups of one query. Rows are never removed; the table is dropped whole.
 */
export class CellTable {
  /** Ids of each cell's key: `arity` words a cell; a rollup of fewer dimensions leaves the rest 0. */
  keys: Uint32Array;
  rollups: Uint8Array;
  views: Float64Array;
  /** Columns of zeros only are not there. */
  #anonymous: Float64Array | undefined;
  #created: Float64Array | undefined;
  sketches: SketchPool;
  readonly arity: number;
  count = 0;
  /** Are the columns those of a block, and the cells not in the index yet? */
  #isBorrowed = false;
  #index: CellIndex;
  /** Up to here no column has to grow. */
  #room: number;

  /** `arity`: the greatest number of ids in a key. Room for what is expected is made, which costs little until it is used. */
  constructor(arity: number, expected: Partial<TableSize> = {}) {
    this.arity = arity;
    const room = Math.max(expected.cells ?? 0, INITIAL_CELLS);
    this.#room = room;
    this.keys = new Uint32Array(room * arity);
    this.rollups = new Uint8Array(room);
    this.views = new Float64Array(room);
    this.sketches = new SketchPool(room, expected.tokenWords);
    this.#index = new CellIndex(this.#hashOf, room);
  }

  /**
   * The rows of a block, cell by row, without a copy as long as nothing is added. Of a table that one block fills, as
   * that of a ranking of one day does, only the rows that are shown are ever looked at.
   */
  static ofBlock(block: CellBlock, withSketches: boolean): CellTable {
    const table = new CellTable(block.arity);
    table.#borrow(block, withSketches);
    return table;
  }

  /** The table that an image was made of; it takes the image's columns over. */
  static ofImage(image: TableImage): CellTable {
    const table = new CellTable(image.arity);
    table.count = image.count;
    table.keys = image.keys;
    table.rollups = image.rollups;
    table.views = image.views;
    table.#anonymous = image.anonymous;
    table.#created = image.created;
    table.sketches = SketchPool.ofImage(image.sketches);
    table.#room = image.count;
    table.#index = new CellIndex(table.#hashOf, image.count);
    for (let cell = 0; cell < image.count; cell++) table.#index.add(cell);
    return table;
  }

  /** A copy of all columns. */
  image(copy: CopyColumn = copyAnew): TableImage {
    const { arity, count } = this;
    return {
      arity,
      count,
      keys: copy(this.keys, count * arity),
      rollups: copy(this.rollups, count),
      views: copy(this.views, count),
      anonymous: this.#anonymous && copy(this.#anonymous, count),
      created: this.#created && copy(this.#created, count),
      sketches: this.sketches.image(count, copy),
    };
  }

  /** Views without a viewer. Reading it makes the column, if no cell has any. */
  get anonymous(): Float64Array {
    if (this.#isBorrowed) this.#own();
    this.#anonymous ??= new Float64Array(this.views.length);
    return this.#anonymous;
  }

  /** Blogs created. Reading it makes the column, if no cell has any. */
  get created(): Float64Array {
    if (this.#isBorrowed) this.#own();
    this.#created ??= new Float64Array(this.views.length);
    return this.#created;
  }

  anonymousOf(cell: number): number {
    return this.#anonymous?.[cell] ?? 0;
  }

  createdOf(cell: number): number {
    return this.#created?.[cell] ?? 0;
  }

  /** The cell of `key[0 .. arity)`, made with zero counts where there was none. */
  upsert(rollup: number, key: Uint32Array): number {
    if (this.#isBorrowed) this.#own();
    const hash = hashKey(rollup, key, 0, this.arity);
    const bucket = this.#index.bucketOf(hash);
    const slot = this.#search(bucket.slots, hash, rollup, key);
    const held = bucket.slots[slot]!;
    if (held !== 0) return (held & CELL_MASK) - 1;
    const cell = this.#append(rollup, key);
    this.#index.put(bucket, slot, hash, cell);
    return cell;
  }

  /** The cell of the key, or −1. */
  find(rollup: number, key: Uint32Array): number {
    if (this.#isBorrowed) this.#own();
    const hash = hashKey(rollup, key, 0, this.arity);
    const { slots } = this.#index.bucketOf(hash);
    return (slots[this.#search(slots, hash, rollup, key)]! & CELL_MASK) - 1;
  }

  /** Adds the counts, without the sketch, of row or cell `at` of `other` to `cell`. */
  addCounts(cell: number, other: Counts, at: number): void {
    if (this.#isBorrowed) this.#own();
    const isTable = other instanceof CellTable;
    const anonymous = isTable ? other.#anonymous : other.anonymous;
    const created = isTable ? other.#created : other.created;
    this.views[cell]! += other.views[at]!;
    if (anonymous !== undefined && anonymous[at] !== 0) this.anonymous[cell]! += anonymous[at]!;
    if (created !== undefined && created[at] !== 0) this.created[cell]! += created[at]!;
  }

  /** Adds row `row` of a block to `cell`. */
  addRow(cell: number, block: CellBlock, row: number): void {
    this.addCounts(cell, block, row);
    const registers = registersOf(block, row);
    if (registers !== undefined) this.sketches.addRegisters(cell, registers);
    else this.sketches.addAll(cell, block.tokens, block.tokenStart[row]!, block.tokenStart[row + 1]!);
  }

  /** As `addRow`, but sketches are united when they are asked for: of rows that are not shown, never. */
  deferRow(cell: number, block: CellBlock, row: number): void {
    this.addCounts(cell, block, row);
    this.sketches.defer(cell, block, row);
  }

  /** Holds on to no block any more. For tables that are kept. */
  detach(): void {
    if (this.#isBorrowed) this.#own();
    this.sketches.detach();
  }

  /** Adds cell `from` of another table to `cell`. */
  addCell(cell: number, other: CellTable, from: number): void {
    this.addCounts(cell, other, from);
    this.sketches.addFrom(cell, other.sketches, from);
  }

  addBlock(block: CellBlock): void {
    const key = new Uint32Array(this.arity);
    for (let row = 0; row < block.count; row++) {
      for (let i = 0; i < block.arity; i++) key[i] = block.keys[row * block.arity + i]!;
      this.addRow(this.upsert(block.rollup, key), block, row);
    }
  }

  addTable(other: CellTable): void {
    const { arity } = this;
    const key = new Uint32Array(arity);
    for (let from = 0; from < other.count; from++) {
      for (let i = 0; i < arity; i++) key[i] = other.keys[from * arity + i]!;
      this.addCell(this.upsert(other.rollups[from]!, key), other, from);
    }
  }

  get size(): TableSize {
    return { cells: this.count, tokenWords: this.sketches.tokenWords };
  }

  get sizeBytes(): number {
    return (
      this.keys.byteLength +
      this.rollups.byteLength +
      this.views.byteLength +
      (this.#anonymous?.byteLength ?? 0) +
      (this.#created?.byteLength ?? 0) +
      this.#index.sizeBytes +
      this.sketches.sizeBytes
    );
  }

  /** The slot that has the key, or the free one where it would be put. */
  #search(slots: Uint32Array, hash: number, rollup: number, key: Uint32Array): number {
    const mask = slots.length - 1;
    const tag = tagOf(hash);
    let slot = slotOf(hash, mask);
    for (let held = slots[slot]!; held !== 0; held = slots[slot]!) {
      // The hash's bits first: most cells that are not it need not be looked at.
      if (((held ^ tag) & ~CELL_MASK) === 0 && this.#matches((held & CELL_MASK) - 1, rollup, key))
        return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #matches(cell: number, rollup: number, key: Uint32Array): boolean {
    if (this.rollups[cell] !== rollup) return false;
    const { arity, keys } = this;
    const at = cell * arity;
    for (let i = 0; i < arity; i++) if (keys[at + i] !== key[i]) return false;
    return true;
  }

  #append(rollup: number, key: Uint32Array): number {
    const cell = this.count;
    if (cell >= this.#room) this.#grow(cell + 1);
    this.count++;
    this.rollups[cell] = rollup;
    for (let i = 0; i < this.arity; i++) this.keys[cell * this.arity + i] = key[i]!;
    return cell;
  }

  /** Only the columns that are full, which are not all at once: see `grownLength`. */
  #grow(cells: number): void {
    if (cells > MAX_CELLS) throw new RangeError(`A table of more than ${MAX_CELLS} cells`);
    const { arity } = this;
    if (cells * arity > this.keys.length) {
      this.keys = grownColumn(this.keys, new Uint32Array(grownLength(cells, 0) * arity));
    }
    if (cells > this.rollups.length) {
      this.rollups = grownColumn(this.rollups, new Uint8Array(grownLength(cells, 1)));
    }
    if (cells > this.views.length) this.#growCounts(grownLength(cells, 2));
    this.sketches.grow(cells);
    const keys = arity === 0 ? Infinity : Math.floor(this.keys.length / arity);
    this.#room = Math.min(keys, this.rollups.length, this.views.length, this.sketches.room);
  }

  #growCounts(length: number): void {
    this.views = grownColumn(this.views, new Float64Array(length));
    this.#anonymous &&= grownColumn(this.#anonymous, new Float64Array(length));
    this.#created &&= grownColumn(this.#created, new Float64Array(length));
  }

  readonly #hashOf = (cell: number): number =>
    hashKey(this.rollups[cell]!, this.keys, cell * this.arity, this.arity);

  #borrow(block: CellBlock, withSketches: boolean): void {
    this.#isBorrowed = true;
    this.count = block.count;
    this.keys = block.keys;
    this.rollups = new Uint8Array(block.count);
    this.views = block.views;
    this.#anonymous = block.anonymous;
    this.#created = block.created;
    this.sketches = withSketches ? SketchPool.ofBlock(block) : new SketchPool(block.count);
  }

  /** Copies what is borrowed, with room for more, and makes the index. */
  #own(): void {
    this.#isBorrowed = false;
    const { keys, rollups, views } = this;
    const [anonymous, created] = [this.#anonymous!, this.#created!];
    const room = grownLength(this.count, 0);
    this.#room = room;
    this.keys = grownColumn(keys, new Uint32Array(room * this.arity));
    this.rollups = grownColumn(rollups, new Uint8Array(room));
    this.views = grownColumn(views, new Float64Array(room));
    this.#anonymous = hasOnlyZeros(anonymous) ? undefined : grownColumn(anonymous, new Float64Array(room));
    this.#created = hasOnlyZeros(created) ? undefined : grownColumn(created, new Float64Array(room));
    this.sketches.grow(room);
    this.#index = new CellIndex(this.#hashOf, this.count);
    for (let cell = 0; cell < this.count; cell++) this.#index.add(cell);
  }
}

/** Ids are numbers that we gave out ourselves, so nobody outside can choose keys that collide. */
function hashKey(rollup: number, key: Uint32Array, at: number, arity: number): number {
  let h = Math.imul(rollup + 1, 0x9e37_79b1);
  for (let i = 0; i < arity; i++) {
    h = Math.imul(h ^ key[at + i]!, 0x85eb_ca6b);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function hasOnlyZeros(column: Float64Array): boolean {
  return column.every((value) => value === 0);
}
