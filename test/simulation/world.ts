import {
  TidemarkError,
  createEngine,
  type Engine,
  type EngineOptions,
  type IngestOptions,
  type IngestReply,
  type Storage,
} from "../../engine/index.js";
import { Clock, turn } from "../support/clock.js";
import { Gate } from "../support/gate.js";
import { Oracle, type OracleLimits, type Outcome, type PlainEvent } from "../support/oracle.js";
import { equal } from "./check.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export const LIMITS: OracleLimits & { maxLatenessMs: number } = {
  maxLatenessMs: 30 * DAY_MS,
  maxSkewMs: 5 * MINUTE_MS,
  dedupeWindowMs: 20 * HOUR_MS,
};

/** What survives a crash. */
export interface Disk {
  open(): Storage | Promise<Storage>;
  /** Does the process before leave the disk by itself when it dies? Otherwise it is closed, engine or no engine. */
  readonly diesAlone: boolean;
}

export type WorldOptions = Omit<EngineOptions, "storage" | "scheduler">;

export type Via = "objects" | "ndjson" | "json";

interface KeyedBatch {
  readonly events: readonly PlainEvent[];
  readonly via: Via;
  readonly reply: IngestReply;
  readonly receivedAt: number;
}

/** An engine on a disk under virtual time, and beside it the oracle, which sees every event that must count. */
export class World {
  readonly oracle = new Oracle(LIMITS);
  readonly keyed = new Map<string, KeyedBatch>();
  clock: Clock;
  engine!: Engine;
  gate!: Gate;
  options: WorldOptions;
  readonly #disk: Disk;

  private constructor(disk: Disk, nowMs: number, options: WorldOptions) {
    this.#disk = disk;
    this.clock = new Clock(nowMs);
    this.options = { ...LIMITS, ...options };
  }

  static async open(disk: Disk, nowMs: number, options: WorldOptions): Promise<World> {
    const world = new World(disk, nowMs, options);
    await world.#start();
    return world;
  }

  get now(): number {
    return this.clock.now();
  }

  /**
   * Sends a batch and holds the reply against the oracle; a batch that is refused as overload counts nowhere.
   * `judgedAt`: when the batch came first, if this is a retry of one that is in the log.
   */
  async send(
    events: readonly PlainEvent[],
    options: IngestOptions = {},
    via: Via = "objects",
    judgedAt = this.now,
  ): Promise<void> {
    await turn();
    const reply = await this.post(events, options, via).catch((error: unknown) => this.#overload(error));
    if (reply === undefined) return;
    const expected = this.oracle.take(events, judgedAt, options.backfill);
    equal(countsOf(reply), expected, "counts of the reply");
    equal(reply.invalid, 0, "invalid events of the reply");
    if (!reply.durable) throw new Error("the reply is not durable");
    if (options.idempotencyKey !== undefined && expected.accepted > 0) {
      this.keyed.set(options.idempotencyKey, { events, via, reply, receivedAt: judgedAt });
    }
  }

  #overload(error: unknown): undefined {
    const isFull = this.engine.stats().hotCells > (this.options.maxHotCells ?? Number.POSITIVE_INFINITY);
    if (!(error instanceof TidemarkError) || error.code !== "overloaded" || !isFull) throw error;
  }

  async post(
    events: readonly PlainEvent[],
    options: IngestOptions,
    via: Via = "objects",
  ): Promise<IngestReply> {
    if (via === "objects") return await this.engine.ingest(events, options);
    const text = via === "json" ? JSON.stringify(events) : events.map((e) => JSON.stringify(e)).join("\n");
    return await this.engine.ingestBytes(new TextEncoder().encode(text), via, options);
  }

  /** Closes properly and starts again. */
  async restart(changes: WorldOptions = {}): Promise<void> {
    await this.engine.close();
    await this.#start(changes);
  }

  /** The process dies without a word; its timers with it. */
  async crash(changes: WorldOptions = {}): Promise<void> {
    this.gate.cut();
    if (!this.#disk.diesAlone) await this.gate.close();
    await this.#start(changes);
  }

  async #start(changes: WorldOptions = {}): Promise<void> {
    this.options = { ...this.options, ...changes };
    this.clock = this.clock.fork();
    this.gate = new Gate(await this.#disk.open());
    const { scheduler } = this.clock;
    this.engine = await createEngine({ ...this.options, storage: this.gate, scheduler });
    await turn();
  }
}

export function countsOf(reply: IngestReply): Outcome {
  const { accepted, duplicate, late_rejected, future_rejected } = reply;
  return { accepted, duplicate, late_rejected, future_rejected };
}
