import type { CellBlock } from "../store.js";
import { SketchPool } from "./sketch-pool.js";

/** One event makes a cell in each of the six default rollups. */
const INITIAL_CELLS = 8;

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
  anonymous: Float64Array;
  created: Float64Array;
  readonly sketches: SketchPool;
  readonly arity: number;
  count = 0;
  /** Cell + 1 by hash; 0 is free. Twice as long as there is room for cells. */
  #index: Int32Array;
  #capacity: number;

  /** `arity`: the greatest number of ids in a key. `cells`: how many are expected. */
  constructor(arity: number, cells: number = INITIAL_CELLS) {
    this.arity = arity;
    const capacity = 1 << (32 - Math.clz32(Math.max(cells, INITIAL_CELLS) - 1));
    this.#capacity = capacity;
    this.keys = new Uint32Array(capacity * arity);
    this.rollups = new Uint8Array(capacity);
    this.views = new Float64Array(capacity);
    this.anonymous = new Float64Array(capacity);
    this.created = new Float64Array(capacity);
    this.sketches = new SketchPool(capacity);
    this.#index = new Int32Array(capacity * 2);
  }

  /** The cell of `key[0 .. arity)`, made with zero counts where there was none. */
  upsert(rollup: number, key: Uint32Array): number {
    const { arity } = this;
    const mask = this.#index.length - 1;
    let slot = hashKey(rollup, key, arity) & mask;
    for (let held = this.#index[slot]!; held !== 0; held = this.#index[slot]!) {
      if (this.#matches(held - 1, rollup, key)) return held - 1;
      slot = (slot + 1) & mask;
    }
    return this.#insert(rollup, key, slot);
  }

  /** The cell of the key, or −1. */
  find(rollup: number, key: Uint32Array): number {
    const mask = this.#index.length - 1;
    let slot = hashKey(rollup, key, this.arity) & mask;
    for (let held = this.#index[slot]!; held !== 0; held = this.#index[slot]!) {
      if (this.#matches(held - 1, rollup, key)) return held - 1;
      slot = (slot + 1) & mask;
    }
    return -1;
  }

  /** Adds the counts, without the sketch, of row or cell `at` of `other` to `cell`. */
  addCounts(cell: number, other: Counts, at: number): void {
    this.views[cell]! += other.views[at]!;
    this.anonymous[cell]! += other.anonymous[at]!;
    this.created[cell]! += other.created[at]!;
  }

  /** Adds row `row` of a block to `cell`. */
  addRow(cell: number, block: CellBlock, row: number): void {
    this.addCounts(cell, block, row);
    const registers = block.dense.get(row);
    if (registers !== undefined) this.sketches.addRegisters(cell, registers);
    else this.sketches.addAll(cell, block.tokens, block.tokenStart[row]!, block.tokenStart[row + 1]!);
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
      this.views.byteLength * 3 +
      this.#index.byteLength +
      this.sketches.sizeBytes
    );
  }

  #matches(cell: number, rollup: number, key: Uint32Array): boolean {
    if (this.rollups[cell] !== rollup) return false;
    const { arity, keys } = this;
    const at = cell * arity;
    for (let i = 0; i < arity; i++) if (keys[at + i] !== key[i]) return false;
    return true;
  }

  #insert(rollup: number, key: Uint32Array, slot: number): number {
    if (this.count === this.#capacity) {
      this.#grow();
      return this.upsert(rollup, key);
    }
    const cell = this.count++;
    this.#index[slot] = cell + 1;
    this.rollups[cell] = rollup;
    for (let i = 0; i < this.arity; i++) this.keys[cell * this.arity + i] = key[i]!;
    return cell;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    this.#capacity = capacity;
    this.keys = copy(this.keys, new Uint32Array(capacity * this.arity));
    this.rollups = copy(this.rollups, new Uint8Array(capacity));
    this.views = copy(this.views, new Float64Array(capacity));
    this.anonymous = copy(this.anonymous, new Float64Array(capacity));
    this.created = copy(this.created, new Float64Array(capacity));
    this.sketches.grow(capacity);
    const index = new Int32Array(capacity * 2);
    const mask = index.length - 1;
    const key = new Uint32Array(this.arity);
    for (let cell = 0; cell < this.count; cell++) {
      for (let i = 0; i < this.arity; i++) key[i] = this.keys[cell * this.arity + i]!;
      let slot = hashKey(this.rollups[cell]!, key, this.arity) & mask;
      while (index[slot] !== 0) slot = (slot + 1) & mask;
      index[slot] = cell + 1;
    }
    this.#index = index;
  }
}

/** Ids are numbers that we gave out ourselves, so nobody outside can choose keys that collide. */
function hashKey(rollup: number, key: Uint32Array, arity: number): number {
  let h = Math.imul(rollup + 1, 0x9e37_79b1);
  for (let i = 0; i < arity; i++) {
    h = Math.imul(h ^ key[i]!, 0x85eb_ca6b);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function copy<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
