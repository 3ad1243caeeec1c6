/**
 * W1, the workload of all ingest benchmarks: view events over 48 h, 10,000 blogs Zipf(1.05), 2,000 authors (each
 * blog has one), 200 countries Zipf(1.2), 1,000,000 viewers Zipf(0.8) who are at home in one country 95 % of the
 * time; ordered but for a jitter of 5 s, and 0.5 % late by up to 2 h. Seeded: the same numbers give the same events.
 *
 * W2, that of the queries: 27,000,000 of them over 180 days (bench/history.ts makes a store of it).
 */
import { FLAG_VIEWER, type EventBatch } from "../engine/log.js";
import { hashText } from "../engine/sketch/murmur3.js";

export interface WorkloadOptions {
  readonly events: number;
  readonly seed?: number;
  readonly startMs?: number;
  readonly spanMs?: number;
  readonly blogs?: number;
  readonly authors?: number;
  readonly countries?: number;
  readonly viewers?: number;
}

/** One event a row, as small numbers; names are made from them on demand. */
export interface Workload {
  readonly count: number;
  readonly ts: Float64Array;
  readonly blog: Uint32Array;
  readonly author: Uint32Array;
  readonly country: Uint32Array;
  readonly viewer: Uint32Array;
}

const HOUR_MS = 3_600_000;
export const W1_START_MS = 1_767_225_600_000;

/** mulberry32: small, fast, good enough for drawing workloads. Numbers in [0, 1). */
export function createRng(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Draws ranks 0 … n − 1 with probability ∝ 1 / (rank + 1)^exponent (Walker's alias method: O(1) a draw). */
export function createZipf(n: number, exponent: number, rng: () => number): () => number {
  const scaled = Float64Array.from({ length: n }, (_, rank) => 1 / (rank + 1) ** exponent);
  const sum = scaled.reduce((a, b) => a + b, 0);
  const alias = new Uint32Array(n);
  const small: number[] = [];
  const large: number[] = [];
  for (let i = 0; i < n; i++) {
    scaled[i] = (scaled[i]! * n) / sum;
    (scaled[i]! < 1 ? small : large).push(i);
  }
  while (small.length > 0 && large.length > 0) {
    const low = small.pop()!;
    const high = large.at(-1)!;
    alias[low] = high;
    scaled[high]! -= 1 - scaled[low]!;
    if (scaled[high]! < 1) small.push(large.pop()!);
  }
  for (const rest of [...small, ...large]) scaled[rest] = 1;
  return () => {
    const i = Math.floor(rng() * n);
    return rng() < scaled[i]! ? i : alias[i]!;
  };
}

export function generate(options: WorkloadOptions): Workload {
  return createWorkload(options)(options.events);
}

/** The same events in parts: each call gives the next `count` of them, in order. */
export function createWorkload(options: WorkloadOptions): (count: number) => Workload {
  const { events, seed = 1, startMs = W1_START_MS, spanMs = 48 * HOUR_MS } = options;
  const { blogs = 10_000, authors = 2_000, countries = 200, viewers = 1_000_000 } = options;
  const rng = createRng(seed);
  const drawBlog = createZipf(blogs, 1.05, rng);
  const drawCountry = createZipf(countries, 1.2, rng);
  const drawViewer = createZipf(viewers, 0.8, rng);
  const authorOf = Uint32Array.from({ length: blogs }, () => Math.floor(rng() * authors));
  const homeOf = Uint32Array.from({ length: viewers }, () => drawCountry());
  let made = 0;
  return (count) => {
    const workload = emptyWorkload(count);
    for (let i = 0; i < count; i++, made++) {
      const late = rng() < 0.005 ? rng() * 2 * HOUR_MS : rng() * 5000;
      workload.ts[i] = Math.max(startMs, Math.floor(startMs + (made / events) * spanMs - late));
      workload.blog[i] = drawBlog();
      workload.author[i] = authorOf[workload.blog[i]!]!;
      workload.viewer[i] = drawViewer();
      workload.country[i] = rng() < 0.95 ? homeOf[workload.viewer[i]!]! : drawCountry();
    }
    return workload;
  };
}

function emptyWorkload(count: number): Workload {
  return {
    count,
    ts: new Float64Array(count),
    blog: new Uint32Array(count),
    author: new Uint32Array(count),
    country: new Uint32Array(count),
    viewer: new Uint32Array(count),
  };
}

/** Decoded batches of `size` events, as `engine.ingestBatch` takes them (dimensions blog, author, country). */
export function toBatches(workload: Workload, size: number): EventBatch[] {
  const batches: EventBatch[] = [];
  const hash = new Uint32Array(2);
  for (let from = 0; from < workload.count; from += size) {
    const to = Math.min(from + size, workload.count);
    const columns = [workload.blog, workload.author, workload.country].map((column) =>
      column.subarray(from, to),
    );
    const dictionaries = columns.map((column, d) => localDictionary(column, "bac"[d]!));
    const viewerLo = new Uint32Array(to - from);
    const viewerHi = new Uint16Array(to - from);
    for (let row = 0; row < to - from; row++) {
      hashText(`u${workload.viewer[from + row]}`, hash, 0);
      viewerLo[row] = hash[0]!;
      viewerHi[row] = hash[1]!;
    }
    batches.push({
      count: to - from,
      flags: new Uint8Array(to - from).fill(FLAG_VIEWER),
      ts: workload.ts.slice(from, to),
      dims: dictionaries.map(({ indexes }) => indexes),
      values: dictionaries.map(({ values }) => values),
      viewerLo,
      viewerHi,
    });
  }
  return batches;
}

/** NDJSON bodies of `size` events each, about 100 bytes an event. */
export function toNdjson(workload: Workload, size: number): Uint8Array[] {
  const encoder = new TextEncoder();
  const bodies: Uint8Array[] = [];
  for (let from = 0; from < workload.count; from += size) {
    let text = "";
    for (let i = from; i < Math.min(from + size, workload.count); i++) {
      text += `{"type":"view","ts":${workload.ts[i]},"blog":"b${workload.blog[i]}","author":"a${workload.author[i]}",`;
      text += `"country":"c${workload.country[i]}","viewer":"u${workload.viewer[i]}"}\n`;
    }
    bodies.push(encoder.encode(text));
  }
  return bodies;
}

function localDictionary(column: Uint32Array, prefix: string): { indexes: Uint32Array; values: string[] } {
  const known = new Map<number, number>();
  const values: string[] = [];
  const indexes = Uint32Array.from(column, (value) => {
    let index = known.get(value);
    if (index === undefined) known.set(value, (index = values.push(`${prefix}${value}`)));
    return index;
  });
  return { indexes, values };
}
