/** Builds disk images from a trace, opens each, and says what is wrong with it. A bad image may end this process. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { open as openRaw } from "lmdb";
import { createEngine, type Engine, type TidemarkError } from "../../engine/index.js";
import { openLmdb } from "../../storage/lmdb.js";
import { checkAsk, checkStored, equal, type Ask } from "../simulation/check.js";
import { Clock } from "../support/clock.js";
import { Oracle } from "../support/oracle.js";
import { readTrace, TracedDisk, type Loss, type Step } from "./disk.js";
import { makeBatch, Marks, OPTIONS, type Batch } from "./workload.js";
import { mulberry32 } from "../support/random.js";

export interface Job {
  readonly number: number;
  /** So many steps of the trace have happened when the power goes. */
  readonly step: number;
  readonly loss: Loss;
  readonly seed: number;
}

export interface Assignment {
  readonly trace: string;
  /** A directory of this worker's own. */
  readonly scratch: string;
  readonly mode: "engine" | "raw" | "raw-overlapping";
  /** Ascending by step. */
  readonly jobs: readonly Job[];
}

export interface Outcome {
  readonly number: number;
  /** Undefined: begun. Empty: good. */
  readonly error?: string;
}

const STORED_CHECK_EVERY = 10;
const RETRIES = 6;
const ALL: Ask = {
  from: Date.parse("2026-08-01T00:00:00Z"),
  to: Date.parse("2027-08-01T00:00:00Z"),
  zone: "UTC",
};
const ASKS: readonly Ask[] = [
  { ...ALL, groupBy: ["blog"] },
  { ...ALL, zone: "America/New_York", grain: "day" },
  { ...ALL, grain: "hour", groupBy: ["country"] },
  { ...ALL, zone: "America/New_York", grain: "month", groupBy: ["author"] },
  { ...ALL, zone: "Asia/Kathmandu", grain: "day" },
];

async function work({ trace, scratch, mode, jobs }: Assignment): Promise<void> {
  const steps = readTrace(trace);
  const disk = new TracedDisk(steps);
  const marks = new Marks();
  let position = 0;
  for (const job of jobs) {
    report({ number: job.number });
    disk.advance(job.step);
    for (; position < job.step; position++) readMark(marks, steps[position]!);
    const random = mulberry32(job.seed);
    const image = disk.image(`${marks.store}/data.mdb`, job.loss, random);
    const hot = disk.image(`${marks.store}/tidemark.image`, job.loss, random);
    const check = mode === "engine" ? checkEngine : checkRaw;
    const error = await check({ image, hot, scratch, marks, mode, seed: job.seed }).catch((e: unknown) =>
      textOf(e),
    );
    report({ number: job.number, error: error ?? "" });
  }
}

export function readMark(marks: Marks, { type, data }: Step): void {
  if (type === "M") marks.read(data.toString());
}

interface Case {
  readonly image: Buffer | undefined;
  /** The image of the hot cells. */
  readonly hot: Buffer | undefined;
  readonly scratch: string;
  readonly marks: Marks;
  readonly mode: string;
  readonly seed: number;
}

async function checkEngine({ image, hot, scratch, marks, seed }: Case): Promise<void> {
  const path = `${scratch}/image`;
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { mode: 0o700 });
  if (image !== undefined) writeFileSync(`${path}/data.mdb`, image);
  if (hot !== undefined) writeFileSync(`${path}/tidemark.image`, hot);
  const storage = await openLmdb(path, { cacheBytes: 1 << 20 }).catch((error: unknown) => {
    // Power that goes while the first pages of a new store are written: refused, but nothing was ever in it.
    if (marks.sent.size > 0 || (error as TidemarkError).code !== "storage-damaged") throw error;
  });
  if (storage === undefined) return;
  const { scheduler } = new Clock(marks.nowMs);
  const engine = await createEngine({ ...OPTIONS, storage, scheduler });
  try {
    const oracle = await judge(engine, marks, seed);
    const quartersFrom = storage.store.meta()?.reach["UTC quarter"];
    for (let i = 0; i < 2; i++) checkAsk(engine, oracle, ASKS[(seed + i) % ASKS.length]!, quartersFrom);
    if (seed % STORED_CHECK_EVERY === 0 && oracle.accepted.length > 0) {
      await engine.checkpoint();
      // What was written while a tier was given up goes with the next retention.
      await engine.retain();
      checkStored(engine, storage.store, oracle);
      checkAsk(engine, oracle, ASKS[1]!, storage.store.meta()?.reach["UTC quarter"]);
    }
  } finally {
    await engine.close();
  }
}

/** Acknowledged: there, once. Sent only: there or not. Retries then make all of them one. */
async function judge(engine: Engine, marks: Marks, seed: number): Promise<Oracle> {
  const sent = [...marks.sent].map(([number, sentAt]) => makeBatch(number, sentAt));
  const counted = countByBlog(engine);
  for (const { number, events } of sent) {
    const found = counted.get(`blog-${number}`) ?? 0;
    const isGood = found === events.length || (found === 0 && !marks.acknowledged.has(number));
    if (!isGood) {
      const said = marks.acknowledged.has(number) ? "acknowledged" : "sent";
      throw new Error(`batch ${number}, ${said}: ${found} of ${events.length} events are there`);
    }
    counted.delete(`blog-${number}`);
  }
  equal([...counted.keys()], [], "blogs that nobody sent");
  await retry(engine, sent, marks, seed);
  const oracle = new Oracle({ maxLatenessMs: Infinity, maxSkewMs: Infinity, dedupeWindowMs: Infinity });
  for (const { events, sentAt } of sent) oracle.take(events, sentAt, true);
  return oracle;
}

async function retry(engine: Engine, sent: readonly Batch[], marks: Marks, seed: number): Promise<void> {
  const isRecent = ({ sentAt }: Batch): boolean => marks.nowMs - sentAt < OPTIONS.dedupeWindowMs!;
  const known = sent.filter((batch) => marks.acknowledged.has(batch.number) && isRecent(batch));
  const random = mulberry32(seed ^ 0x5eed);
  const again = Array.from(
    { length: Math.min(RETRIES, known.length) },
    () => known[Math.floor(random() * known.length)]!,
  );
  for (const batch of [...sent.filter(({ number }) => !marks.acknowledged.has(number)), ...again]) {
    const { accepted, duplicate } = await engine.ingest(batch.events, batch.options);
    equal(accepted + duplicate, batch.events.length, `events of batch ${batch.number}, sent again`);
  }
}

function countByBlog(engine: Engine): Map<string, number> {
  const metrics = ["views", "blogs_created"] as const;
  const { results } = engine.queryNow({ date_range: "all", dimensions: ["blog"], metrics, limit: 100_000 });
  return new Map(results.map(({ dimensions, metrics }) => [dimensions[0]!, metrics[0]! + metrics[1]!]));
}

async function checkRaw({ image, scratch, marks, mode }: Case): Promise<void> {
  const path = `${scratch}/raw`;
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  if (image !== undefined) writeFileSync(`${path}/data.mdb`, image);
  const overlappingSync = mode === "raw-overlapping";
  const db = openRaw<Buffer, number>({ path, noSubdir: false, overlappingSync, encoding: "binary" });
  try {
    for (const number of marks.acknowledged) {
      const expected = Buffer.alloc(200 + (number % 50) * 100, number);
      if (!expected.equals(db.getBinary(number) ?? Buffer.alloc(0))) throw new Error(`key ${number} is lost`);
    }
  } finally {
    await db.close();
  }
}

function textOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return `${code === undefined ? "" : `${code}: `}${message ?? String(error)}`;
}

function report(outcome: Outcome): void {
  process.send!(outcome);
}

process.on("message", (assignment: Assignment) => {
  void work(assignment).then(() => process.disconnect());
});
