import t, { type Test } from "tap";
import {
  FLAG_ID,
  FLAG_VIEWER,
  TidemarkError,
  createEngine,
  type EventBatch,
  type LiveMessage,
} from "../../engine/index.js";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import { turn } from "../support/clock.js";
import type { PlainEvent } from "../support/oracle.js";
import { checkAsk, checkStored } from "./check.js";
import { LIMITS, World, type Disk, type WorldOptions } from "./world.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const EVERYTHING = {
  from: Date.parse("2024-01-01T00:00:00Z"),
  to: Date.parse("2028-01-01T00:00:00Z"),
  zone: "UTC",
};

function memoryDisk(): Disk {
  const disk = createMemoryDisk();
  return { open: () => openMemory(disk), diesAlone: true };
}

function open(options: WorldOptions = {}): Promise<World> {
  return World.open(memoryDisk(), NOON_MS, options);
}

function view(more: Partial<PlainEvent> = {}): PlainEvent {
  return { type: "view", ts: NOON_MS, blog: "b", country: "c", viewer: "v", ...more };
}

/** What has become of a promise by now. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = "pending";
  promise.then(
    () => (state = "done"),
    (error: unknown) => (state = error instanceof TidemarkError ? error.code : String(error)),
  );
  await turn();
  return state;
}

function viewsOf(world: World): number {
  return world.engine.queryNow({ date_range: "all", metrics: ["views"] }).results[0]?.metrics[0] ?? 0;
}

t.test(
  "a reply waits until its batch is durable, and so does the reply that calls it a duplicate",
  async (t) => {
    const world = await open();
    world.gate.log.mode = "hold";
    const first = world.post([view({ id: "i" })], {});
    const twice = world.post([view({ id: "i" })], {});
    const partly = world.post([view({ id: "i" }), view({ id: "j" })], {});
    const queued = await world.post([view({ id: "k" })], { wait: "none" });
    t.equal(queued.durable, false, "who does not wait is told so");
    t.equal(await stateOf(first), "pending");
    t.equal(await stateOf(twice), "pending", "the first could still be lost, and then it was no duplicate");
    t.equal(viewsOf(world), 0, "nothing is shown that could be lost");
    world.gate.log.mode = "pass";
    world.gate.log.release(1);
    const replies = await Promise.all([first, twice]);
    t.same(
      replies.map(({ accepted, duplicate }) => [accepted, duplicate]),
      [
        [1, 0],
        [0, 1],
      ],
    );
    t.equal(await stateOf(partly), "pending", "its own event is still on the way");
    world.gate.log.release();
    t.match(await partly, { accepted: 1, duplicate: 1, durable: true });
    t.equal(viewsOf(world), 3);
    await world.engine.close();
  },
);

t.test(
  "one key: the same reply for the same body, 409 while it is written, 422 for another body",
  async (t) => {
    const world = await open();
    const batch = [view(), view({ viewer: "w" })];
    const key = { idempotencyKey: "k" };
    world.gate.log.mode = "hold";
    const first = world.post(batch, key);
    t.equal(await stateOf(world.post(batch, key)), "idempotency-in-flight");
    t.equal(await stateOf(world.post([view()], key)), "idempotency-conflict");
    world.gate.log.mode = "pass";
    world.gate.log.release();
    const reply = await first;
    t.same(await world.post(batch, key), reply);
    await world.crash();
    t.same(await world.post(batch, key), reply, "after a crash");
    t.equal(await stateOf(world.post([view()], key)), "idempotency-conflict");
    t.equal(viewsOf(world), 2);
    await world.clock.jump(LIMITS.dedupeWindowMs + 1);
    t.match(
      await world.post([view()], { ...key, backfill: true }),
      { accepted: 1 },
      "a window later the key is free",
    );
    for (const idempotencyKey of ["", "x".repeat(256)]) {
      await t.rejects(world.post(batch, { idempotencyKey }), { code: "invalid-config" });
    }
    await world.engine.close();
  },
);

t.test(
  "a key that came with nothing acceptable is not used up, and decoded columns have keys too",
  async (t) => {
    const world = await open();
    const key = { idempotencyKey: "k" };
    t.match(await world.post([view({ ts: NOON_MS - 31 * DAY_MS })], key), { accepted: 0, late_rejected: 1 });
    t.match(await world.post([view()], key), { accepted: 1 });
    const columns = { idempotencyKey: "columns" };
    t.match(await world.engine.ingestBatch(columnsOf(world, [1]), columns), { accepted: 1 });
    t.match(await world.engine.ingestBatch(columnsOf(world, [1]), columns), { accepted: 1 });
    t.equal(viewsOf(world), 2, "a retry");
    await t.rejects(world.engine.ingestBatch(columnsOf(world, [2, 3]), columns), {
      code: "idempotency-conflict",
    });
    await world.engine.close();
  },
);

t.test("a commit that fails loses nothing, is told, and is tried again by itself", async (t) => {
  const world = await open({ homeZones: ["Asia/Kolkata"] });
  await world.send([view({ author: "a" }), view({ type: "created", blog: "new", author: "a" })]);
  await turn();
  const before = world.gate.store.generation();
  world.gate.store.mode = "fail";
  await t.rejects(world.engine.checkpoint(), /the gate is shut/);
  t.match(world.engine.stats(), { ready: false, failure: /send again/ });
  await t.rejects(world.post([view()], {}), { code: "storage-failed" }, "nobody knows what is on disk");
  await world.clock.advance(30 * MINUTE_MS);
  checkAsk(world.engine, world.oracle, { ...EVERYTHING, groupBy: ["author"] });
  t.equal(world.gate.store.generation(), before);
  world.gate.store.mode = "pass";
  await world.clock.advance(30_000);
  t.match(world.engine.stats(), { ready: true, failure: null, lastCommitError: null });
  await world.send([view({ viewer: "w" }), view({ blog: "new", viewer: "w" })]);
  await world.engine.checkpoint();
  checkStored(world.engine, world.gate.store, world.oracle);
  await world.crash();
  await world.send([view({ blog: "new" })]);
  checkAsk(world.engine, world.oracle, { ...EVERYTHING, groupBy: ["author"] });
  await world.engine.close();
});

t.test(
  "when an append fails nothing more is taken before the storage was opened anew, and each batch is there once",
  async (t) => {
    for (const mode of ["fail", "lie"] as const) {
      const world = await open();
      await world.send([view({ viewer: "before", id: "before" })]);
      world.gate.log.mode = mode;
      const keyed = [view({ viewer: "keyed" })];
      const withIds = [view({ viewer: "i", id: "i" }), view({ viewer: "j", id: "j" })];
      const attempts = [world.post(keyed, { idempotencyKey: "k" }), world.post(withIds, {})];
      for (const attempt of attempts) await t.rejects(attempt, { code: "storage-failed" });
      if (mode === "fail") await checkRefusals(t, world, keyed);
      world.gate.log.mode = "pass";
      await world.clock.advance(MINUTE_MS);
      t.equal(world.engine.stats().ready, true, "well again by itself");
      t.equal(viewsOf(world), mode === "lie" ? 4 : 1, "what is in the log is counted");
      await world.send(keyed, { idempotencyKey: "k" });
      const reply = await world.post(withIds, {});
      t.equal(reply.accepted + reply.duplicate, 2);
      world.oracle.take(withIds, world.now);
      for (const when of ["at once", "after a new start"]) {
        checkAsk(world.engine, world.oracle, EVERYTHING);
        t.equal(viewsOf(world), 4, `${mode}: all four, once, ${when}`);
        await world.restart();
      }
      await world.engine.close();
    }
  },
);

/** While the log is shut, and for a moment after. */
async function checkRefusals(t: Test, world: World, keyed: readonly PlainEvent[]): Promise<void> {
  for (const mode of ["fail", "pass"] as const) {
    world.gate.log.mode = mode;
    await t.rejects(world.post([view()], {}), { code: "storage-failed" });
    await t.rejects(world.post(keyed, { idempotencyKey: "k" }), { code: "storage-failed" });
    const known = world.post([view({ id: "before" })], {});
    await t.rejects(known, { code: "storage-failed" }, "no duplicate is vouched for");
    t.equal(world.engine.stats().ready, false);
    t.equal(viewsOf(world), 1, "what was acknowledged can still be asked for");
  }
}

t.test("a batch that never reached the log leaves nothing behind, not even its author", async (t) => {
  t.plan(2);
  for (const end of ["crash", "close"] as const) {
    const world = await open();
    await world.send([view({ blog: "other" })]);
    world.gate.log.mode = end === "crash" ? "hold" : "fail";
    world.post([view({ author: "ghost", id: "i" })], {}).catch(() => undefined);
    await world.clock.advance(30 * MINUTE_MS);
    if (end === "crash") await world.crash();
    else await world.restartInTrouble();
    await world.send([view({ id: "i" })]);
    checkAsk(world.engine, world.oracle, { ...EVERYTHING, groupBy: ["author"] });
    await world.engine.checkpoint();
    checkStored(world.engine, world.gate.store, world.oracle);
    t.pass(end);
    await world.engine.close();
  }
});

t.test("what is refused enters no dictionary, teaches no author and claims no id", async (t) => {
  const world = await open();
  const bad: unknown[] = [
    { ...view({ blog: "bad1", author: "bad1", country: "bad1" }), ts: "yesterday" },
    { ...view({ blog: "bad2", author: "bad2" }), unknown: 1 },
    { ...view({ country: "bad3" }), blog: "" },
    view({ blog: "bad4", author: "bad4", country: "bad4", id: "i", ts: NOON_MS - 31 * DAY_MS }),
    view({ author: "bad5", country: "bad5", id: "i", ts: NOON_MS + HOUR_MS }),
    view({ blog: "x".repeat(1025), author: "bad6", id: "i" }),
    null,
  ];
  const reply = await world.engine.ingest([...bad, view(), ...bad]);
  t.match(reply, { accepted: 1, late_rejected: 2, future_rejected: 2, invalid: 10 });
  t.same(
    reply.errors.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14],
  );
  world.oracle.take([view()], NOON_MS);
  await world.send([view({ id: "i" }), view({ id: "i", author: "bad7", country: "bad7" })]);
  await world.send([view({ viewer: "w" })]);
  await world.engine.checkpoint();
  const values = [0, 1, 2].map((dimension) => world.gate.store.values(dimension));
  t.same(values, [["b"], [], ["c"]]);
  checkStored(world.engine, world.gate.store, world.oracle);
  const { rejected } = world.engine.stats();
  t.same(rejected, {
    "invalid-timestamp": 2,
    "unknown-field": 2,
    "missing-value": 2,
    "too-old": 2,
    "too-far-ahead": 2,
    "value-too-long": 2,
    "not-an-object": 2,
  });
  await world.engine.close();
});

t.test("a checkpoint ends though batches keep coming, and waits for those before it", async (t) => {
  const world = await open();
  world.gate.log.mode = "hold";
  const before = world.post([view({ viewer: "before" })], {});
  const checkpoint = world.engine.checkpoint();
  t.equal(await stateOf(checkpoint), "pending");
  const after = world.post([view({ viewer: "after" })], {});
  world.gate.log.release(1);
  await before;
  t.equal(await stateOf(checkpoint), "done", "a busy source must not put it off for ever");
  t.equal(world.gate.store.meta()?.position, 1);
  world.gate.log.mode = "pass";
  world.gate.log.release();
  await after;
  await checkpoint;
  await world.engine.close();
});

t.test(
  "commits never overlap: a checkpoint, a seal that falls due, another checkpoint, a close",
  async (t) => {
    const world = await open();
    await world.send([view()]);
    world.gate.store.mode = "hold";
    const first = world.engine.checkpoint();
    await turn();
    await world.send([view({ ts: NOON_MS + 4 * MINUTE_MS, viewer: "w" })]);
    await world.clock.advance(40 * MINUTE_MS);
    const second = world.engine.checkpoint();
    await turn();
    t.equal(world.gate.store.waiting, 1, "one at a time");
    t.equal(world.engine.stats().lastCommitError, null);
    checkAsk(world.engine, world.oracle, EVERYTHING);
    world.gate.store.mode = "pass";
    const closed = world.engine.close();
    world.gate.store.release();
    await Promise.all([first, second, closed]);
    t.equal(world.engine.stats().lastCommitError, null);
    await world.restart();
    checkAsk(world.engine, world.oracle, EVERYTHING);
    await world.engine.close();
  },
);

t.test("closing refuses what is new, finishes what is under way, and ends the live queries", async (t) => {
  const world = await open();
  world.gate.log.mode = "hold";
  const underWay = world.post([view()], {});
  let completed = false;
  world.engine.live$({ date_range: "current_hour" }).subscribe({ complete: () => (completed = true) });
  const closed = world.engine.close();
  t.equal(world.engine.close() instanceof Promise, true);
  await t.rejects(world.post([view()], {}), { code: "not-ready" });
  await t.rejects(world.engine.checkpoint(), { code: "not-ready" });
  t.throws(() => world.engine.queryNow({ date_range: "all" }), { code: "not-ready" });
  t.equal(await stateOf(closed), "pending");
  world.gate.log.release();
  t.match(await underWay, { accepted: 1, durable: true });
  await closed;
  await world.engine.close();
  t.ok(completed);
  world.oracle.take([view()], NOON_MS);
  await world.restart();
  checkAsk(world.engine, world.oracle, EVERYTHING);
  await world.engine.close();
});

t.test(
  "overload is told while the log, or the store, is behind; nothing of the batch is taken",
  async (t) => {
    const world = await open({ maxQueuedBytes: 200, maxHotCells: 10 });
    world.gate.log.mode = "hold";
    const large = world.post([view({ id: "1" }), view(), view(), view()], {});
    const refused = world.post([view({ id: "i" })], { idempotencyKey: "k" });
    await t.rejects(refused, { code: "overloaded", extra: { retryAfterS: 1 } });
    world.gate.log.mode = "pass";
    world.gate.log.release();
    t.match(await large, { accepted: 4 }, "one batch alone is taken, however large");
    t.equal(world.engine.stats().queuedBytes, 0);
    t.match(await world.post([view({ id: "i" })], { idempotencyKey: "k" }), { accepted: 1, duplicate: 0 });
    world.gate.store.mode = "hold";
    let refusals = 0;
    for (let i = 0; i < 10; i++) {
      const post = world.post([view({ blog: `b${i}`, country: `c${i}` })], {});
      if ((await stateOf(post)) === "overloaded") refusals++;
    }
    t.ok(
      refusals > 0 && world.engine.stats().hotCells < 3 * 10 + 6,
      "memory is bounded while the store is behind",
    );
    world.gate.store.mode = "pass";
    world.gate.store.release();
    await world.engine.checkpoint();
    t.match(await world.post([view()], {}), { accepted: 1 });
    await world.engine.close();
  },
);

t.test("a store that does not fit its log, or its schema, is refused at the start", async (t) => {
  const start = async (disk: ReturnType<typeof createMemoryDisk>, schema = {}): Promise<void> => {
    await (await createEngine({ storage: openMemory(disk), schema })).close();
  };
  const filled = async (): Promise<ReturnType<typeof createMemoryDisk>> => {
    const disk = createMemoryDisk();
    const engine = await createEngine({ storage: openMemory(disk) });
    for (let i = 0; i < 3; i++) await engine.ingest([{ type: "view", blog: `b${i}` }]);
    await engine.close();
    return disk;
  };
  const shortened = await filled();
  shortened.records.pop();
  await t.rejects(start(shortened), { code: "storage-damaged" }, "the log ends before the buckets");
  const trimmed = await filled();
  trimmed.meta = { ...trimmed.meta!, position: 1, dedupeFrom: 0 };
  await openMemory(trimmed).log.trim(3);
  await t.rejects(start(trimmed), { code: "storage-damaged" }, "the log begins after the buckets");
  await t.rejects(start(await filled(), { identity: "reader" }), { code: "schema-mismatch" });
  await start(await filled());
});

t.test("columns from outside are checked before anything is taken from them", async (t) => {
  const world = await open();
  const good = columnsOf(world, [1, 2]);
  const bad: Record<string, EventBatch> = {
    "flags say id, but there are none": { ...good, flags: Uint8Array.of(FLAG_VIEWER, FLAG_VIEWER | FLAG_ID) },
    "a column is too short": { ...good, viewerHi: new Uint16Array(1) },
    "a time is no whole number": { ...good, ts: Float64Array.of(NOON_MS, NOON_MS + 0.5) },
    "a time is not a number": { ...good, ts: Float64Array.of(NOON_MS, Number.NaN) },
    "a value is not in its dictionary": {
      ...good,
      dims: [Uint32Array.of(1, 2), good.dims[1]!, good.dims[2]!],
    },
    "a row has no blog": { ...good, dims: [Uint32Array.of(1, 0), good.dims[1]!, good.dims[2]!] },
    "a dimension is missing": { ...good, dims: good.dims.slice(1) },
    "a value is empty": { ...good, values: [[""], [], []] },
    "a value is half a surrogate pair": { ...good, values: [["\ud800"], [], []] },
    "a value is too long": { ...good, values: [["x".repeat(1025)], [], []] },
    "the count is no count": { ...good, count: 1.5 },
    "the count is negative": { ...good, count: -1 },
  };
  for (const [what, batch] of Object.entries(bad)) {
    await t.rejects(world.engine.ingestBatch(batch), { code: "invalid-config" }, what);
  }
  t.equal(viewsOf(world), 0);
  t.match(await world.engine.ingestBatch(good), { accepted: 2 });
  t.equal(viewsOf(world), 2);
  await world.engine.close();
});

t.test("a live query says the snapshot, then what changed, and moves on when its hour ends", async (t) => {
  const world = await open({ pushIntervalMs: 20 });
  const messages: LiveMessage[] = [];
  const query = { date_range: "current_hour", dimensions: ["blog"], metrics: ["views", "viewers"] } as const;
  world.engine.live$(query).subscribe((message) => messages.push(message));
  t.match(messages, [{ type: "snapshot", seq: 0, payload: { results: [] } }]);
  await world.send([view(), view({ blog: "x" })]);
  t.match(messages[1], { type: "delta", seq: 1, prev: 0 });
  await world.send([view({ viewer: "w" })]);
  await world.send([view()]);
  t.equal(messages.length, 2, "at most one a push interval");
  await world.clock.advance(20);
  t.match(messages[2], { type: "delta", seq: 3, prev: 1, payload: { set: [[["b"], [3, 2]]] } });
  const [, , delta] = messages;
  t.equal(delta?.type === "delta" && delta.payload.set.length, 1, "only what changed");
  await world.send([view({ ts: NOON_MS - 2 * HOUR_MS })]);
  await world.clock.advance(40);
  t.equal(messages.length, 3, "an event of another hour changes nothing here");
  await world.clock.advance(HOUR_MS);
  t.match(messages.slice(3), [{ type: "rollover" }, { type: "snapshot", payload: { results: [] } }]);
  await world.engine.close();
});

/** Views of blog "b" at noon, decoded. */
function columnsOf(world: World, viewers: readonly number[]): EventBatch {
  const { dimensions } = world.engine.schema;
  return {
    count: viewers.length,
    flags: Uint8Array.from(viewers, () => FLAG_VIEWER),
    ts: Float64Array.from(viewers, () => NOON_MS),
    dims: dimensions.map((_, d) => Uint32Array.from(viewers, () => (d === 0 ? 1 : 0))),
    values: dimensions.map((_, d) => (d === 0 ? ["b"] : [])),
    viewerLo: Uint32Array.from(viewers, (viewer) => Math.imul(viewer, 0x9e37_79b1)),
    viewerHi: Uint16Array.from(viewers, (viewer) => viewer),
  };
}
