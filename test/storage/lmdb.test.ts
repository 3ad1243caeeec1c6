import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { open as openRaw } from "lmdb";
import t from "tap";
import { TidemarkError } from "../../engine/errors.js";
import type { LogEntry } from "../../engine/log.js";
import type { Storage } from "../../engine/store.js";
import { BlockCache } from "../../storage/block-cache.js";
import { encodeBlock } from "../../storage/block-codec.js";
import { encodeFormat } from "../../storage/format.js";
import { bucketKey, HEAD, logKey, metaKey, pageKey, REMEMBERED, VALUES } from "../../storage/keys.js";
import { openLmdb } from "../../storage/lmdb.js";
import { encodeRecord } from "../../storage/log-codec.js";
import { needs } from "../support/env.js";
import {
  block,
  bucket,
  checkGeneration,
  commit,
  generationCommit,
  hour,
  plainRecord,
  record,
  sizedRecord,
} from "./samples.js";

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));

/** Rounds of kill -9; thousands of them are for a long night. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 10);

async function newPath(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "tidemark-lmdb-"));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  return join(parent, "store");
}

async function errorOf(work: Promise<unknown>): Promise<TidemarkError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
  throw new Error("it was expected to fail");
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof TidemarkError ? error.code : String(error)),
  );
}

async function all(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const list: LogEntry[] = [];
  for await (const entry of entries) list.push(entry);
  return list;
}

interface Child {
  readonly process: ChildProcess;
  readonly lines: Interface;
  next(): Promise<string>;
}

function startChild(mode: string, directory: string, wrapper: readonly string[] = []): Child {
  const [command, ...args] = [...wrapper, process.execPath, "--import", "tsx", CHILD, mode, directory];
  // What tap puts there is for the tests themselves.
  const env = { ...process.env, NODE_OPTIONS: "" };
  const child = spawn(command!, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  const lines = createInterface({ input: child.stdout });
  const iterator = lines[Symbol.asyncIterator]();
  return { process: child, lines, next: async () => String((await iterator.next()).value) };
}

t.test("a new store is for its owner alone, also in a directory whose name has a dot", async (t) => {
  const directory = join(await newPath(), "deeper", "data.v1");
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
  const path = await newPath();
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
  const path = await newPath();
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
  const path = await newPath();
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
    const path = await newPath();
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
      const storage = await openLmdb(path);
      t.match(JSON.parse(await readFile(join(path, "tidemark.lock"), "utf8")), { pid: process.pid }, lock);
      await storage.close();
    }
    await writeFile(join(path, "tidemark.lock"), JSON.stringify({ pid: 1, host: "here" }));
    t.match((await errorOf(openLmdb(path))).message, /Process 1 on here/, "init is always alive");
  },
);

t.test("a process that lost its lock writes nothing more once another has taken over", async (t) => {
  const path = await newPath();
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

/** A closed store with five records and three commits. */
async function writtenStore(): Promise<string> {
  const path = await newPath();
  const storage = await openLmdb(path);
  for (const number of [1, 2, 3, 4, 5]) await storage.log.append(record(number));
  for (const generation of [1, 2, 3]) await storage.store.commit(generationCommit(generation));
  await storage.close();
  return path;
}

/** Changes a closed store behind Tidemark's back, through LMDB. */
async function tamper(
  path: string,
  database: string,
  change: (db: {
    put(k: Uint8Array, v: Uint8Array): unknown;
    remove(k: Uint8Array): unknown;
    get(k: Uint8Array): Uint8Array;
  }) => unknown,
): Promise<void> {
  const raw = { encoding: "binary", keyEncoding: "binary" } as const;
  const root = openRaw<Uint8Array, Uint8Array>({ path, noSubdir: false, overlappingSync: false, ...raw });
  const db = root.openDB(database, raw);
  await change({
    put: (key, value) => db.put(key, value),
    remove: (key) => db.remove(key),
    get: (key) => db.getBinary(key)!,
  });
  await root.close();
}

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
  const path = await writtenStore();
  await tamper(path, "meta", (db) => db.put(metaKey("format"), encodeFormat(2)));
  const before = await readFile(join(path, "data.mdb"));
  const error = await errorOf(openLmdb(path));
  t.equal(error.code, "storage-version");
  t.match(error.message, /version 2.*version 1/);
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
  const path = await writtenStore();
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
    ["the newest record but one removed", "log", (db) => db.remove(logKey(4)), () => "opening counts them"],
    ["the oldest record removed", "log", (db) => db.remove(logKey(1)), () => "opening looks for it"],
  ];
  for (const [what, database, change, read] of damage) {
    const path = await writtenStore();
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
  const path = await writtenStore();
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
  const path = await writtenStore();
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
    ["a root beyond the end", (file, at) => file.writeBigUInt64LE(10n ** 9n, at + 0x88)],
    ["a root in the meta pages", (file, at) => file.writeBigUInt64LE(1n, at + 0x58)],
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

/** The number of the newest transaction in a closed store. */
async function transactions(path: string): Promise<number> {
  const file = await readFile(join(path, "data.mdb"));
  const [a, b] = [0, file.readUInt32LE(0x30)].map((at) => file.readBigUInt64LE(at + 0x98));
  return Number(a! > b! ? a! : b!);
}

t.test(
  "appends of one turn, and those that come while a commit is under way, share a transaction",
  async (t) => {
    const path = await newPath();
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

t.test("the block cache keeps to its bytes and forgets the bucket longest unused", async (t) => {
  const cache = new BlockCache(10_000);
  const small = block(
    0,
    Array.from({ length: 20 }, (_, i) => [i]),
  );
  for (const name of ["a", "b", "c"]) cache.add(name, small);
  t.equal(cache.get("a", 0), small);
  t.equal(cache.get("a", 1), undefined);
  for (let i = 0; i < 3; i++) cache.add(`more-${i}`, small);
  t.ok(cache.sizeBytes <= 10_000);
  t.equal(cache.get("a", 0), small, "used since");
  t.equal(cache.get("b", 0), undefined);
  cache.add(
    "large",
    block(
      0,
      Array.from({ length: 2000 }, (_, i) => [i]),
    ),
  );
  t.equal(cache.get("large", 0), undefined, "larger than all of it");
  for (const name of ["a", "c", "more-0", "more-1", "more-2"]) cache.remove(name);
  t.equal(cache.sizeBytes, 0);
  const path = await newPath();
  const storage = await openLmdb(path, { cacheBytes: 0 });
  await storage.store.commit(commit(1, { buckets: [bucket(hour(1), [small])] }));
  assert.deepEqual(storage.store.block(hour(1), 0), small);
  t.not(storage.store.block(hour(1), 0), storage.store.block(hour(1), 0), "nothing is kept");
  await storage.close();
});

t.test("opening and closing leaves no descriptor behind, nor does a refusal", async (t) => {
  const path = await writtenStore();
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

t.test(`kill -9 loses nothing acknowledged and tears nothing (${KILLS} times)`, async (t) => {
  const path = await newPath();
  let acknowledged = 0;
  let generation = 0;
  let unacknowledged = 0;
  for (let round = 0; round < KILLS; round++) {
    const child = startChild("write", path);
    let errors = "";
    child.process.stderr!.on("data", (data) => (errors += String(data)));
    let kill: NodeJS.Timeout | undefined;
    child.lines.on("line", (line) => {
      const [kind, number] = line.split(" ");
      if (kind === "a") acknowledged = Number(number);
      else generation = Number(number);
      kill ??= setTimeout(() => child.process.kill("SIGKILL"), Math.random() * 25);
    });
    await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
    assert.equal(child.process.signalCode, "SIGKILL", errors);
    const storage = await openLmdb(path);
    assert.ok(storage.log.head >= acknowledged, `${acknowledged} acknowledged, ${storage.log.head} there`);
    assert.ok(checkGeneration(storage.store) >= generation);
    let expected = Math.max(1, acknowledged - 200);
    for await (const { position, record } of storage.log.read(expected)) {
      assert.equal(position, expected++);
      assert.deepEqual(plainRecord(record), plainRecord(sizedRecord(position)));
    }
    assert.equal(expected - 1, storage.log.head);
    unacknowledged += storage.log.head - acknowledged;
    await storage.close();
  }
  t.ok(acknowledged > KILLS, `${acknowledged} records, ${generation} commits`);
  t.comment(`${acknowledged} acknowledged; ${unacknowledged} more were durable before their answer`);
});

const mount = await mkdtemp(join(tmpdir(), "tidemark-mount-"));
t.teardown(() => rm(mount, { recursive: true, force: true }));
// In a mount namespace of its own: the disk is gone with the process.
const SMALL_DISK = [
  "unshare",
  "-rm",
  "sh",
  "-c",
  'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"',
  mount,
];
const canMount = spawnSync(SMALL_DISK[0]!, [...SMALL_DISK.slice(1), "true"]).status === 0;

t.test(
  "a full disk is told, loses nothing, and is no end",
  needs(canMount, "no tmpfs can be mounted"),
  async (t) => {
    const child = startChild("fill", join(mount, "store"), SMALL_DISK);
    let errors = "";
    child.process.stderr!.on("data", (data) => (errors += String(data)));
    const said: unknown[] = [];
    child.lines.on("line", (line) => said.push(JSON.parse(line)));
    await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
    t.equal(child.process.exitCode, 0, errors);
    t.same(said, [
      { commitCode: "storage-full", bigHead: "none", generation: 1 },
      { again: "none", generation: 2 },
      { code: "storage-full", after: "storage-full", isHeadAcknowledged: true, isAllRead: true },
      { isHeadKept: true, generation: 2 },
      { append: "none" },
    ]);
  },
);
