import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { createEngine, defineSchema } from "../../engine/index.js";
import type { ArchiveChunk } from "../../engine/upkeep/archive.js";
import { decodeArchive, encodeArchive, openArchive, readArchive } from "../../storage/archive.js";
import { openLmdb } from "../../storage/lmdb.js";
import { Clock } from "../support/clock.js";
import { hour, record, block } from "./samples.js";
import { newPath } from "./support.js";

const DAY_MS = 86_400_000;
const START_MS = Date.parse("2026-03-01T10:20:00Z");
const schema = defineSchema();

/** Keys with their values spelled out. */
function spelled(chunk: ArchiveChunk): unknown {
  if (chunk.kind === "raw") return chunk;
  const { buckets, dims, values, rollups } = chunk;
  return buckets.map(({ address, head, blocks }) => ({
    address,
    head,
    blocks: blocks.map(({ keys, arity, rollup, ...columns }) => ({
      rollup: rollups[rollup],
      keys: Array.from(keys, (id, i) => (id < 2 ? id : values[dims[rollup]![i % arity]!]![id - 2])),
      ...columns,
    })),
  }));
}

/** Blocks of rollup 2 of the default schema, which is "blog". */
const chunks = fc
  .array(fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 12 }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((lists): ArchiveChunk => {
    const rollup = schema.rollups.findIndex(({ name }) => name === "blog");
    const buckets = lists.map((ids, i) => ({
      address: hour(i),
      head: { revision: i, position: i * 7 },
      blocks: [
        block(
          rollup,
          ids.sort((a, b) => a - b).map((id) => [id]),
          i + 1,
        ),
      ],
    }));
    return {
      kind: "buckets",
      buckets,
      rollups: schema.rollups.map(({ name }) => name),
      dims: schema.rollups.map(({ dims }) => dims),
      values: schema.dimensions.map(() => Array.from({ length: 400 }, (_, i) => `wert-ü-${i}`)),
    };
  });

t.test(
  "an archive holds the buckets it was given, with the values that they use and no others",
  async (t) => {
    fc.assert(
      fc.property(chunks, (chunk) => {
        const read = decodeArchive(encodeArchive(chunk), "The sample");
        if (read.kind !== "buckets") throw new Error("another kind");
        t.same(spelled(read), spelled(chunk));
        const used = new Set(
          read.buckets
            .flatMap(({ blocks }) => blocks.flatMap(({ keys }) => [...keys]))
            .filter((id) => id > 1),
        );
        t.equal(read.values.flat().length, used.size);
      }),
      { numRuns: 50 },
    );
  },
);

t.test("an archive of raw events holds the records as they were", async (t) => {
  const entries = [3, 4, 9].map((position) => ({ position, record: record(position) }));
  t.same(decodeArchive(encodeArchive({ kind: "raw", entries }), "The sample"), { kind: "raw", entries });
});

t.test("no turned bit and no cut of an archive passes", async (t) => {
  const bytes = encodeArchive({ kind: "raw", entries: [{ position: 1, record: record(1) }] });
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >>> 3]! ^= 1 << (bit & 7);
    t.throws(() => decodeArchive(damaged, "The sample"), { code: /^storage-(damaged|version)$/ });
  }
  for (const size of [0, 1, 5, bytes.length - 1]) {
    t.throws(() => decodeArchive(bytes.subarray(0, size), "The sample"), { code: "storage-damaged" });
  }
});

t.test("what retention gives up of a real store is in the archive's files, and nowhere else", async (t) => {
  const [data, folder] = [await newPath(t), await newPath(t)];
  const clock = new Clock(START_MS);
  const engine = await createEngine({
    storage: await openLmdb(data),
    scheduler: clock.scheduler,
    archive: await openArchive(folder),
    retention: { raw: DAY_MS, quarter: 3 * DAY_MS, hour: 400 * DAY_MS },
    reconcileEveryMs: 0,
  });
  const events = Array.from({ length: 40 }, (_, i) => ({
    type: "view",
    ts: START_MS - i * 1_000_000,
    blog: `b${i % 4}`,
    viewer: `v${i}`,
  }));
  await engine.ingest(events);
  await engine.checkpoint();
  await clock.jump(20 * DAY_MS);
  await engine.checkpoint();
  await engine.retain();
  const { raw, tiers } = engine.storage();
  t.same([raw.tail.records, raw.segments.records], [0, 0]);
  t.notOk(tiers.some(({ tier }) => tier === "UTC quarter"));
  await engine.close();
  const names = await readdir(folder);
  t.ok(
    names.every((name) => /^(raw-1-1|UTC-quarter-2026-\S+-\d+)\.tidemark$/.test(name)),
    names.join(" "),
  );
  t.equal((await stat(join(folder, names[0]!))).mode & 0o777, 0o600);
  const read = await Promise.all(names.map((name) => readArchive(join(folder, name))));
  const archived = read.flatMap((chunk) => (chunk.kind === "raw" ? chunk.entries : []));
  t.same(
    archived.map(({ record }) => record.events.count),
    [40],
  );
  const total = schema.rollups.find(({ name }) => name === "total")!.id;
  const views = read.flatMap((chunk) =>
    chunk.kind === "buckets"
      ? chunk.buckets.map(({ blocks }) => blocks.find(({ rollup }) => rollup === total)!.views[0]!)
      : [],
  );
  t.equal(
    views.reduce((sum, count) => sum + count, 0),
    40,
    "every view is in one quarter",
  );
  const path = join(folder, names[0]!);
  await writeFile(path, (await readFile(path)).subarray(0, 40));
  await t.rejects(readArchive(path), { code: "storage-damaged" });
});
