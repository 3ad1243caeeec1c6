import { Subject, type SchedulerLike } from "rxjs";
import type { EventError, IngestOptions, IngestReply } from "./api.js";
import { BatchWriter, QUEUED_BYTES_PER_EVENT, type BatchWriterOptions } from "./batch-writer.js";
import { batchDigest, bytesDigest, eventsDigest } from "./body-digest.js";
import { decodeEvents, decodeJson, decodeNdjson, type DecodeContext, type Decoded } from "./body.js";
import { utcIsoOrNull } from "./calendar/label.js";
import { checkBatch } from "./check-batch.js";
import type { BodyDecoder, DecodeSetup } from "./decode-port.js";
import { TidemarkError } from "./errors.js";
import type { TextHash } from "./event.js";
import { gatherRows } from "./gather.js";
import {
  admit,
  confirmRemembered,
  internAndFill,
  type Admission,
  type AdmissionLimits,
  type InternedBatch,
} from "./hot/admission.js";
import type { Buckets } from "./hot/buckets.js";
import { ClaimWindow, IdWindow } from "./hot/dedupe.js";
import { Fold } from "./hot/fold.js";
import type { Watermark } from "./hot/watermark.js";
import { MAX_REPORTED_ERRORS } from "./limits.js";
import { timesOf, type EventBatch, type LogRecord, type Position } from "./log.js";
import type { ChunkRows } from "./quarantine.js";
import type { QuarantineChange } from "./quarantine-port.js";
import { Scanner } from "./scan/scanner.js";
import { UTC_CALENDAR } from "./store.js";
import type { Tally } from "./tally.js";

const MAX_KEY_LENGTH = 255;

export interface IngestorOptions extends Omit<BatchWriterOptions, "claims" | "fold"> {
  readonly buckets: Buckets;
  readonly watermark: Watermark;
  readonly scheduler: SchedulerLike;
  readonly hashViewer: TextHash;
  readonly viewerKey: Uint8Array | undefined;
  readonly decoder: BodyDecoder | undefined;
  readonly limits: AdmissionLimits;
  readonly dedupeWindowMs: number;
  readonly maxQueuedBytes: number;
  /** Ids and keys remembered at most. */
  readonly maxDedupeEntries: number;
  /** Of this process, not to be guessed from outside. */
  readonly hashSeed: number;
  /** True while more cells wait for the store than memory should hold. */
  readonly isOverfull: () => boolean;
  readonly tally: Tally;
}

/** A batch that is in the log and in the buckets. */
export interface Folded {
  readonly position: Position;
  readonly count: number;
}

type Counts = Omit<IngestReply, "watermark" | "position" | "durable">;

/** What became of events that waited in quarantine. */
export interface Replayed {
  readonly admission: Admission;
  /** Null when nothing was counted. */
  readonly position: Position | null;
}

/** The way of a batch: decode, judge, claim, append, fold, reply. */
export class Ingestor {
  /** One emission per batch, in log order. */
  readonly folded$ = new Subject<Folded>();
  readonly ids: IdWindow;
  readonly claims: ClaimWindow;
  readonly #options: IngestorOptions;
  readonly #fold: Fold;
  readonly #writer: BatchWriter;
  readonly #scanner: Scanner;
  readonly #setup: DecodeSetup;

  constructor(options: IngestorOptions) {
    this.#options = options;
    this.ids = new IdWindow(options.dedupeWindowMs, options.hashSeed);
    this.claims = new ClaimWindow(options.dedupeWindowMs);
    this.#writer = new BatchWriter({
      ...options,
      claims: this.claims,
      fold: (record, position, ids) => this.foldRecord(record, position, ids, false),
    });
    this.#fold = new Fold(options.buckets.schema);
    const { viewerKey, hashSeed } = options;
    const { schema } = options.buckets;
    this.#scanner = new Scanner(schema, hashSeed);
    this.#setup = { schema, viewerKey, hashSeed };
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  async ingest(events: readonly unknown[], options: IngestOptions): Promise<IngestReply> {
    const bodyHash = options.idempotencyKey === undefined ? "" : eventsDigest(events);
    return await this.#submit(() => decodeEvents(events, this.#decoding()), bodyHash, options);
  }

  async ingestBytes(
    body: Uint8Array,
    format: "json" | "ndjson",
    options: IngestOptions,
  ): Promise<IngestReply> {
    if (body.length === 0) {
      throw new TidemarkError(
        "empty-body",
        "The body is empty; send one event, an array, or one event a line.",
      );
    }
    const bodyHash = options.idempotencyKey === undefined ? "" : bytesDigest(body);
    const elsewhere = format === "ndjson" ? this.#decodeElsewhere(body) : undefined;
    if (elsewhere !== undefined) {
      const decoded = await elsewhere;
      return await this.#submit(() => decoded, bodyHash, options);
    }
    const decode = (): Decoded =>
      format === "json"
        ? decodeJson(body, this.#decoding())
        : decodeNdjson(body, this.#decoding(), this.#scanner);
    return await this.#submit(decode, bodyHash, options);
  }

  async ingestBatch(batch: EventBatch, options: IngestOptions): Promise<IngestReply> {
    checkBatch(batch, this.#options.buckets.schema);
    const indexes = new Uint32Array(batch.count);
    for (let row = 0; row < batch.count; row++) indexes[row] = row;
    const bodyHash = options.idempotencyKey === undefined ? "" : batchDigest(batch);
    return await this.#submit(
      () => ({ batch, indexes, invalid: 0, invalidByType: new Map(), errors: [] }),
      bodyHash,
      options,
    );
  }

  /** Resolves once the batches that are on their way to the log now have arrived, or failed. */
  async arrived(): Promise<void> {
    await Promise.allSettled(this.#writer.underWay);
  }

  /** Folds a logged batch; `isStored` tells, by quarter, what the store has of it already. */
  foldRecord(record: LogRecord, position: Position, ids: readonly Uint32Array[], replay: boolean): void {
    const { buckets, watermark } = this.#options;
    const { events, receivedAt, backfill = false } = record;
    this.#fold.fold(events, ids, (quarterMs) =>
      replay && buckets.isStored(quarterMs, position)
        ? undefined
        : buckets.tableOf(quarterMs, position, receivedAt, backfill),
    );
    confirmRemembered(events, ids, buckets.schema, buckets.dictionaries);
    // Without events it holds but the claim of a batch that was refused as a whole.
    if (events.count > 0) watermark.observe(timesOf(events).greatest, receivedAt);
    buckets.folded(position, events.count);
    this.folded$.next({ position, count: events.count });
  }

  #decodeElsewhere(body: Uint8Array): Promise<Decoded> | undefined {
    const { decoder, health, scheduler } = this.#options;
    if (decoder === undefined) return undefined;
    health.check();
    return decoder.decode(body, scheduler.now(), this.#setup);
  }

  #decoding(): DecodeContext {
    const { buckets, scheduler, hashViewer } = this.#options;
    return { schema: buckets.schema, now: scheduler.now(), hashViewer };
  }

  /** Synchronous up to the append: what is judged together is claimed together, in log order. */
  async #submit(decode: () => Decoded, bodyHash: string, options: IngestOptions): Promise<IngestReply> {
    const key = checkKey(options.idempotencyKey);
    this.#options.health.check();
    const now = this.#options.scheduler.now();
    this.ids.expire(now);
    this.claims.expire(now);
    const earlier = key === undefined ? undefined : this.#replyAgain(key, bodyHash);
    if (earlier !== undefined) return earlier;
    const decoded = decode();
    this.#refuseOverload(decoded.batch, key !== undefined);
    const admission = this.#admit(decoded.batch, now, options.backfill ?? false);
    const interned = this.#interned(admission.batch);
    const counts = this.#count(decoded, admission);
    const before = admission.duplicate > 0 ? this.#writer.underWay : [];
    const change = this.#options.quarantine.judged(decoded.batch, admission, now, this.ids);
    if (admission.batch.count === 0 && change === undefined) {
      // What was refused may wait in quarantine already, or be on its way there.
      await this.#settled(counts.late_rejected + counts.future_rejected > 0 ? this.#writer.underWay : before);
      return { ...counts, watermark: this.#watermark(), position: null, durable: true };
    }
    const claim = key === undefined ? undefined : { key, bodyHash, reply: JSON.stringify(counts) };
    const { backfill = false } = options;
    const written = this.#writer.write({ interned, receivedAt: now, claim, backfill, change });
    if (options.wait === "none") {
      written.catch(() => undefined);
      return { ...counts, watermark: this.#watermark(), position: null, durable: false };
    }
    const position = await written;
    await this.#settled(before);
    return { ...counts, watermark: this.#watermark(), position, durable: true };
  }

  /**
   * Counts events that wait in quarantine, however old they are, and takes them out of it in the same transaction. Those
   * still too far ahead of the clock stay.
   */
  async replay(parts: readonly ChunkRows[]): Promise<Replayed> {
    const { health, scheduler, limits, tally, quarantine } = this.#options;
    health.check();
    const now = scheduler.now();
    const batch = gatherRows(parts.map(({ chunk, rows }) => ({ batch: chunk.events, rows })));
    this.#refuseOverload(batch, false);
    this.ids.expire(now);
    const admission = this.#admit(batch, now, true);
    const interned = this.#interned(admission.batch);
    tally.replayed(admission);
    const change = quarantine.released(without(parts, admission.tooFarAhead));
    if (change === undefined) return { admission, position: null };
    const isOld = timesOf(admission.batch).least < now - limits.maxLatenessMs;
    const backfill = isOld || parts.some(({ chunk }) => chunk.reason === "too-old");
    const submission = { interned, receivedAt: now, claim: undefined, backfill, change };
    return { admission, position: await this.#writer.write(submission) };
  }

  /** Writes what the quarantine changes by itself. */
  async change(change: QuarantineChange | undefined): Promise<void> {
    if (change === undefined) return;
    const interned = { events: gatherRows([]), ids: [] };
    await this.#writer.write({ interned, receivedAt: 0, claim: undefined, backfill: false, change });
  }

  /** "Duplicate" is only said once the batch that holds the first is durable itself. */
  async #settled(batches: readonly Promise<unknown>[]): Promise<void> {
    await Promise.allSettled(batches);
    this.#options.health.check();
  }

  #admit(batch: EventBatch, now: number, backfill: boolean): Admission {
    const { buckets, limits } = this.#options;
    return admit(batch, this.ids, limits, {
      now,
      position: buckets.position + 1,
      backfill,
      sealedUntil: buckets.sealedUntil(UTC_CALENDAR),
    });
  }

  #interned(batch: EventBatch): InternedBatch {
    const { buckets } = this.#options;
    return internAndFill(batch, buckets.schema, buckets.dictionaries);
  }

  #refuseOverload(batch: EventBatch, isKeyed: boolean): void {
    const { maxQueuedBytes, maxDedupeEntries, isOverfull } = this.#options;
    const { queuedBytes } = this.#writer;
    const full = queuedBytes > 0 && queuedBytes + batch.count * QUEUED_BYTES_PER_EVENT > maxQueuedBytes;
    if (full || isOverfull()) throw overloaded("The disk is behind; send the batch again in a second.", 1);
    const ids = this.ids.count + (batch.idLo === undefined ? 0 : batch.count);
    const claims = this.claims.weight + (isKeyed ? 1 : 0);
    if (ids <= maxDedupeEntries && claims <= maxDedupeEntries) return;
    // To forget early would let a retry count twice.
    const sentence = `${maxDedupeEntries} ids or keys are remembered already; send without, or later.`;
    throw overloaded(`${sentence} Raise maxDedupeEntries or shorten dedupeWindowMs.`, 60);
  }

  #replyAgain(key: string, bodyHash: string): IngestReply | undefined {
    const claim = this.claims.find(key);
    if (claim === undefined) return undefined;
    const counts = claim.reply === undefined ? undefined : (JSON.parse(claim.reply) as Counts);
    // Of a batch that was refused as a whole a key remembers the body, so that it is in quarantine once; it is not used up.
    if (counts?.accepted === 0 && claim.bodyHash !== bodyHash) return undefined;
    if (claim.bodyHash !== bodyHash) {
      throw new TidemarkError("idempotency-conflict", "Use a new Idempotency-Key for each new batch.");
    }
    if (counts === undefined) {
      throw new TidemarkError(
        "idempotency-in-flight",
        "The first attempt is still under way; ask again in a second.",
        {
          extra: { retryAfterS: 1 },
        },
      );
    }
    const position = counts.accepted === 0 ? null : claim.position;
    return { ...counts, watermark: this.#watermark(), position, durable: true };
  }

  #count(decoded: Decoded, admission: Admission): Counts {
    const { batch, duplicate, late, tooOld, tooFarAhead } = admission;
    const errors: EventError[] = [...decoded.errors];
    for (const row of tooOld) {
      if (errors.length >= MAX_REPORTED_ERRORS) break;
      errors.push({ index: decoded.indexes[row]!, type: "too-old", detail: "Send history as a backfill." });
    }
    for (const row of tooFarAhead) {
      if (errors.length >= MAX_REPORTED_ERRORS) break;
      errors.push({ index: decoded.indexes[row]!, type: "too-far-ahead", detail: "Set the sender's clock." });
    }
    errors.sort((a, b) => a.index - b.index);
    this.#options.tally.count(decoded, admission);
    return {
      accepted: batch.count,
      duplicate,
      late_accepted: late,
      late_rejected: tooOld.length,
      future_rejected: tooFarAhead.length,
      invalid: decoded.invalid,
      errors,
    };
  }

  #watermark(): string | null {
    return utcIsoOrNull(this.#options.watermark.ms);
  }
}

/** Without some of all rows, counted over all parts. */
function without(parts: readonly ChunkRows[], some: readonly number[]): ChunkRows[] {
  const left = new Set(some);
  let at = 0;
  return parts
    .map(({ chunk, rows }) => ({ chunk, rows: rows.filter(() => !left.has(at++)) }))
    .filter(({ rows }) => rows.length > 0);
}

function overloaded(detail: string, retryAfterS: number): TidemarkError {
  return new TidemarkError("overloaded", detail, { extra: { retryAfterS } });
}

function checkKey(key: string | undefined): string | undefined {
  if (key === undefined || (key.length > 0 && key.length <= MAX_KEY_LENGTH)) return key;
  throw new TidemarkError("invalid-config", `An Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters.`);
}
