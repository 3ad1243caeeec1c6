import { rm } from "node:fs/promises";
import fc from "fast-check";
import t from "tap";
import { openLmdb } from "../../storage/lmdb.js";
import { histories, memoryDisk } from "./disks.js";
import { play } from "./history.js";

/**
 * TIDEMARK_SEED=…, and TIDEMARK_PATH=… as printed, to play one again. A long night is for `npm run simulate`, of which
 * this is a short one.
 */
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 2000);
const SEED = process.env["TIDEMARK_SEED"];
const PATH = process.env["TIDEMARK_PATH"];
const LMDB_RUNS = Math.ceil(RUNS / 100);

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
  t.equal(played, PATH === undefined ? RUNS : played);
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
  t.equal(opened, PATH === undefined ? LMDB_RUNS : opened);
});
