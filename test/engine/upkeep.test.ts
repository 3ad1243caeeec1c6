import fc from "fast-check";
import t from "tap";
import { createEngine, type Engine, type ReconcileReport } from "../../engine/index.js";
import { utcIso } from "../../engine/calendar/index.js";
import { addressName, tierName, type BucketAddress, type CellBlock } from "../../engine/store.js";
import type { ArchiveChunk } from "../../engine/upkeep/archive.js";
import { createMemoryDisk, openMemory, type MemoryDisk } from "../../storage/memory.js";
import { Clock } from "../support/clock.js";
import type { PlainEvent } from "../support/oracle.js";
import { recompute } from "../support/recompute.js";
import { checkAsk, equal, equalLines } from "../simulation/check.js";
import { World } from "../simulation/world.js";

const QUARTER_MS = 900_000;
const HOUR_MS = 4 * QUARTER_MS;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.parse("2026-03-01T10:20:00Z");
const ZONES = ["UTC", "Asia/Kathmandu", "America/New_York"];
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 60);
/** The same every time, unless asked otherwise: a sample that comes upon every rung. */
const SEED = Number(process.env["TIDEMARK_SEED"] ?? 3);

/** A short ladder, so that a year of virtual time passes every rung. */
const RETENTION = { raw: 31 * DAY_MS, quarter: 35 * DAY_MS, hour: 60 * DAY_MS, day: 150 * DAY_MS };

const SETTINGS = { homeZones: ZONES, retention: RETENTION, reconcileEveryMs: 0, dedupeWindowMs: HOUR_MS };

function view(ts: number, number = 0): PlainEvent {
  return { type: "view", ts, blog: `b${number % 3}`, country: `c${number % 2}`, viewer: `v${number % 5}` };
}

/** Everything that should be stored of the events: recomputed, without what the tiers no longer keep. */
function checkKept(world: World): void {
  const { sealedUntil, reach } = world.gate.store.meta()!;
  const wanted = recompute(world.oracle.accepted, world.engine.schema, sealedUntil).filter((line) => {
    const [calendar, grain, startMs] = line.split(" ") as [string, string, string];
    return Number(startMs) >= (reach[`${calendar} ${grain}`] ?? -Infinity);
  });
  equalLines([...world.engine.canonicalRows()].sort(), wanted, "what is kept");
}

function memory(disk = createMemoryDisk()): { open: () => ReturnType<typeof openMemory>; diesAlone: true } {
  return { open: () => openMemory(disk), diesAlone: true };
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant("send" as const),
    /** Days before now; beyond the ladder's first rungs as a backfill. */
    ages: fc.array(fc.constantFrom(0, 0.2, 1, 29, 33, 50, 100, 170, 400), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant("pass" as const), days: fc.constantFrom(0.01, 0.5, 2, 20, 40, 100) }),
  fc.record({ kind: fc.constantFrom("retain" as const, "crash" as const, "checkpoint" as const) }),
);

t.test(
  `what the ladder gives up is gone, and the rest is a function of the events (${RUNS} runs)`,
  async (t) => {
    const seen = new Set<string>();
    const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
      const world = await World.open(memory(), START_MS, SETTINGS);
      let sent = 0;
      for (const each of steps) {
        if (each.kind === "send") {
          const events = each.ages.map((age) => view(Math.floor(world.now - age * DAY_MS), sent++));
          await world.send(events, { backfill: true });
        } else if (each.kind === "pass") await world.clock.jump(each.days * DAY_MS);
        else if (each.kind === "crash") await world.crash();
        else if (each.kind === "checkpoint") await world.engine.checkpoint();
        else {
          const { tiers } = await world.engine.retain();
          for (const { tier, count, blocked } of tiers) {
            equal(blocked, null, `${tier} blocked`);
            if (count > 0) seen.add(tier);
          }
        }
      }
      await world.engine.checkpoint();
      checkKept(world);
      equal((await world.engine.reconcile()).wrong, 0, "buckets that reconcile finds wrong");
      // Years are never given up, so that all of it is still an answer.
      const year = Date.parse("2025-01-01T00:00:00Z");
      checkAsk(world.engine, world.oracle, {
        from: year - 366 * DAY_MS,
        to: year + 5 * 365 * DAY_MS + DAY_MS,
        zone: "UTC",
      });
      await world.crash();
      await world.engine.checkpoint();
      checkKept(world);
      await world.engine.close();
    });
    await fc.assert(property, { numRuns: RUNS, seed: SEED, includeErrorInReport: true });
    const rungs = ["raw", "UTC quarter", "UTC hour", "UTC day", "Asia/Kathmandu day", "America/New_York day"];
    t.same(
      rungs.filter((tier) => !seen.has(tier)),
      [],
      "every rung gave something up",
    );
  },
);

t.test("a question that needs what is gone is refused with the nearest that can be answered", async (t) => {
  const world = await World.open(memory(), START_MS, SETTINGS);
  await world.send([view(START_MS - HOUR_MS), view(START_MS - 2 * DAY_MS, 1)]);
  await world.clock.jump(70 * DAY_MS);
  await world.engine.retain();
  const ask = (from: string, to: string, dimensions: string[] = []): unknown =>
    world.engine.queryNow({ date_range: [from, to], metrics: ["views"], dimensions }).results;
  t.throws(() => ask("2026-02-27T10:00:00Z", "2026-02-27T11:00:00Z"), {
    code: "range-not-aligned",
    message: /Quarter-hours are kept from 2026-04-05T00:00:00/,
    extra: { nearest: ["2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z"] },
  });
  t.throws(() => ask("2026-02-27T00:00:00Z", "2026-03-02T00:00:00Z", ["time:hour"]), {
    code: "range-not-aligned",
  });
  t.match(ask("2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z"), [{ metrics: [1] }], "the day is kept");
  t.match(
    ask("2026-02-27T00:00:00+05:45", "2026-02-28T00:00:00+05:45"),
    [{ metrics: [1] }],
    "and the home zone's",
  );
  t.match(world.engine.queryNow({ date_range: "all", metrics: ["views"], timezone: "Asia/Tokyo" }).results, [
    { metrics: [2] },
  ]);
  const { raw, tiers } = world.engine.storage();
  t.equal(raw.tail.records, 0, "raw is given up");
  t.equal(raw.complete_from, utcIso(START_MS - HOUR_MS + 1));
  t.notOk(tiers.some(({ tier }) => tier === "UTC quarter" || tier === "UTC hour"));
  await world.engine.close();
});

t.test("a dry run tells what would go, and nothing goes", async (t) => {
  const disk = createMemoryDisk();
  const other = await World.open(memory(disk), START_MS, {
    ...SETTINGS,
    retention: { raw: null, quarter: null, hour: null, day: null },
  });
  await other.send([view(START_MS - HOUR_MS)]);
  await other.clock.jump(36 * DAY_MS);
  await other.restart({ retention: RETENTION });
  const before = [...other.engine.canonicalRows()];
  const { dry_run, tiers } = await other.engine.retain({ dryRun: true });
  t.equal(dry_run, true);
  t.match(tiers.slice(0, 3), [
    { tier: "raw", count: 1 },
    { tier: "UTC quarter", count: 1, before: "2026-03-02T00:00:00Z" },
    { tier: "UTC hour", count: 0, before: null },
  ]);
  t.same([...other.engine.canonicalRows()], before);
  const real = await other.engine.retain();
  t.same(
    real.tiers.map(({ tier, count }) => [tier, count]),
    tiers.map(({ tier, count }) => [tier, count]),
    "what it told is what goes",
  );
  await other.engine.close();
});

t.test("a tier goes into the archive first, and stays when that fails", async (t) => {
  const chunks: ArchiveChunk[] = [];
  let isFull = true;
  const archive = {
    write: (chunk: ArchiveChunk): Promise<void> => {
      if (isFull) return Promise.reject(new Error("the archive is full"));
      chunks.push(chunk);
      return Promise.resolve();
    },
  };
  const disk = createMemoryDisk();
  const world = await World.open(memory(disk), START_MS, { ...SETTINGS, archive });
  await world.send([view(START_MS - HOUR_MS), view(START_MS - 2 * HOUR_MS, 1)]);
  await world.engine.checkpoint();
  await world.clock.jump(36 * DAY_MS);
  await t.rejects(world.engine.retain(), { message: "the archive is full" });
  t.equal(world.engine.storage().raw.tail.records, 1, "nothing is dropped");
  t.match(world.engine.stats().lastUpkeepError, "the archive is full", "the hourly run tells of it");
  isFull = false;
  await world.engine.retain();
  t.equal(world.engine.storage().raw.tail.records, 0);
  const raw = chunks.flatMap((chunk) => (chunk.kind === "raw" ? chunk.entries : []));
  t.same(
    raw.map(({ record }) => record.events.count),
    [2],
  );
  const buckets = chunks.flatMap((chunk) => (chunk.kind === "buckets" ? chunk.buckets : []));
  t.same(
    buckets.map(({ address }) => [address.grain, address.startMs]),
    [START_MS - 2 * HOUR_MS, START_MS - HOUR_MS].map((ms) => ["quarter", ms - (ms % QUARTER_MS)]),
  );
  await world.engine.close();
});

/** A store with some days of events, closed; and the lines that it holds. */
async function written(disk: MemoryDisk, events: readonly PlainEvent[]): Promise<void> {
  const clock = new Clock(START_MS);
  const engine = await createEngine({ ...SETTINGS, storage: openMemory(disk), scheduler: clock.scheduler });
  for (const event of events) await engine.ingest([event], { backfill: true });
  await clock.jump(8 * DAY_MS);
  await engine.checkpoint();
  await engine.close();
}

async function reopened(disk: MemoryDisk): Promise<{ engine: Engine; clock: Clock }> {
  const clock = new Clock(START_MS + 8 * DAY_MS);
  const engine = await createEngine({ ...SETTINGS, storage: openMemory(disk), scheduler: clock.scheduler });
  return { engine, clock };
}

const FEW_DAYS = Array.from({ length: 60 }, (_, i) => view(START_MS - i * 1.1 * HOUR_MS, i));

/** Every stored block that can be changed, with its address. */
function blocksOf(disk: MemoryDisk): { address: BucketAddress; block: CellBlock }[] {
  return disk.index.addresses().flatMap((address) => {
    const { blocks } = disk.buckets.get(addressName(address))!;
    return [...blocks.values()].map((block) => ({ address, block }));
  });
}

const tamperings: readonly ((block: CellBlock, row: number) => boolean)[] = [
  ({ views }, row) => ((views[row] = views[row]! + 1), true),
  ({ views, anonymous }, row) => ((anonymous[row] = views[row]!), true),
  ({ created }, row) => ((created[row] = 1), true),
  ({ tokens, tokenStart }, row) => {
    if (tokenStart[row] === tokenStart[row + 1]) return false;
    tokens[tokenStart[row]!] = tokens[tokenStart[row]!]! ^ 64;
    return true;
  },
  ({ keys, arity, count }, row) => {
    if (arity === 0 || row !== count - 1) return false;
    keys[row * arity + arity - 1]! += 1;
    return true;
  },
];

t.test(
  `a planted error of one event is always found, told with both values, and repaired (${RUNS} errors)`,
  async (t) => {
    let found = 0;
    const property = fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(4), async (which, row, how) => {
      const disk = createMemoryDisk();
      await written(disk, FEW_DAYS);
      const fresh = await reopened(disk);
      const truth = [...fresh.engine.canonicalRows()];
      await fresh.engine.close();
      const stored = blocksOf(disk);
      const { address, block } = stored[which % stored.length]!;
      // Buckets share blocks in memory where one is made of a single other.
      const changed = structuredClone(block);
      if (!tamperings[how]!(changed, row % block.count)) return;
      found++;
      const bucket = disk.buckets.get(addressName(address))!;
      const blocks = new Map(bucket.blocks).set(block.rollup, changed);
      disk.buckets.set(addressName(address), { ...bucket, blocks });
      const { engine, clock } = await reopened(disk);
      const report = await engine.reconcile({ repair: true });
      equal(report.wrong >= 1, true, "wrong buckets");
      const here = (bucket: ReconcileReport["mismatches"][number]["bucket"]): boolean =>
        bucket.calendar === address.calendar &&
        bucket.grain === address.grain &&
        Date.parse(bucket.start) === address.startMs;
      const told = report.mismatches.filter(({ bucket }) => here(bucket));
      equal(
        told.length >= 1,
        true,
        `the changed cell of ${tierName(address.calendar, address.grain)} is told of`,
      );
      equal(report.repaired >= 1, true, "repaired");
      equalLines([...engine.canonicalRows()], truth, "after the repair");
      equal((await engine.reconcile()).wrong, 0, "wrong after the repair");
      const { revisions } = engine.revisions();
      equal(
        revisions.some(({ reason, bucket }) => reason === "repair" && here(bucket)),
        true,
        "the revision of the repair",
      );
      await clock.advance(1);
      await engine.close();
    });
    await fc.assert(property, { numRuns: RUNS, includeErrorInReport: true });
    t.ok(found > RUNS / 3, `${found} errors were planted`);
  },
);

t.test("a bucket that is missing is found as well, and made anew", async (t) => {
  for (const grain of ["quarter", "hour", "day", "month"]) {
    const disk = createMemoryDisk();
    await written(disk, FEW_DAYS);
    const fresh = await reopened(disk);
    const truth = [...fresh.engine.canonicalRows()];
    await fresh.engine.close();
    const address = disk.index.addresses().find((each) => each.grain === grain)!;
    disk.buckets.delete(addressName(address));
    disk.index.remove(address);
    const { engine } = await reopened(disk);
    t.ok((await engine.reconcile({ repair: true })).wrong >= 1, grain);
    t.same([...engine.canonicalRows()], truth, `the ${grain} is there again`);
    await engine.close();
  }
});

t.test("what raw no longer holds is told to be unproven, never called right", async (t) => {
  const world = await World.open(memory(), START_MS, SETTINGS);
  await world.send([view(START_MS - HOUR_MS)]);
  await world.engine.checkpoint();
  await world.clock.jump(33 * DAY_MS);
  await world.engine.retain();
  const report = await world.engine.reconcile();
  t.match(report, { wrong: 0, mismatched_cells: 0 });
  t.ok(report.unproven >= 1, "the quarter has nothing to be compared with");
  await world.engine.close();
});

t.test(
  "late events into sealed buckets are in the log of revisions: which, when, how much and why",
  async (t) => {
    const world = await World.open(memory(), START_MS, { ...SETTINGS, homeZones: ["UTC"] });
    await world.send([view(START_MS)]);
    await world.clock.jump(2 * DAY_MS);
    await world.engine.checkpoint();
    t.same(world.engine.revisions(), { revisions: [], last: 0 }, "the first sealing is no revision");
    await world.send([view(START_MS, 1), view(START_MS, 2), { type: "created", ts: START_MS, blog: "new" }]);
    await world.engine.checkpoint();
    const { revisions, last } = world.engine.revisions();
    const at = utcIso(world.now);
    t.match(
      revisions.map(({ bucket, revision, reason, views, created }) => [
        bucket.grain,
        revision,
        reason,
        views,
        created,
      ]),
      ["quarter", "hour", "day", "week"].map((grain) => [grain, 1, "late", 2, 1]),
      "the open month is not revised",
    );
    t.match(revisions[0], {
      seq: 1,
      at,
      position: 2,
      bucket: { calendar: "UTC", start: "2026-03-01T10:15:00Z" },
    });
    // total 1, blogs b1 b2 new, countries c0 c1 and none, blog and country 3, author and author×country: none and as country.
    t.equal(revisions[0]!.cells, 1 + 3 + 1 + 3 + 3 + 3);
    await world.send([view(START_MS, 4)], { backfill: true });
    await world.engine.checkpoint();
    t.match(world.engine.revisions({ after: last, limit: 1 }), {
      revisions: [{ seq: last + 1, reason: "backfill", revision: 2, views: 1 }],
      last: last + 4,
    });
    t.throws(() => world.engine.revisions({ limit: 0 }), { code: "invalid-query" });
    t.throws(() => world.engine.revisions({ after: -1 }), { code: "invalid-query" });
    await world.restart();
    t.equal(world.engine.revisions().last, last + 4, "and it is kept");
    await world.engine.close();
  },
);

t.test("two stores have the same roots exactly on the days on which they hold the same", async (t) => {
  const roots = async (events: readonly PlainEvent[]): Promise<Map<string, string>> => {
    const disk = createMemoryDisk();
    await written(disk, events);
    const { engine } = await reopened(disk);
    const { days } = await engine.merkle("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    await engine.close();
    return new Map(days.map(({ day, root }) => [day, root]));
  };
  const first = await roots(FEW_DAYS);
  t.ok(first.size >= 3);
  t.same(await roots(FEW_DAYS.toReversed()), first, "another order, other numbers in the dictionaries");
  const other = FEW_DAYS.with(40, { ...FEW_DAYS[40]!, viewer: "somebody else" });
  const changed = [...(await roots(other))]
    .filter(([day, root]) => first.get(day) !== root)
    .map(([day]) => day);
  t.same(changed, [new Date(FEW_DAYS[40]!.ts).toISOString().slice(0, 10)], "one viewer of one view, one day");
});

t.test("retention that would drop what proves it is refused", async (t) => {
  const open = (retention: object): Promise<Engine> => createEngine({ storage: openMemory(), retention });
  for (const [retention, message] of [
    [{ raw: null }, /raw must not be kept longer than quarter/],
    [{ hour: 1000 * DAY_MS, day: 900 * DAY_MS }, /hour must not be kept longer than day/],
    [{ day: null, month: DAY_MS }, /day must not be kept longer than month/],
    [{ raw: 0 }, /raw must be a whole number/],
    [{ raw: 1.5 }, /raw must be a whole number/],
    [{ quarters: 5 }, /quarters is no tier/],
  ] as const) {
    await t.rejects(open(retention), { code: "invalid-config", message });
  }
});
