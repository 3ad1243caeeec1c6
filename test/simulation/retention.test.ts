import t from "tap";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import { checkAsk } from "./check.js";
import { World } from "./world.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const RETENTION = { raw: 2 * DAY_MS, quarter: 3 * DAY_MS, hour: 400 * DAY_MS };
const ALL = { from: NOON_MS - 12 * HOUR_MS, to: NOON_MS + 12 * HOUR_MS, zone: "UTC" };

t.test("what the tier above does not prove stays, until that is repaired", async (t) => {
  const disk = createMemoryDisk();
  const options = { retention: RETENTION, reconcileEveryMs: 0 };
  const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
  await world.send([{ type: "view", ts: NOON_MS, blog: "b", country: "c", viewer: "v" }]);
  await world.clock.jump(30 * HOUR_MS);
  await world.engine.checkpoint();
  const [name, hour] = [...disk.buckets].find(([address]) => address.startsWith("UTC hour"))!;
  const wrong = [...hour.blocks].map(
    ([rollup, block]) => [rollup, { ...block, views: Float64Array.of(2) }] as const,
  );
  disk.buckets.set(name, { ...hour, blocks: new Map(wrong) });
  const quarters = (): number => world.gate.store.starts("UTC", "quarter", 0, Infinity).length;
  const blocked = async (): Promise<(string | null)[]> => {
    const { tiers } = await world.engine.retain();
    return tiers
      .filter(({ tier, before }) => tier === "UTC quarter" && before !== null)
      .map((tier) => tier.blocked);
  };
  await world.clock.jump(10 * DAY_MS);
  t.equal(quarters(), 1, "the background does not give them up");
  t.match(await blocked(), [/2 buckets/]);
  t.equal(quarters(), 1, "nor on demand");
  const { repaired } = await world.engine.reconcile({ repair: true });
  t.ok(repaired > 0);
  t.same(await blocked(), [null]);
  t.equal(quarters(), 0);
  checkAsk(world.engine, world.oracle, ALL);
  await world.engine.close();
});

t.test("raw events stay as long as their keys and ids count, however short they are kept", async (t) => {
  const disk = createMemoryDisk({ events: 1, records: 1, bytes: 1, spanMs: 1 });
  const options = { retention: { raw: HOUR_MS }, reconcileEveryMs: 0 };
  const world = await World.open({ open: () => openMemory(disk), diesAlone: true }, NOON_MS, options);
  const keyed = [{ type: "view", ts: NOON_MS, blog: "keyed" }] as const;
  const withId = [{ type: "view", ts: NOON_MS, blog: "with id", id: "i" }] as const;
  const key = { idempotencyKey: "k" };
  await world.send(keyed, key);
  await world.send(withId);
  const { position } = await world.post(keyed, key);
  await world.clock.jump(5 * HOUR_MS);
  await world.engine.checkpoint();
  await world.engine.retain();
  t.equal(world.gate.log.first, 1, "older than raw is kept, but asked for");
  await world.crash();
  t.equal((await world.post(keyed, key)).position, position);
  await world.send(withId);
  checkAsk(world.engine, world.oracle, ALL);
  await world.clock.jump(30 * HOUR_MS);
  await world.send([{ type: "view", ts: world.now, blog: "later" }]);
  await world.engine.checkpoint();
  await world.engine.retain();
  t.equal(world.gate.log.first, 3, "a window later they go");
  await world.crash();
  checkAsk(world.engine, world.oracle, { ...ALL, to: NOON_MS + 2 * DAY_MS });
  await world.engine.close();
});
