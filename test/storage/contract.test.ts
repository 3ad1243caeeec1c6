import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Storage } from "../../engine/store.js";
import { openLmdb } from "../../storage/lmdb.js";
import { createMemoryDisk, openMemory, type MemoryDisk } from "../../storage/memory.js";
import { block, bucket, commit, hour, record } from "./samples.js";
import { storageContract } from "./contract.js";

const directories = new WeakMap<Storage, string>();

async function openAt(directory: string): Promise<Storage> {
  const storage = await openLmdb(directory);
  directories.set(storage, directory);
  return storage;
}

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tidemark-contract-"));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function reopenLmdb(storage: Storage): Promise<Storage> {
  await storage.close();
  return openAt(directories.get(storage)!);
}

const disks = new WeakMap<Storage, MemoryDisk>();

function openDisk(disk: MemoryDisk): Storage {
  const storage = openMemory(disk);
  disks.set(storage, disk);
  return storage;
}

storageContract(
  t,
  "memory",
  async () => openDisk(createMemoryDisk()),
  async (storage) => {
    await storage.close();
    return openDisk(disks.get(storage)!);
  },
);

storageContract(t, "lmdb", async () => openAt(await newDirectory()), reopenLmdb);

t.test(
  "memory: after a crash the disk has what was acknowledged, and the storage before is dead",
  async (t) => {
    const disk = createMemoryDisk();
    const before = openMemory(disk);
    await before.log.append(record(1));
    await before.store.commit(commit(1, { buckets: [bucket(hour(1), [block(0, [[2]])])] }));
    const lost = [before.log.append(record(2)), before.store.commit(commit(2))];
    const after = openMemory(disk);
    for (const { status } of await Promise.allSettled(lost)) t.equal(status, "rejected");
    t.equal(after.log.head, 1);
    t.equal(after.store.generation(), 1);
    t.ok(after.store.block(hour(1), 0));
    t.throws(() => before.log.head, { code: "not-ready" });
    t.equal(await after.log.append(record(2)), 2);
    await before.close();
    t.equal(after.log.head, 2, "closing the dead storage takes nothing from the living");
    await after.close();
  },
);
