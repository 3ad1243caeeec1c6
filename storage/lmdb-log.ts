import type { EventLog, LogEntry, LogRecord, Position } from "../engine/log.js";
import type { Environment, Put } from "./environment.js";
import { damaged, overtaken } from "./errors.js";
import { logKey, metaKey, positionOf } from "./keys.js";
import { decodeRecord, encodeRecord } from "./log-codec.js";
import { decodeNumber, encodeNumber } from "./store-codec.js";
import { nextTurn, type WriteQueue } from "./write-queue.js";

/** Position of the oldest record held; absent before the first `trim`. */
const FIRST_KEY = metaKey("log-first");

/** Records given up in one transaction: appends wait for it. */
const TRIM_RECORDS = 1000;

/** Bytes read between two pauses in which other work runs: about 10 ms of decoding. */
const PAUSE_BYTES = 1024 * 1024;

interface Append {
  readonly position: Position;
  readonly bytes: Uint8Array;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: unknown) => void;
}

export class LmdbLog implements EventLog {
  readonly #environment: Environment;
  readonly #queue: WriteQueue;
  #first: Position;
  /** What a trim under way goes up to; readers may see it before its promise is resolved. */
  #trimmed: Position;
  #head: Position;
  /** Position given out last. */
  #last: Position;
  /** What the next transaction of the log takes. */
  #waiting: Append[] = [];
  /** Why the log takes no more records. */
  #failure: { error: unknown } | undefined;

  /** Throws `storage-damaged` when records are missing. */
  constructor(environment: Environment, queue: WriteQueue) {
    this.#environment = environment;
    this.#queue = queue;
    const { first, head } = boundsOf(environment);
    this.#first = first;
    this.#trimmed = first;
    this.#head = head;
    this.#last = head;
  }

  get head(): Position {
    return this.#head;
  }

  get first(): Position {
    return this.#first;
  }

  append(record: LogRecord): Promise<Position> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure.error;
      const bytes = encodeRecord(this.#last + 1, record);
      const position = ++this.#last;
      if (this.#waiting.push({ position, bytes, resolve, reject }) === 1) void this.#flush();
    });
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.#entries(Math.max(from, this.#first), this.#head);
  }

  async trim(before: Position): Promise<void> {
    const target = Math.min(before, this.#head + 1);
    while (this.#first < target) {
      let next = this.#first;
      await this.#queue.add(() => {
        next = Math.min(target, this.#first + TRIM_RECORDS);
        this.#trimmed = Math.max(this.#trimmed, next);
        return this.#removals(next);
      });
      this.#first = Math.max(this.#first, next);
    }
  }

  /** Writes all that waits when its turn has come, in one transaction. */
  async #flush(): Promise<void> {
    let group: Append[] = [];
    try {
      await this.#queue.add(() => {
        group = this.#waiting;
        this.#waiting = [];
        const db = this.#environment.log;
        return group.map(({ position, bytes }) => ({ db, key: logKey(position), value: bytes }));
      });
    } catch (error) {
      this.#failure ??= { error };
      for (const { reject } of group.concat(this.#waiting)) reject(error);
      this.#waiting = [];
      return;
    }
    this.#head = group.at(-1)?.position ?? this.#head;
    for (const { position, resolve } of group) resolve(position);
  }

  #removals(before: Position): Put[] {
    if (before <= this.#first) return [];
    const { log, meta } = this.#environment;
    const puts: Put[] = [{ db: meta, key: FIRST_KEY, value: encodeNumber(FIRST_KEY, before) }];
    for (let position = this.#first; position < before; position++) {
      puts.push({ db: log, key: logKey(position), value: undefined });
    }
    return puts;
  }

  async *#entries(from: Position, head: Position): AsyncGenerator<LogEntry> {
    let sincePause = 0;
    for (let position = from; position <= head; position++) {
      const bytes = this.#environment.get(this.#environment.log, logKey(position));
      if (bytes === undefined) {
        throw position < this.#trimmed
          ? overtaken(position)
          : damaged(`Log record ${position}`, "is missing");
      }
      yield { position, record: decodeRecord(position, bytes) };
      sincePause += bytes.length;
      if (sincePause < PAUSE_BYTES) continue;
      sincePause = 0;
      await nextTurn();
    }
  }
}

/** The log's first and last position by its keys, which must be without a gap. */
function boundsOf({ log, meta }: Environment): { first: Position; head: Position } {
  const stored = meta.getBinary(FIRST_KEY);
  const first = stored === undefined ? 1 : decodeNumber(FIRST_KEY, stored, "The log's first position");
  const count = log.getKeysCount();
  const [lowest] = log.getKeys({ limit: 1 });
  const [highest] = log.getKeys({ limit: 1, reverse: true });
  const head = first + count - 1;
  const gapless =
    lowest === undefined || highest === undefined
      ? count === 0
      : positionOf(lowest) === first && positionOf(highest) === head;
  if (!gapless) throw damaged("The event log", `does not have all records from ${first} on`);
  return { first, head };
}
