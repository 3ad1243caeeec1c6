/** No word is wider: with the 7 bits that may be pending it still fits a 32-bit integer. */
const MAX_WIDTH = 18;

/** Packs words from the high bit of the first byte down; bits that are never written stay zero. */
export class BitWriter {
  readonly #bytes: Uint8Array;
  #at: number;
  #pending = 0;
  #pendingBits = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start;
  }

  /** `width` ≤ 18; `value` < 2^width. */
  write(value: number, width: number): void {
    if (width > MAX_WIDTH) throw new Error(`BUG: a word of ${width} bits`);
    this.#pending = (this.#pending << width) | value;
    this.#pendingBits += width;
    while (this.#pendingBits >= 8) {
      this.#pendingBits -= 8;
      this.#bytes[this.#at++] = this.#pending >>> this.#pendingBits;
    }
    this.#pending &= (1 << this.#pendingBits) - 1;
  }

  /** Writes what is pending, zero-padded to a byte. */
  finish(): void {
    if (this.#pendingBits > 0) this.write(0, 8 - this.#pendingBits);
  }
}

/** Reads what `BitWriter` writes. */
export class BitReader {
  readonly #bytes: Uint8Array;
  #at: number;
  #pending = 0;
  #pendingBits = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start;
  }

  get remainingBits(): number {
    return (this.#bytes.length - this.#at) * 8 + this.#pendingBits;
  }

  /** The next `width` ≤ 18 bits. */
  read(width: number): number {
    if (width > MAX_WIDTH || width > this.remainingBits) throw new Error(`BUG: ${width} bits are not there`);
    while (this.#pendingBits < width) {
      this.#pending = (this.#pending << 8) | this.#bytes[this.#at++]!;
      this.#pendingBits += 8;
    }
    this.#pendingBits -= width;
    const value = this.#pending >>> this.#pendingBits;
    this.#pending &= (1 << this.#pendingBits) - 1;
    return value;
  }
}
