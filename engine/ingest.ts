import { Subject, type SchedulerLike } from "rxjs";
import type { EventError, IngestOptions, IngestReply } from "./api.js";
import { decodeEvents, decodeJson, decodeNdjson, type DecodeContext, type Decoded } from "./body.js";
import { utcIsoOrNull } from "./calendar/label.js";
import { TidemarkError } from "./errors.js";
import type { TextHash } from "./event.js";
import {
  admit,
  confirmRemembered,
  internAndFill,
  type Admission,
  type AdmissionLimits,
} from "./hot/admission.js";
import type { Buckets } from "./hot/buckets.js";
import { ClaimWindow, IdWindow } from "./hot/dedupe.js";
import { Fold } from "./hot/fold.js";
import type { Watermark } from "./hot/watermark.js";
import type { Health } from "./health.js";
import { Landing } from "./landing.js";
import { MAX_REPORTED_ERRORS } from "./limits.js";
import {
  timesOf,
  type BatchClaim,
  type EventBatch,
  type EventLog,
  type LogRecord,
  type Position,
} from "./log.js";
import { checkBatch } from "./check-batch.js";
import { Scanner } from "./scan/scanner.js";
import type { Turns } from "./sliced.js";
import { UTC_CALENDAR } from "./store.js";
import { hashBytes, hashText } from "./sketch/murmur3.js";
import type { Tally } from "./tally.js";

/** Bytes that a waiting event holds, roughly: its columns and its share of the dictionaries. */
const QUEUED_BYTES_PER_EVENT = 64;
const MAX_KEY_LENGTH = 255;

export interface IngestorOptions extends Turns {
  readonly log: EventLog;
  readonly buckets: Buckets;
  readonly watermark: Watermark;
  readonly scheduler: SchedulerLike;
  readonly hashViewer: TextHash;
  readonly limits: AdmissionLimits;
  readonly dedupeWindowMs: number;
  readonly maxQueuedBytes: number;
  /** Ids and keys remembered at most. */
  readonly maxDedupeEntries: number;
  /** Of this process, not to be guessed from outside. */
  readonly hashSeed: number;
  /** True while more cells wait for the store than memory should hold. */
  readonly isOverfull: () => boolean;
  readonly health: Health;
  readonly tally: Tally;
}

/** A batch that is in the log and in the buckets. */
export interface Folded {
  readonly position: Position;
  readonly count: number;
}

type Counts = Omit<IngestReply, "watermark" | "position" | "durable">;

/** The way of a batch: decode, judge, claim, append, fold, reply. */
export class Ingestor {
  /** One emission per batch, in log order. */
  readonly folded$ = new Subject<Folded>();
  readonly ids: IdWindow;
  readonly claims: ClaimWindow;
  readonly #options: IngestorOptions;
  readonly #fold: Fold;
  readonly #landing: Landing;
  readonly #scanner: Scanner;
  readonly #underWay = new Set<Promise<unknown>>();
  #queuedBytes = 0;

  constructor(options: IngestorOptions) {
    this.#options = options;
    this.ids = new IdWindow(options.dedupeWindowMs, options.hashSeed);
    this.claims = new ClaimWindow(options.dedupeWindowMs);
    this.#landing = new Landing(options);
    this.#fold = new Fold(options.buckets.schema);
    this.#scanner = new Scanner(options.buckets.schema, options.hashSeed);
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  async ingest(events: readonly unknown[], options: IngestOptions): Promise<IngestReply> {
    const bodyHash = options.idempotencyKey === undefined ? "" : textDigest(textOf(events));
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
    await Promise.allSettled(this.#underWay);
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
    watermark.observe(timesOf(events).greatest, receivedAt);
    buckets.folded(position, events.count);
    this.folded$.next({ position, count: events.count });
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
    const admission = this.#admit(decoded, now, options);
    const counts = this.#count(decoded, admission);
    const before = admission.duplicate > 0 ? [...this.#underWay] : [];
    if (admission.batch.count === 0) {
      await this.#settled(before);
      return { ...counts, watermark: this.#watermark(), position: null, durable: true };
    }
    const appended = this.#append(admission.batch, now, counts, key, bodyHash, options);
    if (options.wait === "none") {
      appended.catch(() => undefined);
      return { ...counts, watermark: this.#watermark(), position: null, durable: false };
    }
    const position = await appended;
    await this.#settled(before);
    return { ...counts, watermark: this.#watermark(), position, durable: true };
  }

  /** "Duplicate" is only said once the batch that holds the first is durable itself. */
  async #settled(batches: readonly Promise<unknown>[]): Promise<void> {
    await Promise.allSettled(batches);
    this.#options.health.check();
  }

  #admit(decoded: Decoded, now: number, options: IngestOptions): Admission {
    const { buckets, limits } = this.#options;
    return admit(decoded.batch, this.ids, limits, {
      now,
      position: buckets.position + 1,
      backfill: options.backfill ?? false,
      sealedUntil: buckets.sealedUntil(UTC_CALENDAR),
    });
  }

  async #append(
    batch: EventBatch,
    receivedAt: number,
    counts: Counts,
    key: string | undefined,
    bodyHash: string,
    options: IngestOptions,
  ): Promise<Position> {
    const { buckets, log, health } = this.#options;
    const { events, ids } = internAndFill(batch, buckets.schema, buckets.dictionaries);
    const claim: BatchClaim | undefined =
      key === undefined ? undefined : { key, bodyHash, reply: JSON.stringify(counts) };
    const record: LogRecord = {
      receivedAt,
      events,
      ...(claim === undefined ? {} : { claim }),
      ...(options.backfill === true ? { backfill: true } : {}),
    };
    if (claim !== undefined) this.claims.begin(claim.key, bodyHash, receivedAt);
    const bytes = events.count * QUEUED_BYTES_PER_EVENT;
    this.#queuedBytes += bytes;
    const work = log.append(record).then(
      async (position) => {
        await this.#landing.add(events.count, () => {
          if (claim !== undefined) this.claims.keep(claim, receivedAt, position);
          this.foldRecord(record, position, ids, false);
        });
        return position;
      },
      (error: unknown) => {
        if (claim !== undefined) this.claims.abandon(claim.key);
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

  #refuseOverload(batch: EventBatch, isKeyed: boolean): void {
    const { maxQueuedBytes, maxDedupeEntries, isOverfull } = this.#options;
    const full =
      this.#queuedBytes > 0 && this.#queuedBytes + batch.count * QUEUED_BYTES_PER_EVENT > maxQueuedBytes;
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
    if (claim.bodyHash !== bodyHash) {
      throw new TidemarkError("idempotency-conflict", "Use a new Idempotency-Key for each new batch.");
    }
    if (claim.reply === undefined) {
      throw new TidemarkError(
        "idempotency-in-flight",
        "The first attempt is still under way; ask again in a second.",
        {
          extra: { retryAfterS: 1 },
        },
      );
    }
    const counts = JSON.parse(claim.reply) as Counts;
    return { ...counts, watermark: this.#watermark(), position: claim.position, durable: true };
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

function overloaded(detail: string, retryAfterS: number): TidemarkError {
  return new TidemarkError("overloaded", detail, { extra: { retryAfterS } });
}

/** What JSON has no form for makes another text than anything that it has one for. */
function textOf(events: readonly unknown[]): string {
  return JSON.stringify(events, (_, value: unknown) =>
    typeof value === "bigint" ? { bigint: `${value}` } : value,
  );
}

function checkKey(key: string | undefined): string | undefined {
  if (key === undefined || (key.length > 0 && key.length <= MAX_KEY_LENGTH)) return key;
  throw new TidemarkError("invalid-config", `An Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters.`);
}

function batchDigest({ count, flags, ts, dims, values, viewerLo, viewerHi, idLo, idHi }: EventBatch): string {
  const columns = [flags, ts, ...dims, viewerLo, viewerHi, idLo ?? [], idHi ?? []];
  return textDigest(JSON.stringify([values, ...columns.map((column) => Array.from(column.slice(0, count)))]));
}

function bytesDigest(bytes: Uint8Array): string {
  const out = new Uint32Array(2);
  hashBytes(bytes, 0, bytes.length, out, 0);
  return hex(out);
}

function textDigest(text: string): string {
  const out = new Uint32Array(2);
  hashText(text, out, 0);
  return hex(out);
}

function hex([lo, hi]: Uint32Array): string {
  return hi!.toString(16).padStart(8, "0") + lo!.toString(16).padStart(8, "0");
}
