/** What opening learns of a log: its bounds, its segments' headers, its tail's keys. */
import type { Position } from "../engine/log.js";
import type { Environment } from "./environment.js";
import { damaged } from "./errors.js";
import { logKey, metaKey, positionOf } from "./keys.js";
import { peekRecord } from "./log-codec.js";
import { decodeInstant } from "./segment-format.js";
import { SegmentIndex } from "./segment-index.js";
import { TailIndex } from "./segment-tail.js";
import { decodeNumber } from "./store-codec.js";

/** Position up to which everything was given up; absent before the first `trim`. */
export const FIRST_KEY = metaKey("log-first");
/** Position up to which everything is in segments, or a gap; absent before the first segment. */
export const COMPACTED_KEY = metaKey("log-compacted");
/** `EventLog.completeFrom`; absent before the first `trim`. */
export const COMPLETE_KEY = metaKey("log-complete");

/** Beyond all positions. */
const END = Number.MAX_SAFE_INTEGER;

export interface OpenedLog {
  readonly first: Position;
  readonly head: Position;
  readonly completeFrom: number;
  readonly segments: SegmentIndex;
  readonly tail: TailIndex;
}

/** Throws `storage-damaged` when a record of the tail is missing, unless holes are tolerated. */
export function openLog(environment: Environment, tolerateHoles: boolean): OpenedLog {
  const { meta } = environment;
  const first = storedNumber(environment, FIRST_KEY, 1);
  const compacted = Math.max(first, storedNumber(environment, COMPACTED_KEY, first));
  const complete = environment.get(meta, COMPLETE_KEY);
  const completeFrom =
    complete === undefined ? -Infinity : decodeInstant(COMPLETE_KEY, complete, "The log's complete part");
  const segments = new SegmentIndex(environment, first, compacted);
  const tail = new TailIndex(compacted);
  const head = readTail(environment, segments, tail, tolerateHoles);
  return { first, head, completeFrom, segments, tail };
}

function storedNumber(environment: Environment, key: Uint8Array, absent: number): number {
  const stored = environment.get(environment.meta, key);
  return stored === undefined ? absent : decodeNumber(key, stored, "The log's bounds");
}

/** Returns the newest position. */
function readTail(
  environment: Environment,
  segments: SegmentIndex,
  tail: TailIndex,
  tolerateHoles: boolean,
): Position {
  const { log } = environment;
  const keys = environment.keys(log, logKey(0), logKey(END));
  let isWhole = keys.length === log.getKeysCount();
  let next = tail.first;
  const skipGaps = (): void => {
    for (let gap = segments.gapAt(next); gap !== undefined; gap = segments.gapAt(next)) next = gap.to;
  };
  skipGaps();
  for (const key of keys) {
    const position = positionOf(key);
    // It is in a segment, and the process ended before it was removed from here.
    if (position < tail.first) continue;
    isWhole &&= position === next;
    tail.found(position, rowOf(environment, position, key));
    next = position + 1;
    skipGaps();
  }
  if (!isWhole && !tolerateHoles) {
    throw damaged("The event log", `does not have all records from ${tail.first} on`);
  }
  return next - 1;
}

function rowOf(
  environment: Environment,
  position: Position,
  key: Uint8Array,
): { receivedAt: number; events: number; bytes: number } {
  const bytes = environment.get(environment.log, key)!;
  try {
    return { ...peekRecord(position, bytes), bytes: bytes.length };
  } catch {
    // Whoever reads it will find out.
    return { receivedAt: 0, events: 0, bytes: bytes.length };
  }
}
