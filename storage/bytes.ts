import { damaged } from "./errors.js";

/** Largest whole number that a varint holds: beyond it doubles skip numbers. */
export const MAX_VARINT = Number.MAX_SAFE_INTEGER;
/** Bytes of the longest varint: 53 bits, 7 in each. */
export const MAX_VARINT_BYTES = 8;

const INITIAL_BYTES = 64 * 1024;
/** A writer that had to hold something larger gives the memory back. */
const KEPT_BYTES = 4 * 1024 * 1024;

/**
 * Writes into a growing buffer. Numbers are little-endian; a varint is unsigned LEB128. Loops that must be fast
 * `reserve` and then write to `bytes` at `length` themselves.
 */
export class ByteWriter {
  bytes: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  length = 0;

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    const needed = this.length + size;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    this.length = this.bytes.writeUInt32LE(value, this.length);
  }

  f64(value: number): void {
    this.reserve(8);
    this.length = this.bytes.writeDoubleLE(value, this.length);
  }

  /** A whole number from 0 to 2^53 − 1. */
  varint(value: number): void {
    this.reserve(MAX_VARINT_BYTES);
    const { bytes } = this;
    let at = this.length;
    if (value < 0x80 && value >= 0 && Math.floor(value) === value) {
      bytes[at] = value;
      this.length = at + 1;
      return;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`BUG: ${value} is not a whole number ≥ 0`);
    let rest = value;
    for (; rest >= 0x1000_0000; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 0x80;
    for (; rest >= 0x80; rest >>>= 7) bytes[at++] = rest | 0x80;
    bytes[at++] = rest;
    this.length = at;
  }

  /** UTF-8 after its size in bytes. */
  text(value: string): void {
    const size = value.length;
    this.reserve(size * 3 + MAX_VARINT_BYTES);
    const start = this.length;
    this.varint(size);
    const at = this.length;
    for (let i = 0; i < size; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) {
        this.length = start;
        this.#unicode(value);
        return;
      }
      this.bytes[at + i] = unit;
    }
    this.length = at + size;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** A copy of what was written; the writer is empty afterwards. */
  take(): Uint8Array {
    const taken = new Uint8Array(this.length);
    taken.set(this.bytes.subarray(0, this.length));
    this.length = 0;
    if (this.bytes.length > KEPT_BYTES) this.bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    return taken;
  }

  #unicode(value: string): void {
    if (!value.isWellFormed()) throw new Error("BUG: half of a surrogate pair has no UTF-8");
    this.varint(Buffer.byteLength(value));
    this.length += this.bytes.write(value, this.length);
  }
}

/** Reads what `ByteWriter` wrote; throws `storage-damaged` instead of reading past `end`. */
export class ByteReader {
  readonly bytes: Buffer;
  readonly what: string;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, what: string, start = 0, end = bytes.length) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.what = what;
    this.at = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  /** Moves past `size` bytes and returns where they begin. */
  skip(size: number): number {
    const { at } = this;
    if (!(size <= this.end - at)) throw this.broken();
    this.at = at + size;
    return at;
  }

  u8(): number {
    return this.bytes[this.skip(1)]!;
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.skip(4));
  }

  f64(): number {
    return this.bytes.readDoubleLE(this.skip(8));
  }

  varint(): number {
    const { bytes, end } = this;
    let at = this.at;
    let byte = at < end ? bytes[at++]! : this.#pastEnd();
    let value = byte & 0x7f;
    let scale = 128;
    while (byte >= 0x80) {
      byte = at < end ? bytes[at++]! : this.#pastEnd();
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    if (value > MAX_VARINT) throw this.broken();
    this.at = at;
    return value;
  }

  /** A varint that counts things of at least `leastBytes` bytes each that are still to come. */
  count(leastBytes: number): number {
    const count = this.varint();
    if (count * leastBytes > this.remaining) throw this.broken();
    return count;
  }

  text(): string {
    const size = this.varint();
    const at = this.skip(size);
    return this.bytes.toString("utf8", at, at + size);
  }

  /** Everything must have been read. */
  finish(): void {
    if (this.at !== this.end) throw this.broken();
  }

  broken(): Error {
    return damaged(this.what, "does not have the form that it was written in");
  }

  #pastEnd(): never {
    throw this.broken();
  }
}
