import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { openLmdb } from "../../storage/lmdb.js";
import { needs } from "../support/env.js";
import { checkGeneration, plainRecord, sizedRecord } from "./samples.js";
import { newPath, startChild } from "./support.js";

/** Rounds of kill -9; thousands of them are for a long night. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 10);

t.test(`kill -9 loses nothing acknowledged and tears nothing (${KILLS} times)`, async (t) => {
  const path = await newPath(t);
  let acknowledged = 0;
  let generation = 0;
  let unacknowledged = 0;
  for (let round = 0; round < KILLS; round++) {
    const child = startChild("write", path);
    let errors = "";
    child.process.stderr!.on("data", (data) => (errors += String(data)));
    let kill: NodeJS.Timeout | undefined;
    child.lines.on("line", (line) => {
      const [kind, number] = line.split(" ");
      if (kind === "a") acknowledged = Number(number);
      else generation = Number(number);
      kill ??= setTimeout(() => child.process.kill("SIGKILL"), Math.random() * 25);
    });
    await Promise.all([once(child.process, "exit"), once(child.lines, "close")]);
    assert.equal(child.process.signalCode, "SIGKILL", errors);
    const storage = await openLmdb(path);
    assert.ok(storage.log.head >= acknowledged, `${acknowledged} acknowledged, ${storage.log.head} there`);
    assert.ok(checkGeneration(storage.store) >= generation);
    let expected = Math.max(1, acknowledged - 200);
    for await (const { position, record } of storage.log.read(expected)) {
      assert.equal(position, expected++);
      assert.deepEqual(plainRecord(record), plainRecord(sizedRecord(position)));
    }
    assert.equal(expected - 1, storage.log.head);
    unacknowledged += storage.log.head - acknowledged;
    await storage.close();
  }
  t.ok(acknowledged > KILLS, `${acknowledged} records, ${generation} commits`);
  t.comment(`${acknowledged} acknowledged; ${unacknowledged} more were durable before their answer`);
});

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

t.test(
  "a full disk is told, loses nothing, and is no end",
  needs(canMount, "no tmpfs can be mounted"),
  async (t) => {
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
      { append: "none" },
    ]);
  },
);
