import type { Turns } from "../engine/sliced.js";
import type { Environment, Put } from "./environment.js";
import { closed } from "./errors.js";

/** Works out the writes of one transaction when its turn has come. */
type Prepare = () => readonly Put[];

interface Job {
  readonly prepare: Prepare;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Transactions one after another: each is prepared when the one before it is on disk, so that it sees that one's
 * state, and so that whatever came in meanwhile goes into one transaction.
 */
export class WriteQueue {
  readonly #environment: Environment;
  readonly #jobs: Job[] = [];
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** Rejects with what `prepare` throws or `Environment.write` rejects with. */
  add(prepare: Prepare): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw closed();
      this.#jobs.push({ prepare, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Takes no more, and resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#jobs.length > 0) {
      // Everything that this turn of the event loop still asks for joins in.
      await nextTurn();
      const { prepare, resolve, reject } = this.#jobs.shift()!;
      try {
        const puts = prepare();
        if (puts.length > 0) await this.#environment.write(puts);
        resolve();
      } catch (error) {
        reject(error);
      }
    }
    this.#running = undefined;
  }
}

/** Work of this process is done in slices, between which everything else of it runs. */
export const TURNS: Turns = { nextTurn, stopwatch: () => performance.now() };

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
