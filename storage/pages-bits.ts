/** One bit a page. */
export class Bits {
  readonly #words: Uint32Array;
  count = 0;

  constructor(size: number) {
    this.#words = new Uint32Array(Math.ceil(size / 32));
  }

  any(from: number, count: number): boolean {
    for (let i = from; i < from + count; i++)
      if ((this.#words[i >>> 5]! & (1 << (i & 31))) !== 0) return true;
    return false;
  }

  /** Sets the bits; false when one was set already. */
  take(from: number, count: number): boolean {
    if (this.any(from, count)) return false;
    for (let i = from; i < from + count; i++) this.#words[i >>> 5]! |= 1 << (i & 31);
    this.count += count;
    return true;
  }
}
