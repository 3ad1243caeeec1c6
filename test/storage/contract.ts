/** What both storages must do: the two ports, word by word. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Test } from "tap";
import type { LogRecord } from "../../engine/log.js";
import type { BucketAddress, Revision, Storage } from "../../engine/store.js";
import { anyBlock } from "./arbitraries.js";
import { logContract } from "./contract-log.js";
import {
  block,
  bucket,
  checkGeneration,
  commit,
  generationCommit,
  hour,
  plainRecord,
  record,
} from "./samples.js";
import { all, codeOf } from "./support.js";

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** `open` gives an empty storage; `reopen` closes one and opens the same place again. */
export function storageContract(
  t: Test,
  name: string,
  open: () => Promise<Storage>,
  reopen: (storage: Storage) => Promise<Storage>,
): void {
  const test = (says: string, body: (t: Test, storage: Storage) => Promise<void>): void => {
    t.test(`${name}: ${says}`, async (t) => {
      const storage = await open();
      t.teardown(() => storage.close());
      await body(t, storage);
    });
  };

  logContract(t, name, open, reopen);

  test("a store that was never committed to is empty", async (t, { store }) => {
    t.equal(store.meta(), undefined);
    t.equal(store.generation(), 0);
    t.same(store.values(0), []);
    t.equal(store.remembered(0).length, 0);
    t.equal(store.head(hour(1)), undefined);
    t.equal(store.block(hour(1), 0), undefined);
    t.equal(store.starts("UTC", "hour", -1e15, 1e15).length, 0);
    t.same([...store.addresses()], []);
  });

  test("the meta of a commit is given back, infinite times too", async (t, storage) => {
    const meta = {
      schema: '{"dimensions":["é"]}',
      generation: 1,
      position: 2 ** 40,
      watermark: Number.NEGATIVE_INFINITY,
      sealedUntil: { UTC: Number.NEGATIVE_INFINITY, "Asia/Kathmandu": 1_750_000_000_000 },
      dedupeFrom: 17,
      reach: { "UTC quarter": 900_000, "Asia/Kathmandu day": -900_000 },
      incomplete: [
        { tier: null, fromMs: Number.NEGATIVE_INFINITY, toMs: 5 },
        { tier: "UTC day", fromMs: 0, toMs: 86_400_000 },
      ],
    };
    await storage.store.commit({ ...commit(1), meta });
    t.same(storage.store.meta(), meta);
    const again = await reopen(storage);
    t.same(again.store.meta(), meta);
    t.equal(again.store.generation(), 1);
    await again.close();
  });

  test("a commit that cannot be made leaves nothing, and may be tried again", async (t, { store }) => {
    const good = block(0, [[2], [3]]);
    const unsorted = { ...good, keys: Uint32Array.of(3, 2) };
    const parts = {
      values: [{ dimension: 0, firstId: 2, values: ["a"] }],
      remembered: [{ dimension: 0, subjects: Uint32Array.of(2), ids: Uint32Array.of(2) }],
    };
    const bad = commit(1, { ...parts, buckets: [bucket(hour(1), [good]), bucket(hour(2), [unsorted])] });
    await t.rejects(store.commit(bad), /BUG/);
    t.equal(store.generation(), 0);
    t.equal(store.meta(), undefined);
    t.same([...store.addresses()], []);
    t.equal(store.head(hour(1)), undefined);
    t.same(store.values(0), []);
    await store.commit(commit(1, { ...parts, buckets: [bucket(hour(1), [good])] }));
    t.equal(store.generation(), 1);
    assert.deepEqual(store.block(hour(1), 0), good);
    t.same(store.values(0), ["a"]);
  });

  test("a commit that does not follow on the last is a bug", async (t, { store }) => {
    await t.rejects(store.commit(commit(2)), /BUG/);
    await store.commit(commit(1, { values: [{ dimension: 3, firstId: 2, values: ["a", "b"] }] }));
    await t.rejects(store.commit(commit(1)), /BUG/);
    for (const firstId of [2, 3, 5]) {
      const values = [{ dimension: 3, firstId, values: ["c"] }];
      await t.rejects(store.commit(commit(2, { values })), /BUG/, `after id 3 comes 4, not ${firstId}`);
    }
    t.equal(store.generation(), 1);
  });

  test("blocks that break their promise are bugs", async (t, { store }) => {
    const good = block(1, [
      [2, 5],
      [2, 6],
      [3, 1],
    ]);
    const broken = {
      "equal keys": { ...good, keys: Uint32Array.of(2, 5, 2, 5, 3, 1) },
      "second id descends": { ...good, keys: Uint32Array.of(2, 6, 2, 5, 3, 1) },
      "two rows without key": { ...good, arity: 0, keys: new Uint32Array(0) },
      "half a view": { ...good, views: Float64Array.of(1, 0.5, 1) },
      "fewer than no views": { ...good, created: Float64Array.of(1, -1, 1) },
      "no number": { ...good, anonymous: Float64Array.of(1, Number.NaN, 1) },
      "tokens descend": { ...good, tokenStart: Uint32Array.of(0, 2, 2, 2), tokens: Uint32Array.of(9, 8) },
      "token ranges descend": {
        ...good,
        tokenStart: Uint32Array.of(0, 2, 1, 2),
        tokens: Uint32Array.of(8, 9),
      },
      "registers of no row": { ...good, dense: new Map([[3, new Uint8Array(16_384)]]) },
      "too few registers": { ...good, dense: new Map([[0, new Uint8Array(4096)]]) },
    };
    for (const [what, bad] of Object.entries(broken)) {
      await t.rejects(store.commit(commit(1, { buckets: [bucket(hour(1), [bad])] })), /BUG/, what);
    }
    t.equal(store.generation(), 0);
  });

  test("blocks are given back as they were written, also after reopening", async (_t, storage) => {
    let current = storage;
    let generation = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(anyBlock, { selector: (b) => b.rollup, maxLength: 4 }),
        async (blocks) => {
          const address = hour(++generation % 3);
          await current.store.commit(commit(generation, { buckets: [bucket(address, blocks, generation)] }));
          if (generation % 10 === 0) current = await reopen(current);
          const { store } = current;
          assert.equal(store.head(address)?.revision, generation);
          for (let rollup = 0; rollup < 32; rollup++) {
            const expected = blocks.find((one) => one.rollup === rollup && one.count > 0);
            assert.deepEqual(store.block(address, rollup), expected);
          }
        },
      ),
      { numRuns: 40 },
    );
    await current.close();
  });

  test("a bucket written again has the new blocks only", async (t, { store }) => {
    const first = [block(0, [[2]]), block(1, [[]], 5), block(2, [[7, 8]])];
    await store.commit(commit(1, { buckets: [bucket(hour(1), first), bucket(hour(2), first)] }));
    t.equal(store.block(hour(1), 1)?.views[0], 5);
    t.ok(store.block(hour(1), 2));
    await store.commit(commit(2, { buckets: [bucket(hour(1), [block(1, [[]], 6), block(3, [])], 1)] }));
    t.equal(store.block(hour(1), 0), undefined);
    t.equal(store.block(hour(1), 1)?.views[0], 6);
    t.equal(store.block(hour(1), 2), undefined);
    t.equal(store.block(hour(1), 3), undefined, "a block without rows is none");
    t.same(store.head(hour(1)), { revision: 1, position: 0 });
    t.ok(store.block(hour(2), 0), "the other bucket is as it was");
  });

  test("starts are those of one calendar and grain, ascending, with half-open bounds", async (t, storage) => {
    const buckets = [5, -3, 9, 0, 7].map((number) => bucket(hour(number), [block(0, [[2]])]));
    const others: BucketAddress[] = [
      { calendar: "Asia/Kathmandu", grain: "day", startMs: 20_700_000 },
      { calendar: "UTC", grain: "day", startMs: 0 },
    ];
    await storage.store.commit(commit(1, { buckets }));
    await storage.store.commit(commit(2, { buckets: others.map((address) => bucket(address, [])) }));
    await storage.store.commit(commit(3, { buckets: [bucket(hour(6), [])] }));
    const check = (store: Storage["store"]): void => {
      const hours = (from: number, to: number): number[] =>
        [...store.starts("UTC", "hour", from, to)].map((ms) => ms / 3_600_000);
      t.same(hours(-1e15, 1e15), [-3, 0, 5, 6, 7, 9]);
      t.same(hours(5 * 3_600_000, 9 * 3_600_000), [5, 6, 7]);
      t.same(hours(5 * 3_600_000 + 1, 9 * 3_600_000 + 1), [6, 7, 9]);
      t.same(hours(9e15, -9e15), []);
      t.same([...store.starts("Asia/Kathmandu", "day", 0, 1e12)], [20_700_000]);
      t.same([...store.starts("Asia/Kathmandu", "hour", 0, 1e12)], []);
      t.same([...store.starts("Europe/Paris", "day", 0, 1e12)], []);
      const names = [...store.addresses()].map((a) => `${a.calendar} ${a.grain} ${a.startMs}`).sort();
      const expected = [...[-3, 0, 5, 6, 7, 9].map((number) => hour(number)), ...others];
      t.same(names, expected.map((a) => `${a.calendar} ${a.grain} ${a.startMs}`).sort());
    };
    check(storage.store);
    const again = await reopen(storage);
    check(again.store);
    await again.close();
  });

  test("buckets given up are gone, with all their blocks, and may come again", async (t, storage) => {
    const { store } = storage;
    const written = [1, 2, 3].map((number) => bucket(hour(number), [block(0, [[2]]), block(1, [[]])]));
    await store.commit(commit(1, { buckets: written }));
    await store.commit(commit(2, { removed: [hour(2), hour(9)] }));
    const check = (now: Storage["store"], hours: number[]): void => {
      t.same(
        [...now.starts("UTC", "hour", 0, 1e12)],
        hours.map((number) => hour(number).startMs),
      );
      t.equal(now.head(hour(2))?.revision, hours.includes(2) ? 7 : undefined);
      t.equal(now.block(hour(2), 1), undefined);
    };
    check(store, [1, 3]);
    t.throws(() => store.check(hour(2)), { code: "storage-damaged" });
    store.check(hour(1));
    await store.commit(commit(3, { buckets: [bucket(hour(2), [block(0, [[2]])], 7)] }));
    check(store, [1, 2, 3]);
    const again = await reopen(storage);
    check(again.store, [1, 2, 3]);
    await again.close();
  });

  test("revisions are kept in order, and told in parts", async (t, storage) => {
    const { store } = storage;
    const revision = (seq: number): Revision => ({
      seq,
      at: seq * 1000.5,
      address:
        seq % 2 === 0 ? hour(seq) : { calendar: "Asia/Kathmandu", grain: "day", startMs: -seq * 900_000 },
      revision: seq,
      reason: (["late", "backfill", "repair"] as const)[seq % 3]!,
      position: seq * 3,
      views: seq === 4 ? -5 : seq,
      created: seq,
      cells: seq,
    });
    const kathmandu = { calendar: "Asia/Kathmandu", grain: "day", startMs: 0 } as const;
    await store.commit(commit(1, { buckets: [bucket(hour(0), []), bucket(kathmandu, [])] }));
    t.equal(store.lastRevision(), 0);
    t.same(store.revisions(0, 10), []);
    await store.commit(commit(2, { revisions: [revision(1), revision(2)] }));
    await store.commit(commit(3, { revisions: [revision(3), revision(4), revision(5)] }));
    const check = (now: Storage["store"]): void => {
      t.equal(now.lastRevision(), 5);
      t.same(
        now.revisions(0, 10),
        [1, 2, 3, 4, 5].map((seq) => revision(seq)),
      );
      t.same(now.revisions(2, 2), [revision(3), revision(4)]);
      t.same(now.revisions(5, 2), []);
    };
    check(store);
    await t.rejects(store.commit(commit(4, { revisions: [revision(7)] })), /BUG: revision 7 after 5/);
    const again = await reopen(storage);
    check(again.store);
    await again.close();
  });

  test("sizes are those of all that is stored, tier by tier", async (t, { store }) => {
    await store.commit(
      commit(1, { buckets: [1, 2].map((number) => bucket(hour(number), [block(0, [[2], [3, 4]])])) }),
    );
    await store.commit(commit(2, { buckets: [bucket({ ...hour(24), grain: "day" }, [block(1, [[5]])])] }));
    const sizes = new Map(store.sizes().map((size) => [`${size.calendar} ${size.grain}`, size]));
    t.match(sizes.get("UTC hour"), { buckets: 2, cells: 4 });
    t.match(sizes.get("UTC day"), { buckets: 1, cells: 1 });
    t.ok(sizes.get("UTC hour")!.bytes > sizes.get("UTC day")!.bytes && sizes.get("UTC day")!.bytes > 0);
    t.equal(sizes.size, 2);
  });

  test("dictionaries grow at their end, over any number of commits", async (t, storage) => {
    const expected: string[][] = [[], [], []];
    const sizes = [1, 255, 1, 700, 0, 3, 256];
    for (const [i, size] of sizes.entries()) {
      const dimension = i === 3 ? 2 : 0;
      const known = expected[dimension]!;
      const values = Array.from({ length: size }, (_, k) => `wert-ü-${known.length + k}`);
      await storage.store.commit(
        commit(i + 1, { values: [{ dimension, firstId: known.length + 2, values }] }),
      );
      known.push(...values);
      t.same(storage.store.values(dimension), known);
    }
    const given = storage.store.values(0);
    given.push("not in the store");
    t.same(storage.store.values(0), expected[0], "what is given is a copy");
    const again = await reopen(storage);
    for (const dimension of [0, 1, 2]) t.same(again.store.values(dimension), expected[dimension]);
    await again.close();
  });

  test("remembered values change one by one", async (t, storage) => {
    const expected = new Map<number, number>();
    const steps: [number, number][][] = [
      [[2, 5]],
      [
        [3, 6],
        [5000, 7],
      ],
      [
        [2, 9],
        [1023, 1],
        [1024, 2],
      ],
      [[3, 0]],
    ];
    for (const [i, step] of steps.entries()) {
      const subjects = Uint32Array.from(step, ([subject]) => subject);
      const ids = Uint32Array.from(step, ([, id]) => id);
      await storage.store.commit(commit(i + 1, { remembered: [{ dimension: 1, subjects, ids }] }));
      for (const [subject, id] of step) expected.set(subject, id);
      const remembered = storage.store.remembered(1);
      for (const [subject, id] of expected) t.equal(remembered[subject], id);
      t.equal(
        remembered.reduce((sum, id) => sum + id, 0),
        [...expected.values()].reduce((sum, id) => sum + id, 0),
        "nothing else is remembered",
      );
    }
    t.equal(storage.store.remembered(0).length, 0);
    const again = await reopen(storage);
    for (const [subject, id] of expected) t.equal(again.store.remembered(1)[subject], id);
    await again.close();
  });

  test("all reads of one turn see one commit, also while the next is under way", async (t, { store }) => {
    const rounds = 30;
    let turns = 0;
    for (const generation of range(1, rounds)) {
      const progress = { isDone: false };
      const done = store.commit(generationCommit(generation)).finally(() => {
        progress.isDone = true;
      });
      for (; !progress.isDone; turns++) {
        assert.ok(checkGeneration(store) >= generation - 1);
        await nextTurn();
      }
      await done;
      assert.equal(checkGeneration(store), generation, "what is acknowledged is seen");
    }
    t.ok(turns >= rounds);
  });

  test("log and store are kept over reopening, together", async (t, storage) => {
    let current = storage;
    const records: LogRecord[] = [];
    for (const generation of range(1, 4)) {
      records.push(record(generation));
      await Promise.all([
        current.log.append(records.at(-1)!),
        current.store.commit(commit(generation, { buckets: [bucket(hour(generation), [block(0, [[2]])])] })),
      ]);
      current = await reopen(current);
      t.equal(current.log.head, generation);
      t.equal(current.store.generation(), generation);
      const read = await all(current.log.read(1));
      t.same(
        read.map(({ record }) => plainRecord(record)),
        records.map((one) => plainRecord(one)),
      );
      t.equal([...current.store.addresses()].length, generation);
    }
    await current.close();
  });

  test("close waits for what is under way, may be called twice, and ends all use", async (t, storage) => {
    const { log, store } = storage;
    const work = [log.append(record(1)), log.append(record(2)), store.commit(commit(1))];
    const closing = storage.close();
    const late = [codeOf(log.append(record(3))), codeOf(store.commit(commit(2)))];
    await Promise.all([closing, storage.close()]);
    t.same(
      (await Promise.allSettled(work)).map(({ status }) => status),
      ["fulfilled", "fulfilled", "fulfilled"],
    );
    await Promise.all(late);
    t.equal(await codeOf(log.append(record(4))), "not-ready");
    t.equal(await codeOf(log.trim(9)), "not-ready");
    t.equal(await codeOf(store.commit(commit(2))), "not-ready");
    t.throws(() => store.generation(), { code: "not-ready" });
    t.throws(() => store.block(hour(1), 0), { code: "not-ready" });
    await storage.close();
    const again = await reopen(storage);
    t.ok(again.log.head >= 2);
    t.equal(again.store.generation() >= 1, true);
    await again.close();
  });
}
