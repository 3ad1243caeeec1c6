import { nextTurn } from "../storage/write-queue.js";

/** Of each turn of the event loop, for bodies that came in with it, ms: one is taken in any case. */
const BUDGET_MS = 4;

/**
 * Lets through, in each turn of the event loop, only as many as are worked off in a few milliseconds; the others wait for the
 * next. Without it, all bodies that arrive together are read one after the other before anything else has its turn.
 */
export class Turnstile {
  readonly #budgetMs: number;
  #isOpenSince: number | undefined;

  constructor(budgetMs: number = BUDGET_MS) {
    this.#budgetMs = budgetMs;
  }

  /** Begins the work when it is its turn, and returns what it returns. What it does not do at once is not counted. */
  async run<T>(work: () => T): Promise<Awaited<T>> {
    while (!this.#isOpen()) await nextTurn();
    return await work();
  }

  #isOpen(): boolean {
    if (this.#isOpenSince !== undefined) return performance.now() - this.#isOpenSince < this.#budgetMs;
    this.#isOpenSince = performance.now();
    setImmediate(() => (this.#isOpenSince = undefined));
    return true;
  }
}
