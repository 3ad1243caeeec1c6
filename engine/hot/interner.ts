/** Id of "no value". */
export const NONE_ID = 0;
/** Id of every value beyond the limit; totals stay exact. */
export const OTHER_ID = 1;
/** Id of the first real value. */
export const FIRST_VALUE_ID = 2;

/** What `(other)` is called in answers. */
export const OTHER_NAME = "(other)";

/** The values of one dimension as small numbers, given out in order of first appearance in the log. */
export class Interner {
  readonly #ids = new Map<string, number>([[OTHER_NAME, OTHER_ID]]);
  readonly #values: string[] = [];
  readonly #maxValues: number;

  constructor(maxValues: number, values: readonly string[] = []) {
    this.#maxValues = maxValues;
    for (const value of values) {
      this.#ids.set(value, this.#values.length + FIRST_VALUE_ID);
      this.#values.push(value);
    }
  }

  /** Number of values known. */
  get size(): number {
    return this.#values.length;
  }

  /** The value's id; a new one while there is room, then `OTHER_ID`. */
  intern(value: string): number {
    const known = this.#ids.get(value);
    if (known !== undefined) return known;
    if (this.#values.length >= this.#maxValues) return OTHER_ID;
    const id = this.#values.length + FIRST_VALUE_ID;
    this.#ids.set(value, id);
    this.#values.push(value);
    return id;
  }

  /** The value's id, or undefined when no event had it. */
  find(value: string): number | undefined {
    return this.#ids.get(value);
  }

  /** The value of an id; null for `NONE_ID`. */
  nameOf(id: number): string | null {
    if (id === NONE_ID) return null;
    if (id === OTHER_ID) return OTHER_NAME;
    const value = this.#values[id - FIRST_VALUE_ID];
    if (value === undefined) throw new Error(`BUG: no value has the id ${id}`);
    return value;
  }

  /** Values from `index` on (index 0 has id 2). */
  valuesFrom(index: number): string[] {
    return this.#values.slice(index);
  }
}
