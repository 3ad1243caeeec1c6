/**
 * Bytes of a cell: what W1 takes in the store, per rollup and grain, sketch and key included, and what its open
 * quarters take in memory, index included. Why: the title of the seed is *compressive* time series, and memory bounds
 * how many blogs one process serves. The bytes of a cell should follow its distinct viewers (28 bits each, up to 5.8 KB),
 * not its views; those of a rollup whose dimensions are the first of another one's should all but vanish.
 *
 * Then what reading costs: a whole block (a ranking), and one key of each hour in turn (a series).
 *
 *   TIDEMARK_BENCH_EVENTS=1000000 (default 5,000,000 over the same rate per hour)
 */
import { toBlocks } from "../engine/hot/block.js";
import { CellTable } from "../engine/hot/cell-table.js";
import { Fold } from "../engine/hot/fold.js";
import { Interner } from "../engine/hot/interner.js";
import { mergeBlocks } from "../engine/hot/merge-blocks.js";
import { defineSchema } from "../engine/schema.js";
import type { CellBlock } from "../engine/store.js";
import { decodeBlock, decodeRow, encodeBlock, encodeBlocks } from "../storage/block-codec.js";
import { MAX_CODED_BYTES, encodeRegisters } from "../storage/registers.js";
import { W1_START_MS, generate, toBatches, type Workload } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 5_000_000);
const HOUR_MS = 3_600_000;
const HOURS = Math.max(1, Math.round((48 * EVENTS) / 5_000_000));
/** Events are late by up to two hours: a quarter is complete after so many hours. */
const LATE_HOURS = 3;
const BATCH = 1000;
/** A table younger than this says little about the bytes of a cell. */
const LEAST_CELLS = 10_000;
const RUNS = 5;
const GRAINS = ["quarter", "hour", "day"] as const;

type Grain = (typeof GRAINS)[number];

/** Cells and bytes of one rollup in one grain. */
interface Size {
  cells: number;
  stored: number;
  alone: number;
}

const schema = defineSchema();
const sizes = new Map<string, Size>();
const registers = { sketches: 0, bytes: 0, most: 0 };
const hot = { samples: 0, sum: 0, most: 0, final: 0, finals: 0 };

function print(what: string, ...figures: string[]): void {
  process.stdout.write(`${what.padEnd(36)}${figures.map((figure) => ` ${figure}`.padStart(16)).join("")}\n`);
}

/** Encodes the blocks of one bucket and keeps count of what they take. */
function weigh(grain: Grain, blocks: readonly CellBlock[]): Uint8Array[] {
  const encoded = encodeBlocks(blocks);
  blocks.forEach((block, i) => {
    const name = `${grain} ${block.rollup}`;
    const size = sizes.get(name) ?? { cells: 0, stored: 0, alone: 0 };
    sizes.set(name, size);
    size.cells += block.count;
    size.stored += encoded[i]!.length;
    const isDerived = encoded[i]!.length < 40;
    size.alone += isDerived ? encodeBlock(block).length : encoded[i]!.length;
    if (isDerived || grain !== "hour") return;
    const room = new Uint8Array(MAX_CODED_BYTES);
    for (const dense of block.dense.values()) {
      const bytes = encodeRegisters(dense, room, 0);
      registers.sketches++;
      registers.bytes += bytes;
      registers.most = Math.max(registers.most, bytes);
    }
  });
  return encoded;
}

function merged(parts: readonly (readonly CellBlock[])[]): CellBlock[] {
  return schema.rollups.flatMap(({ id }) => {
    const blocks = parts.flatMap((part) => part.filter((block) => block.rollup === id));
    return blocks.length === 0 ? [] : [mergeBlocks(blocks)];
  });
}

function slice(workload: Workload, from: number, to: number): Workload {
  const { ts, blog, author, country, viewer } = workload;
  const [cut, end] = [from, Math.min(to, workload.count)];
  return {
    count: end - cut,
    ts: ts.subarray(cut, end),
    blog: blog.subarray(cut, end),
    author: author.subarray(cut, end),
    country: country.subarray(cut, end),
    viewer: viewer.subarray(cut, end),
  };
}

/** The hours of W1: their blocks' bytes, and the blocks of the first one. */
function fold(): { hours: Uint8Array[][]; blocks: CellBlock[]; day: CellBlock[] } {
  const workload = generate({ events: EVENTS, spanMs: HOURS * HOUR_MS });
  const interners = schema.dimensions.map(() => new Interner(Number.MAX_SAFE_INTEGER));
  const loop = new Fold(schema);
  const tables = new Map<number, CellTable>();
  const hours: Uint8Array[][] = [];
  const first: CellBlock[][] = [];
  let day: CellBlock[][] = [];
  const perHour = Math.ceil(EVENTS / HOURS);
  for (let hour = 0; hour < HOURS + LATE_HOURS; hour++) {
    for (const batch of toBatches(slice(workload, hour * perHour, (hour + 1) * perHour), BATCH)) {
      const ids = batch.values.map((values, d) =>
        Uint32Array.from([0, ...values.map((value) => interners[d]!.intern(value))]),
      );
      loop.fold(batch, ids, (quarterMs) => {
        const table = tables.get(quarterMs) ?? new CellTable(schema.maxArity);
        tables.set(quarterMs, table);
        return table;
      });
      sampleHot(tables);
    }
    const blocks = closeHour(tables, W1_START_MS + (hour - LATE_HOURS) * HOUR_MS);
    if (blocks.length === 0) continue;
    hours.push(weigh("hour", blocks));
    if (first.length === 0) first.push(blocks);
    day.push(blocks);
    if (day.length === 24 || hours.length === HOURS) {
      const whole = merged(day);
      weigh("day", whole);
      first[1] ??= whole;
      day = [];
    }
  }
  return { hours, blocks: first[0]!, day: first[1]! };
}

/** Takes the quarters of an hour out of memory; returns the hour. */
function closeHour(tables: Map<number, CellTable>, hourMs: number): CellBlock[] {
  const quarters: CellBlock[][] = [];
  for (const [quarterMs, table] of tables) {
    if (quarterMs - (quarterMs % HOUR_MS) !== hourMs) continue;
    hot.final += table.sizeBytes;
    hot.finals += table.count;
    quarters.push(toBlocks(table, schema));
    tables.delete(quarterMs);
    weigh("quarter", quarters.at(-1)!);
  }
  return merged(quarters);
}

/** All quarters that are open: those of the last hours that may still get late events. */
function sampleHot(tables: ReadonlyMap<number, CellTable>): void {
  let bytes = 0;
  let cells = 0;
  for (const table of tables.values()) {
    bytes += table.sizeBytes;
    cells += table.count;
  }
  if (cells < LEAST_CELLS) return;
  hot.samples++;
  hot.sum += bytes / cells;
  hot.most = Math.max(hot.most, bytes / cells);
}

function printSizes(): void {
  print("bytes per cell, as stored", ...GRAINS);
  for (const { id, name } of schema.rollups) {
    const cells = GRAINS.map((grain) => sizes.get(`${grain} ${id}`)!);
    print(`  ${name}`, ...cells.map((size) => perCell([size], "stored")));
  }
  const all = GRAINS.map((grain) => schema.rollups.map(({ id }) => sizes.get(`${grain} ${id}`)!));
  print("  all six", ...all.map((list) => perCell(list, "stored")));
  print("  all six, none derived", ...all.map((list) => perCell(list, "alone")));
  print("  cells", ...all.map((list) => sum(list, "cells").toLocaleString("en")));
  const hour = sum(all[1]!, "stored") / sum(all[1]!, "cells");
  print("hourly cell", `${hour.toFixed(2)} B`, hour <= 12 ? "(bar ≤ 12: held)" : "(bar ≤ 12: MISSED)");
  const mean = registers.bytes / registers.sketches;
  const held = registers.most <= 5950 ? "(bar ≤ 5,950: held)" : "(bar ≤ 5,950: MISSED)";
  print("dense sketch of an hour", `mean ${mean.toFixed(0)} B`, `most ${registers.most} B`, held);
}

function sum(list: readonly Size[], what: keyof Size): number {
  return list.reduce((total, size) => total + size[what], 0);
}

function perCell(list: readonly Size[], what: "stored" | "alone"): string {
  return `${(sum(list, what) / sum(list, "cells")).toFixed(2)} B`;
}

/** Median CPU microseconds of one call, over `RUNS` runs after one to warm up. */
function microseconds(work: () => unknown, calls: number): number {
  const times: number[] = [];
  for (let run = 0; run <= RUNS; run++) {
    const begun = process.cpuUsage();
    for (let call = 0; call < calls; call++) work();
    const { user, system } = process.cpuUsage(begun);
    if (run > 0) times.push((user + system) / calls);
  }
  return times.sort((a, b) => a - b)[RUNS >>> 1]!;
}

function printReads(name: string, blocks: readonly CellBlock[]): void {
  const encoded = encodeBlocks(blocks);
  const bytesOf = (rollup: number): Uint8Array | undefined =>
    encoded[blocks.findIndex((block) => block.rollup === rollup)];
  print(`${name}, CPU ns per row`, "rows", "encode", "decode", "decode derived");
  for (const [i, block] of blocks.entries()) {
    const alone = encodeBlock(block);
    const calls = Math.max(1, Math.round(20_000 / block.count));
    const ns = (work: () => unknown): string => ((microseconds(work, calls) * 1000) / block.count).toFixed(0);
    print(
      `  ${schema.rollups[block.rollup]!.name}`,
      block.count.toLocaleString("en"),
      ns(() => encodeBlock(block)),
      ns(() => decodeBlock(alone, "It")),
      encoded[i]!.length < 40 ? ns(() => decodeBlock(encoded[i]!, "It", bytesOf)) : "",
    );
  }
}

/** One key over all hours: every hundredth key of the first one. */
function printSeries(hours: readonly Uint8Array[][], blocks: readonly CellBlock[]): void {
  print("one key over time, CPU µs a bucket", "as stored", "none derived");
  for (const block of blocks) {
    const { rollup, arity, count, keys } = block;
    const step = Math.max(1, Math.floor(count / 100));
    const wanted = Array.from({ length: Math.ceil(count / step) }, (_, i) =>
      keys.slice(i * step * arity, (i * step + 1) * arity),
    );
    const place = (hour: Uint8Array[], id: number): Uint8Array | undefined =>
      hour.find((bytes) => bytes[2] === id);
    const series = (stored: readonly Uint8Array[][]): string => {
      let next = 0;
      const read = (): void => {
        const key = wanted[next++ % wanted.length]!;
        for (const hour of stored) decodeRow(place(hour, rollup)!, key, "It", (id) => place(hour, id));
      };
      return (microseconds(read, 20) / stored.length).toFixed(1);
    };
    const alone = hours.slice(0, 12).map((hour) => {
      const bytes = place(hour, rollup)!;
      return bytes.length < 40 ? [encodeBlock(decodeBlock(bytes, "It", (id) => place(hour, id)))] : [bytes];
    });
    print(`  ${schema.rollups[rollup]!.name}`, series(hours), series(alone));
  }
}

const { hours, blocks, day } = fold();
process.stdout.write(`W1: ${EVENTS.toLocaleString("en")} events over ${HOURS} h\n`);
printSizes();
print(
  "in memory, open quarters, per cell",
  `${(hot.sum / hot.samples).toFixed(1)} B`,
  `most ${hot.most.toFixed(1)} B`,
  `full ${(hot.final / hot.finals).toFixed(1)} B`,
  hot.sum / hot.samples <= 60 ? "(bar ≤ 60: held)" : "(bar ≤ 60: MISSED)",
);
printReads("an hour", blocks);
printReads("a day", day);
printSeries(hours, blocks);
