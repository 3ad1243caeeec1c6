import type { IngestOptions } from "../../engine/index.js";
import type { PlainEvent } from "../support/oracle.js";
import { digits } from "./numbers.js";
import type { World } from "./world.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Event time against the clock; beyond 30 days is too old, beyond 5 minutes ahead too far. */
const OFFSETS_MS = [
  0,
  -SECOND_MS,
  -14 * MINUTE_MS,
  -31 * MINUTE_MS,
  -2 * HOUR_MS,
  -5 * HOUR_MS,
  -26 * HOUR_MS,
  -8 * DAY_MS,
  -29 * DAY_MS,
  -40 * DAY_MS,
  -400 * DAY_MS,
  2 * MINUTE_MS,
  5 * MINUTE_MS,
  5 * MINUTE_MS + 1,
  DAY_MS,
  366 * DAY_MS,
  -30 * DAY_MS,
  -30 * DAY_MS - 1,
];

/** Makes batches out of small numbers; what it does not know for certain it does not make. */
export class Sender {
  readonly #world: World;
  readonly #batches: (readonly PlainEvent[])[] = [];
  #ids = 0;
  #keys = 0;

  constructor(world: World) {
    this.#world = world;
  }

  batch(seeds: readonly number[]): PlainEvent[] {
    return seeds.map((seed) => this.#event(seed));
  }

  options(choice: number): IngestOptions {
    return {
      ...(choice % 3 === 2 ? { backfill: true } : {}),
      ...(choice % 4 === 3 ? { idempotencyKey: this.key() } : {}),
    };
  }

  /** A batch that can be sent again without counting twice: it has a key, or an id in every event. */
  safe(seeds: readonly number[], choice: number): { events: PlainEvent[]; options: IngestOptions } {
    const backfill = choice % 3 === 2 ? { backfill: true } : {};
    const events = this.batch(seeds);
    if (choice % 2 === 0) return { events, options: { ...backfill, idempotencyKey: this.key() } };
    return { events: events.map((event) => ({ id: this.#id("fresh"), ...event })), options: backfill };
  }

  key(): string {
    return `k${++this.#keys}`;
  }

  sent(batch: readonly PlainEvent[]): void {
    this.#batches.push(batch);
  }

  /** A batch of before, if it is certain what must become of it today. */
  earlier(choice: number): readonly PlainEvent[] | undefined {
    const batch = this.#batches.at(choice % Math.max(1, this.#batches.length));
    return batch !== undefined && this.#world.isPlain(batch) ? batch : undefined;
  }

  #event(seed: number): PlainEvent {
    const digit = digits(seed);
    const offset = digit(OFFSETS_MS);
    const blog = digit(["b0", "b1", "b2", "__proto__"]);
    const viewer = digit([undefined, "v0", "v1", "v2", "v3"]);
    const author = digit([undefined, "a0", undefined, "a1", undefined]);
    const country = digit(["c0", "c1", undefined]);
    const id = digit([undefined, "fresh", "used"]);
    const type = digit(["view", "view", "created"] as const);
    return {
      type,
      ts: this.#world.now + offset,
      blog,
      ...(viewer === undefined ? {} : { viewer }),
      ...(author === undefined ? {} : { author }),
      ...(country === undefined ? {} : { country }),
      ...(id === undefined ? {} : { id: this.#id(id) }),
    };
  }

  /** A new id, or the last one where it is certain whether the window still holds it. */
  #id(kind: string): string {
    const last = `i${this.#ids}`;
    const age = this.#world.oracle.ageOf(last, this.#world.now);
    const isCertain = age === undefined || this.#world.isCertain(this.#world.now - age);
    return kind === "used" && isCertain ? last : `i${++this.#ids}`;
  }
}
