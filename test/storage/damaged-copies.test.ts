import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { damage, Host, KINDS, layOut, makeSource, table, type Kind, type Outcome } from "./damaged-copies.js";
import { mulberry32 } from "../support/random.js";

/** How many copies are damaged; a long run sets 2000. */
const COPIES = Number(process.env["TIDEMARK_DAMAGED"] ?? 9);
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** Every so many copies is one of an unclean stop, whose check in a process of its own takes its time. */
const UNCLEAN_EVERY = 4;

t.setTimeout(120_000 + COPIES * 10_000);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_DAMAGED=${COPIES}`);

t.test(
  "a damaged store gives right answers, or says so, and never ends the process that opens it",
  async (t) => {
    const random = mulberry32(SEED);
    const { clean, unclean, truth } = await makeSource(random);
    const parent = await mkdtemp(join(tmpdir(), "tidemark-truth-"));
    t.teardown(() => rm(parent, { recursive: true, force: true }));
    await writeFile(join(parent, "truth.json"), truth);
    const host = new Host(join(parent, "truth.json"));
    for (const isClean of [true, false]) {
      const path = await layOut(isClean ? clean : unclean, isClean);
      t.match(await host.open(path), { outcome: "right" }, `undamaged, ${isClean ? "clean" : "unclean"}`);
      await rm(dirname(path), { recursive: true });
    }
    const results: { kind: Kind; isClean: boolean; outcome: Outcome }[] = [];
    for (let i = 0; i < COPIES; i++) {
      const kind = KINDS[i % KINDS.length]!;
      const isClean = Math.floor(i / KINDS.length) % UNCLEAN_EVERY !== 0;
      const path = await layOut(damage(Buffer.from(isClean ? clean : unclean), kind, random), isClean);
      const { outcome, detail } = await host.open(path);
      results.push({ kind, isClean, outcome });
      if (outcome === "WRONG" || outcome === "DIED")
        t.fail(`copy ${i}, ${kind}: ${outcome}: ${detail}`, { path });
      else await rm(dirname(path), { recursive: true });
    }
    await host.close();
    for (const line of table(results)) t.comment(line);
    t.equal(results.length, COPIES);
  },
);
