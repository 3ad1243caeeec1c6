import { open as openRaw } from "lmdb";
import t, { type Test } from "tap";
import { createEngine, type Engine } from "../../engine/index.js";
import { Environment } from "../../storage/environment.js";
import { startOf } from "../../storage/keys.js";
import { LmdbLog } from "../../storage/lmdb-log.js";
import { openLmdb } from "../../storage/lmdb.js";
import { BODIES, keyRange } from "../../storage/segment-format.js";
import { WriteQueue } from "../../storage/write-queue.js";
import { Clock, turn } from "../support/clock.js";
import { codeThrown, newPath } from "./support.js";

const HOUR_MS = 3_600_000;
const QUARTER_MS = HOUR_MS / 4;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.parse("2026-03-01T10:20:00Z");
const VIEWS = 200;
/** All of them, in days that are sealed. */
const RANGE: [string, string] = ["2026-02-27", "2026-03-02"];
/** Numbers of grains in keys. */
const QUARTER = 0;
const GRAINS_ASKED = ["quarter", "hour", "day"] as const;
const DAY = 2;

interface Written {
  readonly path: string;
  readonly truth: readonly string[];
}

/** A closed store of some days, its events in so many records; with `keepsRaw` false, without them. */
async function written(t: Test, keepsRaw = true, records = 1): Promise<Written> {
  const path = await newPath(t);
  const clock = new Clock(START_MS);
  const retention = keepsRaw ? {} : { raw: DAY_MS };
  const engine = await createEngine({ storage: await openLmdb(path), scheduler: clock.scheduler, retention });
  const events = Array.from({ length: VIEWS }, (_, i) => ({
    type: "view",
    ts: START_MS - i * 600_000,
    blog: `b${i % 5}`,
    viewer: `v${i}`,
  }));
  const each = VIEWS / records;
  for (let i = 0; i < records; i++) await engine.ingest(events.slice(i * each, (i + 1) * each));
  await clock.jump(3 * DAY_MS);
  await engine.checkpoint();
  await engine.retain();
  const truth = [...engine.canonicalRows()];
  await engine.close();
  return { path, truth };
}

/** Turns a bit in every value of `buckets` that is chosen by its number or its key. */
async function damage(path: string, isChosen: (number: number, key: Uint8Array) => boolean): Promise<void> {
  const raw = { encoding: "binary", keyEncoding: "binary" } as const;
  const root = openRaw<Uint8Array, Uint8Array>({ path, noSubdir: false, overlappingSync: false, ...raw });
  const db = root.openDB<Uint8Array, Uint8Array>("buckets", raw);
  for (const [number, key] of [...db.getKeys()].entries()) {
    if (!isChosen(number, key)) continue;
    const value = Buffer.from(db.getBinary(key)!);
    value[value.length - 6]! ^= 1;
    await db.put(key, value);
  }
  await root.close();
}

/** Packs the log into a segment for each record, and turns a bit in the oldest, which has the newest events. */
async function damageSegment(path: string): Promise<void> {
  const environment = Environment.open(path);
  await environment.claim({ pid: process.pid, host: "test" });
  const queue = new WriteQueue(environment);
  const limits = { events: VIEWS, records: 1, bytes: 2 ** 20, spanMs: 10 * DAY_MS };
  const log = new LmdbLog(environment, queue, { limits });
  await log.compact(log.head + 1);
  const { start, end } = keyRange(BODIES);
  const [key] = environment.keys(environment.segments, start, end);
  const db = environment.segments;
  const value = Buffer.from(environment.get(db, key!)!);
  value[value.length - 6]! ^= 1;
  await environment.write([{ db, key: key!, value }]);
  await environment.close();
}

async function opened(path: string, verify: "always" | "never"): Promise<Engine> {
  const clock = new Clock(START_MS + 3 * DAY_MS);
  return await createEngine({ storage: await openLmdb(path, { verify }), scheduler: clock.scheduler });
}

/** Some seconds of turns; what has not come by then does not come. */
const MOST_TURNS = 50_000;

async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns === MOST_TURNS) throw new Error("it does not come");
    await turn();
  }
}

t.test(
  "every bucket found damaged at the start is made anew from raw events and parts, to the bit",
  async (t) => {
    const { path, truth } = await written(t);
    // Six rollups and a head: one value of every bucket.
    await damage(path, (number) => number % 7 === 0);
    const engine = await opened(path, "always");
    await until(() => engine.stats().commits > 0);
    t.same([...engine.canonicalRows()], truth);
    t.match(await engine.reconcile(), { wrong: 0, unproven: 0 });
    t.same(engine.storage().incomplete, []);
    t.ok(engine.revisions().revisions.every(({ reason }) => reason === "repair"));
    await engine.close();
  },
);

t.test("a damaged bucket that a question comes upon refuses it once, and is made anew", async (t) => {
  const { path, truth } = await written(t);
  await damage(path, (number) => number % 3 === 0);
  const engine = await opened(path, "never");
  const ask = (): unknown => {
    engine.queryNow({ date_range: "all", metrics: ["views"], dimensions: ["time:hour"] });
    return engine.queryNow({ date_range: "all", metrics: ["views"] });
  };
  let refused = 0;
  for (;;) {
    try {
      ask();
      break;
    } catch (error) {
      t.equal((error as { code?: string }).code, "storage-damaged");
      const { commits } = engine.stats();
      refused++;
      await until(() => engine.stats().commits > commits);
    }
  }
  t.ok(refused > 0);
  const { total } = engine.queryNow({ date_range: "all", metrics: ["views"], include: { total: true } });
  t.same(total?.metrics, [VIEWS]);
  const { repaired } = await engine.reconcile({ repair: true });
  t.ok(repaired > 0, "what no question came upon");
  t.same([...engine.canonicalRows()], truth);
  await engine.close();
});

t.test(
  "a bucket that is made anew from a segment that turns out damaged is told to lack something",
  async (t) => {
    const { path } = await written(t, true, 4);
    const whole = await opened(path, "never");
    const ask = (engine: Engine, grain: string): ReturnType<Engine["queryNow"]> =>
      engine.queryNow({
        date_range: RANGE,
        metrics: ["views"],
        dimensions: [`time:${grain}`],
        limit: 10_000,
      });
    const truth = new Map(GRAINS_ASKED.map((grain) => [grain, ask(whole, grain).results]));
    await whole.close();
    await damageSegment(path);
    const newestMs = START_MS - (START_MS % QUARTER_MS);
    await damage(path, (_, key) => key[2] === QUARTER && startOf(key) === newestMs);
    const engine = await opened(path, "never");
    t.equal(
      codeThrown(() => ask(engine, "quarter")),
      "storage-damaged",
    );
    await until(() => engine.stats().commits > 0);
    t.notSame(ask(engine, "quarter").results, truth.get("quarter"), "events are gone for good");
    for (const grain of GRAINS_ASKED) {
      const { results, meta } = ask(engine, grain);
      const isWhole = JSON.stringify(results) === JSON.stringify(truth.get(grain));
      t.equal((meta.incomplete ?? []).length > 0, !isWhole, grain);
    }
    await engine.close();
  },
);

t.test("a reconcile whose reading finds a segment damaged takes nothing from whole buckets", async (t) => {
  const { path, truth } = await written(t, true, 4);
  await damageSegment(path);
  const engine = await opened(path, "never");
  const report = await engine.reconcile({ repair: true });
  t.match(report, { wrong: 0, repaired: 0, mismatches: [] });
  t.ok(report.unproven > 0, "what the segment had cannot be compared");
  t.same([...engine.canonicalRows()], truth);
  await engine.close();
});

t.test("events that a damaged segment takes before they are in a bucket are told of", async (t) => {
  const path = await newPath(t);
  const clock = new Clock(START_MS);
  const storage = await openLmdb(path);
  const engine = await createEngine({ storage, scheduler: clock.scheduler });
  await engine.ingest([{ type: "view", ts: START_MS, blog: "b", viewer: "v" }]);
  const copy = await newPath(t);
  await storage.backup(copy);
  await engine.close();
  await damageSegment(copy);
  const again = await opened(copy, "never");
  const { results, meta } = again.queryNow({ date_range: RANGE, metrics: ["views"] });
  t.same(results[0]?.metrics ?? [0], [0]);
  t.ok(meta.incomplete!.length > 0);
  await again.close();
});

t.test(
  "what damage took of one tier only is told for that tier, and the tiers above stay right",
  async (t) => {
    const { path, truth } = await written(t, false);
    await damage(path, (_, key) => key[2] === QUARTER);
    const engine = await opened(path, "always");
    await until(() => engine.stats().commits > 0);
    const hours = engine.queryNow({ date_range: RANGE, metrics: ["views"], dimensions: ["time:hour"] });
    t.equal(hours.meta.incomplete, undefined);
    t.equal(
      hours.results.reduce((sum, { metrics }) => sum + metrics[0]!, 0),
      VIEWS,
    );
    const quarters = engine.queryNow({ date_range: RANGE, metrics: ["views"], dimensions: ["time:quarter"] });
    t.ok(quarters.meta.incomplete!.length > 0);
    t.match(quarters.meta.warnings, [/Damage took events/]);
    // A bucket that is whole is not "repaired" from what is left of its parts.
    t.match(await engine.reconcile({ repair: true }), { wrong: 0, repaired: 0 });
    const above = (lines: readonly string[]): string[] =>
      lines.filter((line) => !line.startsWith("UTC quarter"));
    t.same(above([...engine.canonicalRows()]), above(truth));
    await engine.close();
  },
);

t.test(
  "what nothing can win back is told with every answer that it touches, and with no other",
  async (t) => {
    const { path } = await written(t, false);
    await damage(path, (_, key) => key[2]! <= DAY);
    const engine = await opened(path, "always");
    await until(() => engine.stats().commits > 0);
    const ask = { date_range: RANGE, metrics: ["views"] } as const;
    const { meta } = engine.queryNow(ask);
    t.ok(meta.incomplete!.length > 0, "days made of what is left of hours lack what those lack");
    t.match(meta.warnings, [/Damage took events/]);
    t.ok(engine.storage().incomplete.length > 0);
    t.equal(engine.queryNow({ date_range: "today", metrics: ["views"] }).meta.incomplete, undefined);
    await engine.close();
    const again = await opened(path, "always");
    t.same(again.queryNow(ask).meta.incomplete, meta.incomplete, "it is kept");
    await again.close();
  },
);
