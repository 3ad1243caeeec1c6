import t from "tap";
import { makeBatch } from "./kill/batches.js";
import { Store } from "./kill/store.js";
import { mulberry32 } from "./support/random.js";

/** How often a server is killed while it is written to; CI sets more. */
const KILLS = Number(process.env["TIDEMARK_KILLS"] ?? 2);
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** A store grows over so many kills; then another one begins. */
const KILLS_PER_STORE = 40;

t.setTimeout(120_000 + KILLS * 60_000);
t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_KILLS=${KILLS}`);

t.test("what was acknowledged survives kill -9, once, and a retry never counts twice", async (t) => {
  const directory = t.testdir();
  const random = mulberry32(SEED);
  let made = 0;
  for (let first = 0; first < KILLS; first += KILLS_PER_STORE) {
    const next = (): ReturnType<typeof makeBatch> => makeBatch(made++);
    const store = new Store({ t, path: `${directory}/data-${first}`, next, random });
    const kills = Math.min(KILLS_PER_STORE, KILLS - first);
    for (let kill = 0; kill < kills; kill++) await store.round(kill);
    await store.finish();
  }
  t.comment(`${made} batches`);
});
