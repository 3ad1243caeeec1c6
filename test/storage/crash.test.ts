import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Storage } from "../../engine/store.js";
import { openLmdb } from "../../storage/lmdb.js";
import { needs } from "../support/env.js";
import { spacedRecord } from "./crash-record.js";
import { checkGeneration } from "./samples.js";
import { normalized } from "./contract-log.js";
import { newPath, startChild } from "./support.js";

/** Rounds of kill -9; thousands of them are for a long night. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 2);
const MAX_LIFE_MS = 25;
const MAX_LONG_LIFE_MS = 400;
/** From the start of the process on: by then it has opened the store. */
const MAX_START_MS = 700;
/** The newest of them, segments among them. */
const CHECKED_RECORDS = 300;

t.setTimeout(120_000 + KILLS * 20_000);

/** What a process said before it was killed. */
interface Said {
  acknowledged: number;
  generation: number;
  /** The last copy that was done, and the head that it must have at least. */
  backup: { readonly path: string; readonly head: number } | undefined;
}

t.test(`kill -9 loses nothing acknowledged and tears nothing (${KILLS} times)`, async (t) => {
  const path = await newPath(t);
  const said: Said = { acknowledged: 0, generation: 0, backup: undefined };
  let unacknowledged = 0;
  let backups = 0;
  let segments = 0;
  for (let round = 0; round < KILLS; round++) {
    await killWriter(path, round, said);
    const storage = await openLmdb(path);
    await checkStorage(storage, said.acknowledged, said.generation);
    unacknowledged += storage.log.head - said.acknowledged;
    segments = Math.max(segments, storage.log.sizes().segments.count);
    await storage.close();
    if (said.backup === undefined) continue;
    const copy = await openLmdb(said.backup.path);
    await checkStorage(copy, said.backup.head, 0);
    await copy.close();
    await rm(said.backup.path, { recursive: true });
    said.backup = undefined;
    backups++;
  }
  t.ok(said.acknowledged > KILLS, `${said.acknowledged} records, ${said.generation} commits`);
  // Two short lives may end before anything is packed.
  if (KILLS >= 10) t.ok(segments > 0, "the log was compacted too");
  t.comment(`${segments} segments at most; ${backups} backups opened`);
  t.comment(`${unacknowledged} records were durable before their answer`);
});

/** Every fourth process is killed while it starts or opens the store; every third lives longer than others. */
async function killWriter(path: string, round: number, said: Said): Promise<void> {
  const child = startChild("write", path);
  let errors = "";
  child.process.stderr!.on("data", (data) => (errors += String(data)));
  const kill = (ms: number): NodeJS.Timeout => setTimeout(() => child.process.kill("SIGKILL"), ms);
  let timer = round % 4 === 3 ? kill(Math.random() * MAX_START_MS) : undefined;
  child.lines.on("line", (line) => {
    const [kind, what, head] = line.split(" ");
    if (kind === "a") said.acknowledged = Number(what);
    else if (kind === "c") said.generation = Number(what);
    else said.backup = { path: what!, head: Number(head) };
    timer ??= kill(Math.random() * (round % 3 === 0 ? MAX_LONG_LIFE_MS : MAX_LIFE_MS));
  });
  await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
  assert.equal(child.process.signalCode, "SIGKILL", errors);
}

async function checkStorage(
  { log, store }: Storage,
  acknowledged: number,
  generation: number,
): Promise<void> {
  assert.ok(log.head >= acknowledged, `${acknowledged} acknowledged, ${log.head} there`);
  assert.ok(checkGeneration(store) >= generation);
  let expected = Math.max(log.first, acknowledged - CHECKED_RECORDS);
  assert.ok(expected <= Math.max(1, acknowledged - 1), `${expected} is the first record`);
  for await (const { position, record } of log.read(expected)) {
    assert.equal(position, expected++);
    assert.deepEqual(normalized(record), normalized(spacedRecord(position)));
  }
  assert.equal(expected - 1, log.head);
}

const mount = await mkdtemp(join(tmpdir(), "tidemark-mount-"));
t.teardown(() => rm(mount, { recursive: true, force: true }));
// In a mount namespace of its own: the disk is gone with the process.
const SMALL_DISK = [
  "unshare",
  "-rm",
  "sh",
  "-c",
  'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"',
  mount,
];
const canMount = spawnSync(SMALL_DISK[0]!, [...SMALL_DISK.slice(1), "true"]).status === 0;

t.test("a full disk is told, and loses nothing", needs(canMount, "no tmpfs can be mounted"), async (t) => {
  const child = startChild("fill", join(mount, "store"), SMALL_DISK);
  let errors = "";
  child.process.stderr!.on("data", (data) => (errors += String(data)));
  const said: unknown[] = [];
  child.lines.on("line", (line) => said.push(JSON.parse(line)));
  await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
  t.equal(child.process.exitCode, 0, "it ends in good order", { errors });
  t.same(said, [
    { commitCode: "storage-full", bigHead: "none", generation: 1 },
    { again: "none", generation: 2 },
    { code: "storage-full", after: "storage-full", isHeadAcknowledged: true, isAllRead: true },
    { isHeadKept: true, generation: 2 },
  ]);
});
