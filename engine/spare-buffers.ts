const SLACK = 1.25;

/** Memory that is kept for the next copies: new memory takes three times as long to be had as to be written. */
export class SpareBuffers {
  readonly #maxBytes: number;
  readonly #allocate: (size: number) => ArrayBuffer;
  /** Ascending by size. */
  readonly #spare: ArrayBuffer[] = [];
  #bytes = 0;

  /** `allocate`: new memory, which need not be filled with zeros. */
  constructor(maxBytes: number, allocate = (size: number): ArrayBuffer => new ArrayBuffer(size)) {
    this.#maxBytes = maxBytes;
    this.#allocate = allocate;
  }

  /** At least `size` bytes, with anything in them. */
  take(size: number): ArrayBuffer {
    const at = this.#placeOf(size);
    if (at === this.#spare.length) return this.#allocate(Math.ceil(size * SLACK));
    const [buffer] = this.#spare.splice(at, 1) as [ArrayBuffer];
    this.#bytes -= buffer.byteLength;
    return buffer;
  }

  clear(): void {
    this.#spare.length = 0;
    this.#bytes = 0;
  }

  keep(...buffers: readonly ArrayBuffer[]): void {
    this.#spare.push(...buffers);
    this.#spare.sort((a, b) => a.byteLength - b.byteLength);
    for (const { byteLength } of buffers) this.#bytes += byteLength;
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#spare.pop()!.byteLength;
  }

  /** Of the first that has as many bytes. */
  #placeOf(size: number): number {
    let low = 0;
    let high = this.#spare.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#spare[middle]!.byteLength < size) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
