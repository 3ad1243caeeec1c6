import assert from "node:assert/strict";
import { mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { open } from "lmdb";
import t from "tap";
import type { Storage } from "../../engine/store.js";
import { encodeBlock } from "../../storage/block-codec.js";
import { encodeFormat } from "../../storage/format.js";
import { bucketKey, HEAD, logKey, metaKey, pageKey, REMEMBERED, VALUES } from "../../storage/keys.js";
import { openLmdb } from "../../storage/lmdb.js";
import { encodeRecord } from "../../storage/log-codec.js";
import { preflight } from "../../storage/preflight.js";
import { checkGeneration, generationCommit, hour, record } from "./samples.js";
import { all, codeOf, errorOf, newPath, tamper, writtenStore } from "./support.js";
import { mulberry32 } from "../support/random.js";

/** Turns one bit in the middle of every copy of `bytes` in the data file. */
async function damageBytes(path: string, bytes: Uint8Array): Promise<number> {
  const file = await readFile(join(path, "data.mdb"));
  let found = 0;
  for (let at = file.indexOf(bytes); at >= 0; at = file.indexOf(bytes, at + 1)) {
    file[at + (bytes.length >>> 1)]! ^= 0x10;
    found++;
  }
  await writeFile(join(path, "data.mdb"), file);
  return found;
}

t.test("a store of another version, or of nobody known, is not touched", async (t) => {
  const path = await writtenStore(t);
  await tamper(path, "meta", (db) => db.put(metaKey("format"), encodeFormat(3)));
  const before = await readFile(join(path, "data.mdb"));
  const error = await errorOf(openLmdb(path));
  t.equal(error.code, "storage-version");
  t.match(error.message, /version 3.*version 2/);
  t.equal(Buffer.compare(before, await readFile(join(path, "data.mdb"))), 0);
  await tamper(path, "meta", (db) => db.put(metaKey("format"), Buffer.from("TIDEMARK12345678")));
  t.equal((await errorOf(openLmdb(path))).code, "storage-damaged");
  await tamper(path, "meta", (db) => db.remove(metaKey("format")));
  t.equal((await errorOf(openLmdb(path))).code, "storage-damaged");
  await tamper(path, "meta", (db) => db.put(metaKey("format"), encodeFormat()));
  const storage = await openLmdb(path);
  t.equal(storage.log.head, 5, "no refusal left anything open or changed");
  await storage.close();
});

t.test("a bit that turned in the file is found where it is read, and only there", async (t) => {
  const path = await writtenStore(t);
  t.ok((await damageBytes(path, encodeRecord(3, record(3)))) > 0);
  const newest = generationCommit(3).buckets[1]!;
  t.ok((await damageBytes(path, encodeBlock(newest.blocks[0]!))) > 0);
  const storage = await openLmdb(path);
  const { log, store } = storage;
  const reader = log.read(1)[Symbol.asyncIterator]();
  t.equal((await reader.next()).value.position, 1);
  t.equal((await reader.next()).value.position, 2);
  const error = await errorOf(reader.next());
  t.equal(error.code, "storage-damaged");
  t.match(error.message, /Log record 3 fails its checksum\. Stop Tidemark/);
  t.same(
    (await all(log.read(4))).map(({ position }) => position),
    [4, 5],
  );
  t.throws(() => store.block(newest.address, 0), {
    code: "storage-damaged",
    message: /Rollup 0 of the hour/,
  });
  t.ok(store.block(hour(1), 0));
  t.equal(await log.append(record(6)), 6, "the rest can be used");
  await storage.close();
});

t.test("what is missing, old or in another's place is damage, not an answer", async (t) => {
  const keyOf = (rollup: number, number: number): Uint8Array =>
    bucketKey(0, "hour", rollup, hour(number).startMs);
  const damage: readonly [
    what: string,
    database: string,
    Parameters<typeof tamper>[2],
    (s: Storage) => unknown,
  ][] = [
    ["a block removed", "buckets", (db) => db.remove(keyOf(0, 1)), ({ store }) => store.block(hour(1), 0)],
    [
      "a block of another bucket",
      "buckets",
      (db) => db.put(keyOf(0, 1), db.get(keyOf(0, 2))),
      ({ store }) => store.block(hour(1), 0),
    ],
    [
      "a head of another bucket",
      "buckets",
      (db) => db.put(keyOf(HEAD, 1), db.get(keyOf(HEAD, 2))),
      ({ store }) => store.head(hour(1)),
    ],
    [
      "a page of values removed",
      "dictionary",
      (db) => db.remove(pageKey(VALUES, 0, 0)),
      ({ store }) => store.values(0),
    ],
    [
      "a page of remembered ids removed",
      "dictionary",
      (db) => db.remove(pageKey(REMEMBERED, 0, 0)),
      ({ store }) => store.remembered(0),
    ],
    [
      "the meta record cut",
      "meta",
      (db) => db.put(metaKey("meta"), Buffer.from("M")),
      () => "opening reads it",
    ],
    ["the generation removed", "meta", (db) => db.remove(metaKey("generation")), () => "opening reads it"],
    ["a head removed", "buckets", (db) => db.remove(keyOf(HEAD, 1)), () => "opening counts them"],
    [
      "a head in the place of a bucket that never was",
      "buckets",
      (db) => {
        db.put(keyOf(HEAD, 77), db.get(keyOf(HEAD, 1)));
        db.remove(keyOf(HEAD, 1));
      },
      () => "opening compares their keys",
    ],
    ["the newest record but one removed", "log", (db) => db.remove(logKey(4)), () => "opening counts them"],
    ["the oldest record removed", "log", (db) => db.remove(logKey(1)), () => "opening looks for it"],
  ];
  for (const [what, database, change, read] of damage) {
    const path = await writtenStore(t);
    await tamper(path, database, change);
    const found = openLmdb(path).then(async (storage) => {
      try {
        return read(storage);
      } finally {
        await storage.close();
      }
    });
    t.equal(await codeOf(found), "storage-damaged", what);
  }
});

t.test("a file that is cut off is refused, before LMDB maps it", async (t) => {
  const path = await writtenStore(t);
  const whole = await readFile(join(path, "data.mdb"));
  for (const size of [
    1,
    100,
    4095,
    4096,
    8191,
    8192,
    whole.length / 2,
    whole.length - 4096,
    whole.length - 1,
  ]) {
    await writeFile(join(path, "data.mdb"), whole.subarray(0, size));
    const error = await errorOf(openLmdb(path));
    t.equal(error.code, "storage-damaged", `${size} bytes`);
    t.match(error.message, /data\.mdb .*Stop Tidemark, keep a copy/);
  }
  await writeFile(join(path, "data.mdb"), whole);
  const storage = await openLmdb(path);
  t.equal(checkGeneration(storage.store), 3);
  await storage.close();
  await truncate(join(path, "data.mdb"), 0);
  const fresh = await openLmdb(path);
  t.equal(fresh.log.head, 0, "an empty file is a new one: its creator was killed");
  await fresh.close();
});

t.test("meta pages that LMDB did not write are refused", async (t) => {
  const path = await writtenStore(t);
  const whole = await readFile(join(path, "data.mdb"));
  const pageSize = whole.readUInt32LE(0x30);
  const changes: readonly [what: string, (file: Buffer, at: number) => unknown][] = [
    ["zeros", (file, at) => file.fill(0, at, at + 512)],
    ["noise", (file, at) => file.fill(0xa7, at, at + pageSize)],
    ["another magic", (file, at) => file.writeUInt32LE(0xbeef_c0df, at + 0x18)],
    ["another version", (file, at) => file.writeUInt32LE(1, at + 0x1c)],
    ["no meta page", (file, at) => file.writeUInt16LE(0x02, at + 0x12)],
    ["an odd page size", (file, at) => file.writeUInt32LE(4097, at + 0x30)],
    ["no page size", (file, at) => file.writeUInt32LE(0, at + 0x30)],
    ["another page size", (file, at) => file.writeUInt32LE(8192, at + 0x30)],
    ["no pages", (file, at) => file.writeBigUInt64LE(0n, at + 0x90)],
    ["a transaction far ahead", (file, at) => file.writeBigUInt64LE(10n ** 6n, at + 0x98)],
    [
      "the other page's parity",
      (file, at) => file.writeBigUInt64LE(file.readBigUInt64LE(at + 0x98) + 1n, at + 0x98),
    ],
  ];
  for (const [what, change] of changes) {
    for (const at of [0, pageSize]) {
      const file = Buffer.from(whole);
      change(file, at);
      await writeFile(join(path, "data.mdb"), file);
      t.equal((await errorOf(openLmdb(path))).code, "storage-damaged", `${what} in page ${at / pageSize}`);
    }
  }
});

t.test(
  "a tree beyond the last page is refused, but not where a meta page could not be written",
  async (t) => {
    const path = await writtenStore(t);
    const whole = await readFile(join(path, "data.mdb"));
    const pageSize = whole.readUInt32LE(0x30);
    const transactionAt = (at: number): bigint => whole.readBigUInt64LE(at + 0x98);
    const [older, newest] = transactionAt(0) < transactionAt(pageSize) ? [0, pageSize] : [pageSize, 0];
    for (const [root, offset] of [
      [10n ** 9n, 0x88],
      [1n, 0x58],
    ] as const) {
      const file = Buffer.from(whole);
      file.writeBigUInt64LE(root, newest + offset);
      await writeFile(join(path, "data.mdb"), file);
      t.equal((await errorOf(openLmdb(path))).code, "storage-damaged");
      // What LMDB leaves behind then: trees of the transaction that failed, all else of the one before.
      whole.copy(file, newest, newest, newest + pageSize);
      file.writeBigUInt64LE(root, older + offset);
      await writeFile(join(path, "data.mdb"), file);
      const storage = await openLmdb(path);
      t.equal(checkGeneration(storage.store), 3);
      t.equal(await storage.log.append(record(6)), 6);
      await storage.close();
      const again = await openLmdb(path);
      t.equal(again.log.head, 6);
      await again.close();
    }
  },
);

/** Puts and removals of all sizes in several databases, in many transactions, as LMDB alone sees them. */
async function workload(path: string, random: () => number, rounds: number): Promise<void> {
  const raw = { encoding: "binary", keyEncoding: "binary" } as const;
  const root = open<Uint8Array, Uint8Array>({ path, noSubdir: false, overlappingSync: false, ...raw });
  const databases = ["a", "b"].map((name) => root.openDB(name, raw));
  for (let round = 0; round < rounds; round++) {
    const share = random();
    for (let i = Math.floor(random() * 120); i >= 0; i--) {
      const db = databases[i % 2]!;
      const key = Buffer.alloc(4 + Math.floor(random() * 3) * 200);
      key.writeUInt32BE(Math.floor(random() * 400));
      const size = random() < 0.8 ? random() * 600 : random() ** 2 * 50_000;
      void (random() < share ? db.remove(key) : db.put(key, Buffer.alloc(size, i)));
    }
    await root.flushed;
  }
  await root.close();
}

t.test(
  "what LMDB wrote is never refused, copies of it included, and every page is accounted for",
  async (t) => {
    const runs = fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 40 }), async (seed, rounds) => {
      const path = await newPath(t);
      await workload(path, mulberry32(seed), rounds);
      const { pages, usedPages, freePages } = (await preflight(join(path, "data.mdb")))!;
      assert.equal(usedPages + freePages, pages);
      const root = open({ path, noSubdir: false, overlappingSync: false });
      for (const compact of [false, true]) {
        const copy = await newPath(t);
        await mkdir(copy);
        await root.backup(copy, compact);
        const structure = (await preflight(join(copy, "data.mdb")))!;
        assert.equal(structure.usedPages + structure.freePages, structure.pages);
      }
      await root.close();
    });
    await fc.assert(runs, { numRuns: 12 });
    t.pass();
  },
);

t.test("a page that is out of place is named, whatever it holds", async (t) => {
  const path = await newPath(t);
  await workload(path, mulberry32(1), 30);
  const file = join(path, "data.mdb");
  const whole = await readFile(file);
  const before = (await preflight(file))!;
  let named = 0;
  for (let page = 2; page < before.pages; page++) {
    const changed = Buffer.from(whole);
    // It says that it is another one: whoever reaches it must notice.
    changed.writeUInt32LE(page + 1, page * 4096);
    await writeFile(file, changed);
    const message = await preflight(file).then(
      () => "",
      (error: Error) => error.message,
    );
    if (message === "") continue;
    named++;
    assert.match(message, new RegExp(`[Pp]age ${page}\\b`));
  }
  // A value's pages after its first have no header.
  t.ok(named > 50 && named <= before.usedPages, `${named} of ${before.pages} pages`);
});
