import { createEngine, type Grain, type IngestOptions, type TidemarkError } from "../../engine/index.js";
import { openMemory } from "../../storage/memory.js";
import { turn } from "../support/clock.js";
import type { Dimension } from "../support/oracle.js";
import { checkAsk, checkStored, equal, equalLines, isKept, type Ask } from "./check.js";
import { digits, pick, shuffled } from "./numbers.js";
import { Sender } from "./sender.js";
import { Trouble } from "./trouble.js";
import { LIMITS, World, countsOf, type Disk, type WorldOptions } from "./world.js";

/** A history as fast-check makes it: small numbers, read by the functions below; 0 is always the plainest choice. */
export interface Command {
  readonly kind: number;
  readonly choice: number;
  readonly events: readonly number[];
}

export interface History {
  readonly setup: number;
  readonly commands: readonly Command[];
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const QUARTER_MS = 15 * MINUTE_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Moments at which calendars are at their worst. */
const STARTS = [
  "2024-02-29T12:07:31Z",
  "2016-03-13T06:52:10Z", // New York springs forward
  "2016-11-06T06:10:00Z", // New York falls back
  "2016-04-02T14:50:00Z", // Lord Howe falls back by half an hour
  "2026-12-31T23:58:59Z",
  "2016-10-01T15:20:00Z", // Lord Howe springs forward
  "2021-01-03T22:59:00Z", // ISO week 53
].map((text) => Date.parse(text));

const ZONES = [
  [],
  ["UTC"],
  ["America/New_York"],
  ["Asia/Kathmandu"],
  ["Australia/Lord_Howe", "America/New_York"],
  ["Asia/Kolkata", "UTC"],
];
const LATENESS_MS = [5 * MINUTE_MS, 0, HOUR_MS];
const HOT_CELLS = [100_000, 4, 30];
/** Of small ones an image of the hot cells is made at every other batch. */
const REPLAY_EVENTS = [1, 500_000, 6];
/** Comparisons in the background are dear. */
const RECONCILE_MS = [0, 0, 0, 0, HOUR_MS];
/** The default, and ladders short enough to be climbed in a short life. */
const RETENTIONS: readonly WorldOptions[] = [
  {},
  {},
  { retention: { raw: 3 * DAY_MS, quarter: 7 * DAY_MS, hour: 35 * DAY_MS, day: 400 * DAY_MS } },
  { retention: { raw: DAY_MS, quarter: DAY_MS, hour: DAY_MS } },
  { retention: { raw: HOUR_MS, quarter: 2 * DAY_MS } },
];
/** Enough, and so few that the oldest refused events are given up for newer ones. */
const MOST_QUARANTINED = [100_000, 100_000, 3];
const STEPS_MS = [SECOND_MS, 1, 20, 15 * SECOND_MS, 61 * SECOND_MS, 6 * MINUTE_MS];
const JUMPS_MS = [QUARTER_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS, 8 * DAY_MS, 33 * DAY_MS, 370 * DAY_MS];
const GRAINS: readonly (Grain | undefined)[] = [undefined, "quarter", "hour", "day", "week", "month", "year"];
const GROUPS: readonly (readonly Dimension[])[] = [
  [],
  ["blog"],
  ["author"],
  ["country"],
  ["blog", "country"],
  ["country", "author"],
];

/** How many kinds of commands there are. */
export const KINDS = 25;

/** Plays a history and holds the engine against the oracle on the way and at the end. Throws at the first lie. */
export async function play(history: History, disk: Disk): Promise<void> {
  const player = await Player.start(history.setup, disk);
  for (const command of history.commands) await player.act(command);
  await player.finish(history.setup);
}

class Player {
  readonly #world: World;
  readonly #zones: string[];
  readonly #sender: Sender;
  readonly #trouble: Trouble;

  private constructor(world: World, zones: readonly string[]) {
    this.#world = world;
    this.#zones = [...zones];
    this.#sender = new Sender(world);
    const ask = (choice: number): void => this.#ask(choice);
    const moreZones = (choice: number): WorldOptions => this.#moreZones(choice);
    this.#trouble = new Trouble({ world, sender: this.#sender, ask, moreZones });
  }

  static async start(setup: number, disk: Disk): Promise<Player> {
    const digit = digits(setup);
    const nowMs = digit(STARTS);
    const homeZones = digit(ZONES);
    const options = {
      homeZones,
      allowedLatenessMs: digit(LATENESS_MS),
      maxHotCells: digit(HOT_CELLS),
      reconcileEveryMs: digit(RECONCILE_MS),
      ...digit(RETENTIONS),
      maxQuarantinedEvents: digit(MOST_QUARANTINED),
      maxReplayEvents: digit(REPLAY_EVENTS),
    };
    return new Player(await World.open(disk, nowMs, options), homeZones);
  }

  async act(command: Command): Promise<void> {
    const { kind, choice } = command;
    const actions: readonly ((command: Command) => Promise<void>)[] = [
      () => this.#ingest(command),
      () => this.#ingest(command),
      () => this.#ingest(command),
      () => this.#world.clock.advance(pick(STEPS_MS, choice)),
      () => this.#world.clock.jump(pick(JUMPS_MS, choice)),
      () => this.#world.engine.checkpoint(),
      () => this.#world.restart(this.#moreZones(choice)),
      () => this.#world.crash(this.#moreZones(choice)),
      () => this.#crashUnderWay(command),
      () => this.#lostForGood(command),
      () => this.#resendKey(choice),
      () => this.#resendEvents(choice),
      async () => this.#ask(choice),
      () => this.#commitUnderWay(command),
      () => this.#failedCommit(command),
      () => this.#order(command, true),
      () => this.#order(command, choice % 2 === 0),
      ...this.#trouble.actions,
    ];
    await pick(actions, kind)(command);
  }

  /** Always two questions; in one history of four every stored byte; in one of sixteen in another order too. */
  async finish(setup: number): Promise<void> {
    const world = this.#world;
    this.#ask(setup);
    this.#ask(setup >>> 7);
    if (setup % 4 === 0) {
      await world.clock.jump(pick([0, HOUR_MS, 40 * DAY_MS, 800 * DAY_MS], setup >>> 4));
      await world.engine.checkpoint();
      checkStored(world.engine, world.gate.store, world.oracle);
      this.#ask(setup >>> 11);
      if (setup % 16 === 0) await this.#checkReordered(setup);
    }
    await world.checkListed();
    equal(world.engine.stats().lastCommitError, null, "last commit error");
    await world.engine.close();
  }

  async #ingest({ events, choice }: Command): Promise<void> {
    const batch = this.#sender.batch(events);
    const options = this.#sender.options(choice);
    await this.#world.send(batch, options, pick(["objects", "ndjson", "json"], choice >>> 4));
    this.#sender.sent(batch);
  }

  /** A batch on its way when the process dies: perhaps in the log, perhaps not. Its sender sends it again. */
  async #crashUnderWay({ events, choice }: Command): Promise<void> {
    const world = this.#world;
    const batch = this.#sender.batch(events);
    const options: IngestOptions = { ...this.#sender.options(choice), idempotencyKey: this.#sender.key() };
    const sentAt = world.now;
    const isLogged = pick([false, true], choice >>> 6);
    if (!isLogged) world.gate.log.mode = "hold";
    const before = world.disk.lastAppend;
    const posted = world.post(batch, options).then(
      () => true,
      () => false,
    );
    // Where nothing had to be written, the retry is judged anew.
    const isWritten = world.disk.lastAppend !== before;
    const isClaimed = isLogged && (await posted) && isWritten;
    if (choice % 2 === 1) await world.clock.advance(11 * SECOND_MS);
    await world.crash(this.#moreZones(choice));
    await world.send(batch, options, "objects", isClaimed ? sentAt : world.now);
    this.#sender.sent(batch);
  }

  /** A batch that never reached the log and that nobody sends again: nothing may remain of it. */
  async #lostForGood({ events, choice }: Command): Promise<void> {
    const world = this.#world;
    world.gate.log.mode = "hold";
    void world.post(this.#sender.batch(events), { backfill: true }).catch(() => undefined);
    await world.clock.advance(16 * MINUTE_MS);
    await world.crash(this.#moreZones(choice));
  }

  async #resendKey(choice: number): Promise<void> {
    const world = this.#world;
    const [key, known] = [...world.keyed].at(choice % Math.max(1, world.keyed.size)) ?? [];
    if (key === undefined || known === undefined || !world.isCertain(known.receivedAt)) return;
    const options = { idempotencyKey: key };
    if (world.now - known.receivedAt >= LIMITS.dedupeWindowMs) {
      if (world.isPlain(known.events)) await world.send(known.events, options);
      return;
    }
    const again = await world.post(known.events, options, known.via);
    equal(countsOf(again), countsOf(known.reply), "counts of the repeated reply");
    equal(again.position, known.reply.position, "position of the repeated reply");
    // The key of a batch that was refused as a whole is not used up.
    if (again.accepted === 0) return;
    const other = [...known.events, ...known.events];
    await world.post(other, options, known.via).then(
      () => equal(true, false, "another body under a used key was taken"),
      (error: unknown) => equal((error as TidemarkError).code, "idempotency-conflict", "code of the refusal"),
    );
  }

  /** Refused events are counted after all, or given up; a second time there is nothing left of them. */
  async #order(command: Command, isReplay: boolean): Promise<void> {
    const { choice } = command;
    await this.#ingest(command);
    if (choice % 3 === 1) await this.#world.clock.jump(DAY_MS);
    await this.#world.order(isReplay, choice >>> 1);
    this.#ask(choice >>> 5);
    if (choice % 4 === 0) await this.#world.order(isReplay, choice >>> 1);
  }

  async #resendEvents(choice: number): Promise<void> {
    const batch = this.#sender.earlier(choice);
    if (batch === undefined) return;
    await this.#world.send(batch, { backfill: choice % 2 === 1 });
  }

  /** Events that come while a commit is on its way to the disk, and questions in between. */
  async #commitUnderWay(command: Command): Promise<void> {
    const { clock, engine, gate } = this.#world;
    gate.store.mode = "hold";
    const commit = engine.checkpoint();
    await turn();
    await this.#ingest(command);
    this.#ask(command.choice);
    await clock.advance(pick([0, 2 * SECOND_MS, 16 * MINUTE_MS], command.choice));
    equal(engine.stats().lastCommitError, null, "error while a commit is under way");
    const next = engine.checkpoint();
    gate.store.mode = "pass";
    gate.store.release();
    await Promise.all([commit, next]);
    this.#ask(command.choice >>> 3);
  }

  async #failedCommit(command: Command): Promise<void> {
    const { clock, engine, gate } = this.#world;
    gate.store.mode = "hold";
    const commit = engine.checkpoint().then(
      () => "written",
      () => "failed",
    );
    await turn();
    await this.#ingest(command);
    gate.store.mode = "fail";
    gate.store.refuse();
    equal(await commit, "failed", "a commit that the store refuses");
    this.#ask(command.choice >>> 3);
    await clock.advance(16 * MINUTE_MS);
    this.#ask(command.choice);
    gate.store.mode = "pass";
    await this.#world.recovered();
    await engine.checkpoint();
  }

  #ask(choice: number): void {
    const { engine, gate, oracle } = this.#world;
    checkAsk(engine, oracle, this.#question(choice), gate.store.meta()?.reach["UTC quarter"]);
    this.#world.checkWaiting();
  }

  #question(choice: number): Ask {
    const digit = digits(choice);
    const groupBy = digit(GROUPS);
    const grain = digit(GRAINS);
    const zone = digit(["UTC", ...this.#zones, "America/St_Johns"]);
    const before = digit([QUARTER_MS, 5 * HOUR_MS, 3 * DAY_MS, 45 * DAY_MS, 900 * DAY_MS]);
    const now = this.#world.now - (this.#world.now % QUARTER_MS);
    const after = digit([HOUR_MS, QUARTER_MS, -QUARTER_MS, -2 * HOUR_MS, 40 * DAY_MS]);
    const from = now - before;
    const to = Math.max(from + QUARTER_MS, now + after);
    // So many quarters of 900 days are more than one answer may have.
    const tooFine = to - from > 400 * DAY_MS && (grain === "quarter" || grain === "hour");
    return {
      from,
      to,
      zone,
      groupBy,
      ...(grain === undefined || tooFine ? {} : { grain }),
      ...(groupBy.length === 2
        ? { filter: { [groupBy[0]!]: pick([["b1", "c1"], [null], ["nobody"]], choice) } }
        : {}),
    };
  }

  /** The same events to a new engine, in another order and other batches, give the same bytes. */
  async #checkReordered(setup: number): Promise<void> {
    const { clock, engine, gate, options, oracle, setBackMs } = this.#world;
    // What was sealed under a clock that was wrong is not sealed under the right one.
    if (setBackMs > 0) return;
    const other = clock.fork();
    const storage = openMemory();
    const fresh = await createEngine({
      ...options,
      maxHotCells: pick(HOT_CELLS, setup >>> 5),
      storage,
      scheduler: other.scheduler,
    });
    // The log holds authors filled in; those left open were unknown, so the second engine must not guess either.
    const events = shuffled(oracle.accepted, setup).map(({ id: _id, ...event }) => event);
    const byAuthor = [
      events.filter((e) => e.author === undefined),
      events.filter((e) => e.author !== undefined),
    ];
    for (const part of byAuthor) {
      for (let at = 0, size = 1 + (setup % 5); at < part.length; at += size) {
        await fresh.ingest(part.slice(at, at + size), { backfill: true });
        if ((at + setup) % 3 === 0) await fresh.checkpoint();
      }
    }
    await clock.jump(2 * MINUTE_MS);
    await other.jump(2 * MINUTE_MS);
    await engine.checkpoint();
    await fresh.checkpoint();
    const reaches = [gate.store.meta()?.reach, storage.store.meta()?.reach];
    const isInBoth = (line: string): boolean => reaches.every((reach) => isKept(line, reach));
    const lines = [...engine.canonicalRows()].filter(isInBoth);
    equalLines([...fresh.canonicalRows()].filter(isInBoth), lines, "stored state of another order");
    await fresh.close();
  }

  #moreZones(choice: number): WorldOptions {
    if (choice % 8 !== 7) return {};
    const added = pick(["America/New_York", "Asia/Kolkata"], choice >>> 3);
    if (!this.#zones.includes(added)) this.#zones.push(added);
    return { homeZones: [...this.#zones] };
  }
}
