interface Kept<T> {
  readonly value: T;
  readonly size: number;
}

/** Values by name, of a total size that is bounded; those that were not used for longest are given up first. */
export class Lru<T> {
  readonly #maxSize: number;
  /** In order of use. */
  readonly #kept = new Map<string, Kept<T>>();
  #size = 0;

  /** In whatever unit `set` counts sizes. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get count(): number {
    return this.#kept.size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): T | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.value;
  }

  /** Is it there? Does not count as use. */
  peek(key: string): T | undefined {
    return this.#kept.get(key)?.value;
  }

  /** All as of now, the one that was used last first. */
  latest(): (readonly [key: string, value: T])[] {
    return Array.from(this.#kept, ([key, { value }]) => [key, value] as const).reverse();
  }

  set(key: string, value: T, size: number): void {
    this.delete(key);
    this.#kept.set(key, { value, size });
    this.#size += size;
    for (const oldest of this.#kept.keys()) {
      if (this.#size <= this.#maxSize) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#size -= kept.size;
  }
}
