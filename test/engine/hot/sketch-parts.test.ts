import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { toBlocks } from "../../../engine/hot/block.js";
import { CellTable } from "../../../engine/hot/cell-table.js";
import { LOG2M } from "../../../engine/hot/sketch-pool.js";
import { defineSchema } from "../../../engine/index.js";
import { countValues } from "../../../engine/sketch/registers.js";
import { maxRegisterValue, tokenOf } from "../../../engine/sketch/token.js";
import type { CellBlock } from "../../../engine/store.js";
import { shortlist } from "../../../engine/query/shortlist.js";
import { mulberry32 } from "../../support/random.js";

const schema = defineSchema({
  dimensions: ["blog"],
  rollups: [[], ["blog"]],
  subject: "blog",
  remembered: [],
});
const ROLLUP = schema.rollups.findIndex(({ dims }) => dims.length === 1);

interface Row {
  readonly id: number;
  readonly views: number;
  /** Viewers are drawn from so many. */
  readonly of: number;
  readonly viewers: number;
}

/** Sizes where a sketch changes its form, and few viewers of many blocks. */
const viewers = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 1000, max: 1100 }),
  fc.constantFrom(2040, 2048, 2049, 3000, 9000),
);
const anyBlock: fc.Arbitrary<readonly Row[]> = fc.array(
  fc.record({
    id: fc.integer({ min: 0, max: 5 }),
    views: fc.integer({ min: 0, max: 50 }),
    of: fc.constantFrom(50, 1500, 2100, 20_000),
    viewers,
  }),
  { minLength: 1, maxLength: 6 },
);

function blockOf(rows: readonly Row[], seed: number): CellBlock {
  const rng = mulberry32(seed);
  const table = new CellTable(schema.maxArity);
  for (const { id, views, of, viewers: count } of rows) {
    const cell = table.upsert(ROLLUP, Uint32Array.of(id));
    table.views[cell]! += views;
    if (views % 3 === 1) table.anonymous[cell]! += 1;
    for (let i = 0; i < count; i++) {
      const viewer = Math.floor(rng() * of);
      table.sketches.add(
        cell,
        tokenOf(Math.imul(viewer + 1, 0x9e37_79b1), Math.imul(viewer + 7, 0x85eb_ca6b)),
      );
    }
  }
  return toBlocks(table, schema)[0]!;
}

/** Row by row, united at once. */
function eager(blocks: readonly CellBlock[]): CellTable {
  const table = new CellTable(1);
  for (const block of blocks) {
    for (let row = 0; row < block.count; row++)
      table.addRow(table.upsert(0, Uint32Array.of(block.keys[row]!)), block, row);
  }
  return table;
}

/** As a query does it: the first block as it is, or not; the others row by row, united when asked for. */
function deferred(blocks: readonly CellBlock[], adopts: boolean): CellTable {
  const [first] = blocks;
  const table = adopts ? CellTable.ofBlock(first!, true) : new CellTable(1);
  for (const block of adopts ? blocks.slice(1) : blocks) {
    for (let row = 0; row < block.count; row++)
      table.deferRow(table.upsert(0, Uint32Array.of(block.keys[row]!)), block, row);
  }
  return table;
}

/** All that can be asked of a table. */
function told(table: CellTable): unknown[] {
  const cells = Array.from({ length: table.count }, (_, cell) => {
    const { sketches } = table;
    const isDense = sketches.isDense(cell);
    const tokens = new Uint32Array(sketches.tokenCount(cell));
    if (!isDense) sketches.copyTokens(cell, tokens, 0);
    return {
      id: table.keys[cell],
      views: table.views[cell],
      anonymous: table.anonymousOf(cell),
      isDense,
      tokens: Array.from(tokens),
      registers: isDense ? createHash("sha256").update(sketches.registers(cell)).digest("hex") : "",
      counts: isDense ? Array.from(sketches.valueCounts(cell)) : [],
    };
  });
  return cells.sort((a, b) => a.id! - b.id!);
}

const anyBlocks = fc
  .tuple(fc.array(anyBlock, { minLength: 1, maxLength: 5 }), fc.nat())
  .map(([blocks, seed]) => blocks.map((rows, i) => blockOf(rows, seed + i)));

t.test(
  "rows that are united when asked for make the same cells as rows that are united at once",
  async () => {
    fc.assert(
      fc.property(anyBlocks, fc.boolean(), (blocks, adopts) => {
        const before = JSON.stringify(blocks.map((block) => told(eager([block]))));
        const expected = told(eager(blocks));
        const table = deferred(blocks, adopts);
        t.strictSame(told(table), expected);
        t.strictSame(told(table), expected, "asked again");
        table.detach();
        t.strictSame(told(table), expected, "without the blocks");
        t.equal(
          JSON.stringify(blocks.map((block) => told(eager([block])))),
          before,
          "blocks stay as they are",
        );
      }),
      { numRuns: 40 },
    );
  },
);

t.test("what is added to rows that were not united yet is united with them", async () => {
  fc.assert(
    fc.property(anyBlocks, anyBlocks, fc.boolean(), fc.nat(), (blocks, others, adopts, token) => {
      const hot = eager(others);
      const tables = [eager(blocks), deferred(blocks, adopts)];
      for (const table of tables) {
        table.addTable(hot);
        table.addBlock({ ...blocks[0]!, rollup: 0 });
        table.sketches.add(table.upsert(0, Uint32Array.of(0)), (token % 39) + 1);
        table.created[table.upsert(0, Uint32Array.of(1))]! += 2;
      }
      t.strictSame(told(tables[1]!), told(tables[0]!));
      // A table takes from one whose rows were not united, too.
      const [left, right] = [eager(others), eager(others)];
      left.addTable(deferred(blocks, adopts));
      right.addTable(eager(blocks));
      t.strictSame(told(left), told(right));
    }),
    { numRuns: 25 },
  );
});

t.test("a table that is one block is that block, until it is added to", async (t) => {
  const block = blockOf(
    [
      { id: 3, views: 7, of: 10, viewers: 5 },
      { id: 9, views: 2, of: 9000, viewers: 5000 },
    ],
    1,
  );
  const table = CellTable.ofBlock(block, true);
  t.equal(table.keys, block.keys);
  t.equal(table.views, block.views);
  t.equal(table.sketches.registers(1), block.dense.get(1), "not a copy");
  t.equal(table.find(0, Uint32Array.of(9)), 1);
  t.equal(table.find(0, Uint32Array.of(4)), -1);
  t.not(table.views, block.views);
  table.addRow(table.upsert(0, Uint32Array.of(9)), block, 1);
  t.equal(table.views[1], 4);
  t.equal(block.views[1], 2);
  t.equal(CellTable.ofBlock(block, false).sketches.tokenCount(0), 0, "no sketches, no viewers");
});

t.test("registers are counted as they are", async (t) => {
  const block = blockOf([{ id: 3, views: 7, of: 20_000, viewers: 9000 }], 2);
  const table = deferred([block, block], false);
  const expected = countValues(table.sketches.registers(0), maxRegisterValue(LOG2M));
  t.strictSame(table.sketches.valueCounts(0), expected);
  t.equal(table.sketches.valueCounts(0), table.sketches.valueCounts(0), "once");
  const own = eager([block]);
  t.strictSame(own.sketches.valueCounts(0), expected);
});

t.test("a shortlist has the first ones in order, and all that tie with the last", async () => {
  const value = fc.oneof(fc.integer({ min: 0, max: 8 }), fc.constant(Number.NaN), fc.double({ noNaN: true }));
  fc.assert(
    fc.property(
      fc.array(value, { maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.boolean(),
      (values, limit, descending) => {
        const column = Float64Array.from(values);
        const cells = values.map((_, cell) => cell).filter((cell) => cell % 5 !== 3);
        const rank = (cell: number): number => {
          const own = column[cell]!;
          return Number.isNaN(own) ? Infinity : descending ? -own : own;
        };
        const last = cells.map(rank).sort((a, b) => (a === b ? 0 : a < b ? -1 : 1))[limit - 1] ?? Infinity;
        const found = new Set(shortlist(cells, column, limit, descending));
        const missing = cells.filter((cell) => rank(cell) <= last && !found.has(cell));
        t.strictSame(missing, []);
        if (last !== Infinity) t.notOk([...found].some((cell) => rank(cell) > last));
      },
    ),
  );
});
