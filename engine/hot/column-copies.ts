import { SpareBuffers } from "../spare-buffers.js";

type Column = Uint8Array | Uint32Array | Float64Array;

/** A copy of the first `length` values. */
export type CopyColumn = <T extends Column>(column: T, length: number) => T;

/** Kept between two images: what a million cells take. */
const MAX_SPARE_BYTES = 64 * 1024 * 1024;
/** Smaller columns are many, and their memory is soon had. */
const LEAST_BYTES = 16 * 1024;

export const copyAnew: CopyColumn = (column, length) => column.slice(0, length) as typeof column;

/** Copies in memory that is used again. */
export class ColumnCopies {
  readonly #spare = new SpareBuffers(MAX_SPARE_BYTES);
  readonly #lent: ArrayBuffer[] = [];

  readonly copy: CopyColumn = (column, length) => {
    const bytes = length * column.BYTES_PER_ELEMENT;
    if (bytes < LEAST_BYTES) return copyAnew(column, length);
    const buffer = this.#spare.take(bytes);
    this.#lent.push(buffer);
    const Columns = column.constructor as new (
      buffer: ArrayBuffer,
      at: number,
      length: number,
    ) => typeof column;
    const copy = new Columns(buffer, 0, length);
    copy.set(column.subarray(0, length));
    return copy;
  };

  /** All copies may be overwritten from now on. */
  takeBack(): void {
    this.#spare.keep(...this.#lent.splice(0));
  }

  /** Keeps no memory. */
  clear(): void {
    this.#spare.clear();
  }
}
