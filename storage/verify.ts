/** The full check of a store: every record of every database is read and its checksum compared. */
import type { BucketAddress } from "../engine/store.js";
import { TidemarkError } from "../engine/errors.js";
import { crc32c } from "./crc32c.js";
import type { Db, Environment } from "./environment.js";
import { FRAME_BYTES } from "./frame.js";
import { bucketKey, HEAD } from "./keys.js";
import { LmdbLog } from "./lmdb-log.js";
import { LmdbStore } from "./lmdb-store.js";
import { BODIES, GAPS, HEADERS, keyRange } from "./segment-format.js";
import { CALENDARS_KEY } from "./state.js";
import { decodeTexts } from "./store-codec.js";
import { WriteQueue } from "./write-queue.js";

/** One record that cannot be trusted. */
export interface DamagedRecord {
  readonly database: string;
  /** The key in hex. */
  readonly key: string;
  /** What is wrong, as a sentence. */
  readonly what: string;
  /** Of a record of a bucket: which. */
  readonly address?: BucketAddress;
}

export interface Verified {
  /** Position of the newest log record; 0 when the log is empty, or cannot be read. */
  readonly logHead: number;
  readonly records: number;
  readonly bytes: number;
  /** The first `MOST_DAMAGED` of them. */
  readonly damage: readonly DamagedRecord[];
  readonly damagedRecords: number;
  /** Why the store cannot be opened at all; undefined when it can. */
  readonly refusal: string | undefined;
}

/**
 * How much is read. `records`: all but the cell blocks and the segments, which check themselves whenever they are read.
 * `sums`: those too, their checksums compared and nothing decoded. `values`: cell blocks are decoded as well, which
 * finds what was wrong before it was written.
 */
export type Depth = "records" | "sums" | "values";

const ALL = {};

/** Enough to see what happened; beyond, a restore is due rather than a list. */
const MOST_DAMAGED = 10_000;

/** Without these the store cannot be trusted as a whole; of the others, single records can be done without. */
const INDISPENSABLE: ReadonlySet<string> = new Set(["meta", "dictionary", "log"]);

/** Whether the store can still be opened with this record damaged. */
export function isDispensable({ database }: DamagedRecord): boolean {
  return !INDISPENSABLE.has(database);
}

/** Reads through LMDB, so deep: `storage/verify-main.ts` does it in a process of its own. */
export function verifyRecords(environment: Environment, depth: Depth): Verified {
  const verifier = new Verifier(environment);
  const { meta, dictionary, log, revisions, segments, quarantine } = environment;
  try {
    environment.formatVersion();
    verifier.framed("meta", meta, ALL, "format");
    verifier.framed("dictionary", dictionary);
    verifier.framed("log", log);
    verifier.framed("revisions", revisions);
    verifier.framed("quarantine", quarantine);
    // What was set aside was found damaged before.
    for (const kind of depth === "records" ? [HEADERS, GAPS] : [HEADERS, BODIES, GAPS]) {
      verifier.framed("segments", segments, keyRange(kind));
    }
    verifier.buckets(depth);
    // It looks whether records are missing.
    verifier.logHead = new LmdbLog(environment, new WriteQueue(environment)).head;
    return verifier.verified(undefined);
  } catch (error) {
    if (error instanceof TidemarkError) return verifier.verified(error.message);
    throw error;
  }
}

class Verifier {
  logHead = 0;
  readonly #environment: Environment;
  readonly #damage: DamagedRecord[] = [];
  #records = 0;
  #bytes = 0;
  #damaged = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  verified(refusal: string | undefined): Verified {
    const bad = this.#damage.find((record) => !isDispensable(record));
    return {
      logHead: this.logHead,
      records: this.#records,
      bytes: this.#bytes,
      damage: this.#damage,
      damagedRecords: this.#damaged,
      refusal: refusal ?? bad?.what,
    };
  }

  /** The records of a database with keys in a range, but for one; their checksum covers the key. */
  framed(name: string, db: Db, range: Partial<ReturnType<typeof keyRange>> = ALL, but = ""): void {
    for (const { key, value } of db.getRange(range)) {
      this.#records++;
      this.#bytes += value.length;
      if (Buffer.from(key).toString("latin1") === but || isFramed(key, value)) continue;
      const hex = Buffer.from(key).toString("hex");
      this.#add({ database: name, key: hex, what: `Record ${hex} of "${name}" fails its checksum.` });
    }
  }

  /** Heads, and the blocks that they name. */
  buckets(depth: Depth): void {
    const environment = this.#environment;
    const store = new LmdbStore(environment, new WriteQueue(environment), 0);
    const names = environment.get(environment.meta, CALENDARS_KEY);
    const calendars = names === undefined ? [] : decodeTexts(CALENDARS_KEY, names, "The list of calendars");
    for (const address of store.addresses()) {
      this.#records++;
      try {
        if (depth === "values") store.check(address);
        else if (depth === "sums") store.sumUp(address);
        else store.head(address);
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        const { calendar, grain, startMs } = address;
        const key = Buffer.from(bucketKey(calendars.indexOf(calendar), grain, HEAD, startMs)).toString("hex");
        this.#add({ database: "buckets", key, what: error.message, address });
      }
    }
  }

  #add(record: DamagedRecord): void {
    this.#damaged++;
    // What is indispensable is in the list whatever comes before it.
    if (this.#damage.length < MOST_DAMAGED) this.#damage.push(record);
    else if (!isDispensable(record)) this.#damage[MOST_DAMAGED - 1] = record;
  }
}

/** As `frame` makes them, whatever the kind. */
export function isFramed(key: Uint8Array, value: Uint8Array): boolean {
  const end = value.length - 4;
  if (value.length < FRAME_BYTES) return false;
  const found = value[end]! | (value[end + 1]! << 8) | (value[end + 2]! << 16) | (value[end + 3]! << 24);
  return found >>> 0 === crc32c(value, 0, end, crc32c(key));
}
