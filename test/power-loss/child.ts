/**
 * A process whose writes are traced (trace.c):
 *   node --import tsx test/power-loss/child.ts engine|raw|raw-overlapping <root> <seed> <batches>
 * It keeps a store in `<root>/store` and says in `<root>/marks` what it sent and what was acknowledged.
 */
import { fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { open as openRaw } from "lmdb";
import { createEngine, type Engine } from "../../engine/index.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import { Clock } from "../support/clock.js";
import { makeBatch, OPTIONS, SEGMENTS, START_MS } from "./workload.js";
import { mulberry32 } from "../support/random.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const MOST_UNDER_WAY = 10;

const [mode, root, seed, batches] = process.argv.slice(2) as [string, string, string, string];
const BATCHES = Number(batches);
const random = mulberry32(Number(seed));
const marks = openSync(`${root}/marks`, "a");

function say(line: string): void {
  writeSync(marks, `${line}\n`);
}

process.on("unhandledRejection", (reason) => {
  say(`unhandled ${String(reason)}`);
  process.exitCode = 1;
});

/** An engine under virtual time on a real store: appends side by side, seals, late events, imports, new starts. */
class Load {
  #clock = new Clock(START_MS);
  #engine!: Engine;
  #storage!: LmdbStorage;
  #sent = 0;
  #hasCompacted = false;

  async run(): Promise<void> {
    say("begun");
    await this.#start();
    while (this.#sent < BATCHES) {
      const group = Array.from({ length: 1 + Math.floor(random() * 4) }, () => this.#post());
      if (random() < 0.5) await Promise.all(group);
      await this.#step();
      await Promise.all(group);
      this.#hasCompacted ||= this.#storage.log.sizes().segments.count > 0;
      if (random() < 0.06) await this.#pass(4 * DAY_MS);
    }
    if (!this.#hasCompacted) throw new Error("no segment was made: this run says nothing about them");
    await this.#engine.close();
    say("done");
  }

  async #start(): Promise<void> {
    this.#clock = this.#clock.fork();
    const storage = await openLmdb(`${root}/store`, { segments: SEGMENTS });
    this.#storage = storage;
    const { scheduler } = this.#clock;
    this.#engine = await createEngine({ ...OPTIONS, storage, scheduler });
  }

  async #post(): Promise<void> {
    const { number, sentAt, events, options } = makeBatch(this.#sent++, this.#clock.now());
    say(`sent ${number} ${sentAt}`);
    const { accepted, duplicate, durable } = await this.#engine.ingest(events, options);
    if (accepted !== events.length || duplicate !== 0 || !durable)
      throw new Error(`${number} was not accepted`);
    say(`acked ${number}`);
  }

  async #step(): Promise<void> {
    const dice = random();
    if (dice < 0.4) await this.#clock.advance(Math.floor(random() * 5000));
    else if (dice < 0.7) await this.#clock.advance(MINUTE_MS * (1 + Math.floor(random() * 17)));
    else if (dice < 0.8) await this.#engine.checkpoint();
    else if (dice < 0.85) await this.#clock.jump(HOUR_MS * (1 + Math.floor(random() * 5)));
    else if (dice < 0.88) await this.#restart();
    say(`now ${this.#clock.now()}`);
  }

  /** Days in which nothing happens, but that what is too old is given up. So few records are not packed. */
  async #pass(ms: number): Promise<void> {
    await this.#clock.jump(ms);
    say(`now ${this.#clock.now()}`);
    await this.#engine.checkpoint();
    await this.#engine.retain();
  }

  async #restart(): Promise<void> {
    await this.#engine.close();
    await this.#start();
  }
}

/**
 * LMDB alone, to tell whether the rig finds what it should: key n is acknowledged when its put is, while others are
 * on their way.
 */
async function runRaw(overlappingSync: boolean): Promise<void> {
  const path = `${root}/store`;
  mkdirSync(path);
  const db = openRaw<Buffer, number>({ path, noSubdir: false, overlappingSync, encoding: "binary" });
  await db.flushed;
  fsyncSync(openSync(path, "r"));
  const underWay: Promise<void>[] = [];
  for (let number = 0; number < BATCHES; number++) {
    say(`sent ${number} 0`);
    const put = db
      .put(number, Buffer.alloc(200 + (number % 50) * 100, number))
      .then(() => say(`acked ${number}`));
    underWay.push(put);
    await (underWay.length > MOST_UNDER_WAY ? underWay.shift() : setTimeout(1));
  }
  await db.flushed;
  await db.close();
}

if (mode === "engine") await new Load().run();
else await runRaw(mode === "raw-overlapping");
