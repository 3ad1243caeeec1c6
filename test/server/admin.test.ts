import t from "tap";
import { createEngine } from "../../engine/index.js";
import { openMemory } from "../../storage/memory.js";
import { Clock } from "../support/clock.js";
import { isProblem, startApp, type TestApp } from "./support/app.js";

const DAY_MS = 86_400_000;
const START_MS = Date.parse("2026-03-04T10:20:00Z");
const TOKEN = "dX7pQ2vR9kLm4nB8wZ1cY6tH3sJ5gF0a";

/** A server whose engine has some late events behind it, under virtual time. */
async function startStore(t: Parameters<typeof startApp>[0]): Promise<{ app: TestApp; clock: Clock }> {
  const clock = new Clock(START_MS);
  const engine = await createEngine({
    storage: openMemory(),
    scheduler: clock.scheduler,
    retention: { raw: 5 * DAY_MS, quarter: 20 * DAY_MS },
    reconcileEveryMs: 0,
  });
  await engine.ingest([{ type: "view", ts: START_MS, blog: "a", viewer: "v" }]);
  await clock.jump(2 * DAY_MS);
  await engine.checkpoint();
  await engine.ingest([{ type: "view", ts: START_MS + 60_000, blog: "b", viewer: "w" }]);
  await engine.checkpoint();
  return { app: await startApp(t, { engine, token: TOKEN }), clock };
}

const auth = { authorization: `Bearer ${TOKEN}` };

t.test("an operator sees what changed late, what is stored, and that it is right", async (t) => {
  const { app } = await startStore(t);
  const revisions = await app.get("/v1/admin/revisions?after=1&limit=1", auth);
  t.match(revisions.json, {
    revisions: [
      {
        seq: 2,
        reason: "late",
        views: 1,
        bucket: { calendar: "UTC", grain: "hour", start: "2026-03-04T10:00:00Z" },
      },
    ],
    last: 3,
  });
  const storage = await app.get("/v1/admin/storage", auth);
  t.match(storage.json, {
    raw: { tail: { records: 2, events: 2 }, complete_from: null, gaps: [] },
    incomplete: [],
  });
  t.match((storage.json as { tiers: unknown[] }).tiers[0], { tier: "UTC quarter", buckets: 1, reach: null });
  const reconciled = await app.post("/v1/admin/reconcile", '{"from":"2026-03-01T00:00:00Z"}', auth);
  t.match(reconciled.json, {
    compared: 3,
    wrong: 0,
    mismatches: [],
    repaired: 0,
    range: ["2026-03-04T00:00:00Z", /.*/],
  });
  const merkle = await app.get("/v1/admin/merkle?from=2026-03-04T00:00:00Z&to=2026-03-06T00:00:00Z", auth);
  t.match(merkle.json, { days: [{ day: "2026-03-04", root: /^[0-9a-f]{16}$/, leaves: [{}, {}, {}] }] });
});

t.test("retention tells what would go, then lets it go", async (t) => {
  const { app, clock } = await startStore(t);
  await clock.jump(10 * DAY_MS);
  const kept = await app.get("/v1/admin/storage", auth);
  t.match(kept.json, { raw: { tail: { records: 0 } } }, "the hourly run has given raw up");
  await clock.jump(30 * DAY_MS);
  const dry = await app.post("/v1/admin/retention", '{"dry_run":true}', auth);
  t.match(dry.json, { dry_run: true });
  const real = await app.post("/v1/admin/retention", "{}", auth);
  t.match(real.json, { dry_run: false });
  t.equal(
    (real.json as { tiers: { blocked: unknown }[] }).tiers.filter(({ blocked }) => blocked !== null).length,
    0,
  );
  t.same((await app.post("/v1/admin/checkpoint", "{}", auth)).json, { position: 2 });
});

t.test(
  "what is malformed is refused with a sentence, and nothing at all is told without the token",
  async (t) => {
    const { app } = await startStore(t);
    for (const [path, code] of [
      ["/v1/admin/revisions?after=-1", "invalid-query"],
      ["/v1/admin/revisions?limit=1001", "invalid-query"],
      ["/v1/admin/revisions?since=1", "invalid-parameter"],
      ["/v1/admin/merkle?from=2026-03-04T00:00:00Z", "invalid-range"],
      ["/v1/admin/merkle?from=yesterday&to=today", "invalid-range"],
      ["/v1/admin/storage?deep=1", "invalid-parameter"],
    ] as const) {
      const answer = await app.get(path, auth);
      isProblem(t, answer, answer.status, code, path);
      t.ok(answer.status >= 400 && answer.status < 500);
    }
    for (const [path, body, code] of [
      ["/v1/admin/reconcile", '{"from":7}', "invalid-query"],
      ["/v1/admin/reconcile", '{"repear":true}', "invalid-query"],
      ["/v1/admin/reconcile", '{"from":"2026-03-04"}', "invalid-range"],
      ["/v1/admin/reconcile", "[]", "invalid-query"],
      ["/v1/admin/reconcile", "", "empty-body"],
      ["/v1/admin/retention", '{"dry_run":"yes"}', "invalid-query"],
      ["/v1/admin/retention", '{"dry_run":', "invalid-json"],
      ["/v1/admin/checkpoint", '{"constructor":1}', "invalid-query"],
    ] as const) {
      const answer = await app.post(path, body, auth);
      isProblem(t, answer, answer.status, code, `${path} ${body}`);
      t.ok(answer.status >= 400 && answer.status < 500);
    }
    for (const path of ["storage", "revisions", "merkle"]) {
      isProblem(t, await app.get(`/v1/admin/${path}`), 401, "unauthorized", path);
    }
    isProblem(t, await app.post("/v1/admin/reconcile", "{}"), 401, "unauthorized", "reconcile");
  },
);
