import type { CellBlock } from "../store.js";
import { SketchPool } from "./sketch-pool.js";

/** One event makes a cell in each of the six default rollups. */
const INITIAL_CELLS = 8;
/** Up to so many cells the columns double; beyond, they grow by a quarter, so that a tenth of them is empty. */
const DOUBLE_UNTIL = 1024;
const GROWTH = 1.25;
/** The index, a power of two, is this full at most. */
const MAX_LOAD = 0.8;

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
  /** 2^`#cellBits` slots by hash: a cell + 1 in the low bits, above them the low bits of its hash; 0 is free. */
  #index: Uint32Array;
  #cellBits: number;
  #capacity: number;

  /** `arity`: the greatest number of ids in a key. `cells`: how many are expected. */
  constructor(arity: number, cells: number = INITIAL_CELLS) {
    this.arity = arity;
    const capacity = Math.max(cells, INITIAL_CELLS);
    this.#capacity = capacity;
    this.keys = new Uint32Array(capacity * arity);
    this.rollups = new Uint8Array(capacity);
    this.views = new Float64Array(capacity);
    this.sketches = new SketchPool(capacity);
    this.#cellBits = 32 - Math.clz32(capacity / MAX_LOAD);
    this.#index = new Uint32Array(2 ** this.#cellBits);
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

  /** Views without a viewer. Reading it makes the column, if no cell has any. */
  get anonymous(): Float64Array {
    if (this.#isBorrowed) this.#own();
    this.#anonymous ??= new Float64Array(this.#capacity);
    return this.#anonymous;
  }

  /** Blogs created. Reading it makes the column, if no cell has any. */
  get created(): Float64Array {
    if (this.#isBorrowed) this.#own();
    this.#created ??= new Float64Array(this.#capacity);
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
    const slot = this.#find(hash, rollup, key);
    const held = this.#index[slot]!;
    return held === 0 ? this.#insert(hash, slot, rollup, key) : (held & (this.#index.length - 1)) - 1;
  }

  /** The cell of the key, or −1. */
  find(rollup: number, key: Uint32Array): number {
    if (this.#isBorrowed) this.#own();
    const slot = this.#find(hashKey(rollup, key, 0, this.arity), rollup, key);
    return (this.#index[slot]! & (this.#index.length - 1)) - 1;
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
    const registers = block.dense.get(row);
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

  get sizeBytes(): number {
    return (
      this.keys.byteLength +
      this.rollups.byteLength +
      this.views.byteLength +
      (this.#anonymous?.byteLength ?? 0) +
      (this.#created?.byteLength ?? 0) +
      this.#index.byteLength +
      this.sketches.sizeBytes
    );
  }

  /** The slot that has the key, or the free one where it would be put. */
  #find(hash: number, rollup: number, key: Uint32Array): number {
    const index = this.#index;
    const cellBits = this.#cellBits;
    const mask = index.length - 1;
    // The slot is chosen by the upper bits of the hash, so that the lower ones tell neighbours apart.
    const tag = hash << cellBits;
    let slot = hash >>> (32 - cellBits);
    for (let held = index[slot]!; held !== 0; held = index[slot]!) {
      // The hash's bits first: most cells that are not it need not be looked at.
      if ((held ^ tag) >>> cellBits === 0 && this.#matches((held & mask) - 1, rollup, key)) return slot;
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

  #insert(hash: number, slot: number, rollup: number, key: Uint32Array): number {
    if (this.count === this.#capacity) this.#grow();
    const cell = this.count++;
    this.rollups[cell] = rollup;
    for (let i = 0; i < this.arity; i++) this.keys[cell * this.arity + i] = key[i]!;
    if (this.count > this.#index.length * MAX_LOAD) this.#growIndex();
    else this.#index[slot] = (hash << this.#cellBits) | (cell + 1);
    return cell;
  }

  #grow(): void {
    const before = this.#capacity;
    const capacity = before < DOUBLE_UNTIL ? before * 2 : Math.ceil(before * GROWTH);
    this.#capacity = capacity;
    this.keys = copy(this.keys, new Uint32Array(capacity * this.arity));
    this.rollups = copy(this.rollups, new Uint8Array(capacity));
    this.views = copy(this.views, new Float64Array(capacity));
    this.#anonymous &&= copy(this.#anonymous, new Float64Array(capacity));
    this.#created &&= copy(this.#created, new Float64Array(capacity));
    this.sketches.grow(capacity);
  }

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
    const capacity = Math.max(INITIAL_CELLS, Math.ceil(this.count * GROWTH));
    this.#capacity = capacity;
    this.keys = copy(keys, new Uint32Array(capacity * this.arity));
    this.rollups = copy(rollups, new Uint8Array(capacity));
    this.views = copy(views, new Float64Array(capacity));
    this.#anonymous = hasOnlyZeros(anonymous) ? undefined : copy(anonymous, new Float64Array(capacity));
    this.#created = hasOnlyZeros(created) ? undefined : copy(created, new Float64Array(capacity));
    this.sketches.grow(capacity);
    this.#makeIndex(32 - Math.clz32(capacity / MAX_LOAD));
  }

  #growIndex(): void {
    this.#makeIndex(this.#cellBits + 1);
  }

  #makeIndex(cellBits: number): void {
    const index = new Uint32Array(2 ** cellBits);
    const mask = index.length - 1;
    for (let cell = 0; cell < this.count; cell++) {
      const hash = hashKey(this.rollups[cell]!, this.keys, cell * this.arity, this.arity);
      let slot = hash >>> (32 - cellBits);
      while (index[slot] !== 0) slot = (slot + 1) & mask;
      index[slot] = (hash << cellBits) | (cell + 1);
    }
    this.#index = index;
    this.#cellBits = cellBits;
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

function copy<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
