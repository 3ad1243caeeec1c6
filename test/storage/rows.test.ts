/** Single rows of stored blocks: read out of their groups, kept, forgotten with the bucket, and read whole after all. */
import assert from "node:assert/strict";
import t from "tap";
import { projectBlock } from "../../engine/hot/merge-blocks.js";
import type { CellBlock } from "../../engine/store.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import { bucket, commit, hour } from "./samples.js";
import { errorOf, newPath, tamper } from "./support.js";
import { bucketKey } from "../../storage/keys.js";

const FINE = 0;
const COARSE = 1;
const BLOGS = 1500;

/** Two to four rows of each blog, with viewers; every 100th blog has none. */
function fineBlock(views: number): CellBlock {
  const keys: number[] = [];
  const tokens: number[] = [];
  const tokenStart = [0];
  for (let blog = 2; blog < 2 + BLOGS; blog++) {
    if (blog % 100 === 0) continue;
    for (let country = 0; country <= 1 + (blog % 3); country++) {
      keys.push(blog, country);
      tokens.push(64 * blog + 1, 64 * (blog + 1 + country) + 2);
      tokenStart.push(tokens.length);
    }
  }
  const count = keys.length / 2;
  return {
    rollup: FINE,
    arity: 2,
    count,
    keys: Uint32Array.from(keys),
    views: Float64Array.from({ length: count }, (_, row) => views + (row % 5)),
    anonymous: new Float64Array(count),
    created: Float64Array.from({ length: count }, (_, row) => row % 2),
    tokenStart: Uint32Array.from(tokenStart),
    tokens: Uint32Array.from(tokens),
    dense: new Map(),
  };
}

interface Cell {
  readonly key: readonly number[];
  readonly counts: readonly number[];
  readonly tokens: readonly number[];
}

/** The rows of a block whose key begins with a prefix. */
function rowsWith(block: CellBlock | undefined, prefix: readonly number[]): Cell[] {
  if (block === undefined) return [];
  return Array.from({ length: block.count }, (_, row) => ({
    key: Array.from(block.keys.subarray(row * block.arity, (row + 1) * block.arity)),
    counts: [block.views[row]!, block.anonymous[row]!, block.created[row]!],
    tokens: Array.from(block.tokens.subarray(block.tokenStart[row], block.tokenStart[row + 1])),
  })).filter(({ key }) => prefix.every((id, i) => key[i] === id));
}

async function written(path: string, views: number, cacheBytes?: number): Promise<LmdbStorage> {
  const first = await openLmdb(path);
  await write(first, 1, views);
  // What was just written is kept whole.
  await first.close();
  return await openLmdb(path, cacheBytes === undefined ? {} : { cacheBytes });
}

async function write(storage: LmdbStorage, generation: number, views: number): Promise<void> {
  const fine = fineBlock(views);
  const blocks = [fine, projectBlock(fine, COARSE, 1)];
  await storage.store.commit(commit(generation, { buckets: [bucket(hour(1), blocks, generation)] }));
}

for (const cacheBytes of [undefined, 0, 40_000]) {
  t.test(
    `rows are those of the whole block, with a cache of ${cacheBytes ?? "the usual"} bytes`,
    async (t) => {
      const storage = await written(await newPath(t), 1, cacheBytes);
      const { store } = storage;
      const fine = fineBlock(1);
      const coarse = projectBlock(fine, COARSE, 1);
      // Often enough to be read whole meanwhile; each turn may do that once.
      for (let blog = 0; blog < BLOGS + 4; blog += 41) {
        const one = store.blockWith(hour(1), COARSE, Uint32Array.of(blog));
        assert.deepEqual(rowsWith(one, [blog]), rowsWith(coarse, [blog]));
        for (const prefix of [[blog], [blog, 1], [blog, 3]]) {
          const found = store.blockWith(hour(1), FINE, Uint32Array.from(prefix));
          assert.deepEqual(rowsWith(found, prefix), rowsWith(fine, prefix));
        }
        await Promise.resolve();
      }
      assert.deepEqual(store.block(hour(1), COARSE), coarse);
      t.equal(store.blockWith(hour(2), FINE, Uint32Array.of(1)), undefined, "no such bucket");
      t.equal(store.blockWith(hour(1), 7, Uint32Array.of(1)), undefined, "no such rollup");
      await storage.close();
    },
  );
}

t.test("what was read is forgotten when the bucket is written again, or removed", async (t) => {
  const storage = await written(await newPath(t), 1);
  const { store } = storage;
  const views = (): number | undefined => store.blockWith(hour(1), COARSE, Uint32Array.of(5))?.views[0];
  const before = views();
  t.equal(store.head(hour(1))?.revision, 1);
  await write(storage, 2, 100);
  t.equal(store.head(hour(1))?.revision, 2);
  t.ok(views()! > before! + 100);
  await store.commit(commit(3, { removed: [hour(1)] }));
  t.equal(store.head(hour(1)), undefined);
  t.equal(views(), undefined);
  t.equal(store.block(hour(1), FINE), undefined);
  await storage.close();
});

t.test("a single row is read whole after a while: then the same block is given every time", async (t) => {
  const storage = await written(await newPath(t), 1);
  const { store } = storage;
  const key = Uint32Array.of(7);
  t.equal(store.blockWith(hour(1), COARSE, key)?.count, 1);
  for (let i = 0; i < 40; i++) store.blockWith(hour(1), COARSE, key);
  t.equal(store.blockWith(hour(1), COARSE, key), store.blockWith(hour(1), COARSE, key));
  t.equal(store.blockWith(hour(1), COARSE, key)?.count, projectBlock(fineBlock(1), COARSE, 1).count);
  await storage.close();
});

t.test("a damaged group is told by the rows that lie in it, and names the bucket", async (t) => {
  const path = await newPath(t);
  await (await written(path, 1)).close();
  await tamper(path, "buckets", async (db) => {
    const key = bucketKey(0, "hour", FINE, hour(1).startMs);
    const bytes = Buffer.from(db.get(key));
    bytes[bytes.length - 3]! ^= 1;
    await db.put(key, bytes);
  });
  const storage = await openLmdb(path);
  const read = (blog: number) => async (): Promise<CellBlock | undefined> =>
    storage.store.blockWith(hour(1), COARSE, Uint32Array.of(blog));
  t.equal((await read(2)())?.count, 1, "another group is good");
  for (let i = 0; i < 2; i++) {
    const error = await errorOf(read(BLOGS + 1)());
    t.equal(error.code, "storage-damaged");
    t.match(error.extra, { bucket: hour(1) });
  }
  await storage.close();
});
