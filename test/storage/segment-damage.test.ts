/** Segments of which something is damaged or missing: never a wrong event, and never silence about a lost one. */
import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import t, { type Test } from "tap";
import type { EventLog, LogRecord } from "../../engine/log.js";
import { logKey, metaKey } from "../../storage/keys.js";
import { encodeRecord } from "../../storage/log-codec.js";
import {
  BODIES,
  DICTIONARY,
  EVENTS,
  HEADERS,
  headerKey,
  partKey,
  quarantineKey,
  RECORDS,
  sectionOf,
  VIEWERS,
} from "../../storage/segment-format.js";
import type { SegmentLimits } from "../../storage/segment-plan.js";
import { encodeNumber } from "../../storage/store-codec.js";
import { anyLogRecord, claimsIn, normalized, plainClaims, positions } from "./contract-log.js";
import { record } from "./samples.js";
import { newLogPath, openLogAt } from "./segment-support.js";
import { all, codeOf, errorOf, tamper } from "./support.js";

const LIMITS: SegmentLimits = { events: 1e6, records: 5, bytes: 2 ** 40, spanMs: 2 ** 52 };

/** A closed log: segments at 1, 6 and 11 of five records each, and two records in the tail. */
async function writtenLog(t: Test, records?: readonly LogRecord[]): Promise<string> {
  const path = await newLogPath(t);
  const opened = await openLogAt(path, LIMITS);
  const { log } = opened;
  const list = records ?? range(1, 17).map((number) => record(number, 7));
  await Promise.all(list.map((one) => log.append(one)));
  await log.compact(16);
  assert.equal(log.sizes().segments.count, 3);
  await opened.close();
  return path;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

async function allKeys(path: string): Promise<Uint8Array[]> {
  const opened = await openLogAt(path, LIMITS);
  const { environment } = opened;
  const keys = environment.keys(environment.segments, Uint8Array.of(0), Uint8Array.of(9));
  await opened.close();
  return keys;
}

/** What is read is right, and everything else is a gap. Returns how many records are lost. */
async function check(log: EventLog, records: readonly LogRecord[], first = 1): Promise<number> {
  const read = await all(log.read(1));
  for (const { position, record } of read) {
    assert.deepEqual(normalized(record), normalized(records[position - 1]!));
  }
  assert.deepEqual(
    await plainClaims(log.claims(1)),
    read.map((entry) => claimsIn(entry)),
  );
  const lost = log.gaps().flatMap(({ from, to }) => range(from, to - 1));
  const held = read.map(({ position }) => position);
  assert.deepEqual(
    [...held, ...lost].sort((a, b) => a - b),
    range(first, records.length),
  );
  return lost.length;
}

async function damageBit(path: string, key: Uint8Array, place: number, bit: number): Promise<void> {
  await tamper(path, "segments", (db) => {
    const bytes = Uint8Array.from(db.get(key));
    bytes[place % bytes.length]! ^= 1 << bit;
    return db.put(key, bytes);
  });
}

t.test("whatever bit of a segment turns, what is read is right, and what is lost is a gap", async (t) => {
  const records = fc.sample(anyLogRecord, { numRuns: 17, seed: 7 });
  const source = await writtenLog(t, records);
  const keys = (await allKeys(source)).filter(([kind]) => kind === HEADERS || kind === BODIES);
  const path = await newLogPath(t);
  await fc.assert(
    fc.asyncProperty(fc.nat(keys.length - 1), fc.nat(), fc.nat(7), async (which, place, bit) => {
      await copyFile(join(source, "data.mdb"), join(path, "data.mdb"));
      await damageBit(path, keys[which]!, place, bit);
      const first = await openLogAt(path, LIMITS);
      const lost = await check(first.log, records);
      assert.equal(lost, 5, "the segment whose bit it is");
      const gaps = first.log.gaps();
      await first.log.compact(1);
      await first.close();
      const again = await openLogAt(path, LIMITS);
      assert.deepEqual(again.log.gaps(), gaps);
      assert.equal(await check(again.log, records), lost);
      assert.equal(await again.log.append(record(18)), 18);
      await again.close();
    }),
    { numRuns: 40 },
  );
  t.pass("held for every bit tried");
});

t.test("damage is found by whoever reads it, with the times of the segment, and is kept aside", async (t) => {
  const sections = {
    dictionary: partKey(6, DICTIONARY, 0),
    records: partKey(6, sectionOf(0, RECORDS), 0),
    viewers: partKey(6, sectionOf(0, VIEWERS), 0),
    events: partKey(6, sectionOf(0, EVENTS), 0),
  };
  const gap = { from: 6, to: 11, fromMs: 1_750_000_006_000, toMs: 1_750_000_010_007 };
  for (const [what, key] of Object.entries(sections)) {
    const path = await writtenLog(t);
    await damageBit(path, key, 40, 3);
    const opened = await openLogAt(path, LIMITS);
    const { log } = opened;
    t.same(log.gaps(), [], "opening does not read bodies");
    t.same(await positions(log.read(11)), range(11, 17));
    t.same(await positions(log.readRange(1_750_000_011_000, Infinity)), range(11, 17));
    t.same(log.gaps(), [], "nor does reading elsewhere");
    if (what === "records") t.same(await positions(log.claims(1)), [...range(1, 5), ...range(11, 17)]);
    else t.same(await positions(log.readRange(1_750_000_010_000, 1_750_000_010_001)), []);
    t.same(log.gaps(), [gap], what);
    t.same(await positions(log.read(1)), [...range(1, 5), ...range(11, 17)]);
    t.same(await positions(log.read(8)), range(11, 17));
    t.equal(log.sizes().segments.records, 10);
    await opened.close();
    const keys = (await allKeys(path)).map((key) => Buffer.from(key).toString("hex"));
    t.ok(keys.includes(Buffer.from(quarantineKey(key)).toString("hex")), "what was damaged is there");
    t.notOk(keys.includes(Buffer.from(key).toString("hex")), "but in the way of nobody");
    const again = await openLogAt(path, LIMITS);
    t.same(again.log.gaps(), [gap]);
    t.equal(again.log.first, 1);
    await again.log.trim(11);
    t.same(again.log.gaps(), [], "what was given up lacks nothing");
    t.equal(again.log.completeFrom, 1_750_000_010_007);
    await again.close();
    t.equal((await allKeys(path)).filter((key) => key[0] !== HEADERS && key[0] !== BODIES).length, 0);
  }
});

t.test("what is missing among segments is a gap, at either end too", async (t) => {
  const cases: readonly (readonly [what: string, segment: number])[] = [
    ["the oldest", 1],
    ["one between", 6],
    ["the newest", 11],
  ];
  for (const [what, from] of cases) {
    const path = await writtenLog(t);
    await tamper(path, "segments", (db) => db.remove(headerKey(from)));
    const opened = await openLogAt(path, LIMITS);
    const { log } = opened;
    t.same(log.gaps(), [{ from, to: from + 5, fromMs: -Infinity, toMs: Infinity }], what);
    t.same(
      await positions(log.read(1)),
      range(1, 17).filter((position) => position < from || position > from + 4),
    );
    t.equal(log.first, from === 1 ? 6 : 1);
    t.equal(await log.append(record(18)), 18);
    await log.compact(1);
    await opened.close();
    const again = await openLogAt(path, LIMITS);
    await again.log.trim(17);
    t.equal(again.log.first, 17);
    t.equal(again.log.gaps().length, 1, "nobody knows what it lacks, for ever");
    await again.close();
  }
});

t.test("a missing part of a body is damage", async (t) => {
  const path = await writtenLog(t);
  await tamper(path, "segments", (db) => db.remove(partKey(6, sectionOf(0, EVENTS), 0)));
  const opened = await openLogAt(path, LIMITS);
  const { log } = opened;
  t.same(await positions(log.claims(1)), range(1, 17), "claims do not ask for events");
  t.same(await positions(log.read(1)), [...range(1, 5), ...range(11, 17)]);
  t.equal(log.gaps().length, 1);
  await opened.close();
});

t.test(
  "a segment that was not finished is nothing, and records that were not removed are no twins",
  async (t) => {
    // As a process leaves it that ended when the segment was valid, but the records not removed yet.
    const left = await openLogAt(await writtenLog(t), LIMITS);
    const leftovers = await all(left.log.read(11));
    await left.environment.write(
      leftovers.slice(0, 3).map(({ position, record }) => {
        const db = left.environment.log;
        return { db, key: logKey(position), value: encodeRecord(position, record) };
      }),
    );
    await left.close();
    const again = await openLogAt(left.path, LIMITS);
    t.same(await positions(again.log.read(1)), range(1, 17));
    t.equal(again.log.sizes().tail.records, 2);
    await again.log.compact(1);
    t.same(
      again.environment.keys(again.environment.log, logKey(0), logKey(99)).length,
      2,
      "they are removed when the log is compacted next",
    );
    await again.close();

    // As it is left by one that ended before the segment was valid: the records are there, and so is the body.
    const early = await newLogPath(t);
    const opened = await openLogAt(early, LIMITS);
    for (const number of range(1, 6)) await opened.log.append(record(number, 7));
    const db = opened.environment.segments;
    await opened.environment.write([
      { db, key: partKey(1, 5, 0), value: Uint8Array.of(1, 2, 3) },
      { db, key: partKey(1, DICTIONARY, 0), value: Uint8Array.of(4) },
    ]);
    await opened.close();
    const next = await openLogAt(early, LIMITS);
    t.same(next.log.gaps(), []);
    await next.log.compact(6);
    t.equal(next.log.sizes().segments.count, 1);
    t.same(await positions(next.log.read(1)), range(1, 6));
    t.equal(next.environment.get(next.environment.segments, partKey(1, 5, 0)), undefined);
    await next.close();
  },
);

t.test(
  "wherever compacting or trimming is interrupted, each record is there once, or given up",
  async (t) => {
    const limits = { ...LIMITS, records: 1100 };
    const opened = await openLogAt(await newLogPath(t), limits);
    const { environment, log } = opened;
    const records = range(1, 2400).map((number) => record(number, 1));
    await Promise.all(records.map((one) => log.append(one)));
    const images: string[] = [];
    const write = environment.write.bind(environment);
    environment.write = async (puts) => {
      await write(puts);
      const image = await newLogPath(t);
      await copyFile(join(opened.path, "data.mdb"), join(image, "data.mdb"));
      images.push(image);
    };
    await log.compact(2401);
    await log.trim(2300);
    await opened.close();
    t.ok(images.length >= 10, `after each of ${images.length} transactions`);
    const firsts = new Set<number>();
    for (const image of images) {
      const again = await openLogAt(image, limits);
      const { first } = again.log;
      firsts.add(first);
      assert.equal(await check(again.log, records, first), 0);
      await again.log.compact(2401);
      assert.equal(again.log.sizes().tail.records, Math.min(200, 2401 - first));
      assert.equal(await check(again.log, records, first), 0);
      assert.deepEqual(again.log.gaps(), []);
      await again.close();
    }
    t.same([...firsts], [1, 1101, 2201, 2300]);
  },
);

t.test("a hole in the tail is refused, unless it is to be given up", async (t) => {
  const path = await writtenLog(t);
  await tamper(path, "log", (db) => db.remove(logKey(16)));
  t.equal(await codeOf(openLogAt(path, LIMITS)), "storage-damaged");
  const opened = await openLogAt(path, LIMITS, { tolerateHoles: true });
  const { log } = opened;
  t.equal((await errorOf(all(log.read(1)))).code, "storage-damaged");
  await t.rejects(log.giveUp(3), RangeError);
  await t.rejects(log.giveUp(18), RangeError);
  await log.giveUp(16);
  const gap = { from: 16, to: 17, fromMs: -Infinity, toMs: Infinity };
  t.same(log.gaps(), [gap]);
  await t.rejects(log.giveUp(16), RangeError);
  t.same(await positions(log.read(1)), [...range(1, 15), 17]);
  await opened.close();
  const again = await openLogAt(path, LIMITS);
  t.same(again.log.gaps(), [gap]);
  for (const number of range(18, 25)) await again.log.append(record(number, 7));
  await again.log.compact(26);
  t.equal(again.log.sizes().segments.count, 4, "segments end where a gap begins");
  t.same(await positions(again.log.read(1)), [...range(1, 15), ...range(17, 25)]);
  t.same(again.log.sizes().tail.records, 4);
  await again.close();
  const last = await openLogAt(path, LIMITS);
  t.same(await positions(last.log.read(1)), [...range(1, 15), ...range(17, 25)]);
  t.same(last.log.gaps(), [gap]);
  await last.close();
});

t.test("a damaged record of the tail is damage for all, and a gap once it is given up", async (t) => {
  const path = await writtenLog(t);
  await tamper(path, "log", (db) => {
    const bytes = Uint8Array.from(db.get(logKey(17)));
    bytes[30]! ^= 1;
    return db.put(logKey(17), bytes);
  });
  const opened = await openLogAt(path, LIMITS);
  const { log } = opened;
  for (const entries of [log.read(1), log.readRange(0, Infinity), log.claims(17)]) {
    t.equal(await codeOf(positions(entries)), "storage-damaged");
  }
  t.equal(await codeOf(log.trim(18)), "storage-damaged");
  t.equal(log.first, 16, "what came before it was given up");
  for (const number of range(18, 22)) await log.append(record(number));
  t.equal(await codeOf(log.compact(23)), "storage-damaged");
  await log.giveUp(17);
  t.equal(log.head, 22);
  t.same(await positions(log.read(1)), [16, ...range(18, 22)]);
  await log.compact(23);
  await log.trim(18);
  t.equal(log.first, 18);
  await opened.close();
});

t.test("a log whose tail does not follow on its segments is refused", async (t) => {
  const path = await writtenLog(t);
  const key = metaKey("log-compacted");
  await tamper(path, "meta", (db) => db.put(key, encodeNumber(key, 12)));
  t.equal(await codeOf(openLogAt(path, LIMITS)), "storage-damaged");
});
