import { TidemarkError } from "../engine/errors.js";
import { BufferPool } from "./buffer-pool.js";

/** Counts the bytes of all bodies that are in memory, so that many large ones together are refused in time. */
export class ByteBudget {
  usedBytes = 0;
  readonly buffers = new BufferPool();
  constructor(readonly maxBytes: number) {}
}

/** What one request holds. Only bytes that have arrived are held: a promise of many costs the others nothing. */
export class ByteLease {
  #heldBytes = 0;
  readonly #borrowed: Buffer[] = [];
  constructor(readonly budget: ByteBudget) {}

  /** Throws `overloaded` when a body of this size would not fit now. Holds nothing. */
  admit(expectedBytes: number): void {
    if (this.budget.usedBytes + expectedBytes <= this.budget.maxBytes) return;
    throw new TidemarkError("overloaded", "Too many large bodies are being received; send this one again.");
  }

  /** Throws `overloaded` when the bytes do not fit. */
  take(bytes: number): void {
    this.admit(bytes);
    this.budget.usedBytes += bytes;
    this.#heldBytes += bytes;
  }

  /** A buffer of at least so many bytes, until the lease is released: nobody may look at it after that. */
  borrow(bytes: number): Buffer {
    const buffer = this.budget.buffers.take(bytes);
    this.#borrowed.push(buffer);
    return buffer;
  }

  /** Idempotent. */
  release(): void {
    for (const buffer of this.#borrowed.splice(0)) this.budget.buffers.giveBack(buffer);
    this.budget.usedBytes -= this.#heldBytes;
    this.#heldBytes = 0;
  }
}
