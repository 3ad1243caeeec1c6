/** Unites ascending runs of tokens: neighbours are merged two by two until one run is left. */
export class TokenUnion {
  /** The runs one after the other, and where each of the first `#count` ends. */
  #runs = new Uint32Array(64);
  #spare = new Uint32Array(64);
  readonly #ends: number[] = [];
  #count = 0;

  /** Adds a run; an empty one counts for nothing. */
  add(tokens: Uint32Array, start: number, end: number): void {
    if (start === end) return;
    const from = this.#count === 0 ? 0 : this.#ends[this.#count - 1]!;
    const to = from + end - start;
    if (to > this.#runs.length) this.#grow(to);
    for (let i = start; i < end; i++) this.#runs[from + i - start] = tokens[i]!;
    this.#ends[this.#count++] = to;
  }

  /** Writes the union of all runs to `out` from `offset` on; returns where it ends. Nothing is left in here. */
  copyTo(out: Uint32Array, offset: number): number {
    while (this.#count > 2) this.#mergeNeighbours();
    const runs = this.#runs;
    const first = this.#count > 0 ? this.#ends[0]! : 0;
    const second = this.#count > 1 ? this.#ends[1]! : first;
    this.#count = 0;
    return mergeRuns(runs, 0, first, runs, first, second, out, offset);
  }

  #mergeNeighbours(): void {
    const [runs, to, ends] = [this.#runs, this.#spare, this.#ends];
    let at = 0;
    let start = 0;
    let merged = 0;
    for (let run = 0; run < this.#count; run += 2) {
      const middle = ends[run]!;
      const end = run + 1 < this.#count ? ends[run + 1]! : middle;
      at = mergeRuns(runs, start, middle, runs, middle, end, to, at);
      ends[merged++] = at;
      start = end;
    }
    this.#count = merged;
    this.#runs = to;
    this.#spare = runs;
  }

  #grow(length: number): void {
    const grown = new Uint32Array(Math.max(length, this.#runs.length * 2));
    grown.set(this.#runs);
    this.#runs = grown;
    this.#spare = new Uint32Array(grown.length);
  }
}

/**
 * Merges `first[a .. aEnd)` and `second[b .. bEnd)`, each ascending, to `to` from `at` on; what is in both comes once.
 * Returns where it ends.
 */
export function mergeRuns(
  first: Uint32Array,
  a: number,
  aEnd: number,
  second: Uint32Array,
  b: number,
  bEnd: number,
  to: Uint32Array,
  at: number,
): number {
  while (a < aEnd && b < bEnd) {
    const left = first[a]! | 0;
    const right = second[b]! | 0;
    // Without a branch, which would be mispredicted every other time: half the time of one that has it.
    const takesLeft = Number(left >>> 0 <= right >>> 0);
    to[at++] = right ^ ((left ^ right) & -takesLeft);
    b = (b + Number(right >>> 0 <= left >>> 0)) | 0;
    a = (a + takesLeft) | 0;
  }
  while (a < aEnd) to[at++] = first[a++]!;
  while (b < bEnd) to[at++] = second[b++]!;
  return at;
}
