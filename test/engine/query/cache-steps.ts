/** What happens to a world while answers about it are kept. */
import fc from "fast-check";
import { HOUR_MS, QUARTER_MS } from "../../../engine/calendar/index.js";
import { at, World, type Happening } from "./world.js";

const DAY_MS = 24 * HOUR_MS;
export const START_MS = at("2026-11-23T18:10:00Z");

/** Forty days with something, all but the last hours sealed. */
export async function fortyDays(): Promise<World> {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  world.now = START_MS;
  for (let day = 0; day < 40; day++) {
    const ts = START_MS - day * DAY_MS - HOUR_MS;
    world.add({ ts, blog: `b${day % 3}`, viewer: `v${day % 7}`, created: day % 10 === 0 });
  }
  world.now = START_MS;
  await world.commit(START_MS - 3 * HOUR_MS);
  return world;
}

const age = fc.constantFrom(
  0,
  60_000,
  40 * 60_000,
  5 * HOUR_MS,
  DAY_MS,
  3 * DAY_MS,
  12 * DAY_MS,
  45 * DAY_MS,
  370 * DAY_MS,
);
/** What may happen between answers, and which of so many questions are asked. */
export const stepOf = (questions: number) =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("add" as const),
        events: fc.array(
          fc.record({ age, blog: fc.nat(14), viewer: fc.nat(5), country: fc.nat(2), created: fc.nat(4) }),
          { minLength: 1, maxLength: 3 },
        ),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("pass" as const),
        ms: fc.constantFrom(
          1,
          1000,
          4000,
          6000,
          5 * 60_000,
          QUARTER_MS,
          HOUR_MS,
          7 * HOUR_MS,
          2 * DAY_MS,
          31 * DAY_MS,
        ),
        /** Does the clock move the watermark, as it does when a source is idle? */
        idle: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("commit" as const),
        latenessMs: fc.constantFrom(0, 5 * 60_000, 2 * HOUR_MS, 30 * HOUR_MS),
        all: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("retain" as const), days: fc.constantFrom(2, 10, 40) }),
    },
    {
      weight: 9,
      arbitrary: fc.record({
        kind: fc.constant("ask" as const),
        which: fc.array(fc.nat(questions - 1), { minLength: 1, maxLength: 12 }),
      }),
    },
  );
export type Step = ReturnType<typeof stepOf> extends fc.Arbitrary<infer T> ? T : never;

export async function take(world: World, each: Exclude<Step, { kind: "ask" }>): Promise<void> {
  switch (each.kind) {
    case "add":
      world.add(
        ...each.events.map(({ age, blog, viewer, country, created }): Happening => ({
          ts: world.now - age,
          blog: `b${blog}`,
          viewer: viewer === 0 ? undefined : `v${viewer}`,
          country: country === 0 ? undefined : `c${country}`,
          created: created === 0,
        })),
      );
      return;
    case "pass":
      world.now += each.ms;
      if (each.idle) world.watermarkMs = Math.max(world.watermarkMs, world.now - 60_000);
      return;
    case "commit":
      await world.commit(Math.min(world.watermarkMs, world.now) - each.latenessMs, each.all);
      return;
    case "retain": {
      const beforeMs = Math.floor((world.now - each.days * DAY_MS) / DAY_MS) * DAY_MS;
      // Nothing is given up that a coarser bucket does not have.
      if (beforeMs <= world.sealedUntil - 40 * DAY_MS) await world.retain({ "UTC quarter": beforeMs });
    }
  }
}
