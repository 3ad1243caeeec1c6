/** A commit as the writes of one transaction, all of it worked out before the first is made. */
import { addressName, type BucketAddress, type BucketHead, type StoreCommit } from "../engine/store.js";
import { blockChecksum, encodeBlock } from "./block-codec.js";
import { checkCommit } from "./checks.js";
import { rememberedPuts, valuePuts } from "./dictionary-pages.js";
import type { Environment, Put } from "./environment.js";
import { bucketKey, HEAD } from "./keys.js";
import { CALENDARS_KEY, GENERATION_KEY, META_KEY, readHead, type StoreState } from "./state.js";
import { encodeHead, encodeMeta, encodeNumber, encodeTexts } from "./store-codec.js";
import type { BlockEntry, Counts } from "./store-codec.js";
import { nextTurn } from "./write-queue.js";

/** Rows encoded between two pauses in which other work runs: about 10 ms. */
const ROWS_PER_SLICE = 20_000;

export interface EncodedBucket {
  readonly address: BucketAddress;
  readonly head: BucketHead;
  readonly blocks: readonly { readonly entry: BlockEntry; readonly bytes: Uint8Array }[];
}

/** What becomes of a `StoreState` once a commit is visible. */
export interface StagedCommit {
  readonly generation: number;
  readonly calendars: readonly string[];
  readonly counts: Counts;
  readonly buckets: readonly BucketAddress[];
}

/** Encodes the blocks, the long part, with pauses. */
export async function encodeBuckets(buckets: StoreCommit["buckets"]): Promise<EncodedBucket[]> {
  const encoded: EncodedBucket[] = [];
  let rows = 0;
  for (const { address, head, blocks } of buckets) {
    const filled = blocks.filter((block) => block.count > 0);
    encoded.push({
      address,
      head,
      blocks: filled.map((block) => {
        const bytes = encodeBlock(block);
        const checksum = blockChecksum(bytes, "A new block");
        const entry = { rollup: block.rollup, rows: block.count, sizeBytes: bytes.length, checksum };
        return { entry, bytes };
      }),
    });
    for (const block of filled) rows += block.count;
    if (rows < ROWS_PER_SLICE) continue;
    rows = 0;
    await nextTurn();
  }
  return encoded;
}

/** Throws a BUG when the commit does not follow on `state`, and `storage-damaged` when what it changes is. */
export function prepareCommit(
  environment: Environment,
  state: StoreState,
  commit: StoreCommit,
  buckets: readonly EncodedBucket[],
): { puts: Put[]; staged: StagedCommit } {
  checkCommit(commit, state.generation, (dimension) => state.counts.values[dimension] ?? 0);
  const calendars = [...new Set([...state.calendars, ...buckets.map(({ address }) => address.calendar)])];
  const remembered = rememberedPuts(environment, commit, state.counts);
  const counts: Counts = {
    buckets: state.index.size + newBuckets(state, buckets),
    values: valueCounts(commit, state.counts),
    rememberedPages: remembered.pages,
  };
  const db = environment.meta;
  const { generation } = commit.meta;
  const puts: Put[] = [
    ...buckets.flatMap((bucket) =>
      bucketPuts(environment, state, calendars.indexOf(bucket.address.calendar), bucket),
    ),
    ...valuePuts(environment, commit, state.counts),
    ...remembered.puts,
    { db, key: META_KEY, value: encodeMeta(META_KEY, { meta: commit.meta, counts }) },
    { db, key: GENERATION_KEY, value: encodeNumber(GENERATION_KEY, generation) },
  ];
  if (calendars.length > state.calendars.length) {
    puts.push({ db, key: CALENDARS_KEY, value: encodeTexts(CALENDARS_KEY, calendars) });
  }
  return { puts, staged: { generation, calendars, counts, buckets: buckets.map(({ address }) => address) } };
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
  const before = state.index.has(address) ? readHead(environment, state, address).blocks : [];
  const kept = new Set(blocks.map(({ entry }) => entry.rollup));
  const gone = before.filter(({ rollup }) => !kept.has(rollup));
  const entries = blocks.map(({ entry }) => entry);
  return [
    ...gone.map(({ rollup }) => ({ db, key: keyOf(rollup), value: undefined })),
    ...blocks.map(({ entry, bytes }) => ({ db, key: keyOf(entry.rollup), value: bytes })),
    { db, key: keyOf(HEAD), value: encodeHead(keyOf(HEAD), { ...head, blocks: entries }) },
  ];
}

function newBuckets(state: StoreState, buckets: readonly EncodedBucket[]): number {
  const added = buckets.filter(({ address }) => !state.index.has(address));
  return new Set(added.map(({ address }) => addressName(address))).size;
}

function valueCounts({ values }: StoreCommit, counts: Counts): number[] {
  const after = [...counts.values];
  for (const { dimension, values: added } of values)
    after[dimension] = (after[dimension] ?? 0) + added.length;
  return Array.from(after, (count) => count ?? 0);
}
