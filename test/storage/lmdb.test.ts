import assert from "node:assert/strict";
import { once } from "node:events";
import * as fs from "node:fs";
import { readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Storage } from "../../engine/store.js";
import { BlockCache, CachedBucket } from "../../storage/block-cache.js";
import { encodeFormat } from "../../storage/format.js";
import { metaKey } from "../../storage/keys.js";
import { openLmdb } from "../../storage/lmdb.js";
import { block, bucket, commit, hour, record } from "./samples.js";
import { all, codeOf, errorOf, newPath, startChild, tamper, writtenStore } from "./support.js";

t.test("a new store is for its owner alone, also in a directory whose name has a dot", async (t) => {
  const directory = join(await newPath(t), "deeper", "data.v1");
  const storage = await openLmdb(directory);
  await storage.log.append(record(1));
  const mode = (path: string): number => fs.statSync(path).mode & 0o777;
  t.equal(mode(directory), 0o700);
  const files = fs.readdirSync(directory);
  t.same(files.sort(), ["data.mdb", "lock.mdb", "tidemark.lock"]);
  for (const file of files) t.equal(mode(join(directory, file)), 0o600, file);
  await storage.close();
  t.same(fs.readdirSync(directory).sort(), ["data.mdb", "lock.mdb"]);
});

t.test("a path that is no directory of its own is refused", async (t) => {
  const path = await newPath(t);
  await writeFile(path, "a file");
  t.equal((await errorOf(openLmdb(path))).code, "invalid-config");
  t.equal((await errorOf(openLmdb(join(path, "below")))).code, "invalid-config");
  await (await openLmdb(`${path}-real`)).close();
  await symlink(`${path}-real`, `${path}-link`);
  for (const link of [`${path}-link`, `${path}-link/`]) {
    const error = await errorOf(openLmdb(link));
    t.equal(error.code, "invalid-config");
    t.match(error.message, /symbolic link/);
  }
});

t.test("a directory is opened once in a process, by whatever name", async (t) => {
  const path = await newPath(t);
  const storage = await openLmdb(path);
  await symlink(join(path, ".."), `${path}-parent`);
  for (const name of [path, `${path}/../store`, `${path}-parent/store`]) {
    const error = await errorOf(openLmdb(name));
    t.equal(error.code, "invalid-config");
    t.match(error.message, /open in this process already/);
  }
  t.equal(await storage.log.append(record(1)), 1, "the refusals did it no harm");
  await storage.close();
  const again = await openLmdb(`${path}-parent/store`);
  t.equal(again.log.head, 1);
  await again.close();
});

t.test("another living process keeps its directory; one that was killed does not", async (t) => {
  const path = await newPath(t);
  const child = startChild("hold", path);
  t.teardown(() => child.process.kill("SIGKILL"));
  t.equal(await child.next(), "open");
  const error = await errorOf(openLmdb(path));
  t.equal(error.code, "invalid-config");
  t.match(error.message, new RegExp(`Process ${child.process.pid} on `));
  child.process.stdin!.write("append\n");
  t.equal(await child.next(), "none");
  child.process.kill("SIGKILL");
  await once(child.process, "exit");
  t.ok(fs.existsSync(join(path, "tidemark.lock")), "the killed process left its lock");
  const storage = await openLmdb(path);
  t.equal(storage.log.head, 1);
  await storage.close();
});

t.test(
  "a lock of this pid from an earlier process, or one that cannot be read, does not block",
  async (t) => {
    const path = await newPath(t);
    await (await openLmdb(path)).close();
    const locks = [
      JSON.stringify({ pid: process.pid, host: "before", started: "1" }),
      JSON.stringify({ pid: 2 ** 22 + 1, host: "elsewhere" }),
      JSON.stringify({ pid: -1 }),
      "{",
      "",
    ];
    for (const lock of locks) {
      await writeFile(join(path, "tidemark.lock"), lock);
      const storage = await openLmdb(path, { verify: "never" });
      t.match(JSON.parse(await readFile(join(path, "tidemark.lock"), "utf8")), { pid: process.pid }, lock);
      await storage.close();
    }
    await writeFile(join(path, "tidemark.lock"), JSON.stringify({ pid: 1, host: "here" }));
    t.match((await errorOf(openLmdb(path))).message, /Process 1 on here/, "init is always alive");
  },
);

t.test("a process that lost its lock writes nothing more once another has taken over", async (t) => {
  const path = await newPath(t);
  const child = startChild("hold", path);
  t.teardown(() => child.process.kill("SIGKILL"));
  t.equal(await child.next(), "open");
  await rm(join(path, "tidemark.lock"));
  const storage = await openLmdb(path);
  t.equal(await storage.log.append(record(7)), 1);
  child.process.stdin!.write("append\n");
  t.equal(await child.next(), "storage-failed");
  t.equal(await storage.log.append(record(8)), 2);
  const read = await all(storage.log.read(1));
  t.same(
    read.map(({ record }) => record.events.values[0]![0]),
    ["blog-7", "blog-8"],
  );
  child.process.stdin!.end();
  await once(child.process, "exit");
  t.ok(fs.existsSync(join(path, "tidemark.lock")), "it leaves the lock of its successor alone");
  await storage.close();
});

/** The number of the newest transaction in a closed store. */
async function transactions(path: string): Promise<number> {
  const file = await readFile(join(path, "data.mdb"));
  const [a, b] = [0, file.readUInt32LE(0x30)].map((at) => file.readBigUInt64LE(at + 0x98));
  return Number(a! > b! ? a! : b!);
}

t.test(
  "appends of one turn, and those that come while a commit is under way, share a transaction",
  async (t) => {
    const path = await newPath(t);
    const cost = async (work: (storage: Storage) => Promise<unknown>): Promise<number> => {
      const storage = await openLmdb(path);
      await work(storage);
      await storage.close();
      return transactions(path);
    };
    const one = await cost(async () => undefined);
    const two = await cost(async () => undefined);
    const opening = two - one;
    const hundred = await cost(({ log }) =>
      Promise.all(Array.from({ length: 100 }, (_, i) => log.append(record(i)))),
    );
    t.equal(hundred - two - opening, 1, "a hundred in one turn");
    const flight = await cost(async ({ log }) => {
      const appends = [log.append(record(1))];
      // Two turns later the first is with the disk.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => void setImmediate(resolve));
      for (let i = 0; i < 50; i++) appends.push(log.append(record(2)));
      await Promise.all(appends);
    });
    t.ok(flight - hundred - opening <= 2, "fifty while one is under way");
  },
);

t.test("the block cache keeps to its bytes and forgets a bucket long unused", async (t) => {
  const cache = new BlockCache(20_000);
  const add = (start: number, rows: number): CachedBucket => {
    const cached = new CachedBucket(hour(start), { revision: 0, position: 1, blocks: [] });
    cache.add(cached);
    cache.keepBlock(
      cached,
      block(
        0,
        Array.from({ length: rows }, (_, i) => [i]),
      ),
    );
    return cached;
  };
  const first = [0, 1, 2].map((start) => add(start, 20));
  t.equal(cache.get(hour(0)), first[0]);
  t.ok(cache.get(hour(0))?.block(0));
  t.equal(cache.get(hour(0))?.block(1), undefined);
  for (let i = 0; i < 40; i++) {
    add(10 + i, 20);
    t.ok(cache.get(hour(0)), "used all the time");
    t.ok(cache.sizeBytes <= 20_000);
  }
  t.equal(cache.get(hour(1)), undefined);
  const large = add(100, 2000);
  t.equal(cache.get(hour(100)), large, "its head is kept");
  t.equal(large.block(0), undefined, "larger than all of it");
  cache.remove(hour(0));
  cache.keepBlock(first[0]!, block(1, [[1]]));
  t.equal(first[0]!.block(1), undefined, "of a bucket that was forgotten nothing is kept");
  for (let start = 0; start <= 100; start++) cache.remove(hour(start));
  t.equal(cache.sizeBytes, 0);
  const path = await newPath(t);
  const storage = await openLmdb(path, { cacheBytes: 0 });
  await storage.store.commit(commit(1, { buckets: [bucket(hour(1), [block(0, [[1]])])] }));
  assert.deepEqual(storage.store.block(hour(1), 0), block(0, [[1]]));
  t.not(storage.store.block(hour(1), 0), storage.store.block(hour(1), 0), "nothing is kept");
  await storage.close();
});

t.test("what a bucket no longer has is no longer in the file", async (t) => {
  const path = await newPath(t);
  const storage = await openLmdb(path);
  const blocks = [0, 1, 2].map((rollup) => block(rollup, [[2]]));
  await storage.store.commit(commit(1, { buckets: [bucket(hour(1), blocks)] }));
  await storage.store.commit(commit(2, { buckets: [bucket(hour(1), blocks.slice(1, 2))] }));
  await storage.log.append(record(1));
  await storage.log.append(record(2));
  await storage.log.trim(2);
  await storage.close();
  const keys = { buckets: 0, log: 0 };
  await tamper(path, "buckets", (db) => (keys.buckets = db.count()));
  await tamper(path, "log", (db) => (keys.log = db.count()));
  t.same(keys, { buckets: 2, log: 1 }, "one block and the head; one record");
});

t.test("opening and closing leaves no descriptor behind, nor does a refusal", async (t) => {
  const path = await writtenStore(t);
  const descriptors = (): number => fs.readdirSync("/proc/self/fd").length;
  const cycle = async (): Promise<void> => {
    const storage = await openLmdb(path);
    await storage.log.append(record(1));
    t.equal(await codeOf(openLmdb(path)), "invalid-config");
    await storage.close();
    await tamper(path, "meta", (db) => db.put(metaKey("format"), encodeFormat(9)));
    t.equal(await codeOf(openLmdb(path)), "storage-version");
    await tamper(path, "meta", (db) => db.put(metaKey("format"), encodeFormat()));
  };
  await cycle();
  const before = descriptors();
  for (let i = 0; i < 10; i++) await cycle();
  t.equal(descriptors(), before);
});
