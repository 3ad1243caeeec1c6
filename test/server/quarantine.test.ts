/** Refused events over HTTP: seen, counted after all, given up. */
import t, { type Test } from "tap";
import { createEngine, type EngineOptions } from "../../engine/index.js";
import { openMemory } from "../../storage/memory.js";
import { readConfig } from "../../server/config.js";
import { openLmdb } from "../../storage/lmdb.js";
import { newPath } from "../storage/support.js";
import { Clock } from "../support/clock.js";
import { isProblem, startApp, type TestApp } from "./support/app.js";
import { Program } from "./support/process.js";

const HOUR_MS = 3_600_000;
const NOON_MS = Date.parse("2026-03-18T12:00:00Z");
const TOKEN = "dX7pQ2vR9kLm4nB8wZ1cY6tH3sJ5gF0a";
const auth = { authorization: `Bearer ${TOKEN}` };
const REPLAY = "/v1/admin/quarantine/replay";

async function start(t: Test, options: Partial<EngineOptions> = {}): Promise<{ app: TestApp; clock: Clock }> {
  const clock = new Clock(NOON_MS);
  const engine = await createEngine({ storage: openMemory(), scheduler: clock.scheduler, ...options });
  return { app: await startApp(t, { engine, token: TOKEN }), clock };
}

const EVENTS = [
  { type: "view", ts: "2026-01-01T00:00:00Z", blog: "old", viewer: "v" },
  { type: "view", ts: "2026-03-18T13:00:00Z", blog: "soon", author: "ann" },
  { type: "view", ts: "2026-01-02T00:00:00Z", blog: "older", viewer: "w" },
];

t.test("what is refused is told at once, listed in pages, and counted on demand", async (t) => {
  const { app, clock } = await start(t);
  const refused = await app.post("/v1/events", JSON.stringify(EVENTS), auth);
  isProblem(t, refused, 422, "no-event-accepted");
  t.match(refused.json, { late_rejected: 2, future_rejected: 1, position: null, durable: true });
  const stats = await app.get("/v1/admin/stats", auth);
  t.match(stats.json, {
    rejected: { "too-old": 2, "too-far-ahead": 1 },
    quarantine: { held: 3, dropped: 0, expired: 0, released: 0, discarded: 0, damaged: 0 },
  });
  const page = await app.get("/v1/admin/quarantine?limit=2", auth);
  t.match(page.json, {
    events: [
      {
        id: 1,
        reason: "too-old",
        event: { type: "view", ts: "2026-01-01T00:00:00Z", blog: "old" },
        viewer_hash: String,
      },
      {
        id: 2,
        reason: "too-old",
        received_at: "2026-03-18T12:00:00Z",
        event: { blog: "older" },
        id_hash: null,
      },
    ],
    next: 2,
    held: 3,
  });
  t.notMatch(page.text, /"viewer"/);
  const rest = await app.get("/v1/admin/quarantine?limit=2&after=2", auth);
  t.match(rest.json, {
    events: [{ id: 3, event: { blog: "soon", author: "ann" }, viewer_hash: null }],
    next: null,
  });
  const some = await app.post(REPLAY, '{"ids":[1,3,9]}', auth);
  t.match(some.json, { accepted: 1, duplicate: 0, kept: 1, missing: 1, position: 1 });
  await clock.advance(HOUR_MS);
  const all = await app.post(REPLAY, "{}", auth);
  t.match(all.json, { accepted: 2, late_accepted: 1, kept: 0, missing: 0, position: 3 });
  const query = { date_range: ["2026-01-01", "2026-03-18"], metrics: ["views", "viewers"] };
  const answer = await app.post("/v1/query", JSON.stringify(query), auth);
  t.match(answer.json, { results: [{ metrics: [3, 2] }] });
  t.match((await app.post(REPLAY, "{}", auth)).json, { accepted: 0, position: null }, "once");
});

t.test("what is given up is gone, some of it or all", async (t) => {
  const { app } = await start(t);
  await app.post("/v1/events", JSON.stringify(EVENTS), auth);
  t.same((await app.send("DELETE", "/v1/admin/quarantine?ids=2,7", auth)).json, { discarded: 1, missing: 1 });
  t.match((await app.get("/v1/admin/quarantine", auth)).json, {
    events: [{ id: 1 }, { id: 3 }],
    discarded: 1,
  });
  t.same((await app.send("DELETE", "/v1/admin/quarantine", auth)).json, { discarded: 2, missing: 0 });
  t.match((await app.get("/v1/admin/quarantine", auth)).json, { events: [], held: 0, next: null });
});

t.test("wrong parameters are refused with a sentence, and nothing is done without the token", async (t) => {
  const { app } = await start(t);
  await app.post("/v1/events", JSON.stringify(EVENTS), auth);
  for (const [method, path, code] of [
    ["GET", "/v1/admin/quarantine?limit=0", "invalid-query"],
    ["GET", "/v1/admin/quarantine?limit=1001", "invalid-query"],
    ["GET", "/v1/admin/quarantine?after=-1", "invalid-query"],
    ["GET", "/v1/admin/quarantine?after=1&after=2", "invalid-parameter"],
    ["GET", "/v1/admin/quarantine?offset=1", "invalid-parameter"],
    ["DELETE", "/v1/admin/quarantine?ids=", "invalid-query"],
    ["DELETE", "/v1/admin/quarantine?ids=0", "invalid-query"],
    ["DELETE", "/v1/admin/quarantine?ids=1,,2", "invalid-query"],
    ["DELETE", "/v1/admin/quarantine?id=1", "invalid-parameter"],
    ["PUT", "/v1/admin/quarantine", "method-not-allowed"],
    ["GET", REPLAY, "method-not-allowed"],
  ] as const) {
    const answer = await app.send(method, path, auth);
    isProblem(t, answer, answer.status, code, `${method} ${path}`);
    t.ok(answer.status >= 400 && answer.status < 500);
  }
  for (const [body, code] of [
    ["", "empty-body"],
    ["[]", "invalid-query"],
    ['{"ids":[]}', "invalid-query"],
    ['{"ids":7}', "invalid-query"],
    ['{"ids":["1"]}', "invalid-query"],
    ['{"ids":[1.5]}', "invalid-query"],
    ['{"id":[1]}', "invalid-query"],
    ['{"ids":[1]', "invalid-json"],
  ] as const) {
    const answer = await app.post(REPLAY, body, auth);
    isProblem(t, answer, answer.status, code, body);
    t.ok(answer.status >= 400 && answer.status < 500);
  }
  for (const method of ["GET", "DELETE"]) {
    isProblem(t, await app.send(method, "/v1/admin/quarantine"), 401, "unauthorized", method);
  }
  isProblem(t, await app.post(REPLAY, "{}"), 401, "unauthorized", "replay");
  t.match((await app.get("/v1/admin/quarantine", auth)).json, { held: 3 }, "nothing was done");
});

t.test("how much is kept is a setting, by flag and by environment, and 0 is none", async (t) => {
  const engineOf = (args: string[], env: Record<string, string>): unknown => {
    const command = readConfig(args, env);
    return command.kind === "run" ? command.config.engine : command.kind;
  };
  t.match(engineOf(["--max-quarantined", "7"], {}), { maxQuarantinedEvents: 7 });
  t.match(engineOf([], { TIDEMARK_MAX_QUARANTINED: "0", TIDEMARK_MAX_QUARANTINED_BYTES: "9" }), {
    maxQuarantinedEvents: 0,
    maxQuarantinedBytes: 9,
  });
  t.throws(() => engineOf(["--max-quarantined", "-1"], {}), /max-quarantined/);
  const { app } = await start(t, { maxQuarantinedEvents: 0 });
  await app.post("/v1/events", JSON.stringify(EVENTS), auth);
  t.match((await app.get("/v1/admin/stats", auth)).json, {
    rejected: { "too-old": 2 },
    quarantine: { held: 0 },
  });
  t.match((await app.get("/v1/admin/quarantine", auth)).json, { events: [] });
});

t.test("the command lists, counts and gives up, of a running server and of a closed store", async (t) => {
  const path = await newPath(t);
  const engine = await createEngine({ storage: await openLmdb(path) });
  for (const event of EVENTS) await engine.ingest([{ ...event, ts: "2020-01-01T00:00:00Z" }]);
  const run = async (...args: string[]): Promise<{ code: number | string; output: string }> => {
    const program = Program.typescript(t, "server/main.ts", ["quarantine", ...args]);
    return { code: await program.ended, output: program.output };
  };
  const app = await startApp(t, { engine });
  const listed = await run("--url", app.url);
  t.equal(listed.code, 0, listed.output);
  t.match(
    listed.output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
    [{ id: 1 }, { id: 2 }, { id: 3, reason: "too-old", event: { blog: "older" } }],
  );
  t.match(await run("--url", app.url, "--replay", "--ids", "1,2"), { code: 0, output: /"accepted": 2/ });
  t.match(await run("--url", app.url, "--discard", "--ids", "1"), { code: 0, output: /"missing": 1/ });
  await engine.close();
  t.match(await run("--data", path, "--discard"), { code: 0, output: /"discarded": 1/ });
  t.same(await run("--data", path), { code: 0, output: "" });
});
