/**
 * Does it stay as it is? Two questions to an engine in process on LMDB, whose clock is that of the events; what is due by
 * that clock (sealing, retention, the hourly comparison with the log) is done when it is due.
 *
 * Memory: ten days with the same blogs and viewers each day. After the first days, when every name has been seen and
 * caches (8 MiB each here) are full, it should not grow: own memory of the process (without pages of the store's file,
 * which are mapped and can be taken back), JavaScript's heap, and buffers beside it, all after a collection.
 *
 * Cost: the same number of events, over the same hours, into a store with ten times the blogs and into one with ten
 * times the history, beside one with neither, in turn. An event should cost the same but for the cells that it does not
 * share: with more blogs there are more of these, which is printed too. Each round ends with a checkpoint, so that what
 * its events cause is paid within it. CPU of all threads, because that does not wait for the disk or the neighbours.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine } from "../engine/api.js";
import { createEngine } from "../engine/index.js";
import { openLmdb } from "../storage/lmdb.js";
import { EventClock } from "./event-clock.js";
import { mebibytes, median, print, row, rowText } from "./figures.js";
import { createWorkload, toBatches, W1_START_MS, type Workload } from "./workload.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BATCH = 1000;
/** Batches under way at once, as with eight connections. */
const IN_FLIGHT = 8;

const DAYS = 10;
/** After these memory is to be flat. */
const SETTLED_AFTER_DAYS = 4;
const BAR_GROWTH = 1.1;
const STEADY = { events: 100_000 * DAYS, spanMs: DAYS * DAY_MS, blogs: 2000, authors: 400, viewers: 50_000 };

const BLOGS = 10_000;
const ROUNDS = 5;
/** As densely as in W1. */
const ROUND_EVENTS = 100_000;
const ROUND_MS = HOUR_MS;
/** Within what an event may be late by. */
const ROUNDS_START_MS = W1_START_MS + 20 * DAY_MS;
const HISTORY_DAYS = 2;
/** Of a day. */
const HISTORY_EVENTS = 40_000;
const BAR_COST = 1.3;

/** So small that they are full after the first days. Bytes. */
const CACHE = 8 * 2 ** 20;

/** Of one event. */
interface Cost {
  readonly micros: number;
  readonly cells: number;
}

/** An engine, its clock and its folder. */
class Subject {
  readonly #clock: EventClock;
  readonly #folder: string;
  readonly #engine: Engine;

  private constructor(engine: Engine, clock: EventClock, folder: string) {
    this.#engine = engine;
    this.#clock = clock;
    this.#folder = folder;
  }

  static async open(startMs: number): Promise<Subject> {
    const clock = new EventClock(startMs);
    const folder = mkdtempSync(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-steady-"));
    const storage = await openLmdb(folder, { cacheBytes: CACHE });
    const engine = await createEngine({ storage, scheduler: clock, maxCacheBytes: CACHE });
    return new Subject(engine, clock, folder);
  }

  /** µs of CPU for each event, and the cells that they made in the store. */
  async take(workload: Workload): Promise<Cost> {
    const batches = toBatches(workload, BATCH);
    const before = this.#cells();
    const cpu = process.cpuUsage();
    for (let i = 0; i < batches.length; i += IN_FLIGHT) {
      const together = batches.slice(i, i + IN_FLIGHT);
      this.#clock.advanceTo(Math.max(...together.flatMap(({ ts }) => Array.from(ts))));
      await Promise.all(together.map((batch) => this.#engine.ingestBatch(batch)));
    }
    await this.#engine.checkpoint();
    const { user, system } = process.cpuUsage(cpu);
    return {
      micros: (user + system) / workload.count,
      cells: (this.#cells() - before) / workload.count,
    };
  }

  #cells(): number {
    return this.#engine.storage().tiers.reduce((sum, { cells }) => sum + cells, 0);
  }

  async close(): Promise<void> {
    await this.#engine.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

type Memory = Readonly<Record<"own" | "heap" | "external" | "buffers", number>>;

/** Bytes, after a collection. Own are pages that are no file's (proc(5)). */
function memoryNow(): Memory {
  globalThis.gc!();
  const { heapUsed: heap, external, arrayBuffers: buffers } = process.memoryUsage();
  const kibibytes = /RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return { own: Number(kibibytes) * 1024, heap, external, buffers };
}

async function memoryByDay(): Promise<void> {
  const subject = await Subject.open(W1_START_MS);
  const next = createWorkload(STEADY);
  const days: Memory[] = [];
  row(`${STEADY.blogs} blogs, ${STEADY.viewers} viewers`, "own", "heap", "external", "buffers");
  for (let day = 1; day <= DAYS; day++) {
    await subject.take(next(STEADY.events / DAYS));
    const memory = memoryNow();
    days.push(memory);
    row(`day ${day}`, ...Object.values(memory).map(mebibytes));
  }
  await subject.close();
  const growth = (of: keyof Memory): number => days.at(-1)![of] / days[SETTLED_AFTER_DAYS - 1]![of];
  const [own, heap] = [growth("own"), growth("heap")];
  print(
    `day ${DAYS} beside day ${SETTLED_AFTER_DAYS}: own ${own.toFixed(2)}, heap ${heap.toFixed(2)} times ` +
      `(bar ≤ ${BAR_GROWTH}: ${Math.max(own, heap) <= BAR_GROWTH ? "held" : "missed"})`,
    { own_growth: own, heap_growth: heap },
  );
}

/** A store with so many days of history, all of which end where the rounds begin. */
async function withHistory(days: number, blogs: number): Promise<Subject> {
  const startMs = ROUNDS_START_MS - days * DAY_MS;
  const subject = await Subject.open(startMs);
  const names = { blogs, authors: blogs / 5 };
  const next = createWorkload({ ...names, events: days * HISTORY_EVENTS, startMs, spanMs: days * DAY_MS });
  for (let day = 0; day < days; day++) await subject.take(next(HISTORY_EVENTS));
  return subject;
}

function rounds(blogs: number): (count: number) => Workload {
  const [events, spanMs] = [ROUNDS * ROUND_EVENTS, ROUNDS * ROUND_MS];
  return createWorkload({ blogs, authors: blogs / 5, events, startMs: ROUNDS_START_MS, spanMs, seed: 2 });
}

async function costs(): Promise<void> {
  const kinds = [
    { name: "10,000 blogs, 2 days of history", days: HISTORY_DAYS, blogs: BLOGS },
    { name: "ten times the blogs", days: HISTORY_DAYS, blogs: 10 * BLOGS },
    { name: "ten times the history", days: 10 * HISTORY_DAYS, blogs: BLOGS },
  ];
  const subjects: Subject[] = [];
  for (const { days, blogs } of kinds) subjects.push(await withHistory(days, blogs));
  const nexts = kinds.map(({ blogs }) => rounds(blogs));
  const found: Cost[][] = kinds.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, subject] of subjects.entries()) {
      found[i]!.push(await subject.take(nexts[i]!(ROUND_EVENTS)));
    }
  }
  for (const subject of subjects) await subject.close();
  row("of an event", "µs of CPU", "ratio", "cells", "ratio", `bar ${BAR_COST}`);
  for (const [i, { name }] of kinds.entries()) {
    const of = (what: keyof Cost): number => median(found[i]!.map((cost) => cost[what]));
    const ratio = (what: keyof Cost): number =>
      median(found[i]!.map((cost, round) => cost[what] / found[0]![round]![what]));
    const verdict = ratio("micros") <= BAR_COST ? "held" : "missed";
    const cells = (["micros", "cells"] as const).flatMap((what) => [of(what), ratio(what)]);
    print(rowText(name, [...cells.map((value) => value.toFixed(2)), i === 0 ? "" : verdict]), {
      [`${name} µs`]: of("micros"),
      [`${name} ratio`]: ratio("micros"),
    });
  }
}

await memoryByDay();
print();
await costs();
