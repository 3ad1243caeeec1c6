import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { QUARTER_MS } from "../../../engine/calendar/grain.js";
import { getZone } from "../../../engine/calendar/names.js";
import type { DeltaImage, HotImage, TableImage } from "../../../engine/image-port.js";
import { toBlocks } from "../../../engine/hot/block.js";
import { Buckets } from "../../../engine/hot/buckets.js";
import { CellTable } from "../../../engine/hot/cell-table.js";
import { ColumnCopies } from "../../../engine/hot/column-copies.js";
import { Dictionaries } from "../../../engine/hot/dictionaries.js";
import { defineSchema } from "../../../engine/schema.js";
import { atOnce, Slices } from "../../../engine/sliced.js";
import { decodeImage, encodeImage } from "../../../storage/image-codec.js";
import { createMemoryDisk, openMemory } from "../../../storage/memory.js";
import { checkAsk, checkStored } from "../../simulation/check.js";
import { World } from "../../simulation/world.js";
import { turn } from "../../support/clock.js";
import type { PlainEvent } from "../../support/oracle.js";
import { mulberry32 } from "../../support/random.js";

const SCHEMA = defineSchema();
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const MINUTE_MS = 60_000;
const TURNS = { nextTurn: () => Promise.resolve(), stopwatch: () => 0 };
const EVERYTHING = { from: NOON_MS - 86_400_000, to: NOON_MS + 86_400_000, zone: "UTC" };

function view(ts: number, more: Partial<PlainEvent> = {}): PlainEvent {
  return { type: "view", ts, blog: "b", author: "a", country: "c", viewer: "v", ...more };
}

/** Cells of a few tokens up to dense ones, with counts of every kind. */
function add(table: CellTable, seed: number, steps: number): void {
  const random = mulberry32(seed);
  for (let i = 0; i < steps; i++) {
    const rollup = 1 + Math.floor(random() * 3);
    const cell = table.upsert(rollup, Uint32Array.of(2 + Math.floor(random() ** 3 * 20), 0));
    table.views[cell]!++;
    if (random() < 0.01) table.anonymous[cell]!++;
    if (random() < 0.01) table.created[cell]!++;
    const most = random() < 0.5 ? 10 : 40_000;
    table.sketches.add(cell, ((1 + Math.floor(random() * most)) << 6) | 1);
  }
}

function imageOf(tables: readonly CellTable[]): HotImage {
  return {
    schema: "s",
    position: 9,
    record: "r",
    watermark: NOON_MS,
    dedupeFrom: 3,
    values: [{ dimension: 1, firstId: 7, values: ["", "ä", "(other)".repeat(300)] }],
    remembered: [{ dimension: 1, subjects: Uint32Array.of(2, 5), ids: Uint32Array.of(8, 7) }],
    deltas: deltasOf(tables.map((table) => table.image())),
  };
}

function deltasOf(tables: readonly TableImage[]): DeltaImage[] {
  return tables.map((table, i) => ({
    quarterMs: NOON_MS + i * QUARTER_MS,
    firstPosition: 1 + i,
    through: 9,
    since: NOON_MS,
    backfill: i === 1,
    table,
  }));
}

function bytesOf(image: HotImage): Uint8Array {
  return new Uint8Array(Buffer.concat(atOnce(encodeImage(image))));
}

t.test("images in memory that is used again are the same as in new memory, however the table grew", (t) => {
  const copies = new ColumnCopies();
  const table = new CellTable(2);
  let kept: CellTable | undefined;
  for (const steps of [3000, 60_000, 10, 90_000]) {
    add(table, steps, steps);
    for (let i = 0; i < steps / 10; i++) table.upsert(4, Uint32Array.of(2 + table.count, i));
    const image = table.image(copies.copy);
    t.same(image, table.image(), `${table.count} cells`);
    kept = CellTable.ofImage(
      decodeImage(bytesOf({ ...imageOf([]), deltas: deltasOf([image]) })).deltas[0]!.table,
    );
    copies.takeBack();
  }
  t.ok(table.image().keys.byteLength > 64 * 1024, "some columns are large enough for it");
  t.same(kept!.image(), table.image(), "what was written before is not overwritten");
  t.end();
});

t.test("a table goes on from its image as if nothing had happened", (t) => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 20_000 }), fc.nat(5000), (seed, before, after) => {
      const table = new CellTable(2);
      add(table, seed, before);
      const image = decodeImage(bytesOf(imageOf([table, new CellTable(2)])));
      assert.deepEqual({ ...image, deltas: [] }, { ...imageOf([]), deltas: [] });
      const again = CellTable.ofImage(image.deltas[0]!.table);
      assert.deepEqual(toBlocks(again, SCHEMA), toBlocks(table, SCHEMA), "as it was");
      for (const one of [table, again]) add(one, seed + 1, after);
      assert.deepEqual(toBlocks(again, SCHEMA), toBlocks(table, SCHEMA), "and as it became");
      assert.equal(again.count, table.count);
    }),
    { numRuns: 40 },
  );
  t.end();
});

t.test("an image with any bit turned, or an end cut off, is not taken for one", (t) => {
  const table = new CellTable(2);
  add(table, 1, 300);
  const bytes = bytesOf(imageOf([table]));
  const isRefused = (damaged: Uint8Array): boolean => {
    try {
      decodeImage(damaged);
      return false;
    } catch (error) {
      return (error as { code?: string }).code === "storage-damaged";
    }
  };
  t.notOk(isRefused(bytes.slice()));
  const headerEnd = 8 + new DataView(bytes.buffer).getUint32(0, true);
  // Four bytes after the length, and what fills up the header to a multiple of eight, mean nothing.
  const meansNothing = (at: number): boolean =>
    (at >= 4 && at < 8) || (at >= headerEnd && at < headerEnd + (-headerEnd & 7));
  const taken: number[] = [];
  for (let at = 0; at < bytes.length; at += at < headerEnd + 64 ? 1 : 7) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1 << (at & 7);
    if (!isRefused(damaged) && !meansNothing(at)) taken.push(at);
    if (at % 5 === 0 && !isRefused(bytes.slice(0, at))) taken.push(-at);
  }
  t.same(taken, []);
  t.end();
});

/** Buckets that count one view a record. */
class Counted {
  readonly storage = openMemory();
  readonly dictionaries = new Dictionaries(SCHEMA, this.storage.store, 1000);
  readonly buckets = new Buckets(SCHEMA, [getZone("UTC")], this.storage.store, this.dictionaries);

  fold(quarter: number, position: number, replay = false): void {
    const quarterMs = NOON_MS + quarter * QUARTER_MS;
    if (!replay || !this.buckets.isStored(quarterMs, position)) {
      const table = this.buckets.tableOf(quarterMs, position, 0, false);
      table.views[table.upsert(1, Uint32Array.of(2, 0))]!++;
    }
    this.buckets.folded(position, 1);
  }

  commit(quarter: number): Promise<void> {
    const quarterMs = NOON_MS + quarter * QUARTER_MS;
    return this.buckets.commit({
      include: (other) => other === quarterMs,
      sealUntil: NOON_MS,
      watermark: NOON_MS,
      dedupeFrom: 0,
      now: 0,
      slices: new Slices(TURNS),
    });
  }

  /** Views by quarter, in memory alone. */
  get views(): Record<number, number> {
    const views: Record<number, number> = {};
    for (const [quarterMs, table] of this.buckets.deltas(-Infinity, Infinity)) {
      const quarter = (quarterMs - NOON_MS) / QUARTER_MS;
      views[quarter] = (views[quarter] ?? 0) + (table.views[0] ?? 0);
    }
    return views;
  }
}

/** Others have their turn, which is `meanwhile`, after every copy. */
function pausing(meanwhile: () => void): Slices {
  const slices = new Slices(TURNS);
  slices.isOver = () => true;
  slices.pause = () => {
    meanwhile();
    return Promise.resolve();
  };
  return slices;
}

t.test(
  "records that come while quarters are copied are counted once, whatever was copied by then",
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 12 }),
        fc.array(fc.array(fc.nat(5), { maxLength: 3 }), { minLength: 6, maxLength: 6 }),
        async (before, during) => {
          const first = new Counted();
          const log = [...before];
          before.forEach((quarter, i) => first.fold(quarter, i + 1));
          const position = log.length;
          let pauses = 0;
          const deltas = await first.buckets.deltaImages(
            pausing(() => {
              for (const quarter of during[pauses++] ?? []) first.fold(quarter, log.push(quarter));
            }),
          );
          assert(deltas !== undefined);
          const again = new Counted();
          again.buckets.takeOver({ ...imageOf([]), position, deltas });
          for (let at = position; at < log.length; at++) again.fold(log[at]!, at + 1, true);
          assert.deepEqual(again.views, first.views);
        },
      ),
    );
    t.end();
  },
);

t.test("no image is made of deltas that a commit takes, or brings to the store, meanwhile", async (t) => {
  const counted = new Counted();
  for (let quarter = 0; quarter < 3; quarter++) counted.fold(quarter, quarter + 1);
  let committed: Promise<void> | undefined;
  const begins = pausing(() => void (committed ??= counted.commit(1)));
  t.equal(await counted.buckets.deltaImages(begins), undefined, "it begins");
  await committed;
  t.same(Object.keys(counted.views), ["0", "2"]);
  const under = counted.commit(2);
  const slices = new Slices(TURNS);
  slices.isOver = () => true;
  slices.pause = () => under;
  t.equal(await counted.buckets.deltaImages(slices), undefined, "it ends");
  t.equal((await counted.buckets.deltaImages(pausing(() => undefined)))?.length, 1);
});

t.test("an image made while a commit is under way serves whether that arrives or not", async (t) => {
  for (const arrives of [true, false]) {
    const disk = createMemoryDisk();
    const options = { maxReplayEvents: 3, nextTurn: turn };
    const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
    await world.send([view(NOON_MS), view(NOON_MS)]);
    world.gate.store.mode = "hold";
    const committed = world.engine.checkpoint().catch(() => undefined);
    await turn();
    await world.send([view(NOON_MS, { viewer: "w" }), view(NOON_MS - QUARTER_MS, { author: "late" })]);
    for (let i = 0; i < 20 && disk.image === undefined; i++) await turn();
    t.not(disk.image, undefined, "there is one");
    if (arrives) {
      world.gate.store.mode = "pass";
      world.gate.store.release();
      await committed;
    }
    await world.crash();
    t.match(world.engine.stats(), { position: 2, unsavedEvents: 0 }, "nothing was folded again");
    checkAsk(world.engine, world.oracle, EVERYTHING);
    await world.engine.checkpoint();
    checkStored(world.engine, world.gate.store, world.oracle);
    await world.engine.close();
  }
});

t.test(
  "a restart folds what came after the image, and the image goes when buckets have it all",
  async (t) => {
    const disk = createMemoryDisk();
    const options = { maxReplayEvents: 5, nextTurn: turn };
    const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
    for (let i = 0; i < 10; i++) {
      await world.send([view(NOON_MS + i, { viewer: `v${i}` }), view(NOON_MS - i * MINUTE_MS)]);
      await turn();
    }
    t.equal(world.engine.stats().commits, 1, "what the first event sealed, and no commit for the replay");
    await world.crash();
    t.ok(world.engine.stats().unsavedEvents <= 7, `${world.engine.stats().unsavedEvents} of 20`);
    checkAsk(world.engine, world.oracle, EVERYTHING);
    await world.crash();
    checkAsk(world.engine, world.oracle, EVERYTHING);
    await world.engine.checkpoint();
    t.not(disk.image, undefined);
    await world.clock.advance(2000);
    await turn();
    t.equal(disk.image, undefined);
    checkStored(world.engine, world.gate.store, world.oracle);
    await world.engine.close();
  },
);

t.test("an image of another log, another schema or a larger dictionary is done without", async (t) => {
  const image = async (values: number): Promise<Uint8Array> => {
    const disk = createMemoryDisk();
    const options = { maxReplayEvents: 1, nextTurn: turn };
    const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
    await world.send(Array.from({ length: values }, (_, i) => view(NOON_MS, { blog: `other ${i}` })));
    for (let i = 0; i < 20 && disk.image === undefined; i++) await turn();
    const bytes = disk.image!;
    await world.engine.close();
    return bytes;
  };
  const disk = createMemoryDisk();
  const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, {
    nextTurn: turn,
  });
  await world.send([view(NOON_MS), view(NOON_MS, { blog: "mine" })]);
  const other = await image(2);
  disk.image = other;
  await world.crash();
  t.equal(disk.image, undefined, "it is given up");
  t.equal(world.engine.stats().unsavedEvents, 2, "both were folded again");
  checkAsk(world.engine, world.oracle, { ...EVERYTHING, groupBy: ["blog"] });
  const decoded = decodeImage(other.slice());
  disk.image = bytesOf({ ...decoded, schema: "another" });
  await world.crash();
  t.equal(world.engine.stats().unsavedEvents, 2);
  await world.engine.close();

  const small = createMemoryDisk();
  const options = { maxReplayEvents: 1, maxValuesPerDimension: 5, nextTurn: turn };
  const crowded = await World.open({ open: () => openMemory(small), diesAlone: true }, NOON_MS, options);
  await crowded.send([view(NOON_MS, { blog: "b1" })]);
  // The commit that the first event brings has its values, and the image those that came after it.
  while (crowded.engine.stats().commits === 0) await turn();
  await crowded.send([view(NOON_MS, { blog: "b2" }), view(NOON_MS, { blog: "b3" })]);
  for (let i = 0; i < 20 && small.image === undefined; i++) await turn();
  await crowded.crash({ ...options, maxValuesPerDimension: 2 });
  t.equal(crowded.engine.stats().unsavedEvents, 3, "its values have no room");
  t.match(await crowded.engine.query({ date_range: "all", metrics: ["views"] }), {
    results: [{ metrics: [3] }],
  });
  await crowded.engine.close();
});

t.test("an image that cannot be written is told, costs nothing else, and is tried again later", async (t) => {
  const disk = createMemoryDisk();
  const options = { maxReplayEvents: 4, nextTurn: turn };
  const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
  await world.send([view(NOON_MS)]);
  await world.engine.checkpoint();
  world.gate.store.mode = "fail";
  for (let i = 0; i < 5; i++) await world.send([view(NOON_MS + i, { viewer: `v${i}` })]);
  await turn();
  t.match(world.engine.stats(), { ready: true, lastUpkeepError: "the gate is shut", lastCommitError: null });
  t.equal(disk.image, undefined);
  world.gate.store.mode = "pass";
  for (let i = 0; i < 6; i++) await world.send([view(NOON_MS - i, { viewer: `w${i}` })]);
  await turn();
  t.match(world.engine.stats(), { lastUpkeepError: null });
  t.not(disk.image, undefined);
  checkAsk(world.engine, world.oracle, EVERYTHING);
  await world.engine.close();
});
