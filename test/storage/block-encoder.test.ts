import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { atOnce } from "../../engine/sliced.js";
import type { CellBlock, StoredBucket } from "../../engine/store.js";
import { encodeAllInSlices, encodeBlocks } from "../../storage/block-codec.js";
import { BlockEncoder } from "../../storage/block-encoder.js";
import { flatSize, flattened, unflattened } from "../../storage/flat-block.js";
import { anyBlock } from "./arbitraries.js";
import { block, bucket, hour } from "./samples.js";

/** So many that they are encoded in the thread. */
const MANY = 25_000;

/** `rows` rows of two ids, and the block of their first ids. */
function blocksOf(rows: number, seed: number): CellBlock[] {
  const keys = Array.from({ length: rows }, (_, i) => [2 + Math.floor(i / 3), 2 + (i % 3) + seed]);
  const coarse = keys.flatMap(([first], i) => (i % 3 === 0 ? [[first!]] : []));
  return [block(2, keys, 1 + seed), block(1, coarse, 1 + seed)];
}

/** A bucket whose coarser rollups may be derived, and one whose may not. */
function bucketsOf(rows: number, seed: number): StoredBucket[] {
  const day = { calendar: "UTC", grain: "day", startMs: 0 } as const;
  return [bucket(hour(seed), blocksOf(rows, seed)), bucket(day, [...blocksOf(rows, seed), block(0, [])], 3)];
}

t.test("a block that was flattened, into memory that others used before, is the block again", (t) => {
  const property = fc.property(anyBlock, fc.nat(100), (sample, more) => {
    const buffer = new Uint8Array(flatSize(sample) + 8 * more).fill(0xaa).buffer;
    assert.deepEqual(unflattened(atOnce(flattened(sample, buffer))), sample);
  });
  fc.assert(property, { numRuns: 60 });
  t.end();
});

t.test("buckets have the same bytes whether they were encoded in a thread or here", async (t) => {
  const encoder = new BlockEncoder();
  t.teardown(() => encoder.close());
  for (const [seed, rows] of [10, MANY, 2 * MANY, 7, MANY].entries()) {
    const buckets = bucketsOf(rows, seed);
    const encoded = await encoder.encode(buckets);
    const [fine, coarse] = buckets as [StoredBucket, StoredBucket];
    const filled = coarse.blocks.slice(0, 2);
    const wanted = [encodeBlocks(fine.blocks), atOnce(encodeAllInSlices(filled, false))];
    for (const [i, { address, head, blocks }] of encoded.entries()) {
      t.same({ address, head }, { address: buckets[i]!.address, head: buckets[i]!.head });
      t.equal(blocks.length, 2, "an empty block is left out");
      for (const [j, { entry, bytes }] of blocks.entries()) {
        t.equal(Buffer.compare(bytes, wanted[i]![j]!), 0, `block ${j} of bucket ${i}`);
        const { rollup, count: of } = buckets[i]!.blocks[j]!;
        t.match(entry, { rollup, rows: of, sizeBytes: bytes.length });
      }
    }
  }
});

t.test("a bucket whose encoding began before its commit is the same, and is encoded once", async (t) => {
  const encoder = new BlockEncoder();
  t.teardown(() => encoder.close());
  const buckets = [...bucketsOf(MANY, 1), ...bucketsOf(30, 2), ...bucketsOf(MANY, 3)];
  for (const begun of [buckets, buckets.toReversed()]) {
    for (const one of begun) encoder.begin(one);
    const copies = buckets.map((one) => ({ ...one }));
    const encoded = await encoder.encode(copies);
    const wanted = await new BlockEncoder().encode(
      buckets.map((one) => ({ ...one, blocks: [...one.blocks] })),
    );
    t.same(encoded, wanted);
    const again = await encoder.encode(copies);
    t.equal(again[0]!.blocks[0]!.bytes, encoded[0]!.blocks[0]!.bytes, "the very bytes of the first time");
  }
});

t.test("commits at the same time, and larger than may be handed over at once, do not mix", async (t) => {
  const encoder = new BlockEncoder();
  t.teardown(() => encoder.close());
  const many = Array.from({ length: 6 }, (_, seed) => bucketsOf(120_000, seed)).flat();
  const [all, one] = await Promise.all([encoder.encode(many), encoder.encode(bucketsOf(MANY, 9))]);
  t.equal(all.length, 12);
  for (const [i, { blocks }] of all.entries()) {
    const wanted = encodeAllInSlices(many[i]!.blocks.slice(0, 2), i % 2 === 0);
    t.equal(
      Buffer.compare(Buffer.concat(blocks.map(({ bytes }) => bytes)), Buffer.concat(atOnce(wanted))),
      0,
    );
  }
  t.equal(one.length, 2);
});

t.test("a bug in a block is told from within the thread, and the next commit is encoded", async (t) => {
  const encoder = new BlockEncoder();
  t.teardown(() => encoder.close());
  const [good, other] = bucketsOf(MANY, 1) as [StoredBucket, StoredBucket];
  const [fine, coarse] = good.blocks as [CellBlock, CellBlock];
  const unsorted = { ...fine, keys: fine.keys.toReversed() };
  await t.rejects(encoder.encode([{ ...good, blocks: [unsorted, coarse] }, other]), { message: /BUG/ });
  t.equal((await encoder.encode([good])).length, 1);
});

t.test("without a thread everything is encoded here", async (t) => {
  const encoder = new BlockEncoder();
  const buckets = bucketsOf(MANY, 2);
  const before = await encoder.encode(buckets);
  await encoder.close();
  t.same(await encoder.encode(buckets), before);
  t.equal(buckets[0]!.blocks[0]!.count, MANY, "what was encoded is as it was");
});
