import { open as openRaw } from "lmdb";
import t, { type Test } from "tap";
import { createEngine, type Engine } from "../../engine/index.js";
import { openLmdb } from "../../storage/lmdb.js";
import { Clock, turn } from "../support/clock.js";
import { newPath } from "./support.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.parse("2026-03-01T10:20:00Z");
const VIEWS = 200;
/** All of them, in days that are sealed. */
const RANGE: [string, string] = ["2026-02-27", "2026-03-02"];
/** Numbers of grains in keys. */
const QUARTER = 0;
const DAY = 2;

interface Written {
  readonly path: string;
  readonly truth: readonly string[];
}

/** A closed store of some days; with `keepsRaw` false, without its raw events. */
async function written(t: Test, keepsRaw = true): Promise<Written> {
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
  await engine.ingest(events);
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
