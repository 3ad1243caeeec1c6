/** The event log without files. Segments are only drawn: as in LMDB, they are given up as a whole. */
import {
  claimsOf,
  timesOf,
  type EventBatch,
  type EventLog,
  type LogClaims,
  type LogEntry,
  type LogGap,
  type LogRecord,
  type LogSizes,
  type Position,
} from "../engine/log.js";
import { overtaken } from "./errors.js";
import type { QuarantineChange } from "../engine/quarantine-port.js";
import type { QuarantineDisk } from "./memory-quarantine.js";
import { nextSegment, type SegmentLimits, type TailRecord } from "./segment-plan.js";

/** What outlives a log. */
export interface LogDisk {
  /** Record i is at position `first + i`. */
  readonly records: LogRecord[];
  readonly limits: SegmentLimits;
  /** Where the segments end, ascending; the first begins at `first`. */
  readonly segmentEnds: Position[];
  readonly quarantine: QuarantineDisk;
  first: Position;
  completeFrom: number;
}

/** Who may use the disk, and when. */
export interface LogSession {
  readonly disk: LogDisk;
  /** Does the work later, after all that was asked for before. */
  later<T>(work: (disk: LogDisk) => T): Promise<T>;
}

export class MemoryLog implements EventLog {
  readonly #session: LogSession;
  /** Position given out last. */
  #last: Position;

  constructor(session: LogSession) {
    this.#session = session;
    this.#last = this.head;
  }

  get head(): Position {
    const { first, records } = this.#session.disk;
    return first + records.length - 1;
  }

  get first(): Position {
    return this.#session.disk.first;
  }

  get completeFrom(): number {
    return this.#session.disk.completeFrom;
  }

  gaps(): readonly LogGap[] {
    return [];
  }

  append(record: LogRecord, change?: QuarantineChange): Promise<Position> {
    const position = ++this.#last;
    return this.#session.later(({ records, quarantine }) => {
      records.push(record);
      if (change !== undefined) quarantine.apply(change);
      return position;
    });
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.#entries(Math.max(from, this.first), this.head);
  }

  readRange(fromMs: number, toMs: number): AsyncIterable<LogEntry> {
    return this.#entries(this.first, this.head, ({ events }) => {
      const { least, greatest } = timesOf(events);
      return least < toMs && greatest >= fromMs;
    });
  }

  claims(from: Position): AsyncIterable<LogClaims> {
    return claimsIn(this.read(from));
  }

  compact(before: Position): Promise<void> {
    return this.#session.later((disk) => {
      const end = Math.min(before, this.head + 1);
      const recordAt = (position: Position): TailRecord => tailRecord(disk.records[position - disk.first]!);
      for (let from = tailOf(disk); ;) {
        const next = nextSegment(from, end, recordAt, disk.limits);
        if (next === from) return;
        disk.segmentEnds.push(next);
        from = next;
      }
    });
  }

  trim(before: Position): Promise<void> {
    return this.#session.later((disk) => {
      const target = Math.min(before, this.head + 1);
      const isInTail = target > tailOf(disk);
      const end = isInTail ? target : (disk.segmentEnds.findLast((end) => end <= target) ?? disk.first);
      for (const { events } of disk.records.splice(0, Math.max(0, end - disk.first))) {
        disk.completeFrom = Math.max(disk.completeFrom, timesOf(events).greatest + 1);
      }
      disk.first = Math.max(disk.first, end);
      const kept = disk.segmentEnds.filter((end) => end > disk.first);
      disk.segmentEnds.splice(0, disk.segmentEnds.length, ...kept);
    });
  }

  sizes(): LogSizes {
    const { disk } = this.#session;
    const tail = tailOf(disk) - disk.first;
    const segments = sumOf(disk.records.slice(0, tail));
    return {
      tail: sumOf(disk.records.slice(tail)),
      segments: { count: disk.segmentEnds.length, ...segments },
    };
  }

  async *#entries(
    from: Position,
    head: Position,
    isWanted: (record: LogRecord) => boolean = () => true,
  ): AsyncGenerator<LogEntry> {
    for (let position = from; position <= head; position++) {
      const { first, records } = this.#session.disk;
      if (position < first) throw overtaken(position);
      const record = records[position - first]!;
      if (isWanted(record)) yield { position, record };
    }
  }
}

/** Position of the oldest record that is in no segment. */
function tailOf({ segmentEnds, first }: LogDisk): Position {
  return segmentEnds.at(-1) ?? first;
}

function tailRecord({ receivedAt, events }: LogRecord): TailRecord {
  return { receivedAt, events: events.count, bytes: sizeOf(events) };
}

/** Bytes of the columns and values of a batch; texts as UTF-16. */
function sizeOf({ flags, ts, dims, values, viewerLo, viewerHi, idLo, idHi }: EventBatch): number {
  let size = idLo === undefined ? 0 : idLo.byteLength + idHi!.byteLength;
  for (const column of [flags, ts, viewerLo, viewerHi, ...dims]) size += column.byteLength;
  for (const list of values) for (const value of list) size += 2 * value.length;
  return size;
}

function sumOf(records: readonly LogRecord[]): { records: number; events: number; bytes: number } {
  let events = 0;
  let bytes = 0;
  for (const record of records) {
    events += record.events.count;
    bytes += sizeOf(record.events);
  }
  return { records: records.length, events, bytes };
}

async function* claimsIn(entries: AsyncIterable<LogEntry>): AsyncGenerator<LogClaims> {
  for await (const { position, record } of entries) yield claimsOf(position, record);
}
