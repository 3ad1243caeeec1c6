/** Rankings of one stored block read its first rows only: is every answer what going through all rows gives? */
import fc from "fast-check";
import t from "tap";
import { HOUR_MS } from "../../../engine/calendar/index.js";
import { CellTable } from "../../../engine/hot/cell-table.js";
import { toBlocks } from "../../../engine/hot/block.js";
import { compute, prepareQuery, type Computed } from "../../../engine/query/execute.js";
import { rankedOf, rowsWith } from "../../../engine/query/top.js";
import { defineSchema } from "../../../engine/schema.js";
import type { CellBlock } from "../../../engine/store.js";
import { at, randomFrom, World, type Happening } from "./world.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 20_261_124);
const DAY = "2026-11-10";
const DAY_START = at(`${DAY}T00:00Z`);
const LIMIT_OF_ALL = 100_000;
const METRICS = ["views", "viewers", "views_anonymous", "blogs_created", "views_per_viewer"] as const;

interface DayPlan {
  readonly seed: number;
  readonly blogs: number;
  /** The most views that a blog has: the fewer, the more of them tie. */
  readonly most: number;
}

const dayPlan = fc.record({
  seed: fc.nat(),
  blogs: fc.integer({ min: 257, max: 900 }),
  most: fc.constantFrom(1, 2, 5, 12),
});

const questionPlan = fc.record({
  ranked: fc.constantFrom("views", "views_anonymous", "blogs_created"),
  others: fc.subarray([...METRICS]),
  second: fc.option(fc.tuple(fc.nat(4), fc.constantFrom("asc", "desc")), { freq: 2 }),
  limit: fc.integer({ min: 1, max: 256 }),
  total: fc.boolean(),
});
type QuestionPlan = typeof questionPlan extends fc.Arbitrary<infer T> ? T : never;

/** One day of many blogs, sealed. */
async function dayOf({ seed, blogs, most }: DayPlan): Promise<World> {
  const random = randomFrom(seed);
  const happenings: Happening[] = [];
  for (let blog = 0; blog < blogs; blog++) {
    const events = 1 + Math.floor(random() ** 3 * most);
    for (let i = 0; i < events; i++) {
      happenings.push({
        ts: DAY_START + Math.floor(random() * 24 * HOUR_MS),
        // Names in another order than ids.
        blog: `b${(blog * 7919) % 10_007}`,
        viewer: random() < 0.3 ? undefined : `v${Math.floor(random() * 50)}`,
        created: random() < 0.2,
      });
    }
  }
  const world = new World().add(...happenings);
  world.now = world.watermarkMs = DAY_START + 60 * HOUR_MS;
  await world.commit(DAY_START + 48 * HOUR_MS);
  return world;
}

function queryOf({ ranked, others, second: also, limit, total }: QuestionPlan): Record<string, unknown> {
  const metrics = [...new Set([...others, ranked])];
  const second = also === null ? undefined : metrics[also[0] % metrics.length]!;
  const isOther = second !== undefined && second !== ranked;
  return {
    date_range: [DAY, DAY],
    dimensions: ["blog"],
    metrics,
    order_by: [[ranked, "desc"], ...(isOther ? [[second, also![1]]] : [])],
    limit,
    include: { total },
  };
}

function run(world: World, query: Record<string, unknown>): Computed {
  const { schema, buckets, now, watermarkMs } = world;
  const prepared = prepareQuery(query, { schema, defaultZone: "UTC" });
  return compute(prepared, buckets, { now, watermarkMs });
}

/** Both ways; the question is asked twice, since a block's rows are ranked the second time. Was only a part read? */
function isAsAll(world: World, query: Record<string, unknown>): boolean {
  const limit = query["limit"] as number;
  const all = run(world, { ...query, limit: LIMIT_OF_ALL });
  const wanted = all.page(0, LIMIT_OF_ALL);
  run(world, query);
  const found = run(world, query);
  const answer = found.page(0, limit);
  t.strictSame(answer.results, wanted.results.slice(0, limit), "rows in their order");
  t.strictSame(answer.total, wanted.total, "total");
  t.equal(found.rows, wanted.results.length, "rows in all");
  t.equal(answer.meta.rows_left_off, Math.max(0, wanted.results.length - limit), "rows left off");
  t.strictSame(answer.meta.sources, wanted.meta.sources, "sources");
  t.equal(all.frame.kinds, undefined, "all rows are gone through when all are asked for");
  return found.frame.kinds !== undefined;
}

t.test("a ranking of a sealed day is that of all its rows: order, ties, totals, rows left off", async (t) => {
  let short = 0;
  let whole = 0;
  await fc.assert(
    fc.asyncProperty(dayPlan, fc.array(questionPlan, { minLength: 4, maxLength: 8 }), async (day, plans) => {
      const world = await dayOf(day);
      for (const plan of plans) {
        if (isAsAll(world, queryOf(plan))) short++;
        else whole++;
        if (!t.passing()) throw new Error(JSON.stringify({ day, plan }));
      }
    }),
    { numRuns: 60, seed: SEED },
  );
  t.ok(short > 100, `${short} rankings were read from a list`);
  t.ok(whole > 10, `${whole} were not, since too many rows tie or too few have anything`);
});

t.test("a late event is in the ranking of its day at once, and after its commit as revised", async (t) => {
  const world = await dayOf({ seed: 7, blogs: 400, most: 5 });
  const query = queryOf({ ranked: "views", others: ["viewers"], second: null, limit: 10, total: true });
  t.ok(isAsAll(world, query), "the list of the sealed day");
  t.equal(run(world, query).page(0, 1).results[0]!.state, "final");
  const late = (_: unknown, i: number): Happening => ({ ts: DAY_START + i, blog: "late", viewer: `l${i}` });
  world.add(...Array.from({ length: 30 }, late));
  t.notOk(isAsAll(world, query), "what is not in the block must be added");
  t.strictSame(run(world, query).page(0, 1).results[0]!.dimensions, ["late"]);
  await world.commit(world.sealedUntil, true);
  t.ok(isAsAll(world, query), "the list of the new block");
  const [first] = run(world, query).page(0, 1).results;
  t.strictSame([first!.dimensions, first!.metrics, first!.state], [["late"], [30, 30], "revised"]);
});

t.test("questions that need more than the first rows go through all", async (t) => {
  const world = await dayOf({ seed: 8, blogs: 400, most: 5 });
  const plan = { ranked: "views", others: [], second: null, limit: 10, total: false } as const;
  const query = queryOf({ ...plan, others: [] });
  t.ok(isAsAll(world, query));
  const needy: Record<string, unknown>[] = [
    { include: { other: true } },
    { cursor: null },
    { compare: { mode: "previous_period" } },
    { order_by: [["views", "asc"]] },
    { order_by: [["blog", "asc"]] },
    { metrics: ["views", "viewers"], order_by: [["viewers", "desc"]] },
    { metrics: ["views", "blogs_total"] },
    { metrics: ["views", ["ratio", "blogs_created", "views"]] },
    { filters: [["is_not", "blog", ["nobody"]]] },
    { dimensions: ["time:day", "blog"] },
    { dimensions: ["country"] },
    { limit: 257 },
  ];
  for (const rest of needy) {
    for (let i = 0; i < 3; i++) {
      t.equal(run(world, { ...query, ...rest }).frame.kinds, undefined, JSON.stringify(rest));
    }
  }
});

const schema = defineSchema({ rollups: [["blog"]] });

/** A row per value; what the value counts is told by `created`. */
function blockOf(values: readonly number[], created: boolean): CellBlock {
  const table = new CellTable(schema.maxArity);
  values.forEach((value, i) => {
    const cell = table.upsert(0, Uint32Array.of(i));
    if (created) table.created[cell] = value;
    else table.views[cell] = value;
  });
  return toBlocks(table, schema)[0]!;
}

t.test("a list of a block has every row that is not behind its last one, and counts those left out", (t) => {
  const count = fc.integer({ min: 257, max: 3000 });
  const distinct = fc.constantFrom(1, 2, 3, 10, 1000, 1_000_000);
  let listed = 0;
  fc.assert(
    fc.property(count, distinct, fc.nat(), fc.boolean(), fc.integer({ min: 1, max: 256 }), (...plan) => {
      const [rows, kinds, seed, created, limit] = plan;
      const random = randomFrom(seed);
      const values = Array.from({ length: rows }, () => Math.floor(random() ** 2 * kinds));
      const block = blockOf(values, created);
      const counter = created ? "created" : "views";
      const metric = created ? "blogs_created" : "views";
      if (rankedOf(block, { counter, limit }) !== undefined) throw new Error("ranked at the first ask");
      const ranked = rankedOf(block, { counter, limit });
      if (ranked === undefined) return;
      listed++;
      const list = ranked.block;
      const least = list[counter].reduce((a, b) => Math.min(a, b));
      const wanted = values.flatMap((value, i) => (value >= least ? [i] : []));
      if ([...list.keys].join() !== wanted.join()) throw new Error("other rows");
      if (list.count < limit || list.count > 1024) throw new Error(`${list.count} rows for ${limit}`);
      const some = values.filter((value) => value > 0).length;
      if (rowsWith(ranked.kinds, [metric]) !== some) throw new Error("other number of rows");
    }),
    { numRuns: 300, seed: SEED },
  );
  t.ok(listed > 100, `${listed} lists`);
  t.end();
});
