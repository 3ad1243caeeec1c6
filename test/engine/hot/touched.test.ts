import fc from "fast-check";
import t from "tap";
import { CALENDAR_END_MS, CALENDAR_START_MS, DAY_MS, QUARTER_MS } from "../../../engine/calendar/grain.js";
import { Touched } from "../../../engine/hot/touched.js";

const FIRST_MS = Date.parse("2026-11-01T00:00:00Z");

/** Near each other, so that ranges and touches meet; some far away, and at both ends of the calendar. */
const quarter = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 96 * 12 }).map((n) => FIRST_MS + n * QUARTER_MS) },
  {
    weight: 2,
    arbitrary: fc
      .integer({ min: CALENDAR_START_MS / QUARTER_MS, max: CALENDAR_END_MS / QUARTER_MS - 1 })
      .map((n) => n * QUARTER_MS),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      CALENDAR_START_MS,
      CALENDAR_START_MS - DAY_MS,
      CALENDAR_END_MS - QUARTER_MS,
      CALENDAR_END_MS + DAY_MS - QUARTER_MS,
    ),
  },
);

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("touch" as const), quarter }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("all" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("ask" as const), from: quarter, to: quarter }) },
);

t.test("the last touch of any range is that of its quarters, told one by one", (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 60 }), (steps) => {
      const touched = new Touched();
      const naive = new Map<number, number>();
      let all = 0;
      let version = 0;
      for (const each of steps) {
        if (each.kind === "touch") {
          touched.touch(each.quarter);
          naive.set(each.quarter, ++version);
        } else if (each.kind === "all") {
          touched.touchAll();
          all = ++version;
        } else {
          const inside = [...naive].filter(([ms]) => ms >= each.from && ms < each.to).map(([, at]) => at);
          const wanted = each.from >= each.to ? 0 : Math.max(all, 0, ...inside);
          const found = touched.lastIn(each.from, each.to);
          if (found !== wanted) throw new Error(`found ${found}, wanted ${wanted}`);
        }
        if (touched.version !== version) throw new Error("the version is not that of the last touch");
      }
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test("a range within a quarter-hour knows of the touches of its quarter", (t) => {
  const touched = new Touched();
  touched.touch(FIRST_MS);
  t.equal(touched.lastIn(FIRST_MS + 1, FIRST_MS + 2), 1);
  t.equal(touched.lastIn(FIRST_MS + QUARTER_MS, FIRST_MS + QUARTER_MS + 1), 0);
  t.equal(touched.lastIn(FIRST_MS - 1, FIRST_MS), 0);
  t.end();
});
