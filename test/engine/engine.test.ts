import t from "tap";
import { createEngine, type BucketHead, type Grain, type QueryInput } from "../../engine/index.js";
import { IdWindow } from "../../engine/hot/dedupe.js";
import { Watermark } from "../../engine/hot/watermark.js";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import { checkAsk, checkStored, equalLines } from "../simulation/check.js";
import { LIMITS, World, type Disk, type WorldOptions } from "../simulation/world.js";
import { Clock } from "../support/clock.js";
import type { PlainEvent } from "../support/oracle.js";
import { bucketAt } from "../support/zoned.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const GRAINS: readonly Grain[] = ["quarter", "hour", "day", "week", "month", "year"];

function memoryDisk(): Disk {
  const disk = createMemoryDisk();
  return { open: () => openMemory(disk), diesAlone: true };
}

function open(options: WorldOptions = {}, nowMs = NOON_MS): Promise<World> {
  // These tests let years pass; what retention gives up is the business of upkeep.test.ts.
  const retention = { raw: null, quarter: null, hour: null, day: null };
  return World.open(memoryDisk(), nowMs, { retention, ...options });
}

function view(ts: number, more: Partial<PlainEvent> = {}): PlainEvent {
  return { type: "view", ts, blog: "b", author: "a", country: "c", viewer: "v", ...more };
}

function headAt(world: World, grain: Grain, ts: number, calendar = "UTC"): BucketHead | undefined {
  return world.gate.store.head({ calendar, grain, startMs: bucketAt(calendar, grain, ts).startMs });
}

function revisions(world: World, ts: number, calendar = "UTC"): (number | undefined)[] {
  const grains = calendar === "UTC" ? GRAINS : GRAINS.slice(2);
  return grains.map((grain) => headAt(world, grain, ts, calendar)?.revision);
}

const EVERYTHING = {
  from: Date.parse("2024-01-01T00:00:00Z"),
  to: Date.parse("2028-01-01T00:00:00Z"),
  zone: "UTC",
};

t.test(
  "a quarter is sealed when the watermark is the allowed lateness past its end, not a millisecond before",
  async (t) => {
    const world = await open({ allowedLatenessMs: 5 * MINUTE_MS }, NOON_MS + 25 * MINUTE_MS);
    await world.send([view(NOON_MS + 1)]);
    await world.send([view(NOON_MS + 20 * MINUTE_MS - 1)]);
    await world.clock.advance(0);
    t.equal(headAt(world, "quarter", NOON_MS), undefined, "a millisecond before");
    await world.send([view(NOON_MS + 20 * MINUTE_MS)]);
    await world.clock.advance(0);
    t.same(headAt(world, "quarter", NOON_MS), { revision: 0, position: 3 });
    t.equal(world.gate.store.meta()!.sealedUntil["UTC"], NOON_MS + 15 * MINUTE_MS);
    t.equal(
      headAt(world, "quarter", NOON_MS + 20 * MINUTE_MS),
      undefined,
      "the open quarter stays in memory",
    );
    t.equal(headAt(world, "hour", NOON_MS), undefined, "the hour is not over");
    const reply = await world.engine.ingest([view(NOON_MS), view(NOON_MS + 16 * MINUTE_MS)]);
    t.equal(reply.late_accepted, 1, "only the event for the sealed quarter is late");
    await world.engine.close();
  },
);

t.test("the clock moves the watermark of an idle source, and only then", async (t) => {
  const world = await open({ idleAfterMs: MINUTE_MS });
  t.equal(world.engine.stats().watermarkMs, null);
  await world.clock.advance(5 * MINUTE_MS);
  t.equal(world.engine.stats().watermarkMs, null, "before the first event there is nothing to move");
  const sentAt = world.now;
  await world.send([view(sentAt - HOUR_MS)]);
  await world.clock.advance(MINUTE_MS - 1);
  t.equal(world.engine.stats().watermarkMs, sentAt - HOUR_MS);
  await world.clock.advance(1001);
  const moved = world.engine.stats().watermarkMs!;
  t.ok(moved >= sentAt && moved <= world.now - MINUTE_MS, "one idle time behind the clock");
  await world.send([view(sentAt - 2 * HOUR_MS)]);
  await world.clock.advance(30_000);
  t.equal(world.engine.stats().watermarkMs, moved, "an old event moves it neither way");
  await world.restart();
  t.ok(world.engine.stats().watermarkMs! >= moved, "nor does a restart");
  await world.engine.close();
});

t.test("watermark: restored, observed, never backwards", async (t) => {
  const watermark = new Watermark(1000);
  watermark.restore(0, 0);
  t.equal(watermark.ms, Number.NEGATIVE_INFINITY, "0 is nothing");
  watermark.restore(500, 0);
  watermark.observe(400, 10_000);
  t.equal(watermark.ms, 500);
  t.equal(watermark.advance(10_999), 500);
  t.equal(watermark.advance(11_000), 10_000);
  watermark.observe(9000, 9000);
  t.equal(watermark.advance(11_500), 10_500, "a clock set back does not wake the source");
});

t.test(
  "late events bump the revision of each sealed bucket by exactly one a commit, in every grain and zone",
  async (t) => {
    const zone = "Asia/Kathmandu";
    const world = await open({ homeZones: [zone] });
    await world.send([view(NOON_MS)]);
    await world.clock.jump(400 * DAY_MS);
    await world.engine.checkpoint();
    t.same(revisions(world, NOON_MS), [0, 0, 0, 0, 0, 0], "sealed in every grain");
    t.same(revisions(world, NOON_MS, zone), [0, 0, 0, 0]);
    await world.send([view(NOON_MS, { viewer: "w" }), view(NOON_MS + 1)], { backfill: true });
    await world.send([view(NOON_MS, { viewer: "x" })], { backfill: true });
    await world.engine.checkpoint();
    t.same(revisions(world, NOON_MS), [1, 1, 1, 1, 1, 1], "three events, one commit, one revision");
    t.same(revisions(world, NOON_MS, zone), [1, 1, 1, 1]);
    // Another quarter of the same hour: it is new, but its time was over, and so was everybody else's.
    await world.send([view(NOON_MS + 16 * MINUTE_MS)], { backfill: true });
    await world.engine.checkpoint();
    t.same(revisions(world, NOON_MS), [1, 2, 2, 2, 2, 2]);
    t.equal(headAt(world, "quarter", NOON_MS + 16 * MINUTE_MS)?.revision, 1);
    await world.engine.checkpoint();
    t.same(revisions(world, NOON_MS), [1, 2, 2, 2, 2, 2], "a commit without events revises nothing");
    checkStored(world.engine, world.gate.store, world.oracle);
    await world.restart();
    t.same(revisions(world, NOON_MS), [1, 2, 2, 2, 2, 2], "nor does a restart");
    await world.engine.close();
  },
);

t.test("late events reach the store within seconds, without a seal and without a checkpoint", async (t) => {
  const world = await open();
  await world.send([view(NOON_MS - DAY_MS)]);
  await world.clock.jump(2 * MINUTE_MS);
  await world.send([view(NOON_MS - DAY_MS, { viewer: "w" }), view(world.now)]);
  await world.clock.advance(9000);
  t.equal(headAt(world, "quarter", NOON_MS - DAY_MS)?.position, 1, "it waits for others of its bucket");
  await world.clock.advance(2500);
  t.equal(headAt(world, "quarter", NOON_MS - DAY_MS)?.position, 2);
  t.ok(world.engine.stats().hotCells > 0, "the open quarter goes on waiting");
  await world.engine.close();
});

t.test("every created blog is counted, however many cells its quarter has", async (t) => {
  const world = await open();
  const events = Array.from({ length: 200 }, (_, i) =>
    view(NOON_MS, {
      type: i % 3 === 0 ? "view" : "created",
      blog: `b${i}`,
      author: `a${i % 60}`,
      country: `c${i % 50}`,
    }),
  );
  await world.send(events);
  for (const groupBy of [[], ["blog"], ["author"], ["country"]] as const) {
    checkAsk(world.engine, world.oracle, { ...EVERYTHING, groupBy });
  }
  const today = await world.engine.query({ date_range: "today", metrics: ["blogs_created"] });
  t.same(today.results[0]?.metrics, [133]);
  await world.engine.close();
});

t.test("values beyond the limit count as (other), and every total stays exact", async (t) => {
  const world = await open({ maxValuesPerDimension: 3 });
  const events = Array.from({ length: 60 }, (_, i) =>
    view(NOON_MS - i, {
      blog: `b${i % 10}`,
      author: `a${i % 7}`,
      country: `c${i % 4}`,
      viewer: `v${i % 13}`,
    }),
  );
  await world.send(events.slice(0, 30));
  await world.restart();
  await world.send(events.slice(30));
  await world.clock.jump(400 * DAY_MS);
  await world.engine.checkpoint();
  const blogs = new Map<string, number>();
  for (const { blog } of events) {
    const name = ["b0", "b1", "b2"].includes(blog) ? blog : "(other)";
    blogs.set(name, (blogs.get(name) ?? 0) + 1);
  }
  const query: QueryInput = { date_range: "all", dimensions: ["blog"], metrics: ["views"] };
  const rows = (await world.engine.query(query)).results.map((row) => [row.dimensions[0], row.metrics[0]]);
  t.same(new Map(rows as [string, number][]), blogs);
  checkAsk(world.engine, world.oracle, EVERYTHING);
  const total = (dimensions: readonly string[]): number =>
    world.engine.queryNow({ ...query, dimensions }).results.reduce((sum, row) => sum + row.metrics[0]!, 0);
  for (const dimensions of [["author"], ["country"], ["blog", "country"], ["time:day", "author"]]) {
    t.equal(total(dimensions), events.length, dimensions.join());
  }
  await world.engine.close();
});

t.test("an author beyond the limit is not replaced by the one before", async (t) => {
  const world = await open({ maxValuesPerDimension: 1 });
  await world.send([view(NOON_MS, { author: "first" })]);
  const overflowing = { type: "view", ts: NOON_MS, blog: "b", author: "second", viewer: "w" };
  const silent = { type: "view", ts: NOON_MS, blog: "b", viewer: "x" };
  await world.engine.ingest([overflowing, silent]);
  const { results } = await world.engine.query({
    date_range: "today",
    dimensions: ["author"],
    metrics: ["views"],
  });
  const views = new Map(results.map((row) => [row.dimensions[0], row.metrics[0]]));
  t.equal(views.get("first"), 1, "only what it said itself");
  t.equal(views.get("(other)"), 2, "the last author that the blog had is one of the others");
  await world.engine.close();
});

t.test("cells of thousands of viewers stay right through seal, late events, restart and crash", async (t) => {
  const world = await open({ homeZones: ["Asia/Kolkata"] });
  const batch = (from: number, to: number, ts: number): PlainEvent[] =>
    Array.from({ length: to - from }, (_, i) => view(ts, { viewer: `v${from + i}`, country: `c${i % 2}` }));
  await world.send(batch(0, 1500, NOON_MS));
  await world.send(batch(1000, 3000, NOON_MS));
  await world.send(batch(2000, 2100, NOON_MS - DAY_MS));
  await world.engine.checkpoint();
  await world.send(batch(2900, 5200, NOON_MS + 1));
  await world.crash();
  await world.clock.jump(50 * DAY_MS);
  await world.engine.checkpoint();
  checkStored(world.engine, world.gate.store, world.oracle);
  await world.send(batch(5000, 7000, NOON_MS - DAY_MS), { backfill: true });
  await world.send(batch(0, 2048, NOON_MS - 2 * DAY_MS), { backfill: true });
  await world.restart();
  await world.clock.jump(400 * DAY_MS);
  await world.engine.checkpoint();
  checkStored(world.engine, world.gate.store, world.oracle);
  const { results } = await world.engine.query({ date_range: "all", include: { total: true } });
  const { metrics, error, exact } = results[0]!;
  t.same(exact, [true, false], "so many viewers are an estimate, and it says so");
  t.ok(error[1]! > 0 && Math.abs(metrics[1]! - 7000) < 4 * error[1]!, `${metrics[1]} for 7,000`);
  await world.engine.close();
});

t.test(
  "a home zone that is added later gets its days; one that is given up leaves none that are wrong",
  async (t) => {
    const zones = ["Asia/Kolkata", "Australia/Lord_Howe"];
    const world = await open({ homeZones: ["UTC"] });
    const days = Array.from({ length: 40 }, (_, i) =>
      view(NOON_MS - i * 7 * HOUR_MS, { viewer: `v${i % 9}` }),
    );
    await world.send(days);
    await world.clock.jump(40 * DAY_MS);
    await world.engine.checkpoint();
    await world.restart({ homeZones: zones });
    t.equal(
      headAt(world, "month", NOON_MS, zones[1])?.revision,
      0,
      "its months are there without a new event",
    );
    checkStored(world.engine, world.gate.store, world.oracle);
    await world.restart({ homeZones: zones.slice(0, 1) });
    await world.send([view(NOON_MS, { viewer: "late" })], { backfill: true });
    await world.engine.checkpoint();
    checkStored(world.engine, world.gate.store, world.oracle);
    checkAsk(world.engine, world.oracle, { ...EVERYTHING, zone: zones[1]!, grain: "day" });
    await world.restart({ homeZones: zones });
    checkStored(world.engine, world.gate.store, world.oracle);
    checkAsk(world.engine, world.oracle, { ...EVERYTHING, zone: zones[1]!, grain: "day" });
    t.pass("the stored state is that of a recompute each time");
    await world.engine.close();
  },
);

t.test(
  "an id is a duplicate for one window, and free again after at most a quarter of one more",
  async (t) => {
    const { dedupeWindowMs } = LIMITS;
    const world = await open();
    const event = view(NOON_MS, { id: "i" });
    await world.send([event, event]);
    await world.clock.jump(dedupeWindowMs - 1);
    await world.send([event], { backfill: true });
    await world.restart();
    await world.send([event], { backfill: true });
    await world.clock.jump(dedupeWindowMs / 4 + 1);
    await world.send([event], { backfill: true });
    t.same(world.oracle.accepted.length, 2);
    checkAsk(world.engine, world.oracle, EVERYTHING);
    await world.engine.close();
  },
);

t.test(
  "the window of ids holds any 64-bit hash, grows, and says from where a restart must read",
  async (t) => {
    const window = new IdWindow(4000);
    t.equal(window.from, 0);
    t.ok(window.add(0, 0, 0, 7), "the hash that is all zeros");
    t.notOk(window.add(0, 0, 0, 8));
    for (let i = 1; i < 5000; i++) if (!window.add(i << 16, 1, i, 7 + i)) t.fail(`${i} is new`);
    for (let i = 1; i < 5000; i++) if (window.add(i << 16, 1, 5000, 9000)) t.fail(`${i} is known`);
    t.equal(window.from, 7);
    window.expire(4000);
    t.notOk(window.add(999 << 16, 1, 4000, 9000), "an id outlives the first of its generation");
    window.expire(4999);
    t.equal(window.from, 7 + 1000, "what is a window old, and its generation, is gone");
    t.ok(window.add(0, 0, 5000, 9001));
    window.expire(100_000);
    t.equal(window.from, 0);
    t.equal(window.sizeBytes, 0);
  },
);

t.test(
  "viewers are hashed at the door: under a key where there is one, and never kept as text",
  async (t) => {
    const rows = async (viewerKey?: Uint8Array): Promise<string[]> => {
      const disk = createMemoryDisk();
      const clock = new Clock(NOON_MS);
      const engine = await createEngine({
        storage: openMemory(disk),
        scheduler: clock.scheduler,
        ...(viewerKey === undefined ? {} : { viewerKey }),
      });
      await engine.ingest([view(NOON_MS, { viewer: "secret-viewer", id: "secret-id" })]);
      await engine.checkpoint();
      const found = [...engine.canonicalRows()];
      t.notMatch(JSON.stringify(disk.records), /secret/, "not in the log");
      await engine.close();
      return found;
    };
    const key = Uint8Array.from({ length: 16 }, (_, i) => i);
    const [plain, keyed, again] = [await rows(), await rows(key), await rows(key)];
    equalLines(again, keyed, "the same key");
    t.not(plain[0], keyed[0], "another hash under a key");
    await t.rejects(createEngine({ storage: openMemory(), viewerKey: new Uint8Array(8) }), {
      code: "invalid-config",
    });
  },
);
