import type { IngestOptions } from "../../engine/index.js";
import type { WorldOptions } from "../simulation/world.js";
import type { SegmentLimits } from "../../storage/segment-plan.js";
import type { PlainEvent } from "../support/oracle.js";
import { mulberry32 } from "../support/random.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Two days before New York falls back. */
export const START_MS = Date.parse("2026-10-30T22:41:07Z");

export const OPTIONS: WorldOptions = {
  homeZones: ["America/New_York"],
  maxLatenessMs: 30 * DAY_MS,
  maxSkewMs: 5 * MINUTE_MS,
  dedupeWindowMs: 20 * HOUR_MS,
  allowedLatenessMs: MINUTE_MS,
  maxHotCells: 400,
  maxReplayEvents: 15,
  retention: { raw: 8 * DAY_MS, quarter: 10 * DAY_MS, hour: 20 * DAY_MS, day: 100 * DAY_MS },
};

/** So small that the log is compacted, and segments are given up, all the time. */
export const SEGMENTS: SegmentLimits = { events: 150, records: 40, bytes: 1024 * 1024, spanMs: 7 * DAY_MS };

export interface Batch {
  readonly number: number;
  readonly sentAt: number;
  readonly events: readonly PlainEvent[];
  readonly options: IngestOptions;
}

const OFFSETS_MS = [0, 0, -MINUTE_MS, -20 * MINUTE_MS, -3 * HOUR_MS, -26 * HOUR_MS];
const IMPORTED_MS = -45 * DAY_MS;

/**
 * The batch of this number, sent at this instant: the same to whoever asks. Each is one blog of its own, so that its
 * events can be counted apart, and has a key, or an id in every event, or both: its retry must not count.
 */
export function makeBatch(number: number, sentAt: number): Batch {
  const random = mulberry32(number + 1);
  const hasKey = number % 3 !== 0;
  const hasIds = number % 3 !== 1;
  const backfill = number % 7 === 6;
  const size = 1 + Math.floor(random() * (number % 10 === 0 ? 30 : 6));
  const events = Array.from({ length: size }, (_, i): PlainEvent => {
    const offset = OFFSETS_MS[Math.floor(random() * OFFSETS_MS.length)]! + (backfill ? IMPORTED_MS : 0);
    return {
      type: random() < 0.1 ? "created" : "view",
      ts: sentAt + offset,
      blog: `blog-${number}`,
      author: `author-${number % 5}`,
      ...(random() < 0.8 ? { country: `c${Math.floor(random() * 4)}` } : {}),
      ...(random() < 0.9 ? { viewer: `viewer-${Math.floor(random() * 200)}` } : {}),
      ...(hasIds ? { id: `event-${number}-${i}` } : {}),
    };
  });
  const options = {
    ...(hasKey ? { idempotencyKey: `key-${number}` } : {}),
    ...(backfill ? { backfill } : {}),
  };
  return { number, sentAt, events, options };
}

/** What a process has said in its marks up to some step. */
export class Marks {
  /** Batch number → when it was sent. */
  readonly sent = new Map<number, number>();
  readonly acknowledged = new Set<number>();
  /** The clock of the process. */
  nowMs = START_MS;
  /** Directory of the store, below the root. */
  store = "store";
  /** Every other line. */
  readonly said: string[] = [];
  #rest = "";

  /** Takes what was written to the marks, which may end within a line. */
  read(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) this.#readLine(line);
  }

  #readLine(line: string): void {
    const [kind, number, at] = line.split(" ");
    if (kind === "sent") this.sent.set(Number(number), (this.nowMs = Number(at)));
    else if (kind === "acked") this.acknowledged.add(Number(number));
    else if (kind === "now") this.nowMs = Number(number);
    else if (kind === "store") this.#begin(number!);
    else this.said.push(line);
  }

  /** From here on it is about another store. */
  #begin(store: string): void {
    this.store = store;
    this.sent.clear();
    this.acknowledged.clear();
  }
}
