import type { Test } from "tap";
import { createEngine, type EngineOptions } from "../../../engine/index.js";
import { openMemory } from "../../../storage/memory.js";
import { Clock } from "../../support/clock.js";
import { startApp, type TestApp } from "./app.js";

const NOW = Date.parse("2026-11-23T14:03:11Z");

const ROWS = [
  ["created", "2026-08-14T10:00:00Z", "tides", "ann", "IN"],
  ["view", "2026-09-10T11:00:00Z", "tides", "ann", "IN", "u1"],
  ["view", "2026-09-10T12:00:00Z", "tides", "ann", "PT", "u2"],
  ["created", "2026-11-17T06:10:00Z", "kelp", "bob", "PT"],
  ["view", "2026-11-17T07:00:00Z", "kelp", "bob", "PT", "u2"],
  ["view", "2026-11-21T18:20:00Z", "tides", "ann", "IN", "u1"],
  ["view", "2026-11-22T09:30:00Z", "tides", "ann", "PT", "u2"],
  ["view", "2026-11-23T08:15:00Z", "kelp", "bob", null, "u3"],
  ["view", "2026-11-23T13:50:00Z", "tides", "ann", "IN", "u1"],
] as const;

const EVENTS = ROWS.map(([type, ts, blog, author, country, viewer]) => ({
  type,
  ts,
  blog,
  author,
  country,
  viewer,
}));

export interface ClockedApp extends TestApp {
  readonly clock: Clock;
  late(ts: string, country?: string): Promise<void>;
}

/** The events, at 14:03:11Z by a clock that the test moves, in an engine at home in Kolkata. */
export async function clockedApp(
  t: Test,
  options: Partial<EngineOptions> = {},
  events: readonly unknown[] = EVENTS,
): Promise<ClockedApp> {
  const clock = new Clock(NOW);
  const engine = await createEngine({
    storage: openMemory(),
    homeZones: ["Asia/Kolkata"],
    scheduler: clock.scheduler,
    ...options,
  });
  const app = await startApp(t, { engine });
  await engine.ingest(events, { backfill: true });
  await engine.checkpoint();
  return {
    ...app,
    clock,
    async late(ts, country = "IN") {
      await engine.ingest([{ type: "view", ts, blog: "tides", author: "ann", country, viewer: "u9" }], {
        backfill: true,
      });
    },
  };
}
