/** A commit as the writes of one transaction, all of it worked out before the first is made. */
import { MAX_ROLLUPS } from "../engine/limits.js";
import { addressName, type BucketAddress, type StoreCommit } from "../engine/store.js";
import type { EncodedBucket } from "./block-encoder.js";
import { checkCommit } from "./checks.js";
import { rememberedPuts, valuePuts } from "./dictionary-pages.js";
import type { Environment, Put } from "./environment.js";
import { bucketKey, HEAD, revisionKey, sumOfKeys } from "./keys.js";
import { CALENDARS_KEY, GENERATION_KEY, META_KEY, readHead, type StoreState } from "./state.js";
import { encodeHead, encodeMeta, encodeNumber, encodeRevision, encodeTexts } from "./store-codec.js";
import type { Counts } from "./store-codec.js";

/** Revisions kept; about 60 bytes each. Who follows them asks more often than 100,000 buckets change. */
export const MAX_REVISIONS = 100_000;

/** What becomes of a `StoreState` once a commit is visible. */
export interface StagedCommit {
  readonly generation: number;
  readonly calendars: readonly string[];
  readonly counts: Counts;
  readonly buckets: readonly BucketAddress[];
  readonly removed: readonly BucketAddress[];
}

/** Throws a BUG when the commit does not follow on `state`, and `storage-damaged` when what it changes is. */
export function prepareCommit(
  environment: Environment,
  state: StoreState,
  commit: StoreCommit,
  buckets: readonly EncodedBucket[],
): { puts: Put[]; staged: StagedCommit } {
  checkCommit(commit, {
    generation: state.generation,
    lastRevision: state.counts.revisions.next - 1,
    valuesOf: (dimension) => state.counts.values[dimension] ?? 0,
  });
  const addresses = buckets.map(({ address }) => address);
  const added = distinct(addresses.filter((address) => !state.index.has(address)));
  const removed = distinct(commit.removed.filter((address) => state.index.has(address)));
  const calendars = [...new Set([...state.calendars, ...addresses.map(({ calendar }) => calendar)])];
  const remembered = rememberedPuts(environment, commit, state.counts);
  const revisions = revisionPuts(environment, commit, state.counts, calendars);
  const headKeys = (of: readonly BucketAddress[]): number =>
    sumOfKeys(
      of.map(({ calendar, grain, startMs }) => bucketKey(calendars.indexOf(calendar), grain, HEAD, startMs)),
    );
  const counts: Counts = {
    buckets: state.index.size + added.length - removed.length,
    headKeys: (state.counts.headKeys + headKeys(added) - headKeys(removed)) >>> 0,
    values: valueCounts(commit, state.counts),
    rememberedPages: remembered.pages,
    revisions: revisions.kept,
  };
  const db = environment.meta;
  const { generation } = commit.meta;
  const puts: Put[] = [
    ...buckets.flatMap((bucket) =>
      bucketPuts(environment, state, calendars.indexOf(bucket.address.calendar), bucket),
    ),
    ...removed.flatMap((address) => removalPuts(environment, state, address)),
    ...valuePuts(environment, commit, state.counts),
    ...remembered.puts,
    ...revisions.puts,
    { db, key: META_KEY, value: encodeMeta(META_KEY, { meta: commit.meta, counts }) },
    { db, key: GENERATION_KEY, value: encodeNumber(GENERATION_KEY, generation) },
  ];
  if (calendars.length > state.calendars.length) {
    puts.push({ db, key: CALENDARS_KEY, value: encodeTexts(CALENDARS_KEY, calendars) });
  }
  return { puts, staged: { generation, calendars, counts, buckets: addresses, removed } };
}

function bucketPuts(
  environment: Environment,
  state: StoreState,
  calendar: number,
  { address, head, blocks }: EncodedBucket,
): Put[] {
  const db = environment.buckets;
  const { grain, startMs } = address;
  const keyOf = (rollup: number): Uint8Array => bucketKey(calendar, grain, rollup, startMs);
  const kept = new Set(blocks.map(({ entry }) => entry.rollup));
  const gone = state.index.has(address) ? storedRollups(environment, state, address) : [];
  const entries = blocks.map(({ entry }) => entry);
  return [
    ...gone
      .filter((rollup) => !kept.has(rollup))
      .map((rollup) => ({ db, key: keyOf(rollup), value: undefined })),
    ...blocks.map(({ entry, bytes }) => ({ db, key: keyOf(entry.rollup), value: bytes })),
    { db, key: keyOf(HEAD), value: encodeHead(keyOf(HEAD), { ...head, blocks: entries }) },
  ];
}

function removalPuts(environment: Environment, state: StoreState, address: BucketAddress): Put[] {
  const calendar = state.calendars.indexOf(address.calendar);
  return [...storedRollups(environment, state, address), HEAD].map((rollup) => ({
    db: environment.buckets,
    key: bucketKey(calendar, address.grain, rollup, address.startMs),
    value: undefined,
  }));
}

/** The rollups that a stored bucket has blocks of; where its head is damaged, all that it could have. */
function storedRollups(environment: Environment, state: StoreState, address: BucketAddress): number[] {
  try {
    return readHead(environment, state, address).blocks.map(({ rollup }) => rollup);
  } catch {
    return Array.from({ length: MAX_ROLLUPS }, (_, rollup) => rollup);
  }
}

function revisionPuts(
  environment: Environment,
  { revisions }: StoreCommit,
  counts: Counts,
  calendars: readonly string[],
): { puts: Put[]; kept: Counts["revisions"] } {
  const db = environment.revisions;
  const next = counts.revisions.next + revisions.length;
  const first = Math.max(counts.revisions.first, next - MAX_REVISIONS);
  const puts: Put[] = [];
  for (const revision of revisions.slice(-MAX_REVISIONS)) {
    const key = revisionKey(revision.seq);
    puts.push({ db, key, value: encodeRevision(key, revision, calendars) });
  }
  for (let seq = counts.revisions.first; seq < Math.min(first, counts.revisions.next); seq++) {
    puts.push({ db, key: revisionKey(seq), value: undefined });
  }
  return { puts, kept: { first, next } };
}

function distinct(addresses: readonly BucketAddress[]): BucketAddress[] {
  return [...new Map(addresses.map((address) => [addressName(address), address])).values()];
}

function valueCounts({ values }: StoreCommit, counts: Counts): number[] {
  const after = [...counts.values];
  for (const { dimension, values: added } of values)
    after[dimension] = (after[dimension] ?? 0) + added.length;
  return Array.from(after, (count) => count ?? 0);
}
