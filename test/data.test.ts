import { createHash } from "node:crypto";
import t, { type Test } from "tap";
import {
  createEngine,
  type Engine,
  type IngestReply,
  type QueryInput,
  type QueryResult,
} from "../engine/index.js";
import { startServer } from "../server/index.js";
import { openMemory } from "../storage/memory.js";
import { needsShared } from "./support/env.js";
import { DataSet, type Verdict } from "./support/truth.js";

const BATCH = 1000;
/** With time, the third order is compared in every home zone. */
const isLong = process.env["TIDEMARK_LONG"] === "1";
const ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"];

/** For machines that do much else at once. */
t.setTimeout(900_000);

/** Sends lines in batches as a backfill, one after the other. */
async function sendAll(url: string, lines: readonly string[]): Promise<number> {
  let accepted = 0;
  for (let at = 0; at < lines.length; at += BATCH) {
    const response = await fetch(`${url}/v1/events?backfill=1`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: lines.slice(at, at + BATCH).join("\n"),
    });
    if (response.status !== 202) throw new Error(`${response.status}: ${await response.text()}`);
    accepted += ((await response.json()) as IngestReply).accepted;
  }
  return accepted;
}

async function ingestAll(engine: Engine, lines: readonly string[]): Promise<void> {
  for (let at = 0; at < lines.length; at += BATCH) {
    const body = new TextEncoder().encode(lines.slice(at, at + BATCH).join("\n"));
    await engine.ingestBytes(body, "ndjson", { backfill: true });
  }
}

function askOver(url: string): (query: QueryInput) => Promise<QueryResult> {
  return async (query) => {
    const response = await fetch(`${url}/v1/query`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(query),
    });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return (await response.json()) as QueryResult;
  };
}

function passes(t: Test, verdict: Verdict, when: string): void {
  t.same(verdict.wrong, [], `nothing is wrong ${when} in ${verdict.cells} cells`);
  const estimates = verdict.cells - verdict.exact;
  const share = `${verdict.outliers} of ${estimates} estimates are beyond 3 standard errors ${when}`;
  t.ok(verdict.outliers <= Math.ceil(estimates * 0.003), share);
}

/** Of what is stored: all of it, and the calendar of UTC alone, which no home zone changes. */
async function digests(engine: Engine): Promise<{ all: string; utc: string }> {
  await engine.checkpoint();
  const all = new Digest();
  const utc = new Digest();
  for (const row of engine.canonicalRows()) {
    all.add(row);
    if (row.startsWith("UTC ")) utc.add(row);
  }
  return { all: all.hex(), utc: utc.hex() };
}

/** Of many short lines: hashing each by itself takes longer than the hash. */
class Digest {
  readonly #hash = createHash("sha256");
  #lines: string[] = [];

  add(line: string): void {
    if (this.#lines.push(line) < 1000) return;
    this.#flush();
  }

  hex(): string {
    this.#flush();
    return this.#hash.digest("hex");
  }

  #flush(): void {
    this.#hash.update(`${this.#lines.join("\n")}\n`);
    this.#lines = [];
  }
}

/** The events are years old: what retention gives up of such is not the business here. */
const SETTINGS = { retention: { raw: null, quarter: null, hour: null, day: null }, reconcileEveryMs: 0 };
/** Everything long past is sealed at once, whenever a test happens to look. */
const SEAL_AT_ONCE = { idleAfterMs: 0 };

/** Everything, shuffled by a seed, in an engine of its own. */
async function inOrder(
  t: Test,
  data: DataSet,
  seed: number,
  homeZones: string[],
): Promise<{ all: string; utc: string }> {
  const engine = await createEngine({ ...SETTINGS, ...SEAL_AT_ONCE, storage: openMemory(), homeZones });
  await ingestAll(engine, data.shuffled(seed));
  if (seed === 2 && isLong)
    passes(t, await data.check(async (query) => engine.query(query)), `with ${homeZones.length} home zones`);
  const stored = await digests(engine);
  await engine.close();
  return stored;
}

t.test(
  "deskdrop, shuffled, is the truth, and the same bytes in any order",
  needsShared("data/deskdrop"),
  async (t) => {
    const data = new DataSet("deskdrop");
    t.same(data.zones, ZONES);

    const options = { ...SETTINGS, storage: `${t.testdir()}/data`, homeZones: [] };
    let server = await startServer(options);
    t.equal(await sendAll(server.url, data.shuffled(1)), data.lines.length, "all accepted over HTTP");
    passes(t, await data.check(askOver(server.url)), "without home zones, over HTTP");
    await server.close();
    server = await startServer({ ...options, ...SEAL_AT_ONCE });
    passes(t, await data.check(askOver(server.url), "buckets"), "after a restart");
    const first = await digests(server.engine);
    passes(t, await data.check(askOver(server.url), "buckets"), "with everything sealed");
    await server.close();
    const second = await inOrder(t, data, 2, isLong ? ZONES : []);
    t.equal(second.utc, first.utc, "the second order gives the bytes of the first");
    if (!isLong) return;

    server = await startServer({ ...options, homeZones: ZONES, ...SEAL_AT_ONCE });
    const firstInZones = await digests(server.engine);
    await server.close();
    t.equal(second.all, firstInZones.all, "and those of every home zone, which the first was given later");
    const third = await inOrder(t, data, 3, ZONES);
    t.equal(third.utc, first.utc, "and so does the third order");
    t.equal(third.all, second.all, "in every home zone");
  },
);

t.test("sparkdev, in file order, is the truth", needsShared("data/sparkdev"), async (t) => {
  const data = new DataSet("sparkdev");
  const options = { ...SETTINGS, storage: `${t.testdir()}/data`, homeZones: ZONES };
  let server = await startServer(options);
  t.equal(await sendAll(server.url, data.lines), data.lines.length, "all accepted");
  passes(t, await data.check(askOver(server.url)), "over HTTP");
  await server.close();
  server = await startServer(options);
  passes(t, await data.check(askOver(server.url)), "after a restart");
  await server.close();
});
