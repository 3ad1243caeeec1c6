import type { Buckets } from "./hot/buckets.js";
import type { Ingestor } from "./ingest.js";
import { FLAG_ID, type EventLog, type LogEntry, type Position } from "./log.js";
import type { StoreMeta } from "./store.js";
import { TidemarkError } from "./errors.js";

export interface RecoveryOptions {
  readonly log: EventLog;
  readonly buckets: Buckets;
  readonly ingestor: Ingestor;
  readonly meta: StoreMeta | undefined;
  /** Claims received before this instant are forgotten, ms. */
  readonly claimsSince: number;
}

/**
 * Brings memory to where it was: claims of the dedupe window first, then every record that is not wholly in the
 * store, folded as it was the first time. Both are one pass over the log in order.
 */
export async function recover(options: RecoveryOptions): Promise<void> {
  const { log, meta } = options;
  const stored = meta?.position ?? 0;
  if (stored > log.head) {
    throw new TidemarkError(
      "storage-damaged",
      `The buckets hold the log up to ${stored}, but the log ends at ${log.head}: restore both from one backup.`,
    );
  }
  const from = startOf(stored, meta?.dedupeFrom ?? 0);
  if (log.first > stored + 1) {
    throw new TidemarkError(
      "storage-damaged",
      `The log begins at ${log.first}, after what the buckets hold (${stored}): restore it from a backup.`,
    );
  }
  for await (const entry of log.read(Math.max(from, log.first))) {
    claim(entry, options);
    if (entry.position > stored) replay(entry, options);
  }
  options.buckets.dictionaries.recovered();
}

function startOf(stored: Position, dedupeFrom: Position): Position {
  return dedupeFrom > 0 ? Math.min(dedupeFrom, stored + 1) : stored + 1;
}

function claim({ position, record }: LogEntry, { ingestor, claimsSince }: RecoveryOptions): void {
  if (record.receivedAt < claimsSince) return;
  if (record.claim !== undefined) ingestor.claims.keep(record.claim, record.receivedAt, position);
  const { flags, idLo, idHi, count } = record.events;
  if (idLo === undefined || idHi === undefined) return;
  for (let row = 0; row < count; row++) {
    if ((flags[row]! & FLAG_ID) !== 0) ingestor.ids.add(idLo[row]!, idHi[row]!, record.receivedAt, position);
  }
}

function replay({ position, record }: LogEntry, { buckets, ingestor }: RecoveryOptions): void {
  // What an event lacks was unknown when it was logged: replay learns authors, but never fills them in.
  const ids = record.events.values.map((values, d) => buckets.dictionaries.idsOf(d, values));
  ingestor.foldRecord(record, position, ids, true);
}
