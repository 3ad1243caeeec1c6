/** Refused events and the death of the process: a batch and what was refused of it, or neither; and nothing twice. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import type { QuarantinePort } from "../../engine/index.js";
import type { EventLog } from "../../engine/log.js";
import type { Storage } from "../../engine/store.js";
import {
  AHEAD_MS,
  checkConserved,
  DAY_MS,
  HOUR_MS,
  MINUTE_MS,
  NOON_MS,
  OLD_MS,
  view,
  World,
} from "./quarantine-world.js";
import type { PlainEvent } from "../support/oracle.js";

/** Passes so many writes of the log on; the next is lost, or arrives, and nobody is ever told. */
function dyingAfter(writes: number, arrives: boolean): (storage: Storage) => Storage {
  const never = new Promise<never>(() => undefined);
  let left = writes;
  const pass = async <T>(write: () => Promise<T>): Promise<T> => {
    if (left-- > 0) return await write();
    if (left === -1 && arrives) await write();
    return await never;
  };
  return (storage) => {
    const log = Object.create(storage.log, {
      append: { value: (...args: Parameters<EventLog["append"]>) => pass(() => storage.log.append(...args)) },
      head: { get: () => storage.log.head },
      first: { get: () => storage.log.first },
      completeFrom: { get: () => storage.log.completeFrom },
    }) as EventLog;
    for (const name of ["gaps", "read", "readRange", "claims", "compact", "trim", "sizes"] as const) {
      Object.defineProperty(log, name, { value: storage.log[name].bind(storage.log) });
    }
    const inner = storage.quarantine;
    const quarantine: QuarantinePort = {
      state: () => inner.state(),
      names: () => inner.names(),
      read: (name) => inner.read(name),
      write: (change) => pass(() => inner.write(change)),
    };
    return { ...storage, log, quarantine };
  };
}

t.test(
  "wherever the process dies, a batch is there with what was refused of it, or not at all",
  async (t) => {
    for (const arrives of [false, true]) {
      for (let writes = 0; writes < 7; writes++) {
        const world = await World.open(t);
        await world.engine.close();
        await world.start(dyingAfter(writes, arrives));
        const steps: (() => Promise<unknown>)[] = [
          () => world.engine.ingest([view(NOON_MS, { blog: "1" }), view(OLD_MS, { blog: "1" })]),
          () => world.engine.ingest([view(OLD_MS, { blog: "2" })], { idempotencyKey: "2" }),
          () => world.engine.ingest([view(OLD_MS, { blog: "3" }), view(AHEAD_MS, { blog: "4" })]),
          () => world.engine.replayQuarantine({ ids: [1] }),
          () => world.engine.discardQuarantine({ ids: [2] }),
          () => world.engine.replayQuarantine(),
        ];
        let done = 0;
        for (const step of steps) {
          const isDone = await Promise.race([
            step().then(() => true),
            world.clock.advance(100).then(() => false),
          ]);
          if (!isDone) break;
          done++;
        }
        t.equal(done, Math.min(writes, steps.length));
        world.clock.stop();
        world.clock = world.clock.fork();
        await world.start();
        const written = Math.min(done + (arrives ? 1 : 0), steps.length);
        const views = [0, 1, 1, 1, 2, 2, 3][written];
        const blogs = [[], ["1"], ["1", "2"], ["1", "2", "3", "4"], ["2", "3", "4"], ["3", "4"], ["4"]][
          written
        ];
        t.same(
          [world.views(), world.blogs()],
          [views, blogs],
          `${writes} writes, ${arrives ? "and one more" : "no more"}`,
        );
        checkConserved(world);
        await world.engine.replayQuarantine();
        t.equal(
          world.views() + world.held().length + world.engine.stats().quarantine.discarded,
          [0, 2, 3, 5, 5, 5, 5][written],
        );
      }
    }
  },
);

t.test(
  "after a failed write memory is worked out from the disk again, refused events included",
  async (t) => {
    for (const mode of ["fail", "lie"] as const) {
      const world = await World.open(t);
      await world.engine.ingest([view(OLD_MS, { blog: "before" })]);
      world.gate.log.mode = mode;
      await t.rejects(world.engine.ingest([view(NOON_MS), view(OLD_MS, { id: "i", blog: "in doubt" })]));
      world.gate.log.mode = "pass";
      await world.clock.advance(5000);
      t.same(world.blogs(), mode === "lie" ? ["before", "in doubt"] : ["before"]);
      t.match(await world.engine.ingest([view(OLD_MS, { id: "i", blog: "in doubt" })]), { late_rejected: 1 });
      t.same(world.blogs(), ["before", "in doubt"], "the sender's retry is there once");
      t.equal(world.views(), mode === "lie" ? 1 : 0);
    }
  },
);

t.test(
  "a hundred thousand refused events, by ones and in bulk, are counted once while others write",
  async (t) => {
    const world = await World.open(t, { dedupeWindowMs: HOUR_MS });
    const bulk = Array.from({ length: 95_000 }, (_, i) =>
      view(OLD_MS + i, { blog: `b${i % 300}`, viewer: `v${i}` }),
    );
    t.match(await world.engine.ingest(bulk), { late_rejected: 95_000 });
    const ones = Array.from({ length: 3000 }, (_, i) =>
      world.engine.ingest([view(OLD_MS - i, { id: `i${i}` })]),
    );
    await Promise.all(ones);
    t.equal(world.engine.stats().quarantine.held, 98_000);
    const replay = world.engine.replayQuarantine();
    const others: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) others.push(world.engine.ingest([view(NOON_MS), view(AHEAD_MS + i)]));
    await Promise.all(others);
    t.match(await replay, { accepted: 98_000, duplicate: 0, missing: 0 });
    t.equal(world.views(), 98_020);
    await world.crash();
    t.same([world.views(), world.held().length], [98_020, 20]);
    checkConserved(world);
  },
);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      events: fc.array(
        fc.record({
          at: fc.constantFrom("old", "now", "now", "ahead"),
          id: fc.option(fc.nat(12), { nil: undefined }),
        }),
        { minLength: 1, maxLength: 6 },
      ),
      key: fc.option(fc.nat(3), { nil: undefined }),
    }),
  },
  fc.record({
    kind: fc.constant("replay" as const),
    ids: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), { nil: undefined }),
  }),
  fc.record({
    kind: fc.constant("discard" as const),
    ids: fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant("crash" as const) }),
  fc.record({ kind: fc.constant("pass" as const), minutes: fc.integer({ min: 1, max: 90 }) }),
);

t.test(
  "whatever is sent, replayed, given up and crashed, each event is counted at most once, and none is lost",
  async (t) => {
    const property = fc.asyncProperty(
      fc.array(step, { maxLength: 14 }),
      fc.integer({ min: 1, max: 30 }),
      async (steps, max) => {
        const world = await World.open(t, { maxQuarantinedEvents: max });
        /** Distinct events without an id; ids; and the first body of a key. */
        let anonymous = 0;
        const ids = new Set<number>();
        const bodies = new Map<number, PlainEvent[]>();
        for (const each of steps) {
          if (each.kind === "send") {
            const now = world.clock.now();
            const offset = { old: -40 * DAY_MS, now: 0, ahead: HOUR_MS };
            const fresh = each.events.map(({ at, id }) =>
              view(now + offset[at], id === undefined ? {} : { id: `${id}` }),
            );
            const known = each.key === undefined ? undefined : bodies.get(each.key);
            const sent = known ?? fresh;
            if (known === undefined) {
              for (const { id } of each.events) if (id === undefined) anonymous++;
              for (const { id } of each.events) if (id !== undefined) ids.add(id);
              if (each.key !== undefined) bodies.set(each.key, sent);
            }
            await world.engine.ingest(sent, each.key === undefined ? {} : { idempotencyKey: `${each.key}` });
          } else if (each.kind === "replay")
            await world.engine.replayQuarantine(each.ids === undefined ? {} : { ids: each.ids });
          else if (each.kind === "discard") await world.engine.discardQuarantine({ ids: each.ids });
          else if (each.kind === "crash") await world.crash();
          else await world.clock.advance(each.minutes * MINUTE_MS);
          checkConserved(world);
        }
        assert.ok(world.held().length <= max);
        // Whatever is still held is in time now, or was counted under its id within the window.
        await world.clock.advance(2 * HOUR_MS);
        await world.engine.replayQuarantine();
        const { held, dropped, discarded } = world.engine.stats().quarantine;
        const [found, sent] = [world.views(), anonymous + ids.size];
        assert.equal(held, 0);
        assert.ok(found <= sent, `${found} of ${sent}`);
        assert.ok(found + dropped + discarded >= sent, `${found}, ${dropped}, ${discarded} of ${sent}`);
        await world.crash();
        assert.deepEqual([world.views(), world.held().length], [found, 0]);
        await world.engine.close();
      },
    );
    await fc.assert(property, { numRuns: 150 });
    t.pass("held for every sample");
  },
);
