/**
 * A process whose disk fails (trace.c):
 *   node --import tsx test/power-loss/faulty-child.ts sync|write|torn <root> <errno> <times> <from> <step>
 * For k = from, from + step, … the same small scenario on a new store, with its k-th sync or write failing; until one ends
 * without having met its fault. Says in `<root>/marks` what it sent, what was acknowledged, and what went wrong.
 */
import { openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { createEngine, type Engine, type TidemarkError } from "../../engine/index.js";
import { openLmdb } from "../../storage/lmdb.js";
import { Clock, turn } from "../support/clock.js";
import { makeBatch, OPTIONS, SEGMENTS, START_MS, type Batch } from "./workload.js";

const [kind, root, errno, times, from, step] = process.argv.slice(2);
const marks = openSync(`${root}/marks`, "a");

const BATCHES = 7;
const MOST_FAULTS = 1000;
/** After so many attempts in the running engine it is opened anew. */
const ATTEMPTS = 30;
const MOST_OPENINGS = 60;
const BACK_OFF_MS = 5000;
const HOUR_MS = 3_600_000;

/** What may be said while the disk fails. */
const HONEST: ReadonlySet<unknown> = new Set(["storage-failed", "storage-full", "not-ready", "overloaded"]);

function say(line: string): void {
  writeSync(marks, `${line}\n`);
}

process.on("unhandledRejection", (reason) => {
  say(`unhandled ${String(reason)}`);
  process.exitCode = 1;
});

class Scenario {
  readonly #store: string;
  #clock = new Clock(START_MS);
  #engine!: Engine;
  #restarts = 0;
  #isNew = true;
  #opening: Promise<void> | undefined;

  constructor(store: string) {
    this.#store = store;
  }

  /** Six batches, some side by side; seals, checkpoints, a close and an opening. */
  async run(): Promise<void> {
    await this.#open();
    await Promise.all([this.#insist(0), this.#insist(1)]);
    await this.#insist(2);
    await this.#insistOn(() => this.#engine.checkpoint());
    await this.#clock.advance(HOUR_MS);
    await Promise.all([this.#insist(3), this.#insist(4)]);
    await this.#clock.advance(HOUR_MS);
    await this.#insist(5);
    await this.#reopen();
    await this.#insist(BATCHES - 1);
    await this.#engine.close().catch(honest);
    say(`restarts ${this.#restarts}`);
  }

  async #open(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (attempt > MOST_OPENINGS) throw new Error(`${this.#store} cannot be opened any more`);
      this.#clock = this.#clock.fork();
      try {
        const storage = await openLmdb(this.#store, { segments: SEGMENTS });
        this.#engine = await createEngine({ ...OPTIONS, storage, scheduler: this.#clock.scheduler });
        return;
      } catch (error) {
        this.#failedOpening(error);
      }
    }
  }

  /** Of a store that was never written whole nothing can be expected. */
  #failedOpening(error: unknown): void {
    const { code } = error as TidemarkError;
    if (code === "storage-damaged" && this.#restarts === 0 && this.#isNew)
      rmSync(this.#store, { recursive: true });
    else honest(error);
  }

  /** Once, whoever asks meanwhile. */
  async #reopen(): Promise<void> {
    this.#opening ??= this.#engine
      .close()
      .catch(honest)
      .then(() => this.#open())
      .finally(() => (this.#opening = undefined));
    await this.#opening;
  }

  async #insist(number: number): Promise<void> {
    const batch = makeBatch(number, this.#clock.now());
    this.#isNew = false;
    say(`sent ${number} ${batch.sentAt}`);
    await this.#insistOn(() => this.#post(batch));
    say(`acked ${number}`);
  }

  async #post({ number, events, options }: Batch): Promise<void> {
    const { accepted, duplicate, durable } = await this.#engine.ingest(events, options);
    if (accepted + duplicate !== events.length || !durable) throw new Error(`${number} was not accepted`);
  }

  /** Again and again, while virtual time passes; after a while with a new engine. */
  async #insistOn(work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#opening;
        await work();
        return;
      } catch (error) {
        honest(error);
      }
      await this.#clock.advance(BACK_OFF_MS);
      // Real work on a real disk: it takes its time.
      await setTimeout(1);
      await turn();
      if (attempt % ATTEMPTS !== 0) continue;
      this.#restarts++;
      await this.#reopen();
    }
  }
}

/** The answer to "!none" is in the trace: "=counted <syncs> <writes> <was the fault met?>". */
function wasMet(): boolean {
  const answers = readFileSync(process.env["TRACE_FILE"]!, "latin1").match(/=counted \d+ \d+ \d/g);
  return answers!.at(-1)!.endsWith("1");
}

function honest(error: unknown): void {
  if (!HONEST.has((error as TidemarkError).code)) throw error;
}

for (let k = Number(from); k < MOST_FAULTS; k += Number(step)) {
  const store = `store-${k}`;
  say(`store ${store}`);
  say(`!${kind} ${k} ${errno} ${times}`);
  await new Scenario(`${root}/${store}`).run();
  say("!none");
  say(`ended ${store}`);
  if (!wasMet()) break;
}
say("done");
