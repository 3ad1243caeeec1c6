/**
 * Buffers that are used again. A body of a thousand events is larger than what the allocator keeps at hand: memory that the
 * system has yet to provide, and garbage outside the heap, which has the whole heap collected, cost more than to read it.
 */

/** Smaller ones come from the allocator as quickly. */
const LEAST_BYTES = 16 * 1024;
/** Larger ones are rare. */
export const MOST_POOLED_BYTES = 1024 * 1024;
const MAX_SPARE_BYTES = 16 * 1024 * 1024;

export class BufferPool {
  /** By the binary logarithm of their size. */
  readonly #spare = new Map<number, Buffer[]>();
  #spareBytes = 0;

  /** At least so long, and full of what others have left there. */
  take(bytes: number): Buffer {
    const sizeBits = Math.ceil(Math.log2(Math.max(bytes, LEAST_BYTES)));
    const known = this.#spare.get(sizeBits)?.pop();
    if (known === undefined) return Buffer.allocUnsafeSlow(2 ** sizeBits);
    this.#spareBytes -= known.length;
    return known;
  }

  /** Of `take`, and nobody's any more. */
  giveBack(buffer: Buffer): void {
    if (this.#spareBytes + buffer.length > MAX_SPARE_BYTES) return;
    this.#spareBytes += buffer.length;
    const sizeBits = Math.log2(buffer.length);
    const others = this.#spare.get(sizeBits);
    if (others === undefined) this.#spare.set(sizeBits, [buffer]);
    else others.push(buffer);
  }
}
