import t, { type Test } from "tap";
import type { IngestReply, QueryResult } from "../engine/index.js";
import { ServerProcess } from "./support/server-process.js";

/** How often a server is killed while it is written to; CI sets more. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 3);
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** From the first acknowledgement on. */
const MAX_KILL_AFTER_MS = 200;
/** From the start of the process on: it opens its store about then. */
const MAX_START_KILL_AFTER_MS = 1000;
const LANES = 4;
const EVENTS_PER_BATCH = 25;

/** One batch is one blog of its own, so that its events can be counted apart. */
interface Batch {
  readonly blog: string;
  /** Half of the batches carry a key, the other half an id in every event. */
  readonly key: string | undefined;
  readonly body: string;
}

/** Frequent seals and commits, so that kills fall among them. */
const SETTINGS = { ALLOWED_LATENESS: "0s", IDLE_AFTER: "0s", MAX_HOT_CELLS: "500", MAX_LATENESS: "30d" };

const random = mulberry32(SEED);

t.setTimeout(120_000 + KILLS * 60_000);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_KILLS=${KILLS}`);

t.test("what was acknowledged survives kill -9, once, and a retry never counts twice", async (t) => {
  const settings = { ...SETTINGS, DATA: `${t.testdir()}/data` };
  const start = (): ServerProcess => {
    const server = new ServerProcess(settings);
    t.teardown(() => server.kill("SIGKILL"));
    return server;
  };
  const acknowledged: Batch[] = [];
  let made = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const server = start();
    const url = await server.ready();
    const next = (): Batch => makeBatch(made++);
    const { acked, unknown } = await sendUntilKilled(url, next, server);
    acknowledged.push(...acked);
    await killAtStart(start());

    const again = start();
    const here = await again.ready();
    const counted = await countByBlog(here);
    checkAcknowledged(t, acknowledged, counted, `after kill ${kill + 1}`);
    const torn = unknown.filter(({ blog }) => ![undefined, EVENTS_PER_BATCH].includes(counted.get(blog)));
    t.same(torn, [], `none of ${unknown.length} batches without a reply is there in part, or twice`);
    for (const batch of unknown) await post(here, batch);
    // A client that never saw its reply sends again; so does one that only believes so.
    for (const batch of acked.slice(-LANES)) await post(here, batch);
    acknowledged.push(...unknown);
    checkAcknowledged(t, acknowledged, await countByBlog(here), "after the retries");
    await again.kill(kill % 2 === 0 ? "SIGTERM" : "SIGKILL");
  }
  const last = start();
  checkAcknowledged(t, acknowledged, await countByBlog(await last.ready()), "at the end");
  await last.kill("SIGTERM");
  t.equal(acknowledged.length, made, "every batch is accounted for");
});

function makeBatch(number: number): Batch {
  const blog = `blog-${number}`;
  const hasKey = number % 2 === 0;
  // Some of it for quarters that are sealed already.
  const ts = Date.now() - (number % 5) * 3_600_000;
  const events = Array.from({ length: EVENTS_PER_BATCH }, (_, i) => {
    const viewer = `viewer-${number}-${i}`;
    return { type: "view", ts: ts + i, blog, viewer, ...(hasKey ? {} : { id: `event-${number}-${i}` }) };
  });
  return { blog, key: hasKey ? `key-${number}` : undefined, body: JSON.stringify(events) };
}

/** Several clients at once, each sending one batch after the other, until the connection breaks. */
async function sendUntilKilled(
  url: string,
  next: () => Batch,
  server: ServerProcess,
): Promise<{ acked: Batch[]; unknown: Batch[] }> {
  const acked: Batch[] = [];
  const unknown: Batch[] = [];
  let killed: Promise<void> | undefined;
  const lane = async (): Promise<void> => {
    for (;;) {
      const batch = next();
      try {
        await post(url, batch);
      } catch (error) {
        // What fetch says of a connection that broke; anything else is an answer that should not have come.
        if (killed === undefined || !(error instanceof TypeError)) throw error;
        unknown.push(batch);
        return;
      }
      acked.push(batch);
      killed ??= after(random() * MAX_KILL_AFTER_MS).then(() => server.kill("SIGKILL"));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await killed;
  return { acked, unknown };
}

async function killAtStart(server: ServerProcess): Promise<void> {
  await after(random() * MAX_START_KILL_AFTER_MS);
  await server.kill("SIGKILL");
}

/** Resolves when the whole batch is acknowledged, as new or as known. */
async function post(url: string, { key, body }: Batch): Promise<void> {
  const headers = {
    "content-type": "application/json",
    ...(key === undefined ? {} : { "idempotency-key": key }),
  };
  const response = await fetch(`${url}/v1/events`, { method: "POST", headers, body });
  const reply = (await response.json()) as IngestReply;
  if (response.status === 503) return await post(url, { blog: "", key, body });
  if (response.status !== 202 || reply.accepted + reply.duplicate !== EVENTS_PER_BATCH || !reply.durable) {
    throw new Error(`not acknowledged: ${response.status} ${JSON.stringify(reply)}`);
  }
}

/** Views by blog. */
async function countByBlog(url: string): Promise<Map<string, number>> {
  const query = { date_range: "30d", dimensions: ["blog"], metrics: ["views", "viewers"], limit: 100_000 };
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/v1/query`, { method: "POST", headers, body: JSON.stringify(query) });
  const { results } = (await response.json()) as QueryResult;
  for (const { dimensions, metrics } of results) {
    if (metrics[0] !== metrics[1])
      throw new Error(`${dimensions[0]}: ${metrics[0]} views of ${metrics[1]} viewers`);
  }
  return new Map(results.map(({ dimensions, metrics }) => [dimensions[0]!, metrics[0]!]));
}

function checkAcknowledged(
  t: Test,
  batches: readonly Batch[],
  counted: ReadonlyMap<string, number>,
  when: string,
): void {
  const wrong = batches.filter(({ blog }) => counted.get(blog) !== EVENTS_PER_BATCH);
  const found = wrong.map(({ blog }) => `${blog}: ${counted.get(blog) ?? 0} of ${EVENTS_PER_BATCH}`);
  t.same(found, [], `all of ${batches.length} acknowledged batches are there once ${when}`);
}

async function after(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
