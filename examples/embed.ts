/**
 * The engine inside a process of your own, without a server. Outside this repository the imports are
 * `import { createEngine } from "tidemark"` and `import { openLmdb } from "tidemark/lmdb"`.
 *
 *   npx tsx examples/embed.ts [folder]
 */
import { createEngine } from "../engine/index.js";
import { openLmdb } from "../storage/lmdb.js";

const storage = await openLmdb(process.argv[2] ?? "./data/embed");
const engine = await createEngine({ storage, homeZones: ["Asia/Kolkata"] });
const live = engine
  .live$({ date_range: "current_hour", metrics: ["views", "viewers"] })
  .subscribe((message) => console.log(message.type, JSON.stringify(message.payload)));
await engine.ingest([
  { type: "created", blog: "hello", author: "ann" },
  { type: "view", blog: "hello", country: "IN", viewer: "u1" },
  { type: "view", blog: "hello", country: "NP", viewer: "u2" },
]);
const today = await engine.query({
  date_range: "day",
  metrics: ["views", "viewers"],
  dimensions: ["author"],
});
console.log("today", JSON.stringify(today.results));
live.unsubscribe();
await engine.close();
