/**
 * The port of the quarantine: events that were refused for their time, kept beside the log. What changes in it is
 * written in the same transaction as the log record it belongs to, so that there are both or neither.
 */
import type { EventBatch } from "./log.js";

/** Number of an event in quarantine: counts from 1 in order of receipt, and is never given twice. */
export type QuarantineId = number;

export type QuarantineReason = "too-old" | "too-far-ahead";

/** Refused events of one batch and one reason. Not to be modified. */
export interface QuarantineChunk {
  /** The id of the first event that it was made with; it is found under it as long as it has any. */
  readonly name: QuarantineId;
  readonly reason: QuarantineReason;
  /** ms since the epoch, by the engine's clock. */
  readonly receivedAt: number;
  /** Of its events, ascending. */
  readonly ids: readonly QuarantineId[];
  readonly events: EventBatch;
}

/** What became of all events that were ever taken in: `next − 1` of them. */
export interface QuarantineState {
  /** The id of the next event. */
  readonly next: QuarantineId;
  /** The oldest, given up because there was no room for newer ones. */
  readonly dropped: number;
  /** Given up with the raw events of their time of receipt. */
  readonly expired: number;
  /** Counted after all: by a replay, or because they came again under the same id and were accepted. */
  readonly released: number;
  /** Given up by the operator. */
  readonly discarded: number;
}

/** What one transaction changes. */
export interface QuarantineChange {
  /** New chunks, and what is left of old ones. */
  readonly put: readonly QuarantineChunk[];
  /** Names of chunks that are gone; not to be there is no mistake. */
  readonly removed: readonly QuarantineId[];
  readonly state: QuarantineState;
}

/** Reads are synchronous and see what is durable. */
export interface QuarantinePort {
  /** Undefined before the first change. Throws `storage-damaged`. */
  state(): QuarantineState | undefined;
  /** Of all chunks, ascending. */
  names(): QuarantineId[];
  /** Undefined when there is none. Throws `storage-damaged`. */
  read(name: QuarantineId): QuarantineChunk | undefined;
  /**
   * Resolves when it is on disk. Changes and log records are written in the order of the calls (`EventLog.append` takes
   * a change, too); a rejection means that of what is not known to be written nothing is certain, as there.
   */
  write(change: QuarantineChange): Promise<void>;
}
