import {
  TidemarkError,
  createEngine,
  type Engine,
  type EngineOptions,
  type IngestOptions,
  type IngestReply,
} from "../../engine/index.js";
import { Clock, turn } from "../support/clock.js";
import { Gate } from "../support/gate.js";
import { Oracle, type OracleLimits, type Outcome, type PlainEvent } from "../support/oracle.js";
import { resolveRetention } from "../../engine/upkeep/policy.js";
import { equal } from "./check.js";
import { FaultyDisk, type Disk, type Write } from "./faulty-disk.js";
import { carryOut, give, orderOf, type Order } from "./operator.js";
import { checkConserved, checkExpired, checkListed, Waiting } from "./waiting.js";

export type { Disk } from "./faulty-disk.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export const LIMITS: OracleLimits & { maxLatenessMs: number } = {
  maxLatenessMs: 30 * DAY_MS,
  maxSkewMs: 5 * MINUTE_MS,
  dedupeWindowMs: 20 * HOUR_MS,
};

/** Longer than the engine waits before it opens a failed storage anew. */
const RECOVERY_MS = 31_000;
const MOST_RECOVERIES = 10;
/** Of real time; on a memory disk an attempt is over at once. */
const ATTEMPT_MS = 200;

/** What may be said while the disk is in trouble. */
const HONEST: ReadonlySet<unknown> = new Set(["storage-failed", "storage-full", "not-ready", "overloaded"]);

export type WorldOptions = Omit<EngineOptions, "storage" | "scheduler">;

export type Via = "objects" | "ndjson" | "json";

interface KeyedBatch {
  readonly events: readonly PlainEvent[];
  readonly via: Via;
  readonly reply: IngestReply;
  readonly receivedAt: number;
}

/** A batch that may meet a fault. */
export interface Attempt {
  readonly events: readonly PlainEvent[];
  readonly options: IngestOptions;
  readonly sentAt: number;
  /** Undefined when nothing of it had to be written. */
  readonly write: Write | undefined;
  reply?: IngestReply;
  error?: unknown;
  /** What became of its events, when it came out that it is in the log although nobody was told. */
  found?: Outcome;
  /** Its reply was held against the oracle. */
  isChecked?: boolean;
}

/** An engine on a disk under virtual time, and beside it the oracle, which sees every event that must count. */
export class World {
  readonly oracle = new Oracle(LIMITS);
  readonly waiting: Waiting;
  readonly keyed = new Map<string, KeyedBatch>();
  readonly disk: FaultyDisk;
  clock: Clock;
  engine!: Engine;
  gate!: Gate;
  options: WorldOptions;
  /** The latest that the clock ever showed, and the furthest that it was set back. */
  peakMs: number;
  setBackMs = 0;
  /** In the order in which they were sent; what has become of them is not settled yet. */
  #attempts: Attempt[] = [];
  /** What the operator asked for last, while it is not known what became of it; before all attempts. */
  #order: Order | undefined;

  private constructor(disk: Disk, nowMs: number, options: WorldOptions) {
    this.disk = new FaultyDisk(disk);
    this.clock = new Clock(nowMs);
    this.peakMs = nowMs;
    this.options = { ...LIMITS, ...options };
    this.waiting = new Waiting({
      max: options.maxQuarantinedEvents ?? Number.POSITIVE_INFINITY,
      rawMs: this.#rawMs,
      peak: () => this.#peak,
      isCounted: (id, now) => this.#isCounted(id, now),
    });
    this.oracle.onJudged = (judged, now) => this.waiting.judged(judged, now);
  }

  static async open(disk: Disk, nowMs: number, options: WorldOptions): Promise<World> {
    const world = new World(disk, nowMs, options);
    await world.#start();
    return world;
  }

  get now(): number {
    return this.clock.now();
  }

  /** Sets the clock, and nothing else; see `Clock.set`. */
  setClock(ms: number): void {
    this.peakMs = Math.max(this.peakMs, this.now);
    this.clock.set(ms);
    this.peakMs = Math.max(this.peakMs, this.now);
    this.setBackMs = Math.max(this.setBackMs, this.peakMs - this.now);
  }

  /**
   * Is it certain whether something remembered since `at` is still remembered? One window, and for event ids at most
   * a quarter of one longer. A clock that was set back may have made it forgotten before its time, or kept for longer.
   */
  isCertain(at: number): boolean {
    return (
      this.#peak - at < LIMITS.dedupeWindowMs || this.now - at > LIMITS.dedupeWindowMs * 1.25 + this.setBackMs
    );
  }

  get #peak(): number {
    return Math.max(this.peakMs, this.now);
  }

  /** Refused events are kept as long as raw ones, ms. */
  get #rawMs(): number {
    return resolveRetention(this.options.retention).raw;
  }

  /** Was the id remembered as counted at `now`? Undefined when that is not certain. */
  #isCounted(id: string, now: number): boolean | undefined {
    const age = this.oracle.ageOf(id, now);
    if (age === undefined) return false;
    if (this.#peak - (now - age) < LIMITS.dedupeWindowMs) return true;
    return age > LIMITS.dedupeWindowMs * 1.25 + this.setBackMs ? false : undefined;
  }

  /** Is it certain what must become of these events' ids? */
  isPlain(events: readonly PlainEvent[]): boolean {
    return events.every(({ id }) => {
      const age = id === undefined ? undefined : this.oracle.ageOf(id, this.now);
      return age === undefined || this.isCertain(this.now - age);
    });
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
    const before = this.disk.lastAppend;
    const posted = this.post(events, options, via);
    const isWritten = this.disk.lastAppend !== before;
    const reply = await posted.catch((error: unknown) => this.#overload(error));
    if (reply === undefined) return;
    const expected = this.oracle.take(events, judgedAt, options.backfill);
    this.#checkReply(reply, expected);
    this.#keep({ events, options, via, reply, receivedAt: judgedAt }, isWritten);
  }

  #overload(error: unknown): undefined {
    const isFull = this.engine.stats().hotCells > (this.options.maxHotCells ?? Number.POSITIVE_INFINITY);
    if (!(error instanceof TidemarkError) || error.code !== "overloaded" || !isFull) throw error;
  }

  #checkReply(reply: IngestReply, expected: Outcome): void {
    equal(countsOf(reply), expected, "counts of the reply");
    equal(reply.invalid, 0, "invalid events of the reply");
    if (!reply.durable) throw new Error("the reply is not durable");
  }

  /** A key remembers what was written, though it be only refused events. */
  #keep({ options, ...batch }: KeyedBatch & { readonly options: IngestOptions }, isWritten: boolean): void {
    if (options.idempotencyKey !== undefined && isWritten) {
      this.keyed.set(options.idempotencyKey, batch);
    }
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

  /**
   * Sends a batch that may meet a fault, or be lost in a crash; `settle` then finds out. It has a key, or an id in
   * every event. The promise resolves, if ever, when there is an answer.
   */
  async attempt(events: readonly PlainEvent[], options: IngestOptions): Promise<void> {
    this.#learn();
    const before = this.disk.lastAppend;
    const posted = this.post(events, options);
    const write = this.disk.lastAppend === before ? undefined : this.disk.lastAppend;
    const attempt: Attempt = { events, options, sentAt: this.now, write };
    this.#attempts.push(attempt);
    try {
      attempt.reply = await posted;
    } catch (error) {
      unlessTold(error);
      attempt.error = error;
    }
  }

  /**
   * What is in the log for certain, acknowledged or not, is known to the oracle from here on, in its order. False when
   * something came to light in the log that the engine may know of by now, or not yet.
   */
  absorb(): boolean {
    if (!this.#learn()) return false;
    for (const attempt of this.#attempts) {
      const { reply, write } = attempt;
      if (reply !== undefined) this.#absorb(attempt);
      else if (write?.state === "written") this.#find(attempt);
      else if (write?.state === "found" && attempt.found === undefined) return false;
    }
    this.#attempts = this.#attempts.filter(({ reply }) => reply === undefined);
    return true;
  }

  #find(attempt: Attempt): void {
    attempt.found ??= this.oracle.take(attempt.events, attempt.sentAt, attempt.options.backfill);
  }

  #absorb(attempt: Attempt): void {
    if (attempt.isChecked === true) return;
    attempt.isChecked = true;
    const { events, options, sentAt, reply, found, write } = attempt;
    const expected = found ?? this.oracle.take(events, sentAt, options.backfill);
    this.#checkReply(reply!, expected);
    this.#keep({ events, options, via: "objects", reply: reply!, receivedAt: sentAt }, write !== undefined);
  }

  /** Events in quarantine are counted after all, or given up, if it is certain what must become of them. */
  async order(isReplay: boolean, choice: number): Promise<void> {
    if (!this.checkWaiting()) return;
    this.#order = orderOf(this.waiting, isReplay, choice, this.now);
    if (this.#order === undefined) return;
    const report = await give(this.#order, this.engine).catch(unlessTold);
    this.#learn(report);
  }

  /** Holds the quarantine on the disk against what was refused; false when it is not certain what is on the disk. */
  checkWaiting(): boolean {
    const isDead = this.gate.log.mode === "cut";
    const isInDoubt = isDead || this.disk.hasFailed || !this.engine.stats().ready;
    if (isInDoubt || this.#attempts.length > 0 || this.#order !== undefined) return false;
    this.waiting.check(this.gate.quarantine);
    return true;
  }

  /** Holds the quarantine on the disk against what was refused, and what the engine tells of it against the disk. */
  async checkListed(): Promise<void> {
    await turn();
    // On a real disk something may go for its age just now.
    if (!this.checkWaiting() || !this.disk.diesAlone) return;
    checkListed(this.gate.quarantine, this.engine.quarantine({ limit: 1000 }));
  }

  /** Gives up what is too old. */
  async retain(): Promise<void> {
    await this.engine.retain();
    checkExpired(this.gate.quarantine, this.now - this.#rawMs);
  }

  /** What became of the operator's order, as the disk tells it; false while the disk does not know. */
  #learn(report?: Readonly<Record<string, unknown>>): boolean {
    if (this.#order === undefined) return true;
    if (report === undefined && (this.disk.hasFailed || !this.engine.stats().ready)) return false;
    carryOut(this.#order, this.gate.quarantine, this.oracle, this.waiting, report);
    this.#order = undefined;
    return true;
  }

  /** Once the disk has told what it has: the oracle learns of what is there, and every sender sends again. */
  async settle(): Promise<void> {
    if (!this.#learn()) throw new Error("BUG: settled while nobody knows what is on the disk");
    const attempts = this.#attempts.splice(0);
    for (const attempt of attempts) {
      const { reply, write } = attempt;
      if (reply !== undefined) this.#absorb(attempt);
      else if (write?.state === "written" || write?.state === "found") this.#find(attempt);
    }
    for (const attempt of attempts) if (attempt.reply === undefined) await this.#retry(attempt);
  }

  async #retry({ events, options, sentAt, found }: Attempt): Promise<void> {
    // Who waited for too long gives up.
    if (this.now - sentAt >= LIMITS.dedupeWindowMs || !this.isPlain(events)) return;
    if (options.idempotencyKey === undefined || found === undefined) return await this.send(events, options);
    const reply = await this.post(events, options);
    this.#checkReply(reply, found);
    this.#keep({ events, options, via: "objects", reply, receivedAt: sentAt }, true);
  }

  /** Lets time pass until the engine takes batches again; then settles what was open. */
  async recovered(): Promise<void> {
    this.disk.disarm();
    this.disk.isFull = false;
    // Of a failed trim or compaction nobody hears before the next write.
    if (this.disk.hasFailed) await this.engine.checkpoint().catch(unlessTold);
    for (let i = 0; !this.engine.stats().ready; i++) {
      if (i === MOST_RECOVERIES) throw new Error(`no recovery: ${this.engine.stats().failure}`);
      await this.clock.advance(RECOVERY_MS);
      await this.#attempted();
    }
    await this.settle();
  }

  /** Gives a real disk the time that an attempt to recover takes there. */
  async #attempted(): Promise<void> {
    if (this.disk.diesAlone) return;
    const until = performance.now() + ATTEMPT_MS;
    while (!this.engine.stats().ready && performance.now() < until) await turn();
  }

  /** Closes properly and starts again. */
  async restart(changes: WorldOptions = {}): Promise<void> {
    await this.engine.close();
    await this.#start(changes);
  }

  /** Closes, on a disk that may fail in the middle of it, and starts again. */
  async restartInTrouble(changes: WorldOptions = {}): Promise<void> {
    await this.engine.close().catch(unlessTold);
    await this.#start(changes);
  }

  /** The process dies without a word; its timers with it. */
  async crash(changes: WorldOptions = {}): Promise<void> {
    this.gate.cut();
    this.clock.stop();
    if (!this.disk.diesAlone) await this.gate.close();
    await this.#start(changes);
  }

  async #start(changes: WorldOptions = {}): Promise<void> {
    this.options = { ...this.options, ...changes };
    this.clock = this.clock.fork();
    this.gate = new Gate(await this.disk.open());
    checkConserved(this.gate.quarantine);
    const { scheduler } = this.clock;
    this.engine = await createEngine({ ...this.options, storage: this.gate, scheduler });
    await turn();
    await this.settle();
  }
}

/** Throws again what is no honest word of a disk in trouble. */
export function unlessTold(error: unknown): undefined {
  if (!HONEST.has((error as TidemarkError).code)) throw error;
  return undefined;
}

export function countsOf(reply: IngestReply): Outcome {
  const { accepted, duplicate, late_rejected, future_rejected } = reply;
  return { accepted, duplicate, late_rejected, future_rejected };
}
