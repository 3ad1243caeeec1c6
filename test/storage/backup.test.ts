import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { backupDirectory, restoreDirectory } from "../../storage/backup.js";
import { openLmdb } from "../../storage/lmdb.js";
import { KEPT_RECORDS, MOST_AT_ONCE } from "./crash-record.js";
import { checkGeneration, generationCommit, record, sizedRecord } from "./samples.js";
import { all, codeOf, errorOf, newPath, startChild, writtenStore } from "./support.js";

/** Backups made while a store is written to. */
const BACKUPS = Number(process.env["TIDEMARK_BACKUPS"] ?? 4);

/** For machines that do much else at once. */
t.setTimeout(600_000 + BACKUPS * 10_000);

t.test("a backup holds all of a store, compact or not, and becomes a store again", async (t) => {
  const path = await writtenStore(t);
  const storage = await openLmdb(path);
  for (const compact of [false, true]) {
    const target = await newPath(t);
    const manifest = await storage.backup(target, { compact });
    t.match(manifest, { formatVersion: 2, generation: 3, logHead: 5 });
    t.same((await readdir(target)).sort(), ["data.mdb", "tidemark-backup.json"]);
    t.same(JSON.parse(await readFile(join(target, "tidemark-backup.json"), "utf8")), manifest);
    t.equal((await readFile(join(target, "data.mdb"))).length, manifest.bytes);
    const restored = await newPath(t);
    t.same(await restoreDirectory(target, restored), manifest);
    const again = await openLmdb(restored, { verify: "always" });
    t.equal(checkGeneration(again.store), 3);
    t.same(
      (await all(again.log.read(1))).map(({ record }) => record),
      (await all(storage.log.read(1))).map(({ record }) => record),
    );
    t.equal(await again.log.append(record(6)), 6, "it goes on from there");
    await again.store.commit(generationCommit(4));
    await again.close();
  }
  await storage.close();
});

t.test("a backup or a restore into a directory in use is refused, and changes nothing there", async (t) => {
  const path = await writtenStore(t);
  const other = await writtenStore(t);
  const backup = await newPath(t);
  await backupDirectory(path, backup);
  const before = await readFile(join(other, "data.mdb"));
  t.match((await errorOf(backupDirectory(path, other))).message, /is not empty/);
  t.match((await errorOf(restoreDirectory(backup, other))).message, /is not empty/);
  t.match(
    (await errorOf(backupDirectory(await newPath(t), await newPath(t)))).message,
    /There is no data\.mdb/,
  );
  t.match((await errorOf(restoreDirectory(path, await newPath(t)))).message, /no tidemark-backup\.json/);
  t.equal(Buffer.compare(before, await readFile(join(other, "data.mdb"))), 0);
});

t.test("a backup that changed since it was made is not restored", async (t) => {
  const path = await writtenStore(t);
  const backup = await newPath(t);
  await backupDirectory(path, backup);
  const whole = await readFile(join(backup, "data.mdb"));
  const changed = Buffer.from(whole);
  changed[5000]! ^= 1;
  for (const bytes of [changed, whole.subarray(0, whole.length - 4096), Buffer.concat([whole, whole])]) {
    await writeFile(join(backup, "data.mdb"), bytes);
    const target = await newPath(t);
    t.equal((await errorOf(restoreDirectory(backup, target))).code, "storage-damaged");
    t.same(await readdir(target).catch(() => []), [], "nothing is left there");
  }
  await writeFile(join(backup, "data.mdb"), whole);
  for (const manifest of ["{", "{}", '{"kind":"tidemark-backup","bytes":1,"sha256":"x"}']) {
    await writeFile(join(backup, "tidemark-backup.json"), manifest);
    t.equal((await errorOf(restoreDirectory(backup, await newPath(t)))).code, "storage-damaged", manifest);
  }
});

t.test("a damaged store is not backed up as if it were whole", async (t) => {
  const path = await writtenStore(t);
  const file = await readFile(join(path, "data.mdb"));
  file.fill(0, 8192, file.length);
  await writeFile(join(path, "data.mdb"), file);
  const target = await newPath(t);
  t.equal((await errorOf(backupDirectory(path, target))).code, "storage-damaged");
  t.same(await readdir(target).catch(() => []), []);
});

t.test(
  "backups made from another process under load each have what was acknowledged until then, and no half of anything",
  async (t) => {
    const path = await newPath(t);
    const child = startChild("write", path);
    t.teardown(() => child.process.kill("SIGKILL"));
    const acknowledged = { appends: 0, commits: 0 };
    child.lines.on("line", (line) => {
      const [kind, number] = line.split(" ");
      if (kind === "a") acknowledged.appends = Math.max(acknowledged.appends, Number(number));
      else if (kind === "c") acknowledged.commits = Math.max(acknowledged.commits, Number(number));
    });
    await once(child.lines, "line");
    const backups: { path: string; before: typeof acknowledged; head: number }[] = [];
    for (let i = 0; i < BACKUPS; i++) {
      const before = { ...acknowledged };
      const target = await newPath(t);
      const { logHead } = await backupDirectory(path, target, { compact: i % 2 === 1 });
      backups.push({ path: target, before, head: logHead });
      const seen = acknowledged.appends;
      while (acknowledged.appends === seen) await once(child.lines, "line");
    }
    t.equal(child.process.exitCode, null, "the writer went on");
    child.process.kill("SIGKILL");
    await once(child.process, "exit");
    for (const { path: backup, before, head } of backups) {
      const restored = await newPath(t);
      await restoreDirectory(backup, restored);
      const storage = await openLmdb(restored, { verify: "always" });
      const generation = checkGeneration(storage.store);
      const entries = await all(storage.log.read(1));
      t.ok(head >= before.appends && generation >= before.commits, `${head} ≥ ${before.appends}`);
      t.equal(entries.at(-1)?.position, head);
      // The writer gives up what is old, here and there.
      t.ok(entries.length >= Math.min(head, KEPT_RECORDS - MOST_AT_ONCE), `${entries.length} of ${head}`);
      const first = entries[0]!.position;
      const isWhole = entries.every(
        ({ position, record }, i) =>
          position === first + i && record.events.count === sizedRecord(position).events.count,
      );
      t.ok(isWhole, "record by record");
      await storage.close();
    }
    const after = await openLmdb(path);
    t.ok(after.log.head >= acknowledged.appends, "and the store itself has all of it");
    await after.close();
    t.equal(await codeOf(openLmdb(path).then((storage) => storage.close())), "none");
  },
);
