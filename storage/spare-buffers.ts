const SLACK = 1.25;

/** Memory that is kept for the next copies: new memory takes longer to be had than to be written. */
export class SpareBuffers {
  readonly #maxBytes: number;
  /** Ascending by size. */
  readonly #spare: ArrayBuffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** At least `size` bytes, with anything in them. */
  take(size: number): ArrayBuffer {
    const at = this.#spare.findIndex(({ byteLength }) => byteLength >= size);
    if (at < 0) return new ArrayBuffer(Math.ceil(size * SLACK));
    const [buffer] = this.#spare.splice(at, 1) as [ArrayBuffer];
    this.#bytes -= buffer.byteLength;
    return buffer;
  }

  keep(...buffers: readonly ArrayBuffer[]): void {
    this.#spare.push(...buffers);
    this.#spare.sort((a, b) => a.byteLength - b.byteLength);
    for (const { byteLength } of buffers) this.#bytes += byteLength;
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#spare.pop()!.byteLength;
  }
}
