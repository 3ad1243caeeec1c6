/**
 * A clock for engines that is moved on by the events' times: timers of a second and more fall due by it; shorter delays
 * are pauses of work under way and pass in real time, because work must go on while the clock stands.
 *
 * (RxJS's own VirtualTimeScheduler keeps every action that was ever scheduled: no clock to measure memory with.)
 */
import { asyncScheduler, Subscription, type SchedulerAction, type SchedulerLike } from "rxjs";

const REAL_BELOW_MS = 1000;

type Work<T> = (this: SchedulerAction<T>, state?: T) => void;

interface Due {
  readonly atMs: number;
  run(): void;
}

export class EventClock implements SchedulerLike {
  #nowMs: number;
  readonly #due = new Set<Due>();

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  schedule<T>(work: Work<T>, delay = 0, state?: T): Subscription {
    if (delay < REAL_BELOW_MS) return asyncScheduler.schedule(work, delay, state);
    return new Timer<T>(this, this.#due, work).schedule(state, delay);
  }

  /** Runs what is due until then, each at its time. Never moves back. */
  advanceTo(ms: number): void {
    for (;;) {
      let first: Due | undefined;
      for (const timer of this.#due)
        if (timer.atMs <= ms && timer.atMs < (first?.atMs ?? Infinity)) first = timer;
      if (first === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, first.atMs);
      first.run();
    }
    this.#nowMs = Math.max(this.#nowMs, ms);
  }
}

/** Few are set at a time: they are looked through. */
class Timer<T> extends Subscription implements SchedulerAction<T>, Due {
  atMs = Infinity;
  readonly #clock: EventClock;
  readonly #due: Set<Due>;
  readonly #work: Work<T>;
  #state: T | undefined;

  constructor(clock: EventClock, due: Set<Due>, work: Work<T>) {
    super(() => due.delete(this));
    this.#clock = clock;
    this.#due = due;
    this.#work = work;
  }

  schedule(state?: T, delay = 0): Subscription {
    if (this.closed) return this;
    this.#state = state;
    this.atMs = this.#clock.now() + delay;
    this.#due.add(this);
    return this;
  }

  run(): void {
    this.#due.delete(this);
    this.#work(this.#state);
    if (!this.#due.has(this)) this.unsubscribe();
  }
}
