/** Stores that older versions wrote: each is opened by this one, answers as it did, and becomes one of this version. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { createEngine, type Engine, type QueryInput } from "../../engine/index.js";
import { backupDirectory } from "../../storage/backup.js";
import { FORMAT_VERSION } from "../../storage/format.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import { verifyDirectory } from "../../storage/verify-directory.js";
import { Clock } from "../support/clock.js";
import { newPath } from "./support.js";

const FIXTURES = new URL("../fixtures/", import.meta.url);

/** What `test/fixtures/make-store.ts` wrote beside a store. */
interface Expected {
  readonly now: number;
  readonly homeZones: readonly string[];
  readonly position: number;
  readonly watermarkMs: number;
  readonly rows: number;
  readonly rowsSha256: string;
  readonly answers: readonly { readonly query: QueryInput; readonly results: readonly unknown[] }[];
}

async function unpack(t: Test, name: string): Promise<{ path: string; expected: Expected }> {
  const read = async (file: string): Promise<Buffer> =>
    gunzipSync(await readFile(new URL(`${name}/${file}`, FIXTURES)));
  const path = await newPath(t);
  await mkdir(path, { mode: 0o700 });
  await writeFile(join(path, "data.mdb"), await read("data.mdb.gz"));
  return { path, expected: JSON.parse(String(await read("expected.json.gz"))) as Expected };
}

async function opened(
  path: string,
  { now, homeZones }: Expected,
): Promise<{ storage: LmdbStorage; engine: Engine }> {
  const storage = await openLmdb(path);
  const { scheduler } = new Clock(now);
  return { storage, engine: await createEngine({ storage, homeZones, scheduler }) };
}

function checkAnswers(
  t: Test,
  engine: Engine,
  { answers, position, watermarkMs }: Expected,
  when: string,
): void {
  t.match(engine.stats(), { position, watermarkMs }, when);
  for (const { query, results } of answers) {
    const found = engine.queryNow({ ...query, limit: 100_000 }).results;
    t.same(found, results, `${JSON.stringify(query)} ${when}`);
  }
}

function checkRows(t: Test, engine: Engine, { rows, rowsSha256 }: Expected, when: string): void {
  const found = [...engine.canonicalRows()];
  t.equal(found.length, rows, `canonical rows ${when}`);
  t.equal(createHash("sha256").update(found.join("\n")).digest("hex"), rowsSha256, `bit for bit ${when}`);
}

const stores = (await readdir(FIXTURES)).filter((name) => name.startsWith("store-v")).sort();
t.ok(stores.includes("store-v1"));

for (const name of stores) {
  t.test(`${name} answers as it did, bit for bit, and is of this version from then on`, async (t) => {
    const { path, expected } = await unpack(t, name);
    const { engine } = await opened(path, expected);
    checkAnswers(t, engine, expected, "as it was");
    await engine.checkpoint();
    checkRows(t, engine, expected, "after a checkpoint");
    const late = { type: "view", ts: expected.now - 30 * 3_600_000, blog: "blog-1", country: "US" };
    t.match(
      await engine.ingest([late]),
      { accepted: 1, late_accepted: 1 },
      "an old bucket takes a late event",
    );
    await engine.checkpoint();
    await engine.close();

    const backup = await newPath(t);
    t.match(await backupDirectory(path, backup), {
      formatVersion: FORMAT_VERSION,
      logHead: expected.position + 1,
    });
    t.match((await verifyDirectory(path)).verified, { damagedRecords: 0, refusal: undefined });
    const { engine: again } = await opened(path, expected);
    const [{ metrics: views } = { metrics: [0] }] = again.queryNow({
      date_range: "all",
      metrics: ["views"],
    }).results;
    const [first] = expected.answers[0]!.results as { metrics: number[] }[];
    t.equal(views[0], first!.metrics[0]! + 1, "it can be opened again, with the event");
    await again.close();
  });

  t.test(`${name}: what it remembers of claims and ids still counts`, async (t) => {
    const { path, expected } = await unpack(t, name);
    const { engine } = await opened(path, expected);
    const before = engine.stats().position;
    const { position } = await engine
      .ingest([{ type: "view", blog: "x" }], { idempotencyKey: "key-75" })
      .catch((error: { code: string }) => ({ position: error.code }));
    t.equal(position, "idempotency-conflict", "the key of an hour ago is known");
    const ids = Array.from({ length: 12 }, (_, i) => `event-75-${i}`);
    const sent = ids.map((id) => ({ type: "view", ts: expected.now, blog: "blog-1", id }));
    const reply = await engine.ingest(sent, { backfill: true });
    t.ok(reply.duplicate > 0 && reply.accepted + reply.duplicate === ids.length, "so are ids");
    const known = { type: "view", ts: expected.now, blog: "blog-1", id: "event-74-0" };
    const fresh = { ...known, id: "event-never" };
    t.match(await engine.ingest([fresh]), { accepted: 1, duplicate: 0 });
    t.equal(engine.stats().position, before + 2);
    await engine.close();
  });

  t.test(`${name} can be checked and backed up without becoming another version`, async (t) => {
    const { path } = await unpack(t, name);
    const before = await readFile(join(path, "data.mdb"));
    t.match((await verifyDirectory(path)).verified, { damagedRecords: 0, refusal: undefined });
    await backupDirectory(path, await newPath(t));
    t.equal(Buffer.compare(before, await readFile(join(path, "data.mdb"))), 0);
  });
}
