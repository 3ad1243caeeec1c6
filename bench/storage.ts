/**
 * The storage: appends to the log on a real disk, one at a time and in group commits; the log record's and the cell
 * block's codec; a block read from LMDB and from the cache. Why: an acknowledgement waits for the disk, a start waits
 * for the log to be decoded, a query waits for blocks. The cost should grow with the bytes of what is written or read,
 * not with how much lies there already: the last line of appends goes to a log that has all the others in it.
 *
 *   TIDEMARK_BENCH_DIR=/data (default: the system's temporary directory; it must be on the disk in question)
 */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CellTable } from "../engine/hot/cell-table.js";
import { toBlocks } from "../engine/hot/block.js";
import { Fold } from "../engine/hot/fold.js";
import { FIRST_VALUE_ID, Interner } from "../engine/hot/interner.js";
import type { EventBatch } from "../engine/log.js";
import { defineSchema } from "../engine/schema.js";
import type { CellBlock, Storage } from "../engine/store.js";
import { decodeBlock, decodeRow, encodeBlock } from "../storage/block-codec.js";
import { openLmdb } from "../storage/lmdb.js";
import { decodeRecord, encodeRecord } from "../storage/log-codec.js";
import { generate, toBatches, W1_START_MS } from "./workload.js";

const EVENTS_PER_HOUR = 104_000;
const RUNS = 5;
const schema = defineSchema();

function print(what: string, ...figures: string[]): void {
  process.stdout.write(`${what.padEnd(46)}${figures.map((figure) => figure.padStart(16)).join("")}\n`);
}

const million = (value: number): string => `${(value / 1e6).toFixed(2)} M/s`;

/** Median CPU seconds of one call, over `RUNS` runs after one to warm up: others may use the machine meanwhile. */
function secondsOf(work: () => unknown, calls = 1): number {
  const seconds: number[] = [];
  for (let run = 0; run <= RUNS; run++) {
    const begun = process.cpuUsage();
    for (let call = 0; call < calls; call++) work();
    const { user, system } = process.cpuUsage(begun);
    if (run > 0) seconds.push((user + system) / 1e6 / calls);
  }
  return seconds.sort((a, b) => a - b)[RUNS >>> 1]!;
}

/** The hour blocks of all rollups for W1 over so many hours. */
function blocksOf(hours: number): CellBlock[] {
  const workload = generate({ events: EVENTS_PER_HOUR * hours, spanMs: 3_600_000 * hours });
  const interners = schema.dimensions.map(() => new Interner(Number.MAX_SAFE_INTEGER));
  const table = new CellTable(schema.maxArity);
  const fold = new Fold(schema);
  for (const batch of toBatches(workload, 10_000)) {
    const ids = batch.values.map((values, d) =>
      Uint32Array.from([0, ...values.map((value) => interners[d]!.intern(value))]),
    );
    fold.fold(batch, ids, () => table);
  }
  if (interners[0]!.size < FIRST_VALUE_ID) throw new Error("BUG: a workload without blogs");
  return toBlocks(table, schema);
}

async function appendAll(storage: Storage, batches: readonly EventBatch[], inFlight: number): Promise<void> {
  const latencies: number[] = [];
  let next = 0;
  let events = 0;
  const begun = performance.now();
  const connection = async (): Promise<void> => {
    while (next < batches.length) {
      const batch = batches[next++]!;
      const sent = performance.now();
      await storage.log.append({ receivedAt: W1_START_MS, events: batch });
      latencies.push(performance.now() - sent);
      events += batch.count;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, connection));
  const seconds = (performance.now() - begun) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): string =>
    `${latencies[Math.floor(share * (latencies.length - 1))]!.toFixed(1)} ms`;
  const size = batches[0]!.count.toLocaleString("en");
  print(
    `append, ${size} event${batches[0]!.count === 1 ? "" : "s"} a record, ${inFlight} in flight`,
    `${Math.round(batches.length / seconds).toLocaleString("en")} rec/s`,
    million(events / seconds),
    `p50 ${at(0.5)}`,
    `p99 ${at(0.99)}`,
  );
}

function codecs(batches: readonly EventBatch[], sizes: readonly (readonly [string, CellBlock[]])[]): void {
  const records = batches.map((events) => ({ receivedAt: W1_START_MS, events }));
  const encoded = records.map((record, i) => encodeRecord(i, record));
  const events = batches.reduce((sum, { count }) => sum + count, 0);
  const bytes = encoded.reduce((sum, { length }) => sum + length, 0);
  const encode = secondsOf(() => records.forEach((record, i) => encodeRecord(i, record)));
  const decode = secondsOf(() => encoded.forEach((record, i) => decodeRecord(i, record)));
  print("log record of 1,000 events: encode, decode", million(events / encode), million(events / decode));
  print("  with its values", `${(bytes / events).toFixed(1)} B/event`);
  for (const [period, blocks] of sizes) {
    for (const block of blocks) {
      const stored = encodeBlock(block);
      const write = secondsOf(() => encodeBlock(block));
      const read = secondsOf(() => decodeBlock(stored, "It"));
      const key = block.keys.slice(0, block.arity);
      const find = secondsOf(() => decodeRow(stored, key, "It"), 100);
      print(
        `${period} of ${schema.rollups[block.rollup]!.name}: ${block.count.toLocaleString("en")} rows`,
        million(block.count / write),
        million(block.count / read),
        `${(stored.length / block.count).toFixed(1)} B/row`,
        `${(find * 1e6).toFixed(0)} µs/key`,
      );
    }
  }
}

async function reads(directory: string, blocks: readonly CellBlock[]): Promise<void> {
  const address = { calendar: "UTC", grain: "hour", startMs: W1_START_MS } as const;
  for (const cacheBytes of [0, 128 * 1024 * 1024]) {
    const storage = await openLmdb(directory, { cacheBytes });
    const { store } = storage;
    if (store.generation() === 0) {
      const state = { generation: 1, position: 0, watermark: 0, sealedUntil: {}, dedupeFrom: 0 };
      const meta = { schema: "", ...state, reach: {}, incomplete: [] };
      const buckets = [{ address, head: { revision: 0, position: 0 }, blocks }];
      await store.commit({ meta, buckets, values: [], remembered: [], removed: [], revisions: [] });
    }
    const times = blocks.map(({ rollup }) => secondsOf(() => store.block(address, rollup), 20) * 1e6);
    const name = cacheBytes === 0 ? "block() from LMDB" : "block() from the cache";
    for (const [i, { rollup }] of blocks.entries()) {
      print(`${name}, hour of ${schema.rollups[rollup]!.name}`, `${times[i]!.toFixed(1)} µs`);
    }
    print("generation()", `${(secondsOf(() => store.generation(), 10_000) * 1e6).toFixed(2)} µs`);
    await storage.close();
  }
}

async function replay(directory: string): Promise<void> {
  const begun = performance.now();
  const storage = await openLmdb(directory);
  const opened = performance.now();
  let events = 0;
  for await (const { record } of storage.log.read(1)) events += record.events.count;
  const seconds = (performance.now() - opened) / 1000;
  print(
    `open, then read the whole log of ${storage.log.head.toLocaleString("en")} records`,
    `${(opened - begun).toFixed(0)} ms`,
    million(events / seconds),
  );
  await storage.close();
}

const parent = await mkdtemp(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-bench-"));
try {
  const thousands = toBatches(generate({ events: 1_000_000 }), 1000);
  const singles = toBatches(generate({ events: 2000 }), 1);
  const directory = join(parent, "log");
  const storage = await openLmdb(directory);
  await appendAll(storage, singles.slice(0, 300), 1);
  await appendAll(storage, singles, 64);
  await appendAll(storage, thousands.slice(0, 200), 1);
  await appendAll(storage, thousands, 8);
  await appendAll(storage, thousands, 8);
  await storage.close();
  const { size } = await stat(join(directory, "data.mdb"));
  print("  file after all of them", `${(size / 2_202_300).toFixed(1)} B/event`);
  await replay(directory);
  const hour = blocksOf(1);
  codecs(thousands, [
    ["hour", hour],
    ["day", blocksOf(24)],
  ]);
  await reads(join(parent, "blocks"), hour);
} finally {
  await rm(parent, { recursive: true, force: true });
}
