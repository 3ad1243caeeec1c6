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

/**
 * A turn of the event loop has a slice of each work under way, and whoever waits for the disk waits for it twice: of 4 ms,
 * they took a fifth of the events, and pauses of 30 ms instead of 20.
 */
export const SLICE_MS = 1;
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
  readonly #sliceMs: () => number;
  /** When the slice is over, by the stopwatch. */
  #untilMs: number;
  #work = 0;

  /** `sliceMs`: how long the next slice is. */
  constructor(turns: Turns, sliceMs: () => number = () => SLICE_MS) {
    this.#turns = turns;
    this.#sliceMs = sliceMs;
    this.#untilMs = turns.stopwatch() + sliceMs();
  }

  /** Counts the work; tells whether the slice is over. */
  isOver(work = CHUNK): boolean {
    this.#work += work;
    return this.#work >= SLICE_WORK || this.#turns.stopwatch() > this.#untilMs;
  }

  async pause(): Promise<void> {
    await this.#turns.nextTurn();
    this.#untilMs = this.#turns.stopwatch() + this.#sliceMs();
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
