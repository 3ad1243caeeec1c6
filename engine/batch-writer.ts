import type { ClaimWindow } from "./hot/dedupe.js";
import type { InternedBatch } from "./hot/admission.js";
import type { Health } from "./health.js";
import { Landing } from "./landing.js";
import type { BatchClaim, EventLog, LogRecord, Position } from "./log.js";
import type { Quarantine } from "./quarantine.js";
import type { QuarantineChange, QuarantinePort } from "./quarantine-port.js";
import type { Turns } from "./sliced.js";

/** Bytes that a waiting event holds, roughly: its columns and its share of the dictionaries. */
export const QUEUED_BYTES_PER_EVENT = 64;

export interface BatchWriterOptions extends Turns {
  readonly log: EventLog;
  /** Where `quarantine` is kept. */
  readonly quarantinePort: QuarantinePort;
  readonly quarantine: Quarantine;
  readonly claims: ClaimWindow;
  readonly health: Health;
  /** Counts a record that is on disk, in log order. */
  readonly fold: (record: LogRecord, position: Position, ids: readonly Uint32Array[]) => void;
}

/** What one transaction takes. */
export interface Submission {
  readonly interned: InternedBatch;
  readonly receivedAt: number;
  readonly claim: BatchClaim | undefined;
  readonly backfill: boolean;
  readonly change: QuarantineChange | undefined;
}

interface Appended {
  /** Undefined when only the quarantine changed. */
  readonly record: LogRecord | undefined;
  readonly position: Position;
}

/** The way of a judged batch: to the log, and when it is on disk into the buckets. */
export class BatchWriter {
  readonly #options: BatchWriterOptions;
  readonly #landing: Landing;
  readonly #underWay = new Set<Promise<unknown>>();
  #queuedBytes = 0;

  constructor(options: BatchWriterOptions) {
    this.#options = options;
    this.#landing = new Landing(options);
  }

  /** Of what is on its way. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** What is on its way now. */
  get underWay(): readonly Promise<unknown>[] {
    return [...this.#underWay];
  }

  /** Resolves to null when nothing was counted: then the log gets no record, but for a claim that is to be kept. */
  async write(submission: Submission): Promise<Position | null> {
    const { health, quarantine, claims, fold } = this.#options;
    const { interned, receivedAt, claim, change } = submission;
    const { events, ids } = interned;
    if (claim !== undefined) claims.begin(claim.key, claim.bodyHash, receivedAt);
    const bytes = (events.count + countOf(change)) * QUEUED_BYTES_PER_EVENT;
    this.#queuedBytes += bytes;
    const work = this.#append(submission).then(
      async ({ record, position }) => {
        if (change !== undefined) quarantine.written(change);
        if (record === undefined) return null;
        await this.#landing.add(events.count, () => {
          if (claim !== undefined) claims.keep(claim, receivedAt, position);
          fold(record, position, ids);
        });
        return events.count === 0 ? null : position;
      },
      (error: unknown) => {
        if (claim !== undefined) claims.abandon(claim.key);
        throw health.fail(error);
      },
    );
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#queuedBytes -= bytes;
      this.#underWay.delete(work);
    }
  }

  /** Asks for the write in the very turn of the call. */
  async #append({ interned, receivedAt, claim, backfill, change }: Submission): Promise<Appended> {
    const { log, quarantinePort } = this.#options;
    const { events } = interned;
    if (events.count === 0 && claim === undefined) {
      await quarantinePort.write(change!);
      return { record: undefined, position: 0 };
    }
    const record: LogRecord = {
      receivedAt,
      events,
      ...(claim === undefined ? {} : { claim }),
      ...(backfill ? { backfill: true } : {}),
    };
    return { record, position: await log.append(record, change) };
  }
}

function countOf(change: QuarantineChange | undefined): number {
  return change?.put.reduce((sum, { ids }) => sum + ids.length, 0) ?? 0;
}
