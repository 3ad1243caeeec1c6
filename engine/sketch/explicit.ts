import { TidemarkError } from "../errors.js";
import { explicitLimit, type SketchSettings } from "./settings.js";

/**
 * The hashes of a sketch that was read as EXPLICIT, or as EMPTY with a cut-off, so that it can be written back as
 * EXPLICIT. It runs beside the tokens or registers, which hold the same set, and is dropped beyond the cut-off.
 */
export class ExplicitHashes {
  readonly #hashes: Set<bigint>;
  readonly #limit: number;

  constructor(limit: number, hashes: Iterable<bigint> = []) {
    this.#limit = limit;
    this.#hashes = new Set(hashes);
  }

  /** Null where the settings leave no room for these hashes. */
  static within(settings: SketchSettings, hashes: Iterable<bigint> = []): ExplicitHashes | null {
    const limit = explicitLimit(settings);
    const explicit = new ExplicitHashes(limit, hashes);
    return limit === 0 || explicit.isOverfull ? null : explicit;
  }

  get size(): number {
    return this.#hashes.size;
  }

  get isOverfull(): boolean {
    return this.#hashes.size > this.#limit;
  }

  /** Adds a 64-bit hash given as two halves; false when it was there. */
  add(lo: number, hi: number): boolean {
    const before = this.#hashes.size;
    this.#hashes.add((BigInt(hi | 0) << 32n) | BigInt(lo >>> 0));
    return this.#hashes.size !== before;
  }

  unite(other: ExplicitHashes): void {
    for (const hash of other.#hashes) this.#hashes.add(hash);
  }

  clone(): ExplicitHashes {
    return new ExplicitHashes(this.#limit, this.#hashes);
  }

  /** Ascending as signed integers, the order of the format. */
  sorted(): BigInt64Array {
    return BigInt64Array.from(this.#hashes).sort();
  }
}

const HASH_BYTES = 8;

/** Hashes as they are stored: 8 bytes each, big-endian. */
export function encodeHashes(hashes: BigInt64Array): Uint8Array {
  const bytes = new Uint8Array(hashes.length * HASH_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < hashes.length; i++) view.setBigInt64(i * HASH_BYTES, hashes[i]!);
  return bytes;
}

/** Reads what `encodeHashes` wrote. Throws `storage-damaged` unless it is whole, ascending and without repetition. */
export function decodeHashes(data: Uint8Array): BigInt64Array {
  if (data.length % HASH_BYTES !== 0) throw damaged(`${data.length} bytes are no multiple of ${HASH_BYTES}.`);
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const hashes = new BigInt64Array(data.length / HASH_BYTES);
  for (let i = 0; i < hashes.length; i++) {
    hashes[i] = view.getBigInt64(i * HASH_BYTES);
    if (i > 0 && hashes[i]! <= hashes[i - 1]!) throw damaged(`hash ${i} is not greater than the one before.`);
  }
  return hashes;
}

function damaged(detail: string): TidemarkError {
  return new TidemarkError("storage-damaged", `The hashes of a sketch cannot be read: ${detail}`);
}
