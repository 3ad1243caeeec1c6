import type { EventBatch } from "../log.js";

const INITIAL_ROWS = 64;

/** The columns of a batch in the making; made once, they serve one batch after the other. */
export class Rows {
  /** Index, in what was sent, of each row. */
  indexes: Uint32Array;
  flags: Uint8Array;
  ts: Float64Array;
  readonly dims: Uint32Array[];
  viewerLo: Uint32Array;
  viewerHi: Uint16Array;
  idLo: Uint32Array;
  idHi: Uint32Array;
  /** Has any row an id? */
  anyId = false;
  count = 0;
  #capacity: number;

  /** `capacity`: how many rows are expected. */
  constructor(dimensions: number, capacity: number = INITIAL_ROWS) {
    this.#capacity = Math.max(capacity, INITIAL_ROWS);
    this.indexes = new Uint32Array(this.#capacity);
    this.flags = new Uint8Array(this.#capacity);
    this.ts = new Float64Array(this.#capacity);
    this.dims = Array.from({ length: dimensions }, () => new Uint32Array(this.#capacity));
    this.viewerLo = new Uint32Array(this.#capacity);
    this.viewerHi = new Uint16Array(this.#capacity);
    this.idLo = new Uint32Array(this.#capacity);
    this.idHi = new Uint32Array(this.#capacity);
  }

  /** Begins another batch. */
  clear(): void {
    this.count = 0;
    this.anyId = false;
  }

  /** Makes room for one more row: its number is `count`, and what was in it before is still there. */
  next(): number {
    if (this.count === this.#capacity) this.#grow();
    return this.count;
  }

  /** A copy, in one piece of memory. `values`: the dictionary of each dimension. */
  toBatch(values: readonly (readonly string[])[]): EventBatch {
    const { count } = this;
    const wide = [...this.dims, this.viewerLo, ...(this.anyId ? [this.idLo, this.idHi] : [])];
    // Widest first, so that each column begins where its numbers may stand.
    const memory = new ArrayBuffer(count * (8 + wide.length * 4 + 2 + 1));
    const ts = new Float64Array(memory, 0, count);
    ts.set(this.ts.subarray(0, count));
    const words = wide.map((column, i) => {
      const copied = new Uint32Array(memory, count * (8 + i * 4), count);
      copied.set(column.subarray(0, count));
      return copied;
    });
    const viewerHi = new Uint16Array(memory, count * (8 + wide.length * 4), count);
    viewerHi.set(this.viewerHi.subarray(0, count));
    const flags = new Uint8Array(memory, count * (8 + wide.length * 4 + 2), count);
    flags.set(this.flags.subarray(0, count));
    const dims = words.slice(0, this.dims.length);
    const [viewerLo, idLo, idHi] = words.slice(this.dims.length) as [Uint32Array, Uint32Array?, Uint32Array?];
    const batch: EventBatch = { count, flags, ts, dims, values, viewerLo, viewerHi };
    return idLo === undefined || idHi === undefined ? batch : { ...batch, idLo, idHi };
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    this.#capacity = capacity;
    this.indexes = copy(this.indexes, new Uint32Array(capacity));
    this.flags = copy(this.flags, new Uint8Array(capacity));
    this.ts = copy(this.ts, new Float64Array(capacity));
    for (let d = 0; d < this.dims.length; d++) {
      this.dims[d] = copy(this.dims[d]!, new Uint32Array(capacity));
    }
    this.viewerLo = copy(this.viewerLo, new Uint32Array(capacity));
    this.viewerHi = copy(this.viewerHi, new Uint16Array(capacity));
    this.idLo = copy(this.idLo, new Uint32Array(capacity));
    this.idHi = copy(this.idHi, new Uint32Array(capacity));
  }
}

function copy<T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
