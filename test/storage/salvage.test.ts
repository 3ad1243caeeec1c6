import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import t from "tap";
import { openLmdb } from "../../storage/lmdb.js";
import { repairDirectory } from "../../storage/salvage.js";
import { damage, Host, KINDS, layOut, makeSource, OUTCOMES, type Outcome } from "./damaged-copies.js";
import { codeOf, errorOf, newPath } from "./support.js";
import { mulberry32 } from "../support/random.js";

/** How many damaged copies are repaired; a long run sets hundreds. */
const COPIES = Number(process.env["TIDEMARK_REPAIRED"] ?? 2);
/** A few copies are always the same ones: main is green or it is not. Many are others each time. */
const SEED = Number(
  process.env["TIDEMARK_SEED"] ?? (COPIES > 12 ? Math.floor(Math.random() * 2 ** 31) : 1422575371),
);
const NOW = Date.UTC(2026, 2, 12, 6);

t.setTimeout(120_000 + COPIES * 20_000);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_REPAIRED=${COPIES}`);

const random = mulberry32(SEED);
const source = await makeSource(random);
const parent = await mkdtemp(join(tmpdir(), "tidemark-truth-"));
t.teardown(() => rm(parent, { recursive: true, force: true }));
await writeFile(join(parent, "truth.json"), source.truth);

t.test("what is not damaged loses nothing by a repair, and the old folder is kept", async (t) => {
  const path = await layOut(source.unclean, true);
  t.teardown(() => rm(dirname(path), { recursive: true, force: true }));
  const { losses, kept } = await repairDirectory(path, NOW);
  t.same(losses, []);
  t.equal(basename(kept), "store.damaged-2026-03-12T06-00-00-000Z");
  t.equal(Buffer.compare(await readFile(join(kept, "data.mdb")), source.unclean), 0);
  const host = new Host(join(parent, "truth.json"));
  t.match(await host.open(path), { outcome: "right" });
  await host.close();
});

t.test("a damaged store that was repaired opens, and answers right or says where it may not", async (t) => {
  const host = new Host(join(parent, "truth.json"));
  const outcomes = new Map<Outcome, number>(OUTCOMES.map((outcome) => [outcome, 0]));
  let unrepairable = 0;
  for (let i = 0; i < COPIES; i++) {
    const kind = KINDS[i % KINDS.length]!;
    const path = await layOut(damage(Buffer.from(source.clean), kind, random), true);
    const code = await codeOf(repairDirectory(path, NOW));
    if (code === "none") {
      const { outcome, detail } = await host.open(path);
      outcomes.set(outcome, outcomes.get(outcome)! + 1);
      if (outcome === "error") t.comment(`copy ${i}, ${kind}: ${detail}`);
      const isBad = ["WRONG", "DIED", "refused"].includes(outcome);
      if (isBad) t.fail(`copy ${i}, ${kind}: ${outcome}: ${detail}`, { path });
      else await rm(dirname(path), { recursive: true });
    } else {
      unrepairable++;
      t.match(code, /^(storage-damaged|invalid-config)$/, `copy ${i}, ${kind}, has nothing left`);
      t.same(await readdir(dirname(path)), ["store"], "and nothing was left beside it");
      await rm(dirname(path), { recursive: true });
    }
  }
  await host.close();
  t.comment([...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(", "));
  t.comment(`${unrepairable} had nothing to be found in`);
});

t.test("a folder in use, or without a store, is not repaired", async (t) => {
  const path = await newPath(t);
  t.match((await errorOf(repairDirectory(path, NOW))).message, /no store/);
  const storage = await openLmdb(path);
  t.match((await errorOf(repairDirectory(path, NOW))).message, /Process \d+ has/);
  await storage.close();
});
