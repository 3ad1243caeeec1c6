import assert from "node:assert/strict";
import { FLAG_VIEWER, type LogRecord } from "../../engine/log.js";
import type { BucketAddress, BucketStore, CellBlock, StoreCommit, StoredBucket } from "../../engine/store.js";

/** Typed arrays as plain ones, and only the rows that count. */
export function plainRecord({ receivedAt, events, claim }: LogRecord): unknown {
  const rows = (column: ArrayLike<number> | undefined): number[] | undefined =>
    column === undefined ? undefined : Array.from(column).slice(0, events.count);
  return {
    receivedAt,
    claim: claim && { ...claim },
    count: events.count,
    flags: rows(events.flags),
    ts: rows(events.ts),
    dims: events.dims.map(rows),
    values: events.values,
    viewerLo: rows(events.viewerLo),
    viewerHi: rows(events.viewerHi),
    idLo: rows(events.idLo),
    idHi: rows(events.idHi),
  };
}

/** A small record that says which one it is. */
export function record(number: number, count = 2): LogRecord {
  const numbers = Array.from({ length: count }, (_, i) => i);
  return {
    receivedAt: 1_750_000_000_000 + number,
    events: {
      count,
      flags: new Uint8Array(count).fill(FLAG_VIEWER),
      ts: Float64Array.from(numbers, (i) => 1_750_000_000_000 + number * 1000 + i),
      dims: [Uint32Array.from(numbers, () => 1), Uint32Array.from(numbers, (i) => i % 2)],
      values: [[`blog-${number}`], ["author"]],
      viewerLo: Uint32Array.from(numbers, (i) => i * 2_654_435_761),
      viewerHi: Uint16Array.from(numbers, (i) => i),
    },
  };
}

/** A record whose size, from one event to thousands, follows from the position. */
export function sizedRecord(position: number): LogRecord {
  return record(position, position % 11 === 0 ? 3000 : 1 + (position % 40));
}

/** Rows with the keys given, ascending; the views tell the rows apart. */
export function block(rollup: number, keys: readonly (readonly number[])[], views = 1): CellBlock {
  const count = keys.length;
  return {
    rollup,
    arity: keys[0]?.length ?? 0,
    count,
    keys: Uint32Array.from(keys.flat()),
    views: Float64Array.from(keys, (_, i) => views + i),
    anonymous: new Float64Array(count),
    created: new Float64Array(count),
    tokenStart: new Uint32Array(count + 1),
    tokens: new Uint32Array(0),
    dense: new Map(),
  };
}

export function bucket(address: BucketAddress, blocks: readonly CellBlock[], revision = 0): StoredBucket {
  return { address, head: { revision, position: 0 }, blocks };
}

export function hour(number: number, calendar = "UTC"): BucketAddress {
  return { calendar, grain: "hour", startMs: number * 3_600_000 };
}

export function commit(generation: number, parts: Partial<StoreCommit> = {}): StoreCommit {
  const meta = {
    schema: "schema",
    generation,
    position: generation,
    watermark: generation * 1000,
    sealedUntil: { UTC: generation * 500 },
    dedupeFrom: 0,
    reach: {},
    incomplete: [],
  };
  return { meta, buckets: [], values: [], remembered: [], removed: [], revisions: [], ...parts };
}

/** A commit by which every part of the store tells its generation; `checkGeneration` looks at them all. */
export function generationCommit(generation: number): StoreCommit {
  const newest = { ...block(0, [[2]], generation), created: Float64Array.of(generation) };
  const buckets = [bucket(hour(0), [newest], generation)];
  if (generation > 1) buckets.push(bucket(hour(generation - 1), [newest]));
  const values = [{ dimension: 0, firstId: generation + 1, values: [`v${generation}`] }];
  const remembered = [{ dimension: 0, subjects: Uint32Array.of(2), ids: Uint32Array.of(generation) }];
  return commit(generation, { buckets, values, remembered });
}

/** Throws unless all that is read at once is of one generation; returns it. */
export function checkGeneration(store: BucketStore): number {
  const generation = store.generation();
  const seen = {
    meta: store.meta()?.generation ?? 0,
    values: store.values(0).length,
    addresses: [...store.addresses()].length,
    starts: store.starts("UTC", "hour", 0, 1e15).length,
    rewritten: store.block(hour(0), 0)?.views[0] ?? 0,
    revision: store.head(hour(0))?.revision ?? 0,
    newest: store.block(hour(generation - 1), 0)?.created[0] ?? 0,
    remembered: store.remembered(0)[2] ?? 0,
  };
  for (const [what, found] of Object.entries(seen)) assert.equal(found, generation, what);
  return generation;
}
