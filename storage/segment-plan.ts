/** Which records become one segment: the same rule for every log. */
import type { Position } from "../engine/log.js";

/** How much of the log's tail becomes one segment. */
export interface SegmentLimits {
  /** Events from which on packing is worth it, and the most that one segment has (but one record may have more). */
  readonly events: number;
  /** As `events`: a segment's table of records, and the keys of the tail, which opening looks at, stay small. */
  readonly records: number;
  /** As `events`, bytes of the records as they were appended: what packing holds in memory. */
  readonly bytes: number;
  /** Most time between the receipt of the first and the last record, ms: a segment is given up as a whole. */
  readonly spanMs: number;
}

/** bench/raw.ts has the sizes and speeds of other numbers of events. */
export const SEGMENT_LIMITS: SegmentLimits = {
  events: 1_000_000,
  records: 65_536,
  bytes: 64 * 1024 * 1024,
  spanMs: 7 * 86_400_000,
};

/** What the plan has to know of a record. */
export interface TailRecord {
  readonly receivedAt: number;
  readonly events: number;
  readonly bytes: number;
}

/**
 * The end of the next segment, which begins at `from`; `from` when the records before `end` are too few to be packed
 * as yet. All of `[from, end)` must be there.
 */
export function nextSegment(
  from: Position,
  end: Position,
  recordAt: (position: Position) => TailRecord,
  limits: SegmentLimits,
): Position {
  let events = 0;
  let bytes = 0;
  let cut: Position | undefined;
  const begun = from < end ? recordAt(from).receivedAt : 0;
  for (let position = from; position < end; position++) {
    const record = recordAt(position);
    events += record.events;
    bytes += record.bytes;
    const fits =
      events <= limits.events &&
      bytes <= limits.bytes &&
      Math.abs(record.receivedAt - begun) <= limits.spanMs;
    if (!fits && cut === undefined) cut = Math.max(position, from + 1);
    const records = position + 1 - from;
    if (events >= limits.events || records >= limits.records || bytes >= limits.bytes) {
      return cut ?? position + 1;
    }
  }
  return from;
}
