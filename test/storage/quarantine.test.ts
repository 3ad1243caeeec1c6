/** The quarantine on disk: with the log in one transaction, through restarts, kills, damage, repair and backup. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { createEngine, type Engine, type QuarantineChange, type QuarantinePort } from "../../engine/index.js";
import type { Storage } from "../../engine/store.js";
import { backupDirectory } from "../../storage/backup.js";
import { damaged } from "../../storage/errors.js";
import { logKey } from "../../storage/keys.js";
import { openLmdb, type LmdbOptions, type LmdbStorage } from "../../storage/lmdb.js";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import { repairDirectory } from "../../storage/salvage.js";
import { verifyDirectory } from "../../storage/verify-directory.js";
import { Clock, turn } from "../support/clock.js";
import { plainRecord, record } from "./samples.js";
import { newPath, startChild, tamper } from "./support.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const OLD_MS = NOON_MS - 40 * DAY_MS;

/** Rounds of kill -9; long runs set more. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 4);

/** Of each process before it is killed. */
const LEAST_BATCHES = 5;
const MAX_LIFE_MS = 300;

t.setTimeout(120_000 + KILLS * 20_000);

function change(name: number, state: Partial<QuarantineChange["state"]> = {}): QuarantineChange {
  const { receivedAt, events } = record(name);
  return {
    put: [{ name, reason: "too-old", receivedAt, ids: [name, name + 1], events }],
    removed: [],
    state: { next: name + 2, dropped: 0, expired: 0, released: 0, discarded: 0, ...state },
  };
}

const memory = createMemoryDisk();
const KINDS: readonly (readonly [name: string, open: (t: Test) => Promise<() => Promise<Storage>>])[] = [
  ["memory", async () => async () => openMemory(memory)],
  [
    "lmdb",
    async (t) => {
      const path = await newPath(t);
      return () => openLmdb(path);
    },
  ],
];

for (const [name, opening] of KINDS) {
  t.test(`${name}: changes and records are written in the order of the calls, and found again`, async (t) => {
    const open = await opening(t);
    const first = await open();
    const { log, quarantine } = first;
    t.equal(quarantine.state(), undefined);
    t.same(quarantine.names(), []);
    const { state } = change(3, { dropped: 2 });
    const work = [
      quarantine.write(change(1)),
      log.append(record(1), change(3)),
      log.append(record(2), { put: [], removed: [1, 77], state }),
      quarantine.write({ put: [], removed: [], state }),
    ];
    t.same(await Promise.all(work), [undefined, 1, 2, undefined]);
    for (const isAgain of [false, true]) {
      const storage = isAgain ? await open() : first;
      const { log, quarantine } = storage;
      t.equal(log.head, 2);
      t.same(quarantine.names(), [3]);
      t.same(quarantine.state(), state);
      t.equal(quarantine.read(1), undefined);
      const chunk = quarantine.read(3)!;
      const [expected] = change(3).put;
      t.same({ ...chunk, events: 0 }, { ...expected, events: 0 });
      const plain = ({ events }: typeof chunk): unknown => plainRecord({ receivedAt: 0, events });
      t.same(plain(chunk), plain(expected!));
      await storage.close();
    }
  });
}

async function openEngine(
  path: string,
  now = NOON_MS,
  options: LmdbOptions = {},
): Promise<{ engine: Engine; storage: LmdbStorage }> {
  const storage = await openLmdb(path, options);
  const { scheduler } = new Clock(now);
  return { storage, engine: await createEngine({ storage, scheduler, nextTurn: turn }) };
}

const REFUSED = ["one", "two", "three", "four"];

/** A closed store with four refused events, each in a value of its own. */
async function refused(t: Test): Promise<string> {
  const path = await newPath(t);
  const { engine } = await openEngine(path);
  for (const blog of REFUSED) {
    await engine.ingest([
      { type: "view", ts: NOON_MS, blog: "now" },
      { type: "view", ts: OLD_MS, blog, viewer: `reader-of-${blog}`, id: `event-${blog}` },
    ]);
  }
  await engine.close();
  return path;
}

function blogs(engine: Engine): unknown[] {
  return engine.quarantine().events.map(({ event }) => event["blog"]);
}

function views(engine: Engine, blog?: string): number {
  const filters = blog === undefined ? {} : { filters: [["is", "blog", [blog]] as const] };
  return engine.queryNow({ date_range: "all", metrics: ["views"], ...filters }).results[0]?.metrics[0] ?? 0;
}

t.test("a restart keeps what was refused, and nothing on disk tells a viewer or an id", async (t) => {
  const path = await refused(t);
  const { engine } = await openEngine(path);
  t.same(blogs(engine), REFUSED);
  const file = await readFile(join(path, "data.mdb"));
  t.ok(file.includes("three"));
  t.notOk(file.includes("reader-of-") || file.includes("event-"));
  t.match(await engine.replayQuarantine({ ids: [1, 2] }), { accepted: 2 });
  await engine.close();
  const { engine: again } = await openEngine(path);
  t.same([blogs(again), views(again)], [["three", "four"], 6]);
  t.match(await again.replayQuarantine({ ids: [1, 2, 3] }), { accepted: 1, missing: 2 });
  t.equal(views(again, "three"), 1);
  await again.close();
});

t.test("a key under which everything was refused is known after its record was packed, too", async (t) => {
  const path = await newPath(t);
  const segments = { events: 1, records: 1, bytes: 1, spanMs: 1 };
  const { engine, storage } = await openEngine(path, NOON_MS, { segments });
  const batch = [{ type: "view", ts: OLD_MS, blog: "b" }];
  const first = await engine.ingest(batch, { idempotencyKey: "k" });
  await engine.ingest([{ type: "view", ts: NOON_MS, blog: "b" }]);
  await engine.checkpoint();
  await storage.log.compact(3);
  t.ok(storage.log.sizes().segments.records >= 1);
  await engine.close();
  const { engine: again } = await openEngine(path, NOON_MS + HOUR_MS, { segments });
  t.match(await again.ingest(batch, { idempotencyKey: "k" }), { ...first, watermark: String });
  t.match(again.stats(), { position: 2, quarantine: { held: 1 } });
  t.equal((await again.reconcile()).wrong, 0);
  await again.close();
});

/** Turns a bit of a value. */
async function damage(path: string, name: number): Promise<void> {
  await tamper(path, "quarantine", async (db) => {
    const value = Buffer.from(db.get(logKey(name)));
    value[value.length >>> 1]! ^= 4;
    await db.put(logKey(name), value);
  });
}

t.test("a damaged value is told and done without, and goes when everything is given up", async (t) => {
  const path = await refused(t);
  await damage(path, 2);
  t.match((await verifyDirectory(path)).verified, {
    refusal: undefined,
    damagedRecords: 1,
    damage: [{ database: "quarantine", key: "0000000000000002" }],
  });
  const { engine, storage } = await openEngine(path, NOON_MS, { verify: "always" });
  t.match(storage.damage, [{ database: "quarantine" }]);
  t.same(blogs(engine), ["one", "three", "four"]);
  t.match(engine.stats().quarantine, { held: 3, damaged: 1 });
  t.match(await engine.replayQuarantine({ ids: [1, 2] }), { accepted: 1, missing: 1 });
  t.match(await engine.discardQuarantine(), { discarded: 2 });
  t.match(engine.stats().quarantine, { held: 0, damaged: 0 });
  await engine.close();
  t.match((await verifyDirectory(path)).verified, { damagedRecords: 0 });
});

t.test("damage found while it is open takes one value out of the list, not the list", async (t) => {
  const path = await refused(t);
  const storage = await openLmdb(path);
  const port = storage.quarantine;
  let bad = 0;
  const quarantine: QuarantinePort = {
    state: () => port.state(),
    names: () => port.names(),
    write: (one) => port.write(one),
    read: (name) => {
      if (name === bad) throw damaged(`Refused event ${name}`, "fails its checksum");
      return port.read(name);
    },
  };
  const { log, store } = storage;
  const close = (): Promise<void> => storage.close();
  const recover = (): Promise<void> => storage.recover();
  const { scheduler } = new Clock(NOON_MS);
  const engine = await createEngine({
    storage: { log, store, quarantine, close, recover },
    scheduler,
    nextTurn: turn,
  });
  bad = 3;
  t.same(blogs(engine), ["one", "two", "four"]);
  t.match(engine.stats().quarantine, { held: 3, damaged: 1 });
  t.match(await engine.replayQuarantine(), { accepted: 3 });
  t.match(engine.stats().quarantine, { held: 0, released: 3, damaged: 1 });
  await engine.close();
});

t.test("when the counts are damaged no id is given again", async (t) => {
  const path = await refused(t);
  await damage(path, 0);
  const { engine } = await openEngine(path);
  t.same(blogs(engine), REFUSED);
  await engine.ingest([{ type: "view", ts: OLD_MS, blog: "five" }]);
  const { id } = engine.quarantine().events.at(-1)!;
  t.equal(id, 4 + 2 ** 32);
  await engine.close();
  const { engine: again } = await openEngine(path);
  t.match(await again.replayQuarantine({ ids: [id] }), { accepted: 1 });
  await again.close();
});

t.test(
  "a backup and a repair have what was refused, and what was counted since only as counted",
  async (t) => {
    const path = await refused(t);
    const { engine } = await openEngine(path);
    await engine.replayQuarantine({ ids: [1] });
    await engine.close();
    const copy = await newPath(t);
    await backupDirectory(path, copy);
    await damage(path, 3);
    const { losses, records } = await repairDirectory(path, NOON_MS);
    t.match(losses, [/1 records of "quarantine" fail/]);
    t.equal(records.quarantine, 3);
    for (const [place, left] of [
      [copy, ["two", "three", "four"]],
      [path, ["two", "four"]],
    ] as const) {
      const { engine } = await openEngine(place);
      t.same([blogs(engine), views(engine, "one")], [left, 1]);
      await engine.replayQuarantine();
      t.same(
        REFUSED.map((blog) => views(engine, blog)),
        REFUSED.map((blog) => Number(blog === "one" || left.includes(blog as "two"))),
      );
      await engine.close();
    }
  },
);

t.test("a store that was written without a quarantine opens, and takes refused events in", async (t) => {
  const path = await newPath(t);
  await mkdir(path, { mode: 0o700 });
  const fixture = new URL("../fixtures/store-v1/", import.meta.url);
  await writeFile(join(path, "data.mdb"), gunzipSync(await readFile(new URL("data.mdb.gz", fixture))));
  const { now } = JSON.parse(String(gunzipSync(await readFile(new URL("expected.json.gz", fixture))))) as {
    now: number;
  };
  const storage = await openLmdb(path);
  const homeZones = ["UTC"];
  const engine = await createEngine({
    storage,
    scheduler: new Clock(now).scheduler,
    homeZones,
    nextTurn: turn,
  });
  t.same(blogs(engine), []);
  await engine.ingest([{ type: "view", ts: now + DAY_MS, blog: "ahead" }]);
  await engine.close();
  const again = await openLmdb(path);
  t.same(again.quarantine.names(), [1]);
  await again.close();
});

t.test(
  `kill -9 leaves a batch with what was refused of it, or neither, and a replay counts once (${KILLS} times)`,
  async (t) => {
    const path = await newPath(t);
    let acknowledged = 0;
    let counted = 0;
    for (let round = 0; round < KILLS; round++) {
      const child = startChild("refuse", path);
      let errors = "";
      child.process.stderr!.on("data", (data) => (errors += String(data)));
      let timer: NodeJS.Timeout | undefined;
      let lines = 0;
      child.lines.on("line", (line) => {
        acknowledged = Number(line);
        // By then two rounds have seen a replay.
        if (++lines < LEAST_BATCHES) return;
        timer ??= setTimeout(() => child.process.kill("SIGKILL"), Math.random() * MAX_LIFE_MS);
      });
      await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
      assert.equal(child.process.signalCode, "SIGKILL", errors);
      const storage = await openLmdb(path);
      const engine = await createEngine({ storage });
      const rows = engine.queryNow({
        date_range: "all",
        metrics: ["views"],
        dimensions: ["blog"],
        limit: 100_000,
      }).results;
      const found = new Map(rows.map(({ dimensions: [blog], metrics: [views] }) => [blog, views!]));
      counted = [...found].filter(([blog]) => blog!.startsWith("refused")).length;
      for (let after: number | null = 0; after !== null;) {
        const { events, next }: ReturnType<Engine["quarantine"]> = engine.quarantine({ after, limit: 1000 });
        for (const { event } of events) found.set(event["blog"], (found.get(event["blog"]) ?? 0) + 1);
        after = next;
      }
      const last = Math.max(...[...found.keys()].map((blog) => Number(blog!.split(" ")[1])));
      assert.ok(last >= acknowledged, `${acknowledged} acknowledged, ${last} there`);
      for (let i = 1; i <= last; i++) {
        assert.deepEqual(
          [found.get(`accepted ${i}`), found.get(`refused ${i}`)],
          [1, 2],
          `batch ${i} of ${acknowledged}`,
        );
      }
      await engine.close();
    }
    t.ok(
      acknowledged >= LEAST_BATCHES * KILLS && counted > 0,
      `${acknowledged} batches, of ${counted} the refused events counted`,
    );
  },
);
