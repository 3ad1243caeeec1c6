/**
 * Long work in slices. A generator that yields how much it has done since it last did, in about rows of a block, and does
 * little enough between two yields, a millisecond's worth, that nobody waits for it.
 */
export type Sliced<T> = Generator<number | undefined, T, void>;

/** How others get their turn between two slices. */
export interface Turns {
  /** Resolves when everything that waits has run. */
  readonly nextTurn: () => Promise<void>;
  /** ms from any start. */
  readonly stopwatch: () => number;
}

/** A slice, with what one step may take, keeps a pause of the event loop below 10 ms. */
const SLICE_MS = 4;
/** The same in work, where the clock is a virtual one. */
const SLICE_WORK = 50_000;
/** Work between two yields: what is assumed of one that says nothing. */
export const CHUNK = 1024;
/** Tokens, and bytes, that take about as long as a row. */
export const TOKENS_OF_ROW = 16;
/** Rows that take about as long as to unite two dense sketches, or to code one. */
export const ROWS_OF_DENSE = 50;

/** Says when it is time to let others run. For several pieces of work that follow each other. */
export class Slices {
  readonly #turns: Turns;
  #begun: number;
  #work = 0;

  constructor(turns: Turns) {
    this.#turns = turns;
    this.#begun = turns.stopwatch();
  }

  /** Counts the work; tells whether the slice is over. */
  isOver(work = CHUNK): boolean {
    this.#work += work;
    return this.#work >= SLICE_WORK || this.#turns.stopwatch() - this.#begun > SLICE_MS;
  }

  async pause(): Promise<void> {
    await this.#turns.nextTurn();
    this.#begun = this.#turns.stopwatch();
    this.#work = 0;
  }
}

/** Runs the work with a pause after each slice. Rejects with what the work throws. */
export async function inSlices<T>(work: Sliced<T>, slices: Slices): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    if (slices.isOver(value)) await slices.pause();
  }
}

/** Runs the work to its end. */
export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** Does `work(from, to)` for one stretch of `[0, count)` after the other. */
export function* eachChunk(count: number, work: (from: number, to: number) => void): Sliced<void> {
  for (let from = 0; from < count; from += CHUNK) {
    const to = Math.min(from + CHUNK, count);
    work(from, to);
    yield to - from;
  }
}
