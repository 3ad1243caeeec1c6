import assert from "node:assert/strict";
import type { Test } from "tap";
import { createEngine, type Engine, type EngineOptions, type QuarantinedEvent } from "../../engine/index.js";
import type { Storage } from "../../engine/store.js";
import { createMemoryDisk, openMemory, type MemoryDisk } from "../../storage/memory.js";
import { Clock, turn } from "../support/clock.js";
import { Gate } from "../support/gate.js";
import type { PlainEvent } from "../support/oracle.js";

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
/** Refused as too old, by default. */
export const OLD_MS = NOON_MS - 40 * DAY_MS;
export const AHEAD_MS = NOON_MS + HOUR_MS;

export function view(ts: number, more: Partial<PlainEvent> = {}): PlainEvent {
  return { type: "view", ts, blog: "b", ...more };
}

type Options = Omit<EngineOptions, "storage" | "scheduler">;

/** An engine on a disk in memory, which can die and be opened again. */
export class World {
  readonly disk: MemoryDisk = createMemoryDisk();
  readonly options: Options;
  clock = new Clock(NOON_MS);
  engine!: Engine;
  gate!: Gate;

  private constructor(options: Options) {
    // Long work goes on without the clock, and only what the tests ask for is given up.
    this.options = {
      nextTurn: turn,
      reconcileEveryMs: 0,
      retention: { raw: null, quarter: null, hour: null, day: null },
      ...options,
    };
  }

  static async open(t: Test, options: Options = {}): Promise<World> {
    const world = new World(options);
    await world.start();
    t.teardown(() => world.engine.close());
    return world;
  }

  async start(
    wrap: (storage: Storage) => Storage = (storage) => storage,
    options: Options = {},
  ): Promise<void> {
    this.gate = new Gate(wrap(openMemory(this.disk)));
    const { scheduler } = this.clock;
    this.engine = await createEngine({ ...this.options, ...options, storage: this.gate, scheduler });
  }

  /** The process dies, and another one comes up. */
  async crash(options: Options = {}): Promise<void> {
    this.gate.cut();
    this.clock.stop();
    this.clock = this.clock.fork();
    await this.start(undefined, options);
  }

  held(): QuarantinedEvent[] {
    const all: QuarantinedEvent[] = [];
    for (let after: number | null = 0; after !== null;) {
      const { events, next } = this.engine.quarantine({ after, limit: 1000 });
      all.push(...events);
      after = next;
    }
    assert.equal(all.length, this.engine.stats().quarantine.held);
    return all;
  }

  blogs(): string[] {
    return this.held().map(({ event }) => event["blog"]!);
  }

  views(blog?: string): number {
    const filters = blog === undefined ? {} : { filters: [["is", "blog", [blog]] as const] };
    const { results } = this.engine.queryNow({ date_range: "all", metrics: ["views"], ...filters });
    return results[0]?.metrics[0] ?? 0;
  }
}

/** Every event that was ever taken in is held, or in one of the counts. */
export function checkConserved(world: World): void {
  const { held, dropped, expired, released, discarded } = world.engine.stats().quarantine;
  const { next } = world.disk.quarantine.state ?? { next: 1 };
  assert.equal(held + dropped + expired + released + discarded, next - 1);
}
