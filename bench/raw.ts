/**
 * The raw tier: what an event of W1 takes in the log's tail, in segments of several sizes and by column, and how fast
 * segments are written and read. Why: the raw events are most of what Tidemark stores, and everything else can be made
 * from them again. The bar is 0.65 of what Parquet takes for the same columns (time, type, blog, author, country,
 * 64-bit hash of the viewer), sorted by time, with zstd at level 19, written by DuckDB in the same run.
 *
 * DuckDB is no dependency: without it that line is left out.
 *   npm i --no-save @duckdb/node-api@1.5.5-r.5
 *   TIDEMARK_BENCH_EVENTS=1000000 (default: 5,000,000)
 *   TIDEMARK_BENCH_DIR=/data (default: the system's temporary directory)
 */
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashText } from "../engine/sketch/murmur3.js";
import type { EventBatch, LogRecord } from "../engine/log.js";
import { openLmdb } from "../storage/lmdb.js";
import { decodeRecord, encodeRecord } from "../storage/log-codec.js";
import { SegmentBuilder } from "../storage/segment-builder.js";
import { encodeSegment, type EncodedSegment } from "../storage/segment-encoder.js";
import { decodeHeader } from "../storage/segment-format.js";
import { SegmentReader } from "../storage/segment-reader.js";
import { generate, toBatches, W1_START_MS, type Workload } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 5_000_000);
const BATCH = 1000;
const SEGMENT_SIZES = [131_072, 524_288, 1_000_000, 2_000_000];
/** Events over which the sizes of segments are compared. */
const COMPARED = Math.min(EVENTS, 2_000_000);
const HOUR_MS = 3_600_000;

function print(what: string, ...figures: string[]): void {
  process.stdout.write(`${what.padEnd(58)}${figures.map((figure) => figure.padStart(15)).join("")}\n`);
}

const million = (value: number): string => `${(value / 1e6).toFixed(2)} M/s`;
const perEvent = (bytes: number, events: number): string => `${(bytes / events).toFixed(3)} B/event`;

interface Measured<T> {
  readonly result: T;
  readonly cpuSeconds: number;
  /** One step in 100 takes longer. */
  readonly p99Ms: number;
}

/** CPU time of the main thread, ms, where the system tells: others may use the machine meanwhile. */
function mainThreadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "latin1").split(" ")[0]) / 1e6;
  } catch {
    return performance.now();
  }
}

/** Does all steps. CPU time of all threads, but for the steps: that of the main thread. */
function measure<T>(work: Generator<unknown, T>, bySteps = true): Measured<T> {
  const steps: number[] = [0];
  const begun = process.cpuUsage();
  for (;;) {
    const stepBegun = bySteps ? mainThreadMs() : 0;
    const step = work.next();
    if (bySteps) steps.push(mainThreadMs() - stepBegun);
    if (step.done !== true) continue;
    const total = process.cpuUsage(begun);
    steps.sort((a, b) => a - b);
    return {
      result: step.value,
      cpuSeconds: (total.user + total.system) / 1e6,
      p99Ms: steps[Math.floor(0.99 * (steps.length - 1))]!,
    };
  }
}

function slice(workload: Workload, from: number, to: number): Workload {
  const { ts, blog, author, country, viewer } = workload;
  return {
    count: to - from,
    ts: ts.subarray(from, to),
    blog: blog.subarray(from, to),
    author: author.subarray(from, to),
    country: country.subarray(from, to),
    viewer: viewer.subarray(from, to),
  };
}

/** Received when the last of its events happened. */
function recordsOf(batches: readonly EventBatch[]): LogRecord[] {
  return batches.map((events) => ({ receivedAt: Math.max(...events.ts), events }));
}

function* segmentOf(stored: readonly Uint8Array[], events: number): Generator<unknown, EncodedSegment> {
  const builder = new SegmentBuilder(1, events);
  for (const [i, bytes] of stored.entries()) yield* builder.add(decodeRecord(i + 1, bytes));
  return yield* encodeSegment(builder.take());
}

function* readAll({ header, sections }: EncodedSegment): Generator<unknown, number> {
  const reader = new SegmentReader(decodeHeader(1, header), (section) => sections[section]!);
  let events = 0;
  for (let block = 0; block < reader.header.blocks.length; block++) {
    for (const entry of reader.entries(block)) {
      events += entry?.record.events.count ?? 0;
      yield;
    }
  }
  return events;
}

function sizeOf({ header, sections }: EncodedSegment): number {
  return sections.reduce((sum, { length }) => sum + length, header.length);
}

const storedOf = (records: readonly LogRecord[]): Uint8Array[] =>
  records.map((record, i) => encodeRecord(i + 1, record));

/** Segments of one size over the same events. */
function compareSize(workload: Workload, size: number): void {
  let [bytes, write, read, longest, readLongest, events] = [0, 0, 0, 0, 0, 0];
  globalThis.gc?.();
  for (let from = 0; from + size <= COMPARED; from += size) {
    const stored = storedOf(recordsOf(toBatches(slice(workload, from, from + size), BATCH)));
    const written = measure(segmentOf(stored, size));
    const segment = written.result;
    const back = measure(readAll(segment));
    if (back.result !== size) throw new Error(`BUG: ${back.result} events of ${size}`);
    bytes += sizeOf(segment);
    events += size;
    write += written.cpuSeconds;
    read += back.cpuSeconds;
    longest = Math.max(longest, written.p99Ms);
    readLongest = Math.max(readLongest, back.p99Ms);
  }
  if (events === 0) return;
  print(
    `segments of ${size.toLocaleString("en")} events: size, write, read`,
    perEvent(bytes, events),
    million(events / write),
    million(events / read),
  );
  print(
    "  99 % of the steps take less CPU than",
    "",
    `${longest.toFixed(1)} ms`,
    `${readLongest.toFixed(1)} ms`,
  );
}

/** What each column adds to a segment that has those before it. */
function columns(workload: Workload): void {
  const size = Math.min(EVENTS, 1_000_000);
  const whole = slice(workload, 0, size);
  const constant = new Uint32Array(size);
  const start = new Float64Array(size).fill(W1_START_MS);
  const none = { ...whole, ts: start, blog: constant, author: constant, country: constant };
  const steps: readonly (readonly [what: string, workload: Workload, viewers: boolean])[] = [
    ["records and header", none, false],
    ["time", { ...none, ts: whole.ts }, false],
    ["blog", { ...none, ts: whole.ts, blog: whole.blog }, false],
    ["author, given the blog", { ...whole, country: constant }, false],
    ["viewer, 48 bits of the hash", { ...whole, country: constant }, true],
    ["country, given the viewer", whole, true],
  ];
  let before = 0;
  for (const [what, part, hasViewers] of steps) {
    const batches = toBatches(part, BATCH).map((batch) => (hasViewers ? batch : withoutViewers(batch)));
    const bytes = sizeOf(measure(segmentOf(storedOf(recordsOf(batches)), size)).result);
    print(`  ${what}`, perEvent(bytes - before, size));
    before = bytes;
  }
}

function withoutViewers(batch: EventBatch): EventBatch {
  const { count } = batch;
  return {
    ...batch,
    flags: new Uint8Array(count),
    viewerLo: new Uint32Array(count),
    viewerHi: new Uint16Array(count),
  };
}

function tails(workload: Workload): void {
  const size = Math.min(EVENTS, 1_000_000);
  const stored = storedOf(recordsOf(toBatches(slice(workload, 0, size), BATCH)));
  const bytes = stored.reduce((sum, { length }) => sum + length, 0);
  const { cpuSeconds } = measure(
    (function* (): Generator<undefined, void> {
      for (const [i, one] of stored.entries()) {
        decodeRecord(i + 1, one);
        yield;
      }
    })(),
  );
  print(
    `tail, ${BATCH.toLocaleString("en")} events a record: size, read`,
    perEvent(bytes, size),
    "",
    million(size / cpuSeconds),
  );
  const singles = storedOf(recordsOf(toBatches(slice(workload, 0, 65_536), 1)));
  const single = singles.reduce((sum, { length }) => sum + length, 0);
  print("tail, 1 event a record", perEvent(single, singles.length));
  const segment = measure(segmentOf(singles, singles.length), false);
  const read = measure(readAll(segment.result), false);
  print(
    "  a segment of 65,536 of them: size, write, read",
    perEvent(sizeOf(segment.result), singles.length),
    million(singles.length / segment.cpuSeconds),
    million(singles.length / read.cpuSeconds),
  );
}

/** All events through the log in LMDB. Returns the bytes of its segments and tail. */
async function log(workload: Workload, directory: string): Promise<number> {
  const { log, close } = await openLmdb(directory).then((storage) => ({
    log: storage.log,
    close: () => storage.close(),
  }));
  for (let from = 0; from < EVENTS; from += 200_000) {
    const batches = toBatches(slice(workload, from, Math.min(from + 200_000, EVENTS)), BATCH);
    await Promise.all(recordsOf(batches).map((record) => log.append(record)));
  }
  const pauses = watchPauses();
  const begun = process.cpuUsage();
  await log.compact(log.head + 1);
  const { user, system } = process.cpuUsage(begun);
  const { longestMs, p999Ms } = pauses.stop();
  const { segments, tail } = log.sizes();
  print(
    `compact ${segments.events.toLocaleString("en")} events into ${segments.count} segments in LMDB`,
    perEvent(segments.bytes, segments.events),
    million(segments.events / ((user + system) / 1e6)),
  );
  print(
    "  turns of the event loop, CPU: longest, 1 in 1,000",
    `${longestMs.toFixed(0)} ms`,
    `${p999Ms.toFixed(1)} ms`,
  );
  await timed("  read all", () => log.read(1));
  await timed("  read the claims of all", () => log.claims(1));
  const middle = W1_START_MS + Math.floor((EVENTS / 5e6) * 24) * HOUR_MS;
  await timed("  read one hour in the middle", () => log.readRange(middle, middle + HOUR_MS));
  await close();
  const opened = performance.now();
  const again = await openLmdb(directory, { verify: "never" });
  print(`  open again`, `${(performance.now() - opened).toFixed(0)} ms`);
  await again.close();
  return segments.bytes + tail.bytes;
}

async function timed(what: string, read: () => AsyncIterable<unknown>): Promise<void> {
  const begun = process.cpuUsage();
  let records = 0;
  for await (const _ of read()) records++;
  const { user, system } = process.cpuUsage(begun);
  print(what, `${records.toLocaleString("en")} records`, `${((user + system) / 1000).toFixed(0)} ms CPU`);
}

interface Pauses {
  readonly longestMs: number;
  readonly p999Ms: number;
}

function watchPauses(): { stop(): Pauses } {
  const pauses: number[] = [];
  let last = mainThreadMs();
  let isOn = true;
  const look = (): void => {
    const now = mainThreadMs();
    pauses.push(now - last);
    last = now;
    if (isOn) setImmediate(look);
  };
  setImmediate(look);
  return {
    stop() {
      isOn = false;
      pauses.sort((a, b) => a - b);
      return { longestMs: pauses.at(-1)!, p999Ms: pauses[Math.floor(0.999 * (pauses.length - 1))]! };
    },
  };
}

async function writeCsv(workload: Workload, path: string): Promise<void> {
  const out = createWriteStream(path);
  const hash = new Uint32Array(2);
  let text = "";
  for (let i = 0; i < workload.count; i++) {
    hashText(`u${workload.viewer[i]}`, hash, 0);
    const viewer = (BigInt(hash[1]!) << 32n) | BigInt(hash[0]!);
    text += `${workload.ts[i]},view,b${workload.blog[i]},a${workload.author[i]},c${workload.country[i]},${viewer}\n`;
    if (text.length < 1 << 20) continue;
    if (!out.write(text)) await once(out, "drain");
    text = "";
  }
  out.end(text);
  await once(out, "finish");
}

/** As much of DuckDB as is used here. */
interface DuckDb {
  readonly DuckDBInstance: {
    create(path: string): Promise<{ connect(): Promise<{ run(sql: string): Promise<unknown> }> }>;
  };
}

/** Bytes of the Parquet file; undefined when DuckDB is not here. */
async function parquet(workload: Workload, directory: string): Promise<number | undefined> {
  const name = "@duckdb/node-api";
  const duckdb = await import(name).then(
    (module) => module as DuckDb,
    () => undefined,
  );
  if (duckdb === undefined) return undefined;
  const csv = join(directory, "w1.csv");
  const file = join(directory, "w1.parquet");
  await writeCsv(workload, csv);
  const connection = await (await duckdb.DuckDBInstance.create(":memory:")).connect();
  const types =
    "{'ts': 'BIGINT', 'type': 'VARCHAR', 'blog': 'VARCHAR', 'author': 'VARCHAR', 'country': 'VARCHAR', 'viewer': 'UBIGINT'}";
  await connection.run(
    `COPY (SELECT * FROM read_csv('${csv}', header = false, columns = ${types}) ORDER BY ts)
     TO '${file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)`,
  );
  return (await stat(file)).size;
}

const directory = await mkdtemp(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-raw-"));
try {
  const workload = generate({ events: EVENTS, spanMs: (48 * HOUR_MS * EVENTS) / 5e6 });
  tails(workload);
  for (const size of SEGMENT_SIZES) compareSize(workload, size);
  print("what a column adds to a segment of 1,000,000 events");
  columns(workload);
  const raw = await log(workload, join(directory, "log"));
  print("raw, all of it", perEvent(raw, EVENTS));
  const other = await parquet(workload, directory);
  if (other === undefined) print("Parquet was left out: @duckdb/node-api is not installed");
  else {
    print("Parquet, zstd 19, by time", perEvent(other, EVENTS));
    print("raw / Parquet (the bar is 0.65)", (raw / other).toFixed(3));
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
