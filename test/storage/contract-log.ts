/** What every event log must do: the port, word by word. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Test } from "tap";
import {
  FLAG_ID,
  type EventBatch,
  type EventLog,
  type LogClaims,
  type LogEntry,
  type LogRecord,
} from "../../engine/log.js";
import { anyRecord } from "./arbitraries.js";
import { plainRecord, record } from "./samples.js";
import { all, codeOf } from "./support.js";

/** A log that is open. */
export interface OpenLog {
  readonly log: EventLog;
  close(): Promise<void>;
}

/** `anyRecord`, of which some are imports. */
export const anyLogRecord: fc.Arbitrary<LogRecord> = fc
  .tuple(anyRecord, fc.boolean())
  .map(([one, backfill]) => (backfill ? { ...one, backfill } : one));

export async function positions(entries: AsyncIterable<{ position: number }>): Promise<number[]> {
  const list: number[] = [];
  for await (const { position } of entries) list.push(position);
  return list;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** What a record is whether it was compacted or not: of the values only those that an event has, in their order. */
export function normalized(one: LogRecord): unknown {
  const { events } = one;
  const dims: Uint32Array[] = [];
  const values: string[][] = [];
  for (const [d, column] of events.dims.entries()) {
    const list: string[] = [];
    const ids = Array.from(column.subarray(0, events.count), (index) => {
      if (index === 0) return 0;
      const value = events.values[d]![index - 1]!;
      const known = list.indexOf(value);
      return known < 0 ? list.push(value) : known + 1;
    });
    dims.push(Uint32Array.from(ids));
    values.push(list);
  }
  const plain = plainRecord({ ...one, events: { ...events, dims, values } });
  return { ...(plain as object), backfill: one.backfill === true };
}

export function normalizedEntries(entries: readonly LogEntry[]): unknown {
  return entries.map(({ position, record }) => ({ position, record: normalized(record) }));
}

function timesOf({ ts, count }: EventBatch): number[] {
  return Array.from(ts.subarray(0, count));
}

export function hasEventIn({ events }: LogRecord, fromMs: number, toMs: number): boolean {
  return timesOf(events).some((time) => time >= fromMs && time < toMs);
}

/** Whether the times of a record's events lie around the range: then it may be given too. */
function mayHaveEventIn({ events }: LogRecord, fromMs: number, toMs: number): boolean {
  const times = timesOf(events);
  return times.some((time) => time < toMs) && times.some((time) => time >= fromMs);
}

export function claimsIn({ position, record }: LogEntry): unknown {
  const { events, receivedAt, claim } = record;
  const ids: [number, number][] = [];
  for (let i = 0; i < events.count; i++) {
    if (events.idLo !== undefined && (events.flags[i]! & FLAG_ID) !== 0) {
      ids.push([events.idLo[i]!, events.idHi![i]!]);
    }
  }
  return { position, receivedAt, claim: claim && { ...claim }, ids };
}

export async function plainClaims(claims: AsyncIterable<LogClaims>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const { position, receivedAt, claim, idLo, idHi } of claims) {
    const ids = Array.from(idLo, (low, i) => [low, idHi[i]!]);
    list.push({ position, receivedAt, claim: claim && { ...claim }, ids });
  }
  return list;
}

/** `open` gives an empty log; `reopen` closes one and opens the same place again. */
export function logContract<T extends OpenLog>(
  t: Test,
  name: string,
  open: () => Promise<T>,
  reopen: (opened: T) => Promise<T>,
): void {
  const test = (says: string, body: (t: Test, opened: T) => Promise<void>): void => {
    t.test(`${name}: ${says}`, async (t) => {
      const opened = await open();
      t.teardown(() => opened.close());
      await body(t, opened);
    });
  };

  test("an empty log begins at 1 and has nothing to read", async (t, { log }) => {
    t.equal(log.head, 0);
    t.equal(log.first, 1);
    t.equal(log.completeFrom, -Infinity);
    t.same(log.gaps(), []);
    t.same(await positions(log.read(0)), []);
    t.same(await positions(log.readRange(-Infinity, Infinity)), []);
    t.same(await positions(log.claims(0)), []);
    await log.compact(10);
    await log.trim(10);
    t.equal(log.first, 1, "there is nothing to give up");
    t.same(log.sizes().tail, { records: 0, events: 0, bytes: 0 });
    t.same(log.sizes().segments, { count: 0, records: 0, events: 0, bytes: 0 });
  });

  test("appends resolve in the order of the calls, without gaps, however large they are", async (t, opened) => {
    const { log } = opened;
    const resolved: number[] = [];
    const appends: Promise<unknown>[] = [];
    for (const number of range(1, 60)) {
      appends.push(log.append(record(number, number % 7 === 0 ? 5000 : 1)).then((p) => resolved.push(p)));
      if (number % 20 === 0) await nextTurn();
    }
    await Promise.all(appends);
    t.same(resolved, range(1, 60));
    t.equal(log.head, 60);
    const entries = await all(log.read(1));
    t.same(
      entries.map(({ record }) => record.events.values[0]![0]),
      range(1, 60).map((number) => `blog-${number}`),
    );
  });

  test("the log is read from any position up to the head at the call, compacted or not", async (t, {
    log,
  }) => {
    for (const number of range(1, 10)) await log.append(record(number));
    for (const before of [1, 8, 11]) {
      await log.compact(before);
      t.same(await positions(log.read(0)), range(1, 10));
      t.same(await positions(log.read(7)), range(7, 10));
      t.same(await positions(log.read(11)), []);
      t.same(await positions(log.claims(4)), range(4, 10));
    }
    const early = [log.read(9), log.readRange(-Infinity, Infinity)];
    const claims = log.claims(9);
    await log.append(record(11));
    await log.compact(12);
    t.same(await positions(early[0]!), [9, 10]);
    t.same(await positions(early[1]!), range(1, 10));
    t.same(await positions(claims), [9, 10]);
  });

  test("whatever is appended is read back, column by column", async (_t, { log }) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyLogRecord, { minLength: 1, maxLength: 5 }), async (records) => {
        const before = log.head;
        await Promise.all(records.map((one) => log.append(one)));
        const read = await all(log.read(before + 1));
        assert.deepEqual(
          read.map(({ record }) => ({ ...(plainRecord(record) as object), backfill: record.backfill })),
          records.map((one) => ({ ...(plainRecord(one) as object), backfill: one.backfill })),
        );
      }),
      { numRuns: 25 },
    );
  });

  test("compacting changes nothing that is read, wherever it stops, also after reopening", async (_t, opened) => {
    let current = opened;
    const expected: LogEntry[] = [];
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyLogRecord, { minLength: 1, maxLength: 8 }),
        fc.nat(9),
        fc.integer({ min: -(2 ** 50), max: 2 ** 50 }),
        fc.constantFrom(1, 500, 86_400_000, 2 ** 52),
        async (records, kept, fromMs, span) => {
          const { log } = current;
          await Promise.all(records.map((one) => log.append(one)));
          for (const one of records) expected.push({ position: expected.length + 1, record: one });
          await log.compact(log.head + 1 - kept);
          const { tail, segments } = log.sizes();
          assert.equal(tail.records + segments.records, expected.length);
          const events = expected.reduce((sum, { record }) => sum + record.events.count, 0);
          assert.equal(tail.events + segments.events, events);
          const from = 1 + (Math.abs(fromMs) % expected.length);
          assert.deepEqual(
            normalizedEntries(await all(log.read(from))),
            normalizedEntries(expected.slice(from - 1)),
          );
          assert.deepEqual(await plainClaims(log.claims(from)), expected.slice(from - 1).map(claimsIn));
          const found = await all(log.readRange(fromMs, fromMs + span));
          for (const { record } of found) assert.ok(mayHaveEventIn(record, fromMs, fromMs + span));
          assert.deepEqual(
            normalizedEntries(found.filter(({ record }) => hasEventIn(record, fromMs, fromMs + span))),
            normalizedEntries(expected.filter(({ record }) => hasEventIn(record, fromMs, fromMs + span))),
          );
          if (expected.length % 4 === 0) current = await reopen(current);
        },
      ),
      { numRuns: 20 },
    );
    await current.close();
  });

  test("readers see each record once while the log is compacted", async (t, { log }) => {
    await Promise.all(range(1, 40).map((number) => log.append(record(number, 20))));
    const readers = [log.read(1), log.read(13), log.readRange(-Infinity, Infinity)].map((entries) =>
      entries[Symbol.asyncIterator](),
    );
    const claims = log.claims(1)[Symbol.asyncIterator]();
    const seen: number[][] = [[], [], [], []];
    const progress = { isDone: false };
    const compacted = Promise.all([log.compact(30), log.compact(41)]).finally(() => {
      progress.isDone = true;
    });
    while (!progress.isDone) {
      await nextTurn();
      for (const [i, reader] of [...readers, claims].entries()) {
        const step = await reader.next();
        if (step.done !== true) seen[i]!.push(step.value.position);
      }
    }
    await compacted;
    for (const [i, reader] of [...readers, claims].entries()) {
      for (let step = await reader.next(); step.done !== true; step = await reader.next()) {
        seen[i]!.push(step.value.position);
      }
    }
    t.same(seen, [range(1, 40), range(13, 40), range(1, 40), range(1, 40)]);
  });

  test("trim gives up what is before, and positions go on after it and after reopening", async (t, opened) => {
    await Promise.all(range(1, 2500).map((number) => opened.log.append(record(number, 1))));
    await opened.log.trim(2401);
    t.equal(opened.log.first, 2401);
    t.same(await positions(opened.log.read(1)), range(2401, 2500));
    await opened.log.trim(5);
    t.equal(opened.log.first, 2401, "nothing comes back");
    await opened.log.trim(9999);
    t.equal(opened.log.first, 2501);
    t.equal(opened.log.head, 2500);
    const again = await reopen(opened);
    t.equal(again.log.first, 2501);
    t.equal(again.log.head, 2500);
    t.equal(await again.log.append(record(2501)), 2501);
    t.same(await positions(again.log.read(0)), [2501]);
    await again.close();
  });

  test("the log is complete from just after the last event that it gave up, for ever", async (t, opened) => {
    const times = [500, 900, 100, 300, 2000, 1000, 1500];
    const at = (time: number): LogRecord => {
      const one = record(time, 3);
      return { ...one, events: { ...one.events, ts: Float64Array.of(time, time - 400, time - 10) } };
    };
    for (const time of times) await opened.log.append(at(time));
    t.equal(opened.log.completeFrom, -Infinity);
    await opened.log.trim(2);
    t.equal(opened.log.completeFrom, 501);
    await opened.log.trim(5);
    t.equal(opened.log.completeFrom, 901);
    const again = await reopen(opened);
    t.equal(again.log.completeFrom, 901);
    await again.log.trim(7);
    t.equal(again.log.completeFrom, 2001);
    await again.log.trim(8);
    t.equal(again.log.completeFrom, 2001, "it never falls");
    t.equal(again.log.first, 8);
    await again.close();
  });

  test("trim keeps what is not before, segments as a whole, and tells what it gave up", async (_t, opened) => {
    let current = opened;
    const expected: LogEntry[] = [];
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyLogRecord, { minLength: 1, maxLength: 6 }),
        fc.nat(6),
        fc.nat(8),
        fc.boolean(),
        async (records, tail, kept, doesReopen) => {
          const { log } = current;
          await Promise.all(records.map((one) => log.append(one)));
          for (const one of records) expected.push({ position: expected.length + 1, record: one });
          const count = log.sizes().segments.count;
          await log.compact(log.head + 1 - tail);
          assert.ok(log.sizes().segments.count >= count);
          const before = log.head + 1 - kept;
          const firstBefore = log.first;
          await log.trim(before);
          assert.ok(log.first >= firstBefore && log.first <= Math.max(before, firstBefore));
          if (log.sizes().segments.count === 0) assert.equal(log.first, Math.max(before, firstBefore));
          if (doesReopen) current = await reopen(current);
          const { first, completeFrom } = current.log;
          assert.deepEqual(
            normalizedEntries(await all(current.log.read(1))),
            normalizedEntries(expected.slice(first - 1)),
          );
          const given = expected.slice(0, first - 1).flatMap(({ record }) => timesOf(record.events));
          assert.equal(
            completeFrom,
            given.reduce((most, time) => Math.max(most, time + 1), -Infinity),
          );
          assert.equal(current.log.head, expected.length);
        },
      ),
      { numRuns: 25 },
    );
    await current.close();
  });

  test("a reader that trim overtakes is told so", async (t, { log }) => {
    for (const number of range(1, 5)) await log.append(record(number));
    const reader = log.read(1)[Symbol.asyncIterator]();
    t.equal((await reader.next()).value.position, 1);
    await Promise.all([log.trim(4), log.append(record(6))]);
    t.equal(await codeOf(reader.next()), "storage-failed");
    t.same(await positions(log.read(1)), [4, 5, 6]);
  });

  test("a log that is closed does nothing any more", async (t, opened) => {
    const { log } = opened;
    await log.append(record(1));
    await opened.close();
    t.equal(await codeOf(log.append(record(2))), "not-ready");
    t.equal(await codeOf(log.compact(2)), "not-ready");
    t.equal(await codeOf(log.trim(2)), "not-ready");
    t.throws(() => log.sizes(), { code: "not-ready" });
  });
}
