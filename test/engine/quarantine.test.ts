/** Refused events: kept with the batch they came in, bounded, and counted once when they are replayed. */
import t from "tap";
import {
  AHEAD_MS,
  checkConserved,
  DAY_MS,
  HOUR_MS,
  NOON_MS,
  OLD_MS,
  view,
  World,
} from "./quarantine-world.js";

t.test(
  "an event refused for its time is kept as it was sent, its viewer and id as hashes, and told why",
  async (t) => {
    const world = await World.open(t);
    const reply = await world.engine.ingest([
      view(OLD_MS, { author: "ann", viewer: "reader-7", id: "event-1" }),
      view(NOON_MS, { blog: "now" }),
      { type: "created", ts: AHEAD_MS, blog: "soon", country: "IN" },
      { type: "view", ts: "yesterday", blog: "x" },
    ]);
    t.match(reply, {
      accepted: 1,
      late_rejected: 1,
      future_rejected: 1,
      invalid: 1,
      position: 1,
      durable: true,
    });
    const report = world.engine.quarantine();
    t.same(report.events, [
      {
        id: 1,
        reason: "too-old",
        received_at: "2026-03-18T12:00:00Z",
        event: { type: "view", ts: "2026-02-06T12:00:00Z", blog: "b", author: "ann" },
        viewer_hash: report.events[0]!.viewer_hash,
        id_hash: report.events[0]!.id_hash,
      },
      {
        id: 2,
        reason: "too-far-ahead",
        received_at: "2026-03-18T12:00:00Z",
        event: { type: "created", ts: "2026-03-18T13:00:00Z", blog: "soon", country: "IN" },
        viewer_hash: null,
        id_hash: null,
      },
    ]);
    t.match(report.events[0], { viewer_hash: /^[0-9a-f]{12}$/, id_hash: /^[0-9a-f]{16}$/ });
    t.match(report, { held: 2, dropped: 0, expired: 0, released: 0, discarded: 0, damaged: 0, next: null });
    t.ok(report.bytes > 0);
    t.match(world.engine.stats(), {
      quarantine: { held: 2 },
      rejected: { "too-old": 1, "too-far-ahead": 1 },
    });
    t.equal(world.views(), 1, "it is in no answer");
  },
);

t.test("a batch of which nothing is accepted has no position, and what was refused is kept", async (t) => {
  const world = await World.open(t);
  t.match(await world.engine.ingest([view(OLD_MS)]), {
    accepted: 0,
    late_rejected: 1,
    position: null,
    durable: true,
  });
  t.match(await world.engine.ingest([view(AHEAD_MS)], { wait: "none" }), { position: null, durable: false });
  await world.engine.checkpoint();
  t.equal(world.gate.log.head, 0, "the log has nothing of it");
  t.same(
    world.held().map(({ reason }) => reason),
    ["too-old", "too-far-ahead"],
  );
  await world.crash();
  t.same(
    world.held().map(({ id, reason }) => [id, reason]),
    [
      [1, "too-old"],
      [2, "too-far-ahead"],
    ],
  );
  await world.engine.ingest([view(OLD_MS)]);
  t.equal(world.held().at(-1)!.id, 3, "ids go on after a restart");
});

t.test("a reply waits until what was refused is on disk", async (t) => {
  const world = await World.open(t);
  world.gate.log.mode = "hold";
  let isTold = false;
  const first = world.engine.ingest([view(OLD_MS, { id: "i" })]).then(() => (isTold = true));
  const again = world.engine
    .ingest([view(OLD_MS, { id: "i" })])
    .then(({ durable }) => [world.disk.quarantine.chunks.size, durable]);
  await world.clock.advance(1000);
  t.notOk(isTold);
  t.same(world.engine.quarantine().events, [], "what is on its way is not shown");
  world.gate.log.release();
  await first;
  t.same(await again, [1, true], "nor is a repetition answered before the first");
  world.gate.log.mode = "pass";
  t.equal(world.held().length, 1);
});

t.test(
  "a retry under a key is answered as the first time, and quarantined once, restarts included",
  async (t) => {
    const world = await World.open(t);
    const key = { idempotencyKey: "k" };
    const batch = [view(OLD_MS), view(AHEAD_MS)];
    const first = await world.engine.ingest(batch, key);
    t.match(first, { accepted: 0, late_rejected: 1, future_rejected: 1, position: null });
    t.same(await world.engine.ingest(batch, key), first);
    await world.crash();
    t.same(await world.engine.ingest(batch, key), first);
    t.equal(world.held().length, 2);
    await world.engine.discardQuarantine();
    await world.engine.checkpoint();
    await world.crash();
    t.same(await world.engine.ingest(batch, key), first, "also when it is no longer there");
    t.equal(world.held().length, 0);
    t.equal(world.engine.stats().watermarkMs, null, "the batch is no event of the source");
    const mixed = { idempotencyKey: "mixed" };
    const reply = await world.engine.ingest([view(NOON_MS), view(OLD_MS)], mixed);
    t.match(reply, { accepted: 1, late_rejected: 1, position: 2 });
    await world.crash();
    t.same(await world.engine.ingest([view(NOON_MS), view(OLD_MS)], mixed), reply);
    t.same([world.held().length, world.views()], [1, 1]);
  },
);

t.test("a key under which everything was refused is free for another batch", async (t) => {
  const world = await World.open(t);
  const key = { idempotencyKey: "k" };
  await world.engine.ingest([view(OLD_MS)], key);
  const reply = await world.engine.ingest([view(NOON_MS)], key);
  t.match(reply, { accepted: 1, position: 2 });
  await world.crash();
  t.same(await world.engine.ingest([view(NOON_MS)], key), reply, "and then it is that batch's");
  await t.rejects(world.engine.ingest([view(OLD_MS)], key), { code: "idempotency-conflict" });
});

t.test("an id waits in quarantine once, in one batch, in several, and after a restart", async (t) => {
  const world = await World.open(t);
  const event = view(OLD_MS, { id: "i" });
  t.match(await world.engine.ingest([event, event, view(OLD_MS)]), { late_rejected: 3 });
  t.match(await world.engine.ingest([event, view(AHEAD_MS, { id: "i" })]), {
    late_rejected: 1,
    future_rejected: 1,
  });
  await world.crash();
  t.match(await world.engine.ingest([event]), { accepted: 0, late_rejected: 1, position: null });
  t.same(
    world.held().map(({ id }) => id),
    [1, 2],
  );
  await world.engine.discardQuarantine({ ids: [1] });
  await world.engine.ingest([event]);
  t.same(
    world.held().map(({ id }) => id),
    [2, 3],
    "it may come again once it is gone",
  );
});

t.test(
  "an event that was counted is not kept when it comes again, under its id, with a refused time",
  async (t) => {
    const world = await World.open(t);
    await world.engine.ingest([view(NOON_MS, { id: "i" })]);
    const again = [view(AHEAD_MS, { id: "i" }), view(AHEAD_MS, { id: "j" }), view(NOON_MS, { id: "j" })];
    t.match(await world.engine.ingest(again), { accepted: 1, future_rejected: 2 });
    t.same(world.held(), [], "neither of an earlier batch nor of the same");
    await world.clock.advance(2 * DAY_MS);
    t.match(await world.engine.replayQuarantine(), { accepted: 0 });
    t.equal(world.views(), 2);
  },
);

t.test(
  "an event that comes again in time, under its id, is counted and leaves the quarantine with that",
  async (t) => {
    const world = await World.open(t);
    const ids = ["x", "y", "z"];
    await world.engine.ingest(ids.map((id) => view(AHEAD_MS, { id, blog: id })));
    await world.clock.advance(HOUR_MS);
    world.gate.log.mode = "lie";
    await t.rejects(world.engine.ingest([view(AHEAD_MS, { id: "y", blog: "y" })]), {
      code: "storage-failed",
    });
    world.gate.log.mode = "pass";
    await world.crash();
    t.same(world.blogs(), ["x", "z"], "both were on disk");
    t.equal(world.views(), 1);
    await world.clock.advance(2 * DAY_MS);
    t.match(await world.engine.replayQuarantine(), { accepted: 2, duplicate: 0 });
    t.same(
      ids.map((blog) => world.views(blog)),
      [1, 1, 1],
      "long after its id was forgotten, too",
    );
    checkConserved(world);
  },
);

t.test("when it is full the oldest go first, and are counted", async (t) => {
  const world = await World.open(t, { maxQuarantinedEvents: 5 });
  for (let i = 0; i < 8; i++) await world.engine.ingest([view(OLD_MS, { blog: `b${i}` })]);
  t.same(world.blogs(), ["b3", "b4", "b5", "b6", "b7"]);
  t.match(world.engine.stats().quarantine, { held: 5, dropped: 3 });
  await world.engine.ingest(Array.from({ length: 9 }, (_, i) => view(OLD_MS, { blog: `c${i}` })));
  t.same(world.blogs(), ["c4", "c5", "c6", "c7", "c8"], "a batch of more is kept in part");
  t.match(world.engine.stats().quarantine, { held: 5, dropped: 12 });
  await world.crash({ maxQuarantinedEvents: 2 });
  t.equal(world.held().length, 5, "a smaller bound takes nothing away by itself");
  t.match(world.engine.stats().quarantine, { dropped: 12 }, "the count outlives a restart");
  await world.engine.ingest([view(OLD_MS, { blog: "d" })]);
  t.same(world.blogs(), ["c8", "d"]);
  checkConserved(world);
});

t.test("its bytes are bounded too, however long the values are", async (t) => {
  const world = await World.open(t, { maxQuarantinedBytes: 20_000 });
  for (let i = 0; i < 20; i++) await world.engine.ingest([view(OLD_MS, { blog: `${i} ${"x".repeat(900)}` })]);
  const { held, bytes, dropped } = world.engine.stats().quarantine;
  t.ok(bytes <= 20_000 && held >= 5, `${held} events, ${bytes} bytes`);
  t.equal(held + dropped, 20);
  t.match(world.held().at(-1)!.event["blog"], /^19 /);
});

t.test("a bound of 0 keeps nothing, and takes nothing away that is there", async (t) => {
  const world = await World.open(t);
  await world.engine.ingest([view(OLD_MS)]);
  await world.crash({ maxQuarantinedEvents: 0 });
  const key = { idempotencyKey: "k" };
  t.match(await world.engine.ingest([view(OLD_MS)], key), { late_rejected: 1, position: null });
  t.equal(world.held().length, 1);
  t.equal(world.gate.log.head, 0, "then the key has nothing to remember");
  t.match(await world.engine.replayQuarantine(), { accepted: 1 });
});

t.test("a replay counts old events where they belong, once, and what is still ahead stays", async (t) => {
  const world = await World.open(t);
  await world.engine.ingest([view(NOON_MS, { author: "ann", viewer: "v" })]);
  await world.clock.advance(2 * HOUR_MS);
  const soon = NOON_MS + 3 * HOUR_MS;
  await world.engine.ingest([
    view(OLD_MS, { viewer: "v" }),
    view(OLD_MS, { viewer: "w" }),
    view(soon, { blog: "s" }),
  ]);
  t.same(await world.engine.replayQuarantine(), {
    accepted: 2,
    duplicate: 0,
    late_accepted: 2,
    kept: 1,
    missing: 0,
    position: 2,
  });
  const answer = world.engine.queryNow({
    date_range: ["2026-02-06", "2026-02-06"],
    metrics: ["views", "viewers"],
    dimensions: ["author"],
  });
  t.match(answer.results, [{ dimensions: ["ann"], metrics: [2, 2] }], "with the author known by now");
  t.equal(world.engine.stats().watermarkMs! <= NOON_MS + 2 * HOUR_MS, true, "no watermark moves ahead");
  t.match(world.engine.stats().events, { accepted: 3 });
  t.match(await world.engine.replayQuarantine(), { accepted: 0, kept: 1, position: null });
  await world.engine.checkpoint();
  t.equal(
    world.engine.revisions().revisions.every(({ reason }) => reason === "backfill"),
    true,
  );
  await world.crash();
  t.match(await world.engine.replayQuarantine(), { accepted: 0, kept: 1 }, "nor after a restart");
  await world.clock.advance(HOUR_MS);
  t.match(await world.engine.replayQuarantine(), { accepted: 1, kept: 0, position: 3 });
  t.same([world.views("s"), world.held().length], [1, 0]);
  t.match(world.engine.stats().quarantine, { held: 0, released: 3 });
  t.equal((await world.engine.reconcile()).wrong, 0);
  checkConserved(world);
});

t.test("what waited too long ahead of the clock is counted as history", async (t) => {
  const world = await World.open(t);
  await world.engine.ingest([view(AHEAD_MS)]);
  await world.clock.jump(60 * DAY_MS);
  t.match(await world.engine.replayQuarantine(), { accepted: 1, kept: 0 });
  t.equal(world.views(), 1);
});

t.test("single events are replayed, or given up, by their ids; what is gone is told", async (t) => {
  const world = await World.open(t);
  await world.engine.ingest(Array.from({ length: 6 }, (_, i) => view(OLD_MS, { blog: `b${i + 1}` })));
  t.match(await world.engine.replayQuarantine({ ids: [5, 2, 99] }), { accepted: 2, missing: 1 });
  t.same(world.blogs(), ["b1", "b3", "b4", "b6"]);
  t.same(await world.engine.discardQuarantine({ ids: [3, 5] }), { discarded: 1, missing: 1 });
  await world.crash();
  t.same(
    world.held().map(({ id }) => id),
    [1, 4, 6],
  );
  t.match(await world.engine.replayQuarantine({ ids: [2, 3] }), { accepted: 0, missing: 2, position: null });
  t.same(
    world.engine.quarantine({ after: 1, limit: 1 }).events.map(({ id }) => id),
    [4],
  );
  t.equal(world.engine.quarantine({ after: 1, limit: 1 }).next, 4);
  t.equal(world.engine.quarantine({ after: 4, limit: 1 }).next, null);
  t.same(await world.engine.discardQuarantine(), { discarded: 3, missing: 0 });
  t.match(world.engine.stats().quarantine, { held: 0, bytes: 0, released: 2, discarded: 4 });
  t.equal(world.views(), 2);
  checkConserved(world);
});

t.test("what is asked wrongly is refused, with a pointer", async (t) => {
  const world = await World.open(t);
  const { engine } = world;
  for (const options of [{ after: -1 }, { after: 0.5 }, { limit: 0 }, { limit: 1001 }]) {
    t.throws(() => engine.quarantine(options), { code: "invalid-query", pointer: /^\/(after|limit)$/ });
  }
  for (const ids of [[], [0], [1.5], ["1"], "1", Array.from({ length: 10_001 }, (_, i) => i + 1)]) {
    const selection = { ids: ids as number[] };
    await t.rejects(engine.replayQuarantine(selection), { code: "invalid-query", pointer: /^\/ids/ });
    await t.rejects(engine.discardQuarantine(selection), { code: "invalid-query", pointer: /^\/ids/ });
  }
});

t.test("it expires with the raw events of its time, which a dry run tells", async (t) => {
  const world = await World.open(t, { retention: { raw: 5 * DAY_MS } });
  await world.engine.ingest([view(OLD_MS), view(AHEAD_MS)]);
  await world.clock.jump(4 * DAY_MS);
  await world.engine.ingest([view(OLD_MS)]);
  await world.clock.jump(DAY_MS);
  t.equal(world.held().length, 3, "not before");
  const due = async (dryRun: boolean): Promise<unknown> =>
    (await world.engine.retain({ dryRun })).tiers.find(({ tier }) => tier === "quarantine");
  t.match(await due(true), { count: 0, before: null });
  await world.clock.advance(1);
  t.match(await due(true), { count: 2, before: "2026-03-18T12:00:00.001Z", blocked: null });
  t.equal(world.held().length, 3, "only told");
  await world.clock.jump(2 * HOUR_MS);
  t.same(
    world.held().map(({ id }) => id),
    [3],
    "the background gives it up",
  );
  t.match(world.engine.stats().quarantine, { expired: 2 });
  await world.crash();
  t.same(
    world.held().map(({ id }) => id),
    [3],
  );
  await world.clock.jump(6 * DAY_MS);
  t.match(await due(false), { count: 0 }, "by itself");
  t.match(world.engine.stats().quarantine, { held: 0, expired: 3 });
  checkConserved(world);
});
