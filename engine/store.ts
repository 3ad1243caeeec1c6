/**
 * The BucketStore port: sealed buckets, and what is needed to go on from them. Reads are synchronous and, within
 * one turn of the event loop, see one state; a commit is atomic. Every read checks what it returns and throws
 * `storage-damaged` rather than give a wrong value.
 */
import type { Grain } from "./calendar/grain.js";
import type { ImagePort } from "./image-port.js";
import type { EventLog, Position } from "./log.js";
import type { QuarantinePort } from "./quarantine-port.js";
import type { Sliced } from "./sliced.js";

/** Calendar of the zone-free grains (quarter, hour) and of UTC days, weeks, months and years. */
export const UTC_CALENDAR = "UTC";

export interface BucketAddress {
  /** IANA name of a home zone, or `UTC_CALENDAR`. */
  readonly calendar: string;
  readonly grain: Grain;
  /** ms since the epoch. */
  readonly startMs: number;
}

/** A bucket's address as one text, for maps in memory. */
export function addressName({ calendar, grain, startMs }: BucketAddress): string {
  return `${calendar} ${grain} ${startMs}`;
}

/**
 * The cells of one rollup in one bucket. Rows ascend by key (lexicographic over the key's ids); keys are ids of
 * the dictionaries: 0 = absent, 1 = `(other)`, from 2 on the dictionary's values.
 */
export interface CellBlock {
  readonly rollup: number;
  readonly arity: number;
  readonly count: number;
  /** `count × arity` ids, row by row. */
  readonly keys: Uint32Array;
  readonly views: Float64Array;
  /** Views without a viewer. */
  readonly anonymous: Float64Array;
  /** Blogs created. */
  readonly created: Float64Array;
  /** `count + 1` offsets into `tokens`. */
  readonly tokenStart: Uint32Array;
  /** Hash tokens of the small sketches, ascending within a row. */
  readonly tokens: Uint32Array;
  /** Row → the 2^14 registers of its dense sketch (its token range is empty then). */
  readonly dense: ReadonlyMap<number, Uint8Array>;
}

/**
 * The same columns, in an object as all blocks are: code that has seen objects of several shapes is compiled again with
 * each, and is slower in the end.
 */
export function cellBlock(columns: CellBlock): CellBlock {
  const { rollup, arity, count, keys, views, anonymous, created, tokenStart, tokens, dense } = columns;
  return { rollup, arity, count, keys, views, anonymous, created, tokenStart, tokens, dense };
}

/** Registers of a row's sketch; undefined for a small one. */
export function registersOf({ tokenStart, dense }: CellBlock, row: number): Uint8Array | undefined {
  // Nearly all rows have tokens, which tells it sooner than the map.
  return tokenStart[row] === tokenStart[row + 1] && dense.size > 0 ? dense.get(row) : undefined;
}

export interface BucketHead {
  /** How often the bucket was changed after it was sealed. */
  readonly revision: number;
  /** Every log record up to here that touches the bucket is in it. */
  readonly position: Position;
}

export interface StoredBucket {
  readonly address: BucketAddress;
  readonly head: BucketHead;
  /** One per rollup that has cells; replaces all blocks of the bucket. */
  readonly blocks: readonly CellBlock[];
}

export interface StoreMeta {
  /** `Schema.fingerprint` of what is stored. */
  readonly schema: string;
  /** Grows by one with each commit. */
  readonly generation: number;
  /** Every record up to here is in the buckets; replay begins after it. */
  readonly position: Position;
  /** Watermark at the commit, ms; 0 before the first event. */
  readonly watermark: number;
  /** Per calendar: every bucket that ends at or before this instant is sealed. */
  readonly sealedUntil: Readonly<Record<string, number>>;
  /** Oldest record whose event ids or claims may still be asked for; 0 when there is none. */
  readonly dedupeFrom: Position;
  /** By `tierName`: buckets of the tier that begin before this instant were given up, or never made. */
  readonly reach: Readonly<Record<string, number>>;
  readonly incomplete: readonly Incomplete[];
}

/** Where damage took events that could not be won back: numbers of these buckets may be too small. */
export interface Incomplete {
  /** `tierName`, or null for every tier. */
  readonly tier: string | null;
  /** Of `[fromMs, toMs)`; infinite where nobody knows. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** Calendar and grain as one text: what is kept equally long. */
export function tierName(calendar: string, grain: Grain): string {
  return `${calendar} ${grain}`;
}

/** Why a sealed bucket changed: events that came late or as an import, or a repair after damage. */
export type RevisionReason = "late" | "backfill" | "repair";

/** One change of a sealed bucket. */
export interface Revision {
  /** Counts from 1 over the whole store. */
  readonly seq: number;
  /** When, by the engine's clock, ms. */
  readonly at: number;
  readonly address: BucketAddress;
  /** The bucket's revision from then on. */
  readonly revision: number;
  readonly reason: RevisionReason;
  readonly position: Position;
  /** What the total changed by. */
  readonly views: number;
  readonly created: number;
  /** Cells that changed, of all rollups. */
  readonly cells: number;
}

/** Bytes and buckets of one tier. */
export interface TierSize {
  readonly calendar: string;
  readonly grain: Grain;
  readonly buckets: number;
  readonly cells: number;
  readonly bytes: number;
}

export interface StoreCommit {
  readonly meta: StoreMeta;
  readonly buckets: readonly StoredBucket[];
  /** New dictionary values per dimension; the first has id `firstId` (2 for an empty dictionary). */
  readonly values: readonly { dimension: number; firstId: number; values: readonly string[] }[];
  /** Changed remembered values: subject id → value id of `dimension`. */
  readonly remembered: readonly { dimension: number; subjects: Uint32Array; ids: Uint32Array }[];
  /** Buckets given up. One that is not there is no mistake. */
  readonly removed: readonly BucketAddress[];
  /** The next revisions, in order of `seq`. */
  readonly revisions: readonly Revision[];
}

export interface BucketStore {
  /** Undefined for a store that was never committed to. */
  meta(): StoreMeta | undefined;
  /** `meta().generation`, cheaply; 0 before the first commit. */
  generation(): number;
  /** Values of a dimension in id order; the first has id 2. */
  values(dimension: number): string[];
  /** Remembered value ids of a dimension, indexed by subject id; 0 where nothing is remembered. */
  remembered(dimension: number): Uint32Array;
  head(address: BucketAddress): BucketHead | undefined;
  /** The cells of one rollup, or undefined when the bucket has none. Not to be modified. */
  block(address: BucketAddress, rollup: number): CellBlock | undefined;
  /** As `block`, past any cache, in slices: to be run to its end before another commit arrives. */
  blockInSlices(address: BucketAddress, rollup: number): Sliced<CellBlock | undefined>;
  /**
   * A block with the rows whose keys begin with `key`, if the bucket has any, and perhaps others: the cheapest way to
   * them. `key` has ids for the first of the rollup's dimensions, or for all.
   */
  blockWith(address: BucketAddress, rollup: number, key: Uint32Array): CellBlock | undefined;
  /** Starts of the stored buckets with `fromMs ≤ start < toMs`, ascending. */
  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array;
  /** Every stored bucket's address, in no particular order. */
  addresses(): Iterable<BucketAddress>;
  /** All blocks of a bucket, read anew and checked, not from a cache. Throws `storage-damaged`, also for none. */
  check(address: BucketAddress): readonly CellBlock[];
  /** `seq` of the newest revision; 0 before the first. */
  lastRevision(): number;
  /** At most `limit` revisions after `seq`, ascending. */
  revisions(after: number, limit: number): Revision[];
  /** Bytes of each tier; reads every head. */
  sizes(): TierSize[];
  /** A bucket that the next commit will have, with these very blocks: what takes long of writing it may begin. */
  expect?(bucket: StoredBucket): void;
  /** Atomic; replaces damaged buckets too; resolves when durable. After a rejection nothing of the commit is visible. */
  commit(commit: StoreCommit): Promise<void>;
}

/** What an engine is given: the ports of one place, opened together and closed together. */
export interface Storage {
  readonly log: EventLog;
  readonly store: BucketStore;
  /** Where refused events are kept. */
  readonly quarantine: QuarantinePort;
  /** Where an image of the hot cells is kept; without one, a restart folds all that is not in the store again. */
  readonly images?: ImagePort;
  /** Buckets that the check at opening found damaged; they are to be made anew. */
  readonly damagedBuckets?: readonly BucketAddress[];
  /**
   * After a failed append or commit: opens the place anew, so that both ports tell what is really there and take
   * writes again. Rejects while that cannot be done; may be tried again. Nothing may be under way.
   */
  recover(): Promise<void>;
  /** Idempotent; waits for what is under way. */
  close(): Promise<void>;
}
