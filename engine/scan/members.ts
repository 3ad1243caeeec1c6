import type { Schema } from "../schema.js";
import { QUOTE } from "./json.js";

/** The members of an event by number; dimension d is `FIRST_DIMENSION + d`. */
export const TYPE = 0;
export const TS = 1;
export const ID = 2;
export const VIEWER = 3;
export const FIRST_DIMENSION = 4;

/** Finds the members that a schema knows by the bytes of their names. */
export class Members {
  readonly count: number;
  /** The names one after the other, each with the quote that ends it. */
  readonly #names: Uint8Array;
  readonly #starts: Int32Array;
  /** The member that stood at this place last time: senders write each event alike. */
  readonly #expected: Int32Array;

  constructor(schema: Schema) {
    const names = ["type", "ts", "id", schema.identity, ...schema.dimensions];
    this.count = names.length;
    this.#names = new TextEncoder().encode(names.map((name) => `${name}"`).join(""));
    this.#starts = new Int32Array(names.length + 1);
    for (const [i, name] of names.entries()) this.#starts[i + 1] = this.#starts[i]! + name.length + 1;
    this.#expected = Int32Array.from(names.keys());
  }

  /** The member whose name begins at `at`, after its quote; −1 for one that is unknown or has escapes. */
  find(bytes: Uint8Array, at: number, place: number): number {
    const expected = this.#expected[place]!;
    if (this.#isAt(bytes, at, expected)) return expected;
    for (let member = 0; member < this.count; member++) {
      if (!this.#isAt(bytes, at, member)) continue;
      this.#expected[place] = member;
      return member;
    }
    return -1;
  }

  /** Bytes of a member's name. */
  length(member: number): number {
    return this.#starts[member + 1]! - this.#starts[member]! - 1;
  }

  #isAt(bytes: Uint8Array, at: number, member: number): boolean {
    const names = this.#names;
    for (let i = this.#starts[member]!; ; i++, at++) {
      if (bytes[at] !== names[i]) return false;
      if (names[i] === QUOTE) return true;
    }
  }
}
