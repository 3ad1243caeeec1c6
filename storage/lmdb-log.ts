/** The event log in LMDB: a tail of records as they were appended, and segments of older ones. FORMAT.md. */
import type { EventLog, LogClaims, LogEntry, LogGap, LogRecord, LogSizes, Position } from "../engine/log.js";
import type { QuarantineChange } from "../engine/quarantine-port.js";
import type { Environment, Put } from "./environment.js";
import { damaged } from "./errors.js";
import { logKey } from "./keys.js";
import { decodeRecord, encodeRecord } from "./log-codec.js";
import { quarantinePuts } from "./quarantine.js";
import { openLog, COMPACTED_KEY, COMPLETE_KEY, FIRST_KEY } from "./segment-open.js";
import { readClaims, readEntries, type LogSource } from "./segment-read.js";
import type { EncodedSegment } from "./segment-encoder.js";
import { BODIES, encodeInstant, HEADERS, type SegmentHeader } from "./segment-format.js";
import type { RecordBytes } from "./segment-main.js";
import { SegmentPacker } from "./segment-packer.js";
import type { SegmentIndex } from "./segment-index.js";
import { nextSegment, SEGMENT_LIMITS, type SegmentLimits } from "./segment-plan.js";
import type { TailIndex } from "./segment-tail.js";
import { encodeNumber } from "./store-codec.js";
import type { WriteQueue } from "./write-queue.js";

/** Records removed in one transaction: appends wait for it, and so does the event loop, 3 µs each. */
const REMOVED_RECORDS = 1000;

/** Bytes of a segment's body written in one transaction. */
const WRITTEN_BYTES = 1024 * 1024;

/** The greatest number of events of a record: of more no segment could be made. */
const MAX_RECORD_EVENTS = 2 ** 20;

export interface LmdbLogOptions {
  readonly limits?: SegmentLimits;
  /** Opens a log that lacks records of the tail, to give them up: `giveUp`. */
  readonly tolerateHoles?: boolean;
}

/** What waits for a transaction. */
interface Waiting {
  readonly puts: readonly Put[];
  /** They are on disk. */
  readonly written: () => void;
  readonly reject: (error: unknown) => void;
}

export class LmdbLog implements EventLog, LogSource {
  readonly environment: Environment;
  readonly segments: SegmentIndex;
  readonly tail: TailIndex;
  readonly #queue: WriteQueue;
  readonly #limits: SegmentLimits;
  #completeFrom: number;
  /** Everything before was given up; what is not on disk yet may already be missing for readers. */
  #first: Position;
  #trimmed: Position;
  #head: Position;
  /** Position given out last. */
  #last: Position;
  /** What the next transaction of the log takes. */
  #waiting: Waiting[] = [];
  readonly #packer = new SegmentPacker();
  /** Why the log takes no more records. */
  #failure: { error: unknown } | undefined;
  /** Compacting, trimming and what else changes the past, one after another. */
  #changes: Promise<unknown> = Promise.resolve();

  /** Throws `storage-damaged` when records of the tail are missing, `storage-version`. Writes nothing. */
  constructor(environment: Environment, queue: WriteQueue, options: LmdbLogOptions = {}) {
    this.environment = environment;
    this.#queue = queue;
    this.#limits = options.limits ?? SEGMENT_LIMITS;
    const opened = openLog(environment, options.tolerateHoles ?? false);
    this.segments = opened.segments;
    this.tail = opened.tail;
    this.#completeFrom = opened.completeFrom;
    this.#first = opened.first;
    this.#trimmed = opened.first;
    this.#head = opened.head;
    this.#last = opened.head;
  }

  get head(): Position {
    return this.#head;
  }

  get first(): Position {
    let first = this.#first;
    for (let gap = this.segments.gapAt(first); gap !== undefined; gap = this.segments.gapAt(first)) {
      first = gap.to;
    }
    return first;
  }

  get trimmed(): Position {
    return this.#trimmed;
  }

  get completeFrom(): number {
    return this.#completeFrom;
  }

  gaps(): readonly LogGap[] {
    return [...this.segments.gaps];
  }

  append(record: LogRecord, quarantine?: QuarantineChange): Promise<Position> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (record.events.count > MAX_RECORD_EVENTS) {
        throw new Error(`BUG: a record of ${record.events.count} events`);
      }
      const bytes = encodeRecord(this.#last + 1, record);
      const put = { db: this.environment.log, key: logKey(this.#last + 1), value: bytes };
      const puts = quarantine === undefined ? [put] : [put, ...quarantinePuts(this.environment, quarantine)];
      const position = ++this.#last;
      const written = (): void => {
        this.tail.add(position, record, bytes.length);
        this.#head = position;
        resolve(position);
      };
      this.#wait({ puts, written, reject });
    });
  }

  /** Writes something else in the transactions of the log, in the order of the calls. Fails as `append`. */
  writeAside(puts: readonly Put[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#wait({ puts, written: resolve, reject });
    });
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return readEntries(this, Math.max(from, this.#first), this.#head);
  }

  readRange(fromMs: number, toMs: number): AsyncIterable<LogEntry> {
    return readEntries(this, this.#first, this.#head, { fromMs, toMs });
  }

  claims(from: Position): AsyncIterable<LogClaims> {
    return readClaims(this, Math.max(from, this.#first), this.#head);
  }

  compact(before: Position): Promise<void> {
    return this.#change(async () => {
      await this.#settle();
      await this.#sweep();
      for (;;) {
        const from = this.tail.first;
        const to = this.#nextSegment(before);
        if (to === from) return;
        await this.#pack(from, to);
        await this.#sweep();
      }
    });
  }

  trim(before: Position): Promise<void> {
    return this.#change(async () => {
      const target = Math.min(before, this.#head + 1);
      const { headers } = this.segments;
      while (headers.length > 0 && headers[0]!.to <= target) await this.#trimSegment(headers[0]!);
      const next = headers[0]?.from ?? this.tail.first;
      await this.#trimTo(Math.min(target, next), this.#completeFrom, () => []);
      if (headers.length > 0) return;
      while (this.#first < target) await this.#trimTail(target);
    });
  }

  /**
   * Gives up one record of the tail that is damaged or missing: it becomes a gap of unknown times. For repairs by
   * hand; rejects with a `RangeError` for positions that are not in the tail.
   */
  giveUp(position: Position): Promise<void> {
    return this.#change(async () => {
      if (
        position < this.tail.first ||
        position > this.#head ||
        this.segments.gapAt(position) !== undefined
      ) {
        throw new RangeError(`Record ${position} is not in the log's tail.`);
      }
      const gap = { from: position, to: position + 1, fromMs: -Infinity, toMs: Infinity };
      const removal = { db: this.environment.log, key: logKey(position), value: undefined };
      await this.#queue.add(() => [...this.segments.quarantine(gap), removal]);
      this.segments.addGap(gap);
      this.tail.remove(position);
    });
  }

  /** Packs nothing more in a thread. */
  async close(): Promise<void> {
    await this.#packer.close();
  }

  sizes(): LogSizes {
    this.environment.assertOpen();
    let [records, events, bytes] = [0, 0, 0];
    for (const { from, to, events: count, sizeBytes } of this.segments.headers) {
      records += to - from;
      events += count;
      bytes += sizeBytes;
    }
    const { headers } = this.segments;
    return { tail: this.tail.sizes, segments: { count: headers.length, records, events, bytes } };
  }

  /** A segment that was found damaged becomes a gap, for all that read it. */
  quarantine(header: SegmentHeader): Promise<void> {
    return this.#change(async () => {
      if (!this.segments.headers.includes(header)) return;
      this.segments.replace(header);
      // What cannot be written now is tried again when the log is compacted.
      await this.#settle().catch(() => undefined);
    });
  }

  #wait(waiting: Waiting): void {
    if (this.#waiting.push(waiting) === 1) void this.#flush();
  }

  /** Writes all that waits when its turn has come, in one transaction. */
  async #flush(): Promise<void> {
    let group: Waiting[] = [];
    try {
      await this.#queue.add(() => {
        group = this.#waiting;
        this.#waiting = [];
        return group.flatMap(({ puts }) => puts);
      });
    } catch (error) {
      this.#failure ??= { error };
      for (const { reject } of group.concat(this.#waiting)) reject(error);
      this.#waiting = [];
      return;
    }
    for (const { written } of group) written();
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(work);
    this.#changes = done.catch(() => undefined);
    return done;
  }

  /** The end of the segment that begins with the tail; the tail's first position when it is not time for one. */
  #nextSegment(before: Position): Position {
    this.environment.assertOpen();
    const from = this.tail.first;
    const end = Math.min(before, this.#head + 1);
    const gap = this.segments.gaps.find((gap) => gap.from >= from);
    const limits = this.#limits;
    if (gap === undefined || gap.from >= end) return nextSegment(from, end, (p) => this.tail.at(p), limits);
    // What lies before a gap is never more than it is now.
    const least = { ...limits, records: Math.min(limits.records, Math.max(1, gap.from - from)) };
    return Math.max(
      gap.from === from ? gap.to : 0,
      nextSegment(from, gap.from, (p) => this.tail.at(p), least),
    );
  }

  async #pack(from: Position, to: Position): Promise<void> {
    const { meta } = this.environment;
    const marker = { db: meta, key: COMPACTED_KEY, value: encodeNumber(COMPACTED_KEY, to) };
    if (this.segments.gapAt(from) !== undefined) {
      await this.#queue.add(() => [marker]);
      this.tail.cut(to);
      return;
    }
    let events = 0;
    for (let position = from; position < to; position++) events += this.tail.at(position).events;
    const segment = await this.#packer.pack(from, events, () => this.#recordBytes(from, to));
    // What a compaction that did not end has left there.
    await this.#removeAll(this.segments.removals({ from, to: Number.MAX_SAFE_INTEGER }, [HEADERS, BODIES]));
    await this.#writeBody(from, segment);
    await this.#queue.add(() => [this.segments.headerOf(from, segment), marker]);
    this.segments.add(from, segment);
    this.tail.cut(to);
  }

  *#recordBytes(from: Position, to: Position): Generator<RecordBytes> {
    for (let position = from; position < to; position++) {
      const bytes = this.environment.get(this.environment.log, logKey(position));
      if (bytes === undefined) throw damaged(`Log record ${position}`, "is missing");
      yield { position, bytes };
    }
  }

  async #writeBody(from: Position, segment: EncodedSegment): Promise<void> {
    let puts: Put[] = [];
    let bytes = 0;
    for (const put of this.segments.bodyOf(from, segment)) {
      puts.push(put);
      bytes += put.value!.length;
      if (bytes < WRITTEN_BYTES) continue;
      const written = puts;
      await this.#queue.add(() => written);
      puts = [];
      bytes = 0;
    }
    await this.#queue.add(() => puts);
  }

  /** Puts on disk what is known of damage, and the damaged segments out of the way. */
  async #settle(): Promise<void> {
    for (const gap of this.segments.unsettled) {
      await this.#queue.add(() => this.segments.quarantine(gap));
      this.segments.unsettled.delete(gap);
    }
  }

  /** Removes the records that are in segments by now. */
  #sweep(): Promise<void> {
    const db = this.environment.log;
    const keys = this.environment.keys(db, logKey(0), logKey(this.tail.first));
    return this.#removeAll(keys.map((key) => ({ db, key, value: undefined })));
  }

  async #removeAll(puts: readonly Put[]): Promise<void> {
    for (let at = 0; at < puts.length; at += REMOVED_RECORDS) {
      await this.#queue.add(() => puts.slice(at, at + REMOVED_RECORDS));
    }
  }

  async #trimSegment(header: SegmentHeader): Promise<void> {
    const completeFrom = Math.max(this.#completeFrom, header.greatest + 1);
    await this.#trimTo(header.to, completeFrom, () => this.segments.removals(header));
    this.segments.drop(header);
  }

  async #trimTail(target: Position): Promise<void> {
    const db = this.environment.log;
    const to = Math.min(target, this.#first + REMOVED_RECORDS);
    let completeFrom = this.#completeFrom;
    for (let position = this.#first; position < to; position++) {
      if (!this.tail.has(position)) continue;
      completeFrom = Math.max(completeFrom, (await this.#timesOf(position)) + 1);
    }
    const { first } = this.tail;
    await this.#trimTo(to, completeFrom, () =>
      Array.from({ length: to - first }, (_, i) => ({ db, key: logKey(first + i), value: undefined })),
    );
    this.tail.cut(to);
  }

  async #timesOf(position: Position): Promise<number> {
    const row = this.tail.at(position);
    if (!Number.isNaN(row.greatest)) return row.greatest;
    const bytes = this.environment.get(this.environment.log, logKey(position));
    if (bytes === undefined) throw damaged(`Log record ${position}`, "is missing");
    return this.tail.learn(position, decodeRecord(position, bytes)).greatest;
  }

  /** Everything before `first` is given up, in one transaction with the removals. */
  async #trimTo(first: Position, completeFrom: number, removals: () => Put[]): Promise<void> {
    if (first <= this.#first) return;
    const { meta } = this.environment;
    // Of a gap of unknown times nobody will ever know what it lacks.
    const forgotten = this.segments.gaps.filter(({ to, toMs }) => to <= first && toMs < Infinity);
    const complete = forgotten.reduce((most, { toMs }) => Math.max(most, toMs), completeFrom);
    await this.#queue.add(() => {
      this.#trimmed = Math.max(this.#trimmed, first);
      const puts: Put[] = [
        { db: meta, key: FIRST_KEY, value: encodeNumber(FIRST_KEY, first) },
        { db: meta, key: COMPLETE_KEY, value: encodeInstant(COMPLETE_KEY, complete) },
      ];
      return [
        ...puts,
        ...forgotten.map((gap) => this.segments.gapRemoval(gap)),
        ...this.segments.quarantineRemovals(first),
        ...removals(),
      ];
    });
    for (const gap of forgotten) this.segments.dropGap(gap);
    this.#first = first;
    this.#completeFrom = complete;
  }
}
