/** Long work in slices, between which everything else of the process runs. */
import { nextTurn } from "./write-queue.js";

/** Work of one slice, ms: with what one step may take, a pause of the event loop stays near 10 ms. */
const SLICE_MS = 5;

/** Says when it is time to let others run. */
export class Slices {
  #begun = performance.now();

  get isOver(): boolean {
    return performance.now() - this.#begun > SLICE_MS;
  }

  async pause(): Promise<void> {
    await nextTurn();
    this.#begun = performance.now();
  }
}

/** Does all steps of the work; each `yield` is a place where it may be interrupted. */
export async function inSlices<T>(work: Generator<undefined, T>, slices = new Slices()): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    if (slices.isOver) await slices.pause();
  }
}
