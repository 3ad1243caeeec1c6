/**
 * What a peer's rollup tables hold, worked out of the same events: views and a HyperLogLog of the viewers by hour and
 * day. The sketches have the peers' own exact form up to 1,280 viewers (EXPLICIT) and the same precision beyond,
 * which is what `hll` makes of the same insertions.
 */
import { HyperLogLog } from "../../engine/sketch/hyperloglog.js";
import { encodeEmpty } from "../../engine/sketch/codec.js";
import { hashText } from "../../engine/sketch/murmur3.js";
import type { History } from "../history.js";
import { createWorkload, type Workload } from "../workload.js";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** Hourly rows are made of this much of the end of the history, ms. */
const HOURLY_FOR_MS = 30 * DAY_MS;
/** No event is later than this, ms. */
const LATEST_MS = 2 * HOUR_MS;

/** log2m 14, 5 bits, explicit by itself, sparse allowed: `hll(14, 5, -1, 1)`. */
const EMPTY = encodeEmpty({ log2m: 14, regwidth: 5, explicitThreshold: -1, sparse: true });

export interface Row {
  readonly table: "blog_hour" | "blog_day" | "country_day" | "total_day";
  /** Start of the hour or day, ms. */
  readonly startMs: number;
  /** Number of the blog or country; 0 for the total. */
  readonly key: number;
  readonly views: number;
  readonly sketch: Uint8Array;
}

/** Viewers of the events of one period, by key: key · 2^20 + viewer, one number an event. */
type Visits = number[];

const VIEWER_SPAN = 2 ** 20;

/** Every row, by time. */
export function* rollups(history: History): Generator<Row> {
  const { workload } = history;
  const hashes = viewerHashes(workload.viewers ?? 1_000_000);
  const next = createWorkload(workload);
  const perDay = Math.ceil(workload.events / (workload.spanMs / DAY_MS));
  const endMs = workload.startMs + workload.spanMs;
  const pending = new Pending();
  for (let made = 0; made < workload.events;) {
    const part = next(Math.min(perDay, workload.events - made));
    made += part.count;
    pending.add(part, endMs - HOURLY_FOR_MS);
    const until = made < workload.events ? part.ts.at(-1)! - LATEST_MS : Infinity;
    for (const [table, startMs, visits] of pending.take(until)) yield* rowsOf(table, startMs, visits, hashes);
  }
}

/** Periods that events may still come for. */
class Pending {
  readonly #tables: Record<Row["table"], Map<number, Visits>> = {
    blog_hour: new Map(),
    blog_day: new Map(),
    country_day: new Map(),
    total_day: new Map(),
  };

  add(part: Workload, hourlyFrom: number): void {
    for (let i = 0; i < part.count; i++) {
      const viewer = part.viewer[i]!;
      const ms = part.ts[i]!;
      const day = ms - (ms % DAY_MS);
      if (ms >= hourlyFrom) this.#add("blog_hour", ms - (ms % HOUR_MS), part.blog[i]!, viewer);
      this.#add("blog_day", day, part.blog[i]!, viewer);
      this.#add("country_day", day, part.country[i]!, viewer);
      this.#add("total_day", day, 0, viewer);
    }
  }

  *take(until: number): Generator<readonly [Row["table"], number, Visits]> {
    for (const [table, periods] of Object.entries(this.#tables) as [Row["table"], Map<number, Visits>][]) {
      const lengthMs = table === "blog_hour" ? HOUR_MS : DAY_MS;
      for (const [startMs, visits] of periods) {
        if (startMs + lengthMs > until) continue;
        periods.delete(startMs);
        yield [table, startMs, visits];
      }
    }
  }

  #add(table: Row["table"], startMs: number, key: number, viewer: number): void {
    const periods = this.#tables[table];
    const visits = periods.get(startMs);
    if (visits === undefined) periods.set(startMs, [key * VIEWER_SPAN + viewer]);
    else visits.push(key * VIEWER_SPAN + viewer);
  }
}

function* rowsOf(table: Row["table"], startMs: number, visits: Visits, hashes: Uint32Array): Generator<Row> {
  const sorted = Float64Array.from(visits).sort();
  for (let from = 0, to = 0; from < sorted.length; from = to) {
    const key = Math.floor(sorted[from]! / VIEWER_SPAN);
    const sketch = HyperLogLog.fromBytes(EMPTY);
    for (; to < sorted.length && sorted[to]! < (key + 1) * VIEWER_SPAN; to++) {
      if (to > from && sorted[to] === sorted[to - 1]) continue;
      const viewer = sorted[to]! % VIEWER_SPAN;
      sketch.addHashParts(hashes[2 * viewer]!, hashes[2 * viewer + 1]!);
    }
    yield { table, startMs, key, views: to - from, sketch: sketch.toBytes() };
  }
}

/** Two words for each viewer. */
function viewerHashes(viewers: number): Uint32Array {
  const hashes = new Uint32Array(2 * viewers);
  for (let viewer = 0; viewer < viewers; viewer++) hashText(`u${viewer}`, hashes, 2 * viewer);
  return hashes;
}
