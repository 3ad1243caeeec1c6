import type { TidemarkError } from "../../engine/index.js";
import { turn } from "../support/clock.js";
import type { PlainEvent } from "../support/oracle.js";
import { equal } from "./check.js";
import type { Fault } from "./faulty-disk.js";
import type { Command } from "./history.js";
import { digits, pick } from "./numbers.js";
import type { Sender } from "./sender.js";
import { countsOf, unlessTold, type World, type WorldOptions } from "./world.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const QUARTER_MS = 15 * MINUTE_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** The clock on the wall, set wrong, and right again. */
const CLOCK_STEPS_MS = [
  -SECOND_MS,
  HOUR_MS,
  -HOUR_MS,
  -26 * HOUR_MS,
  3 * DAY_MS,
  -3 * DAY_MS,
  366 * DAY_MS,
  -366 * DAY_MS,
];
const FLOOD_EVENTS = 24;

export interface TroubleOptions {
  readonly world: World;
  readonly sender: Sender;
  readonly ask: (choice: number) => void;
  readonly moreZones: (choice: number) => WorldOptions;
}

/** The bad days in the life of an engine. */
export class Trouble {
  readonly #world: World;
  readonly #sender: Sender;
  readonly #options: TroubleOptions;

  constructor(options: TroubleOptions) {
    this.#options = options;
    this.#world = options.world;
    this.#sender = options.sender;
  }

  get actions(): readonly ((command: Command) => Promise<void>)[] {
    return [
      (command) => this.#crash(command),
      (command) => this.#fail(command, "error"),
      (command) => this.#fail(command, "full"),
      (command) => this.#setClock(command),
      (command) => this.#flood(command),
      (command) => this.#twiceAtOnce(command),
      (command) => this.#keepUp(command),
      (command) => this.#orderInTrouble(command),
    ];
  }

  /** The process dies at the k-th write from now on, or while it waits for one. */
  async #crash(command: Command): Promise<void> {
    const world = this.#world;
    const digit = digits(command.choice);
    const fault: Fault = {
      kind: "crash",
      after: digit(range(9)),
      kept: digit(range(5)),
      failedRecoveries: 0,
    };
    const crashed = world.disk.arm(fault);
    const work = this.#work(command, digit(range(WORKS)));
    await Promise.race([work, crashed]);
    world.disk.disarm();
    world.absorb();
    await world.crash(this.#options.moreZones(command.choice));
  }

  /** The k-th write from now on fails. The engine opens its storage anew by itself, or dies, or is started again. */
  async #fail(command: Command, kind: "error" | "full"): Promise<void> {
    const world = this.#world;
    const { ask, moreZones } = this.#options;
    const digit = digits(command.choice);
    const fault = { after: digit(range(6)), kept: digit(range(5)), failedRecoveries: digit([0, 1, 5]) };
    world.disk.arm({ kind, ...fault });
    await this.#work(command, digit(range(WORKS - 1))).catch(unlessTold);
    await this.#askInTrouble(command.choice);
    if (digit([false, true])) await world.clock.advance(digit([0, SECOND_MS, 40 * SECOND_MS]));
    if (digit([false, true])) await this.#burst(command, 1);
    await this.#askInTrouble(command.choice >>> 5);
    const end = digit(["recovers", "recovers", "crashes", "restarts"]);
    if (end === "crashes") return await world.crash(moreZones(command.choice));
    if (end === "restarts") {
      world.disk.isFull = false;
      return await world.restartInTrouble(moreZones(command.choice));
    }
    await world.recovered();
    ask(command.choice >>> 3);
  }

  /** Old answers are given, but for the moment in which a new core is made. */
  async #askInTrouble(choice: number): Promise<void> {
    const world = this.#world;
    await turn();
    const isOver = world.engine.stats().ready && !world.disk.hasFailed && !world.disk.isArmed;
    if (isOver) await world.settle();
    if (!world.absorb()) return;
    try {
      this.#options.ask(choice);
    } catch (error) {
      if ((error as TidemarkError).code !== "not-ready") throw error;
    }
  }

  /** Batches side by side, and what the engine may be at when it happens. */
  async #work(command: Command, kind: number): Promise<void> {
    const { clock, engine } = this.#world;
    const sent = this.#burst(command, 1 + (command.choice % 3));
    if (kind !== 1) await sent;
    if (kind === 1 || kind === 2) await engine.checkpoint();
    if (kind === 3) await clock.advance(16 * MINUTE_MS);
    if (kind === 4) await clock.jump(2 * HOUR_MS);
    if (kind === 5) await engine.retain();
    if (kind === 6) await clock.jump(41 * DAY_MS);
    if (kind === 7 || kind === 8) await this.#order(command, kind === 7);
    if (kind === 9) await engine.close();
    await sent;
  }

  /** Refused events are counted after all, or given up, on a disk that fails at the first write of it, or the second. */
  async #orderInTrouble(command: Command): Promise<void> {
    const world = this.#world;
    const digit = digits(command.choice);
    await this.#burst(command, 2);
    await world.clock.jump(digit([0, 6 * MINUTE_MS, DAY_MS]));
    const kind = digit(["crash", "error"] as const);
    const fault = { kind, after: digit([0, 1]), kept: digit([0, 1, 2]), failedRecoveries: 0 };
    const crashed = world.disk.arm(fault);
    await Promise.race([this.#order(command, digit([true, true, false])), crashed]);
    if (kind === "crash") {
      world.disk.disarm();
      await world.crash(this.#options.moreZones(command.choice));
    } else {
      await this.#askInTrouble(command.choice);
      await world.recovered();
    }
    this.#options.ask(command.choice >>> 5);
  }

  /** Once what was sent before is known. */
  async #order({ choice }: Command, isReplay: boolean): Promise<void> {
    if (this.#world.absorb()) await this.#world.order(isReplay, choice >>> 3);
  }

  async #burst({ events, choice }: Command, count: number): Promise<void> {
    const batches = Array.from({ length: count }, (_, i) =>
      this.#sender.safe(
        events.map((seed) => (seed + i * 7919) % 0x7fff_ffff),
        choice + i,
      ),
    );
    await Promise.all(batches.map(({ events, options }) => this.#world.attempt(events, options)));
  }

  async #setClock({ choice }: Command): Promise<void> {
    this.#world.setClock(pick(CLOCK_STEPS_MS, choice));
    await this.#world.clock.advance(pick([0, 2 * SECOND_MS], choice >>> 4));
    this.#options.ask(choice >>> 5);
  }

  /** Events of many quarters at once, most of them late. */
  async #flood({ events, choice }: Command): Promise<void> {
    const now = this.#world.now;
    const step = pick([QUARTER_MS, HOUR_MS, DAY_MS], choice);
    const batch = Array.from({ length: FLOOD_EVENTS }, (_, i): PlainEvent => {
      const blog = `b${(events[0]! + i) % 3}`;
      return { type: "view", ts: now - i * step, blog, country: `c${i % 2}`, viewer: `v${(choice + i) % 9}` };
    });
    await this.#world.send(batch, choice % 4 === 3 ? { backfill: true } : {});
    this.#sender.sent(batch);
    if (choice % 8 > 3) await this.#world.clock.advance(12 * SECOND_MS);
  }

  /** One batch twice at the same time, and others before and after it in the wrong order. */
  async #twiceAtOnce({ events, choice }: Command): Promise<void> {
    const world = this.#world;
    const { events: batch, options } = this.#sender.safe(events, choice);
    const sent = [world.attempt(batch, options), this.#burst({ kind: 0, choice: choice >>> 2, events }, 2)];
    if (options.idempotencyKey === undefined) sent.push(world.attempt(batch, options));
    else sent.push(this.#sendAgain(batch, options.idempotencyKey, options.backfill));
    await Promise.all(sent);
    await world.settle();
    this.#sender.sent(batch);
  }

  /** A key that is on its way already: 409; or where nothing had to be written, or nothing was taken, judged anew. */
  async #sendAgain(batch: readonly PlainEvent[], idempotencyKey: string, backfill = false): Promise<void> {
    const again = await this.#world.post(batch, { idempotencyKey, backfill }).catch((error: unknown) => {
      if ((error as TidemarkError).code !== "idempotency-in-flight") unlessTold(error);
    });
    if (again !== undefined) equal(countsOf(again).accepted, 0, "accepted by a second attempt");
  }

  /** What is stored is compared with what it is made of, and what is too old goes. */
  async #keepUp({ choice }: Command): Promise<void> {
    const { engine } = this.#world;
    if (choice % 2 === 0) await this.#world.retain();
    const from = pick([2 * DAY_MS, 40 * DAY_MS, 2 * DAY_MS, 800 * DAY_MS], choice >>> 3);
    const { wrong, damaged, mismatches } = await engine.reconcile({
      from: new Date(this.#world.now - from).toISOString(),
      repair: choice % 8 === 7,
    });
    equal([wrong, damaged, mismatches], [0, [], []], "buckets that reconcile finds wrong");
    this.#options.ask(choice >>> 2);
  }
}

const WORKS = 10;

function range(end: number): number[] {
  return Array.from({ length: end }, (_, i) => i);
}
