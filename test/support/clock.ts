import { VirtualAction, VirtualTimeScheduler, type SchedulerLike } from "rxjs";

/**
 * Virtual time for an engine: nothing runs unless a test moves it. An engine that "crashed" keeps its own dead
 * clock, so that none of its timers fires again; `fork()` gives its successor the same time with no timers.
 */
export class Clock {
  readonly #scheduler = new VirtualTimeScheduler(VirtualAction, Number.POSITIVE_INFINITY);

  constructor(startMs: number) {
    this.#scheduler.frame = startMs;
  }

  get scheduler(): SchedulerLike {
    return this.#scheduler;
  }

  now(): number {
    return this.#scheduler.now();
  }

  fork(): Clock {
    return new Clock(this.now());
  }

  /** Lets `ms` pass; every timer runs at its own time. */
  async advance(ms: number): Promise<void> {
    await this.#run(this.now() + ms);
  }

  /** Lets `ms` pass at once, like a machine that slept: what fell due runs once, at the end. */
  async jump(ms: number): Promise<void> {
    const target = this.now() + ms;
    for (const action of this.#scheduler.actions) action.delay = Math.max(action.delay, target);
    await this.#run(target);
  }

  async #run(target: number): Promise<void> {
    const scheduler = this.#scheduler;
    scheduler.maxFrames = target;
    scheduler.flush();
    scheduler.frame = target;
    await turn();
  }
}

/** Lets every promise that can settle do so. */
export async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
