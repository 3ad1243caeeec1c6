/** The contract of event logs, with limits so small that they compact all the time. */
import t from "tap";
import { createMemoryDisk, openMemory, type MemoryDisk } from "../../storage/memory.js";
import type { SegmentLimits } from "../../storage/segment-plan.js";
import { logContract } from "./contract-log.js";
import { newLogPath, openLogAt, type LmdbOpenLog } from "./segment-support.js";
import type { Storage } from "../../engine/store.js";

const SMALL: readonly (readonly [string, SegmentLimits])[] = [
  ["few events", { events: 60, records: 1000, bytes: 2 ** 40, spanMs: 2 ** 52 }],
  ["short spans", { events: 500, records: 10, bytes: 2 ** 40, spanMs: 2 ** 20 }],
];

const disks = new WeakMap<Storage, MemoryDisk>();

function openDisk(disk: MemoryDisk): Storage {
  const storage = openMemory(disk);
  disks.set(storage, disk);
  return storage;
}

for (const [what, limits] of SMALL) {
  logContract<Storage>(
    t,
    `memory, segments of ${what}`,
    async () => openDisk(createMemoryDisk(limits)),
    async (storage) => {
      await storage.close();
      return openDisk(disks.get(storage)!);
    },
  );
  logContract<LmdbOpenLog>(
    t,
    `lmdb, segments of ${what}`,
    async () => openLogAt(await newLogPath(t), limits),
    async (opened) => {
      await opened.close();
      return openLogAt(opened.path, limits);
    },
  );
}
