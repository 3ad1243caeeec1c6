import { VirtualAction, VirtualTimeScheduler, type SchedulerLike } from "rxjs";

/**
 * Virtual time for an engine: nothing runs unless a test moves it. An engine that "crashed" keeps its own dead
 * clock, so that none of its timers fires again; `fork()` gives its successor the same time with no timers.
 */
export class Clock {
  readonly #scheduler = new VirtualTimeScheduler(VirtualAction, Number.POSITIVE_INFINITY);
  /** What the clock on the wall shows, less the time that timers go by, ms. */
  #offset = 0;
  #isStopped = false;

  constructor(startMs: number) {
    this.#scheduler.frame = startMs;
    this.#scheduler.now = () => this.#scheduler.frame + this.#offset;
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

  /** Sets the clock on the wall forwards, or back, ms. No time passes: timers go on as they were. */
  set(ms: number): void {
    this.#offset += ms;
  }

  /** Lets `ms` pass; every timer runs at its own time. */
  async advance(ms: number): Promise<void> {
    await turn();
    await this.#run(this.#scheduler.frame + ms);
  }

  /** Lets `ms` pass at once, like a machine that slept: what fell due runs once, at the end. */
  async jump(ms: number): Promise<void> {
    await turn();
    const target = this.#scheduler.frame + ms;
    for (const action of this.#scheduler.actions) action.delay = Math.max(action.delay, target);
    await this.#run(target);
  }

  /** The process is dead: whoever still holds its clock moves nothing with it. */
  stop(): void {
    this.#isStopped = true;
  }

  async #run(target: number): Promise<void> {
    if (this.#isStopped) return await turn();
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
