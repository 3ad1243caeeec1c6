/**
 * A set of ids of one dimension, or all ids but those: closed under and, or, not, while a dictionary of two million
 * values is never listed.
 */
export class IdSet {
  static readonly all = new IdSet(new Set(), true);
  readonly #ids: ReadonlySet<number>;
  readonly #isNegated: boolean;

  constructor(ids: ReadonlySet<number>, isNegated = false) {
    this.#ids = ids;
    this.#isNegated = isNegated;
  }

  has(id: number): boolean {
    return this.#ids.has(id) !== this.#isNegated;
  }

  /** Infinity for all but some. */
  get size(): number {
    return this.#isNegated ? Infinity : this.#ids.size;
  }

  get isEverything(): boolean {
    return this.#isNegated && this.#ids.size === 0;
  }

  /** The ids themselves; only of a set of finite size. */
  ids(): ReadonlySet<number> {
    if (this.#isNegated) throw new Error("BUG: all ids but some cannot be listed");
    return this.#ids;
  }

  not(): IdSet {
    return new IdSet(this.#ids, !this.#isNegated);
  }

  and(other: IdSet): IdSet {
    if (this.#isNegated) {
      if (!other.#isNegated) return other.and(this);
      return new IdSet(new Set([...this.#ids, ...other.#ids]), true);
    }
    return new IdSet(new Set([...this.#ids].filter((id) => other.has(id))));
  }

  or(other: IdSet): IdSet {
    return this.not().and(other.not()).not();
  }
}
