const utf8 = new TextEncoder();

/**
 * A buffer in which a hash function finds its input as whole, zero-padded blocks, so that it can read words with
 * plain little-endian loads and needs no special case for the last bytes. It grows to the longest input seen.
 */
export class HashInput {
  view: DataView;
  #bytes: Uint8Array;
  readonly #blockBytes: number;

  /** `blockBytes` must be a power of two. */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
    this.#bytes = new Uint8Array(256);
    this.view = new DataView(this.#bytes.buffer);
  }

  /** Puts the UTF-8 form of `text` there, lone surrogates as U+FFFD, and returns its size in bytes. */
  placeText(text: string): number {
    const length = text.length;
    // One UTF-16 unit becomes at most 3 bytes.
    const target = this.#reserve(length * 3);
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      seen |= code;
      target[i] = code;
    }
    return this.#pad(seen < 0x80 ? length : utf8.encodeInto(text, target).written);
  }

  /** Puts `bytes[start, end)` there and returns its size in bytes. */
  placeBytes(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const target = this.#reserve(length);
    for (let i = 0; i < length; i++) target[i] = bytes[start + i]!;
    return this.#pad(length);
  }

  #reserve(sizeBytes: number): Uint8Array {
    const needed = sizeBytes + this.#blockBytes;
    if (needed > this.#bytes.length) {
      this.#bytes = new Uint8Array(needed);
      this.view = new DataView(this.#bytes.buffer);
    }
    return this.#bytes;
  }

  /** Clears what an earlier, longer input left in the last block. */
  #pad(length: number): number {
    const bytes = this.#bytes;
    const mask = this.#blockBytes - 1;
    let end = length;
    do bytes[end++] = 0;
    while ((end & mask) !== 0);
    return length;
  }
}
