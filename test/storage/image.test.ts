import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { CellTable } from "../../engine/hot/cell-table.js";
import { createEngine, type Engine } from "../../engine/index.js";
import type { HotImage } from "../../engine/image-port.js";
import { ImageFile } from "../../storage/image-file.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import { verifyDirectory } from "../../storage/verify-directory.js";
import { Clock, turn } from "../support/clock.js";
import { codeOf, newPath } from "./support.js";

const FILE = "tidemark.image";
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");

/** `cells` cells with a view each. */
function image(cells: number): HotImage {
  const table = new CellTable(1);
  for (let i = 0; i < cells; i++) table.views[table.upsert(1, Uint32Array.of(i + 2))]!++;
  const delta = { quarterMs: NOON_MS, firstPosition: 1, through: cells, since: NOON_MS, backfill: false };
  return {
    schema: "s",
    position: cells,
    record: "r",
    watermark: NOON_MS,
    dedupeFrom: 0,
    values: [{ dimension: 0, firstId: 2, values: Array.from({ length: cells }, (_, i) => `blog ${i}`) }],
    remembered: [],
    deltas: [{ ...delta, table: table.image() }],
  };
}

async function newDirectory(t: Test): Promise<string> {
  const path = await newPath(t);
  await mkdir(path);
  return path;
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function openEngine(path: string): Promise<{ engine: Engine; storage: LmdbStorage }> {
  const storage = await openLmdb(path);
  const { scheduler } = new Clock(NOON_MS);
  return { storage, engine: await createEngine({ storage, scheduler, nextTurn: turn, maxReplayEvents: 3 }) };
}

t.test("an image takes the place of the one before, and nothing else of its making stays", async (t) => {
  const directory = await newDirectory(t);
  await writeFile(join(directory, `${FILE}.part`), "what a killed process had written");
  const file = new ImageFile(directory);
  t.equal(await file.read(), undefined, "there is none yet");
  for (const cells of [3, 70_000, 0]) {
    await file.write(image(cells));
    t.same(await file.read(), image(cells));
    t.equal((await stat(join(directory, FILE))).mode & 0o777, 0o600);
    t.notOk(await isThere(join(directory, `${FILE}.part`)));
  }
  await file.drop();
  await file.drop();
  t.equal(await file.read(), undefined);
});

t.test("a damaged image, a piece of one, or something else is none, and goes", async (t) => {
  const directory = await newDirectory(t);
  const path = join(directory, FILE);
  const file = new ImageFile(directory);
  await file.write(image(1000));
  const good = await readFile(path);
  const flipped = Buffer.from(good);
  flipped[good.length >> 1]! ^= 1;
  const newer = Buffer.from(good);
  newer[9] = 99;
  const others = [
    flipped,
    newer,
    good.subarray(0, -1),
    good.subarray(0, 3),
    Buffer.alloc(0),
    Buffer.alloc(4096, 255),
  ];
  for (const bytes of others) {
    await writeFile(path, bytes);
    t.equal(await file.read(), undefined, `${bytes.length} bytes`);
    t.notOk(await isThere(path));
  }
});

t.test("an image that has no place rejects and leaves nothing", async (t) => {
  const directory = await newDirectory(t);
  await mkdir(join(directory, FILE));
  await writeFile(join(directory, FILE, "inside"), "a directory where the file should be");
  const file = new ImageFile(directory);
  t.match(await codeOf(file.write(image(3))), /EISDIR|ENOTEMPTY/);
  t.notOk(await isThere(join(directory, `${FILE}.part`)));
  t.equal(await file.read(), undefined);
});

t.test(
  "a store is opened with its image, or without; a close leaves none, and no check minds it",
  async (t) => {
    const path = await newPath(t);
    const { engine, storage } = await openEngine(path);
    const event = { type: "view" as const, ts: NOON_MS, blog: "b", viewer: "v" };
    for (let i = 0; i < 6; i++) await engine.ingest([event, event]);
    const written = async (): Promise<boolean> => (await storage.images!.read()) !== undefined;
    while (!(await written())) await new Promise((resolve) => setImmediate(resolve));
    const { position } = (await storage.images!.read())!;
    t.ok(position >= 2 && position <= 6);
    const bytes = await readFile(join(path, FILE));
    await engine.close();
    t.notOk(await isThere(join(path, FILE)));

    await writeFile(join(path, FILE), bytes);
    t.match((await verifyDirectory(path)).verified, { damagedRecords: 0, refusal: undefined });
    const { engine: again } = await openEngine(path);
    t.match(again.queryNow({ date_range: "all", metrics: ["views"] }), { results: [{ metrics: [12] }] });
    t.equal(again.stats().unsavedEvents, 0, "one that buckets have all of counts for nothing");
    await again.close();
    t.notOk(await isThere(join(path, FILE)), "and goes");
  },
);
