import type { Buckets } from "./hot/buckets.js";
import type { Watermark } from "./hot/watermark.js";
import type { HotImage } from "./image-port.js";
import type { Ingestor } from "./ingest.js";
import { claimsOf, type EventLog, type LogClaims, type LogEntry, type Position } from "./log.js";
import type { StoreMeta } from "./store.js";
import { TidemarkError } from "./errors.js";

export interface RecoveryOptions {
  readonly log: EventLog;
  readonly buckets: Buckets;
  readonly ingestor: Ingestor;
  readonly watermark: Watermark;
  readonly meta: StoreMeta | undefined;
  /** Of this very log. */
  readonly image: HotImage | undefined;
  /** Claims received before this instant are forgotten, ms. */
  readonly claimsSince: number;
}

/**
 * Brings memory to where it was: the cells of the image and the claims of the dedupe window first, then every record that
 * is wholly in neither image nor store, folded as it was the first time. So the time that it takes follows what is in
 * neither yet, and the ids of the window; not how much was ever stored.
 */
export async function recover(options: RecoveryOptions): Promise<void> {
  const { log, meta, image } = options;
  const stored = meta?.position ?? 0;
  if (stored > log.head) {
    throw new TidemarkError(
      "storage-damaged",
      `The buckets hold the log up to ${stored}, but the log ends at ${log.head}: restore both from one backup.`,
    );
  }
  if (log.first > stored + 1 && !isLost(log, stored + 1)) {
    throw new TidemarkError(
      "storage-damaged",
      `The log begins at ${log.first}, after what the buckets hold (${stored}): restore it from a backup.`,
    );
  }
  if (image !== undefined) takeOver(image, options);
  const known = image?.position ?? stored;
  const { dedupeFrom = 0 } = image ?? meta ?? {};
  if (dedupeFrom > 0) {
    for await (const claims of log.claims(Math.max(dedupeFrom, log.first))) {
      if (claims.position > known) break;
      claim(claims, options);
    }
  }
  for await (const entry of log.read(known + 1)) {
    claim(claimsOf(entry.position, entry.record), options);
    replay(entry, options);
  }
  // Not before: it may be the reading that finds a segment damaged.
  noteLost(options, known);
  options.buckets.dictionaries.recovered();
}

function takeOver(image: HotImage, { buckets, watermark }: RecoveryOptions): void {
  buckets.dictionaries.takeOver(image);
  buckets.takeOver(image);
  watermark.reach(image.watermark);
}

/** Does the log know that damage took this record? */
function isLost(log: EventLog, position: Position): boolean {
  return log.gaps().some(({ from, to }) => position >= from && position < to);
}

/** Records that damage took before their events were counted: what they held, nobody will know. */
function noteLost({ log, buckets }: RecoveryOptions, known: Position): void {
  for (const { to, fromMs, toMs } of log.gaps()) {
    if (to > known + 1) buckets.noteIncomplete({ tier: null, fromMs, toMs });
  }
}

function claim({ position, receivedAt, claim, idLo, idHi }: LogClaims, options: RecoveryOptions): void {
  const { ingestor, claimsSince } = options;
  if (receivedAt < claimsSince) return;
  if (claim !== undefined) ingestor.claims.keep(claim, receivedAt, position);
  for (let i = 0; i < idLo.length; i++) ingestor.ids.add(idLo[i]!, idHi[i]!, receivedAt, position);
}

function replay({ position, record }: LogEntry, { buckets, ingestor }: RecoveryOptions): void {
  // What an event lacks was unknown when it was logged: replay learns authors, but never fills them in.
  const ids = record.events.values.map((values, d) => buckets.dictionaries.idsOf(d, values));
  ingestor.foldRecord(record, position, ids, true);
}
