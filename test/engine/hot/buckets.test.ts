import { Slices } from "../../../engine/sliced.js";
import fc from "fast-check";
import t from "tap";
import { QUARTER_MS } from "../../../engine/calendar/grain.js";
import { getZone } from "../../../engine/calendar/names.js";
import { Buckets } from "../../../engine/hot/buckets.js";
import { Dictionaries } from "../../../engine/hot/dictionaries.js";
import { defineSchema } from "../../../engine/schema.js";
import { openMemory } from "../../../storage/memory.js";
import { Gate } from "../../support/gate.js";

const FIRST_MS = Date.parse("2026-11-01T00:00:00Z");
const TURNS = { nextTurn: () => Promise.resolve(), stopwatch: () => 0 };

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("fold" as const), quarter: fc.nat(7), key: fc.nat(30) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("ask" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      quarters: fc.array(fc.nat(7)),
      fails: fc.boolean(),
      /** Folded while the commit is under way. */
      meanwhile: fc.array(fc.tuple(fc.nat(7), fc.nat(30)), { maxLength: 4 }),
    }),
  },
);

t.test(
  "hot cells are those of all deltas, also after commits, failed ones and what came meanwhile",
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const schema = defineSchema();
        const storage = new Gate(openMemory());
        const dictionaries = new Dictionaries(schema, storage.store, 1000);
        const buckets = new Buckets(schema, [getZone("UTC")], storage.store, dictionaries);
        let position = 0;
        const fold = (quarter: number, key: number): void => {
          const table = buckets.tableOf(FIRST_MS + quarter * QUARTER_MS, ++position, 0, false);
          table.views[table.upsert(1, Uint32Array.of(key, 0))]!++;
          buckets.folded(position, 1);
        };
        const isRight = (): boolean => {
          let cells = 0;
          for (const [, { count }] of buckets.deltas(-Infinity, Infinity)) cells += count;
          return buckets.hotCells === cells;
        };
        for (const one of steps) {
          if (one.kind === "fold") fold(one.quarter, one.key);
          else if (one.kind === "commit") {
            storage.store.mode = one.fails ? "fail" : "pass";
            const quarters = new Set(one.quarters.map((quarter) => FIRST_MS + quarter * QUARTER_MS));
            const committed = buckets
              .commit({
                include: (quarterMs) => quarters.has(quarterMs),
                sealUntil: FIRST_MS,
                watermark: FIRST_MS,
                dedupeFrom: 0,
                now: 0,
                slices: new Slices(TURNS),
              })
              .catch(() => undefined);
            if (!isRight()) return false;
            for (const [quarter, key] of one.meanwhile) fold(quarter, key);
            if (!isRight()) return false;
            await committed;
          }
          if (one.kind !== "fold" && !isRight()) return false;
        }
        return isRight();
      }),
      { numRuns: 300 },
    );
    t.end();
  },
);
