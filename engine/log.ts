/**
 * The EventLog port: durable, ordered, replayable. It is the seam on which a cluster will stand: everything the
 * engine knows is a deterministic function of this log, and nothing else may know which log it is.
 */

import type { QuarantineChange } from "./quarantine-port.js";

/** A place in the log: 1 for the first record, then without gaps. 0 is "before the first". */
export type Position = number;

/** `EventBatch.flags`: the event is a *blog created*, not a *blog viewed*. */
export const FLAG_CREATED = 1;
/** `EventBatch.flags`: the event has a viewer. */
export const FLAG_VIEWER = 2;
/** `EventBatch.flags`: the event has an id of its own. */
export const FLAG_ID = 4;

/**
 * Decoded events as flat columns of `count` rows, self-contained: dimension values are indexes into the batch's
 * own dictionaries, so that a record depends on no other state.
 */
export interface EventBatch {
  readonly count: number;
  readonly flags: Uint8Array;
  /** Event time, ms since the epoch, UTC; whole numbers. */
  readonly ts: Float64Array;
  /** Per dimension: 0 = absent, k = `values[dimension][k - 1]`. */
  readonly dims: readonly Uint32Array[];
  /** Per dimension: the distinct values of this batch, in order of first appearance. */
  readonly values: readonly (readonly string[])[];
  /** Bits 0–31 of the viewer's hash; 0 without `FLAG_VIEWER`. */
  readonly viewerLo: Uint32Array;
  /** Bits 32–47 of the viewer's hash. 48 bits are kept: enough for every register at p = 14. */
  readonly viewerHi: Uint16Array;
  /** The 64-bit hash of the event's id; absent when no event of the batch has one. */
  readonly idLo?: Uint32Array;
  readonly idHi?: Uint32Array;
}

/** The claim of a retried batch, written with it. */
export interface BatchClaim {
  readonly key: string;
  /** 64-bit hash of the body, 16 hexadecimal digits. */
  readonly bodyHash: string;
  /** The first reply, as JSON, to be given again. */
  readonly reply: string;
}

export interface LogRecord {
  /** ms since the epoch, by the engine's clock. */
  readonly receivedAt: number;
  readonly events: EventBatch;
  readonly claim?: BatchClaim;
  /** Sent as an import of history. */
  readonly backfill?: boolean;
}

export interface LogEntry {
  readonly position: Position;
  readonly record: LogRecord;
}

/** What one record claims. */
export interface LogClaims {
  readonly position: Position;
  readonly receivedAt: number;
  readonly claim?: BatchClaim;
  /** The 64-bit hashes of those events that have an id, in their order. */
  readonly idLo: Uint32Array;
  readonly idHi: Uint32Array;
}

/** What a record claims, taken from the record itself. */
export function claimsOf(position: Position, { receivedAt, claim, events }: LogRecord): LogClaims {
  return { position, receivedAt, ...idsOf(events), ...(claim === undefined ? {} : { claim }) };
}

/** The ids of those events that have one. */
export function idsOf({ flags, count, idLo, idHi }: EventBatch): { idLo: Uint32Array; idHi: Uint32Array } {
  let ids = 0;
  if (idLo !== undefined) for (let i = 0; i < count; i++) if ((flags[i]! & FLAG_ID) !== 0) ids++;
  const low = new Uint32Array(ids);
  const high = new Uint32Array(ids);
  let at = 0;
  for (let i = 0; at < ids; i++) {
    if ((flags[i]! & FLAG_ID) === 0) continue;
    low[at] = idLo![i]!;
    high[at++] = idHi![i]!;
  }
  return { idLo: low, idHi: high };
}

/** The first and the last time of a batch's events; of one without events: +∞ and −∞. */
export function timesOf({ ts, count }: EventBatch): { least: number; greatest: number } {
  let least = Infinity;
  let greatest = -Infinity;
  for (let i = 0; i < count; i++) {
    const time = ts[i]!;
    if (time < least) least = time;
    if (time > greatest) greatest = time;
  }
  return { least, greatest };
}

/** Records that damage took. */
export interface LogGap {
  /** Positions `[from, to)`. */
  readonly from: Position;
  readonly to: Position;
  /** Their events lay in `[fromMs, toMs)`; infinite where nobody knows. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface EventLog {
  /** Position of the newest record that is durable; 0 when the log is empty. */
  readonly head: Position;
  /** Position of the oldest record still held; `head + 1` when there is none. */
  readonly first: Position;
  /**
   * Appends one record. Positions follow the order of the calls. Resolves, in that order, once the record is on
   * disk; a rejection means that it is *unknown* whether the record will be found later, and that the log takes
   * no more records until it is opened again. What changes in the quarantine is written in the same transaction.
   */
  append(record: LogRecord, quarantine?: QuarantineChange): Promise<Position>;
  /**
   * Every event at or after this instant (event time, ms) that was ever appended is still held, but for `gaps`;
   * −Infinity when nothing was given up.
   */
  readonly completeFrom: number;
  /** What damage took, ascending. */
  gaps(): readonly LogGap[];
  /**
   * Entries from `from` on, ascending, up to the head at the time of the call, gaps left out. A record found damaged
   * on the way becomes a gap when it is old enough to be in a segment (see `compact`); else `storage-damaged`.
   */
  read(from: Position): AsyncIterable<LogEntry>;
  /** As `read`, but only entries that may hold an event of `[fromMs, toMs)`, without decoding the others. */
  readRange(fromMs: number, toMs: number): AsyncIterable<LogEntry>;
  /** As `read`, but only what the records claim, without decoding their events where they are compacted. */
  claims(from: Position): AsyncIterable<LogClaims>;
  /**
   * Allows the log to pack records before `before` more tightly, for they will hardly be replayed. It does so in
   * its own measure: with few such records it does nothing. Resolves when all is on disk.
   */
  compact(before: Position): Promise<void>;
  /** Gives up records before `before`; some of them may be kept for now, with others that are still needed. */
  trim(before: Position): Promise<void>;
  /** Bytes held, by what they hold. */
  sizes(): LogSizes;
}

export interface LogSizes {
  /** Records as they were appended. */
  readonly tail: { readonly records: number; readonly events: number; readonly bytes: number };
  /** Records that were compacted. */
  readonly segments: {
    readonly count: number;
    readonly records: number;
    readonly events: number;
    readonly bytes: number;
  };
}
