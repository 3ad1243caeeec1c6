import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { logKey } from "../../storage/keys.js";
import { openLmdb } from "../../storage/lmdb.js";
import { Room } from "../../storage/room.js";
import { needs } from "../support/env.js";
import { argsAt } from "../support/program.js";
import { checkGeneration, generationCommit, record } from "./samples.js";
import { all, codeOf, errorOf, newPath } from "./support.js";

/** How often the disk is filled and emptied; a long run sets 100. */
const CYCLES = Number(process.env["TIDEMARK_FULL_CYCLES"] ?? 3);
/** How often a process is killed on a full disk. */
const KILLS = Math.ceil(CYCLES / 3);
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const WORKER = argsAt("full-worker", import.meta.url)
  .map((arg) => `"${arg}"`)
  .join(" ");
const mount = await mkdtemp(join(tmpdir(), "tidemark-full-"));
t.teardown(() => rm(mount, { recursive: true, force: true }));

t.setTimeout(120_000 + CYCLES * 20_000);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_FULL_CYCLES=${CYCLES}`);

/** A shell script on a disk of 8 MB that is gone with it; `worker MODE …` runs the worker there. */
function onSmallDisk(script: string): { command: string; args: string[] } {
  const worker = `worker() { mode=$1; shift; "$NODE" ${WORKER} "$mode" "${join(mount, "store")}" "$@"; }`;
  return {
    command: "unshare",
    args: ["-rm", "sh", "-c", `mount -t tmpfs -o size=8m tmpfs "${mount}" && ${worker}; ${script}`],
  };
}

const probe = onSmallDisk("true");
const canMount = needs(
  spawnSync(probe.command, probe.args).status === 0,
  "no tmpfs can be mounted here: it needs user namespaces or root",
);

async function run(
  script: string,
): Promise<{ lines: Record<string, unknown>[]; code: unknown; errors: string }> {
  const { command, args } = onSmallDisk(script);
  const env = { ...process.env, NODE_OPTIONS: "", NODE: process.execPath };
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [code] = (await once(child, "close")) as [number | null];
  const lines = output.split("\n").filter((line) => line !== "");
  return { lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), code, errors };
}

t.test(
  `a disk that fills up loses nothing acknowledged, and is used again when it has room`,
  canMount,
  async (t) => {
    const { lines, code, errors } = await run(`worker cycles ${SEED} ${CYCLES}`);
    t.equal(code, 0, "no unhandled rejection, no wrong record", { errors });
    t.equal(lines.length, CYCLES);
    for (const [i, said] of lines.entries()) {
      t.equal(said["code"], "storage-full", `cycle ${i} met a full disk`);
      t.match(said["whileFull"], /^(none|storage-full)$/, "recovery succeeds or says that the disk is full");
      t.match(said["again"], /^(none|storage-full)$/, "and may be tried again");
      t.match(said, { afterwards: "none", append: "none" }, "with room again it goes on");
    }
  },
);

t.test(`a process killed on a full disk leaves a store that has all it acknowledged`, canMount, async (t) => {
  for (let i = 0; i < KILLS; i++) {
    const { lines, code, errors } = await run(`worker killed ${SEED + i}; worker reopened`);
    t.equal(code, 0, "", { errors });
    const [before, after] = lines;
    t.equal(before!["code"], "storage-full");
    t.match(after!["whileFull"], /^(none|storage-full)$/, "opening on a full disk works, or says why not");
    t.ok(Number(after!["head"]) >= Number(before!["head"]), `records before: ${Number(before!["head"])}`);
    t.ok(Number(after!["generation"]) >= Number(before!["generation"]));
    t.equal(after!["append"], "none");
  }
});

t.test(
  "after a failed write the same ports read on, and write again once the storage is recovered",
  async (t) => {
    const path = await newPath(t);
    const storage = await openLmdb(path, { maxBytes: 1024 * 1024 });
    const { log, store } = storage;
    await store.commit(generationCommit(1));
    let acknowledged = 0;
    let code = "none";
    while (code === "none") {
      code = await codeOf(log.append(record(acknowledged + 1, 1000)));
      if (code === "none") acknowledged++;
    }
    t.equal(code, "storage-full", "the quota is told like a full disk");
    t.ok((await stat(join(path, "data.mdb"))).size <= 1.5 * 1024 * 1024, "and the file keeps to it");
    t.equal((await all(log.read(1))).length, acknowledged);
    t.equal(await codeOf(log.append(record(1))), "storage-full", "still, before recovery");
    await storage.recover();
    t.equal(log.head, acknowledged, "the same object tells what is there");
    t.equal(checkGeneration(store), 1);
    t.equal(
      (await errorOf(log.append(record(acknowledged + 1, 1000)))).code,
      "storage-full",
      "it is still full",
    );
    await storage.recover();
    await log.trim(acknowledged);
    t.equal(log.first, acknowledged, "what makes room is let through");
    t.equal(await log.append(record(acknowledged + 1)), acknowledged + 1);
    await store.commit(generationCommit(2));
    t.equal(checkGeneration(store), 2);
    await storage.close();
    t.equal(await codeOf(storage.recover()), "not-ready", "closed is closed");
  },
);

t.test("a ballast is laid where there is plenty of room, and given back when there is none", async (t) => {
  const path = await newPath(t);
  const ballast = join(path, "tidemark.ballast");
  const storage = await openLmdb(path, { ballastBytes: 3_000_000 });
  t.equal((await stat(ballast)).size, 3_000_000);
  await storage.close();
  t.ok((await readdir(path)).includes("tidemark.ballast"), "it stays while nobody is there");
  const room = new Room(path, { ballastBytes: 3_000_000 });
  await room.makeRoom();
  t.notOk((await readdir(path)).includes("tidemark.ballast"));
  const full = { pages: 1000, usedPages: 1000 };
  const put = { db: undefined as never, key: logKey(1), value: new Uint8Array(10_000) };
  await room.admit([put], 4096, () => full);
  t.equal(
    (await stat(ballast)).size,
    3_000_000,
    "with plenty of room it is laid again, before anything is written",
  );
  const poor = new Room(path, { ballastBytes: 2 ** 50 });
  await poor.layBallast();
  await poor.makeRoom();
  const error = await errorOf(poor.admit([put], 4096, () => full));
  t.equal(error.code, "storage-full", "what the ballast gave back is not for new data");
  await poor.admit([{ ...put, value: undefined }], 4096, () => full);
  await poor.admit([put], 4096, () => ({ ...full, usedPages: 0 }));
  t.pass("but for what makes room, and for what fits into free pages");
});
