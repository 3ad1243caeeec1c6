import { rm } from "node:fs/promises";
import fc from "fast-check";
import t from "tap";
import { openLmdb } from "../../storage/lmdb.js";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import { play, type History } from "./history.js";
import type { Disk } from "./world.js";

/** TIDEMARK_RUNS=100000 for a long night; TIDEMARK_SEED=…, and TIDEMARK_PATH=… as printed, to play one again. */
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 10_000);
const SEED = process.env["TIDEMARK_SEED"];
const PATH = process.env["TIDEMARK_PATH"];
const LMDB_RUNS = Math.ceil(RUNS / 200);

const histories: fc.Arbitrary<History> = fc.record({
  setup: fc.nat(0x7fff_ffff),
  commands: fc.array(
    fc.record({
      kind: fc.nat(14),
      choice: fc.nat(0xff_ffff),
      events: fc.array(fc.nat(0x7fff_ffff), { minLength: 1, maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 8 },
  ),
});

function memoryDisk(): Disk {
  const disk = createMemoryDisk();
  return { open: () => openMemory(disk), diesAlone: true };
}

/** A failure prints its seed and path, and the smallest history that shows it. */
const parameters = {
  includeErrorInReport: true,
  ...(SEED === undefined ? {} : { seed: Number(SEED) }),
  ...(PATH === undefined ? {} : { path: PATH }),
};

/** For machines that do much else at once. */
t.setTimeout(900_000);

t.test(`incremental equals recompute over ${RUNS} histories in memory`, async (t) => {
  let played = 0;
  const property = fc.asyncProperty(histories, async (history) => {
    await play(history, memoryDisk());
    played++;
  });
  await fc.assert(property, { ...parameters, numRuns: RUNS });
  t.equal(played, RUNS);
});

t.test(`incremental equals recompute over ${LMDB_RUNS} histories on LMDB`, async (t) => {
  const root = t.testdir();
  let opened = 0;
  const property = fc.asyncProperty(histories, async (history) => {
    const path = `${root}/${opened++}`;
    await play(history, { open: () => openLmdb(path), diesAlone: false });
    await rm(path, { recursive: true });
  });
  await fc.assert(property, { ...parameters, numRuns: LMDB_RUNS });
  t.equal(opened, LMDB_RUNS);
});
