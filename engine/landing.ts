import { Slices, type Turns } from "./sliced.js";

interface Landed {
  readonly events: number;
  readonly fold: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Where durable batches wait to be folded, in log order. Those of one transaction arrive at the same moment, and after a
 * slow one they are many: they are folded in slices, so that nobody else waits for all of them.
 */
export class Landing {
  readonly #turns: Turns;
  readonly #waiting: Landed[] = [];
  #isFolding = false;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** Resolves when the batch is folded; rejects with what `fold` throws. */
  add(events: number, fold: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ events, fold, resolve, reject });
      if (!this.#isFolding) void this.#foldAll();
    });
  }

  async #foldAll(): Promise<void> {
    this.#isFolding = true;
    // The others of the transaction are told in this very turn.
    await Promise.resolve();
    const slices = new Slices(this.#turns);
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const { events, fold, resolve, reject } = next;
      try {
        fold();
        resolve();
      } catch (error) {
        reject(error);
      }
      if (this.#waiting.length > 0 && slices.isOver(events)) await slices.pause();
    }
    this.#isFolding = false;
  }
}
