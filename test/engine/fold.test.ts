import fc from "fast-check";
import t from "tap";
import { findRow, toBlocks } from "../../engine/hot/block.js";
import { CellTable } from "../../engine/hot/cell-table.js";
import { mergeBlocks, projectBlock } from "../../engine/hot/merge-blocks.js";
import { Fold } from "../../engine/hot/fold.js";
import { REGISTERS, SketchPool } from "../../engine/hot/sketch-pool.js";
import { FLAG_CREATED, FLAG_VIEWER, defineSchema, type EventBatch, type Schema } from "../../engine/index.js";
import { tokenOf } from "../../engine/sketch/token.js";
import type { CellBlock } from "../../engine/store.js";
import { equal } from "../simulation/check.js";

const QUARTER_MS = 900_000;
const START_MS = 1_700_000_100_000 - (1_700_000_100_000 % QUARTER_MS);

/** One event: quarter, dimension ids (0 = none), and what it is. */
interface Row {
  readonly quarter: number;
  readonly ids: readonly number[];
  readonly kind: "created" | "anonymous" | number;
}

/** A batch whose dictionaries are the numbers themselves, so that value k has the id k. */
function batchOf(schema: Schema, rows: readonly Row[]): EventBatch {
  const viewer = (kind: Row["kind"], bits: number): number =>
    typeof kind === "number" ? Math.imul(kind + 1, bits) >>> 0 : 0;
  return {
    count: rows.length,
    flags: Uint8Array.from(rows, ({ kind }) =>
      kind === "created" ? FLAG_CREATED : kind === "anonymous" ? 0 : FLAG_VIEWER,
    ),
    ts: Float64Array.from(rows, ({ quarter }, i) => START_MS + quarter * QUARTER_MS + (i % QUARTER_MS)),
    dims: schema.dimensions.map((_, d) => Uint32Array.from(rows, ({ ids }) => ids[d]!)),
    values: schema.dimensions.map(() => []),
    viewerLo: Uint32Array.from(rows, ({ kind }) => viewer(kind, 0x9e37_79b1)),
    viewerHi: Uint16Array.from(rows, ({ kind }) => viewer(kind, 0x85eb_ca6b) >>> 16),
  };
}

interface PlainCell {
  views: number;
  anonymous: number;
  created: number;
  readonly tokens: Set<number>;
}

/** Every event added to every cell of its own, with no short-cut. */
function plainCells(schema: Schema, batch: EventBatch): Map<string, PlainCell> {
  const cells = new Map<string, PlainCell>();
  for (let row = 0; row < batch.count; row++) {
    const quarter = Math.floor(batch.ts[row]! / QUARTER_MS) * QUARTER_MS;
    for (const { id, dims } of schema.rollups) {
      const name = `${quarter} ${id} ${dims.map((d) => batch.dims[d]![row]).join()}`;
      const cell = cells.get(name) ?? { views: 0, anonymous: 0, created: 0, tokens: new Set<number>() };
      cells.set(name, cell);
      if (batch.flags[row] === FLAG_CREATED) cell.created++;
      else {
        cell.views++;
        if (batch.flags[row] === 0) cell.anonymous++;
        else cell.tokens.add(tokenOf(batch.viewerLo[row]!, batch.viewerHi[row]!));
      }
    }
  }
  return cells;
}

const identity = Uint32Array.from({ length: 16 }, (_, id) => id);

function foldAll(schema: Schema, batches: readonly EventBatch[]): Map<number, CellTable> {
  const fold = new Fold(schema);
  const tables = new Map<number, CellTable>();
  for (const batch of batches) {
    fold.fold(
      batch,
      schema.dimensions.map(() => identity),
      (quarterMs) => {
        const table = tables.get(quarterMs) ?? new CellTable(schema.maxArity);
        tables.set(quarterMs, table);
        return table;
      },
    );
  }
  return tables;
}

/** The cells of folded tables as text, through the blocks that a store would get. */
function cellsOf(schema: Schema, tables: ReadonlyMap<number, CellTable>): Map<string, string> {
  const cells = new Map<string, string>();
  for (const [quarterMs, table] of tables) {
    for (const block of toBlocks(table, schema)) {
      for (let row = 0; row < block.count; row++) {
        const key = block.keys.subarray(row * block.arity, (row + 1) * block.arity);
        equal(findRow(block, key), row, "row found by its key");
        const tokens = block.tokens.subarray(block.tokenStart[row], block.tokenStart[row + 1]);
        const sketch = block.dense.get(row) ?? tokens;
        const counts = [block.views[row], block.anonymous[row], block.created[row]];
        cells.set(`${quarterMs} ${block.rollup} ${key.join()}`, `${counts.join()} ${sketch.join()}`);
      }
    }
  }
  return cells;
}

function textOf({ views, anonymous, created, tokens }: PlainCell): string {
  const sketch = tokens.size > 2048 ? denseOf(tokens).join() : [...tokens].sort((a, b) => a - b).join();
  return `${[views, anonymous, created].join()} ${sketch}`;
}

/** Registers from tokens, as hll-format says: index from the low 14 bits, value from the first 1 above them. */
function denseOf(tokens: Iterable<number>): Uint8Array {
  const registers = new Uint8Array(REGISTERS);
  for (const token of tokens) {
    const low26 = Math.floor(token / 64);
    const above = Math.floor(low26 / REGISTERS);
    const value = above === 0 ? 12 + (token % 64) : 1 + Math.log2(above & -above);
    registers[low26 % REGISTERS] = Math.max(registers[low26 % REGISTERS]!, value);
  }
  return registers;
}

const schemas = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(15), { minLength: 1, maxLength: 8 }))
  .map(([arity, masks]) => {
    const dimensions = ["d0", "d1", "d2", "d3"].slice(0, arity);
    const distinct = [...new Set(masks.map((mask) => mask % 2 ** arity))];
    const rollups = distinct.map((mask) => dimensions.filter((_, d) => (mask >> d) % 2 === 1));
    return defineSchema({ dimensions, subject: "d0", remembered: [], rollups });
  });

const rows = fc.array(
  fc.record<Row>({
    quarter: fc.nat(2),
    ids: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(2), fc.nat(1)),
    kind: fc.oneof({ weight: 6, arbitrary: fc.nat(12) }, fc.constantFrom("created", "anonymous")),
  }),
  { maxLength: 60 },
);

t.test("the fold with its lattice short-cut gives the cells of plain adds, for any schema", async (t) => {
  const property = fc.property(schemas, rows, (schema, events) => {
    const batch = batchOf(schema, events);
    const wanted = [...plainCells(schema, batch)].map(([name, cell]) => [name, textOf(cell)] as const);
    equal(cellsOf(schema, foldAll(schema, [batch])), new Map(wanted), "cells");
  });
  fc.assert(property, { numRuns: 2000 });
  t.pass("2,000 schemas and batches");
});

t.test(
  "the short-cut holds while cells turn dense one after the other, the coarser ones first",
  async (t) => {
    const schema = defineSchema();
    const events = Array.from({ length: 30_000 }, (_, i): Row => ({
      quarter: 0,
      ids: [1 + (i % 2), 1 + (i % 3), i % 16 === 0 ? 1 + (i % 7) : 0],
      kind: (i * 7919) % 11_000,
    }));
    const batch = batchOf(schema, events);
    const plain = plainCells(schema, batch);
    const sizes = [...plain.values()].map(({ tokens }) => tokens.size);
    t.ok(Math.max(...sizes) > 2048 && Math.min(...sizes) < 2048, "both forms occur");
    const cells = cellsOf(schema, foldAll(schema, [batch]));
    equal(cells.size, plain.size, "number of cells");
    for (const [name, cell] of plain) equal(cells.get(name), textOf(cell), name);
  },
);

t.test("batches in any cut and order, and tables merged in any order, give one state", async (t) => {
  const cuts = fc.array(fc.nat(7), { minLength: 1, maxLength: 8 });
  const property = fc.property(schemas, rows, cuts, fc.nat(1000), (schema, events, sizes, turn) => {
    const parts: Row[][] = [];
    for (let at = 0, i = 0; at < events.length; at += 1 + sizes[i++ % sizes.length]!) {
      parts.push(events.slice(at, at + 1 + sizes[i % sizes.length]!));
    }
    const turned = [...parts.slice(turn % (parts.length + 1)), ...parts.slice(0, turn % (parts.length + 1))];
    const whole = cellsOf(schema, foldAll(schema, [batchOf(schema, events)]));
    const merged = new Map<number, CellTable>();
    for (const part of turned.reverse()) {
      for (const [quarterMs, table] of foldAll(schema, [batchOf(schema, part)])) {
        const known = merged.get(quarterMs) ?? new CellTable(schema.maxArity);
        merged.set(quarterMs, known);
        // Half of them by way of the blocks that a store would hand back.
        if (turn % 2 === 0) known.addTable(table);
        else for (const block of toBlocks(table, schema)) known.addBlock(block);
      }
    }
    equal(cellsOf(schema, merged), whole, "merged cells");
  });
  fc.assert(property, { numRuns: 1000 });
  t.pass("1,000 cuts");
});

t.test("sketches of many cells in one pool are the sets that were put in, at every size", async (t) => {
  const sizes = fc.array(fc.constantFrom(0, 1, 2, 3, 5, 15, 16, 17, 24, 25, 100, 2047, 2048, 2049, 2500), {
    minLength: 1,
    maxLength: 6,
  });
  const property = fc.property(sizes, fc.nat(0xffff), (wanted, salt) => {
    const pool = new SketchPool(wanted.length);
    const other = new SketchPool(wanted.length);
    const sets = wanted.map(() => new Set<number>());
    const most = Math.max(...wanted);
    // Round robin, so that the blocks of one cell are given up and taken by another; every add twice.
    for (let i = 0; i < most * 2; i++) {
      for (const [cell, size] of wanted.entries()) {
        if (size === 0) continue;
        const token = tokenOf(
          Math.imul((i % size) + salt, 0x9e37_79b1) + cell,
          Math.imul(i % size, 77) & 0xffff,
        );
        const isNew = !sets[cell]!.has(token);
        sets[cell]!.add(token);
        const changed = (i % 2 === 0 ? pool : other).add(cell, token);
        if (i % 2 === 0 && changed && !isNew && i < size) throw new Error("a known token changed the sketch");
      }
    }
    for (const [cell, set] of sets.entries()) {
      pool.addFrom(cell, other, cell);
      const dense = set.size > 2048;
      equal(pool.isDense(cell), dense, `form of ${set.size} tokens`);
      if (dense) equal(pool.registers(cell), denseOf(set), "registers");
      else {
        const tokens = new Uint32Array(pool.tokenCount(cell));
        pool.copyTokens(cell, tokens, 0);
        equal(
          [...tokens],
          [...set].sort((a, b) => a - b),
          "tokens",
        );
      }
    }
  });
  fc.assert(property, { numRuns: 40 });
  t.pass("40 pools");
});

t.test("blocks of tens of thousands of rows ascend by key, ids beyond 16 bits included", async (t) => {
  const table = new CellTable(2);
  const schema = defineSchema({
    dimensions: ["a", "b"],
    subject: "a",
    remembered: [],
    rollups: [["a", "b"], ["a"], []],
  });
  const seen = new Set<string>();
  for (let i = 0; i < 40_000; i++) {
    const key = Uint32Array.of(Math.imul(i, 0x9e37_79b1) >>> (i % 20), Math.imul(i, 77) >>> 12);
    const cell = table.upsert(0, key);
    table.views[cell]!++;
    seen.add(key.join());
  }
  const [block] = toBlocks(table, schema);
  equal(block!.count, seen.size, "rows");
  for (let row = 1; row < block!.count; row++) {
    const [a, b] = [block!.keys[row * 2 - 2]!, block!.keys[row * 2 - 1]!];
    const [c, d] = [block!.keys[row * 2]!, block!.keys[row * 2 + 1]!];
    if (!(a < c || (a === c && b < d))) throw new Error(`row ${row} does not ascend`);
    equal(findRow(block!, Uint32Array.of(c, d)), row, "row of a key");
  }
  t.equal(findRow(block!, Uint32Array.of(0xffff_ffff, 0xffff_fffe)), -1, "a key that is not there");
  t.equal(
    block!.views.reduce((sum, views) => sum + views, 0),
    40_000,
    "no view lost",
  );
});

/** Tables of so many parts, some of whose cells have thousands of viewers, and one table of all of them. */
function partsOf(schema: Schema, parts: readonly (readonly Row[])[], many: number): [CellTable[], CellTable] {
  const tables = parts.map((part, number) => {
    const [table = new CellTable(schema.maxArity)] = foldAll(schema, [batchOf(schema, part)]).values();
    for (const { id } of schema.rollups) {
      const cell = table.upsert(id, new Uint32Array(schema.maxArity));
      for (let viewer = number * 700; viewer < number * 700 + many; viewer++) {
        table.sketches.add(cell, tokenOf(Math.imul(viewer, 0x9e37_79b1), (viewer * 77) & 0xffff));
      }
    }
    return table;
  });
  const whole = new CellTable(schema.maxArity);
  for (const table of tables) whole.addTable(table);
  return [tables, whole];
}

/** Blocks as plain values: what is compared is what a store would be given. */
function plain({ dense, ...block }: CellBlock): unknown {
  const columns = Object.entries(block).map(([name, value]) => [
    name,
    typeof value === "number" ? value : [...value],
  ]);
  return [Object.fromEntries(columns), [...dense].map(([row, registers]) => [row, registers.join()])];
}

const quarterRows = rows.map((list) => list.map((row) => ({ ...row, quarter: 0 })));

t.test("blocks merged in order are those of a table that took them all, registers included", async (t) => {
  const lists = fc.array(quarterRows, { minLength: 1, maxLength: 7 });
  const many = fc.constantFrom(0, 0, 0, 3, 700, 1900, 2100);
  const property = fc.property(schemas, lists, many, (schema, parts, viewers) => {
    const [tables, whole] = partsOf(schema, parts, viewers);
    const blocks = tables.flatMap((table) => toBlocks(table, schema));
    const wanted = toBlocks(whole, schema);
    const merged = wanted.map(({ rollup }) => mergeBlocks(blocks.filter((block) => block.rollup === rollup)));
    equal(merged.map(plain), wanted.map(plain), "merged blocks");
  });
  fc.assert(property, { numRuns: 300 });
  t.pass("300 sets of blocks");
});

/** Around what two of them can be told apart by in one double. */
const WIDE_IDS = [2, 3, 2 ** 21 - 1, 2 ** 21, 2 ** 21 + 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1];

t.test("blocks are merged in the order of their keys, of any ids and however many", async (t) => {
  const dimensions = ["a", "b", "c", "d"];
  const rollups = [dimensions, ["a", "b", "c"], ["a", "b"], ["a"], []];
  const schema = defineSchema({ dimensions, subject: "a", remembered: [], rollups });
  const cell = fc.record({
    key: fc.array(fc.constantFrom(...WIDE_IDS), { minLength: 4, maxLength: 4 }),
    tokens: fc.array(fc.nat(60), { maxLength: 12 }),
  });
  const property = fc.property(
    fc.array(fc.array(cell, { maxLength: 40 }), { minLength: 2, maxLength: 9 }),
    (parts) => {
      const fill = (table: CellTable, cells: (typeof parts)[number]): CellTable => {
        for (const { key, tokens } of cells) {
          for (const { id, dims } of schema.rollups) {
            const at = table.upsert(
              id,
              Uint32Array.from(key, (one, i) => (i < dims.length ? one : 0)),
            );
            table.views[at]!++;
            for (const token of tokens) table.sketches.add(at, ((token + 1) << 6) | 1);
          }
        }
        return table;
      };
      const blocks = parts.flatMap((cells) => toBlocks(fill(new CellTable(4), cells), schema));
      const wanted = toBlocks(fill(new CellTable(4), parts.flat()), schema);
      const merged = wanted.map(({ rollup }) =>
        mergeBlocks(blocks.filter((block) => block.rollup === rollup)),
      );
      equal(merged.map(plain), wanted.map(plain), "merged blocks");
    },
  );
  fc.assert(property, { numRuns: 200 });
  t.pass("200 sets of blocks");
});

t.test("a union of 2,048 tokens is still a set, and one of 2,049 is not", async (t) => {
  const schema = defineSchema();
  // Two parts that have all but 700 viewers in common.
  for (const [viewers, dense] of [
    [1348, 0],
    [1349, 1],
  ] as const) {
    const [tables, whole] = partsOf(schema, [[], []], viewers);
    const blocks = tables.flatMap((table) => toBlocks(table, schema));
    for (const wanted of toBlocks(whole, schema)) {
      const merged = mergeBlocks(blocks.filter(({ rollup }) => rollup === wanted.rollup));
      equal(plain(merged), plain(wanted), "merged");
      equal([merged.dense.size, merged.tokens.length], [dense, dense === 1 ? 0 : 2048], "form");
    }
  }
  t.pass("all rollups");
});

t.test("a rollup of the first dimensions of another is that one's projection", async (t) => {
  const many = fc.constantFrom(0, 0, 3, 1500, 2100);
  const property = fc.property(schemas, quarterRows, many, (schema, events, viewers) => {
    const [, whole] = partsOf(schema, [events], viewers);
    const blocks = toBlocks(whole, schema);
    for (const fine of blocks) {
      for (const coarse of blocks) {
        const { dims } = schema.rollups[coarse.rollup]!;
        if (!dims.every((dim, i) => schema.rollups[fine.rollup]!.dims[i] === dim)) continue;
        equal(plain(projectBlock(fine, coarse.rollup, coarse.arity)), plain(coarse), "projection");
      }
    }
  });
  fc.assert(property, { numRuns: 300 });
  t.pass("300 tables");
});

t.test("merging is refused where there is nothing to merge, or two rollups", async (t) => {
  const schema = defineSchema();
  const table = new CellTable(2);
  for (const { id } of schema.rollups) table.upsert(id, new Uint32Array(2));
  const [first, second, third] = toBlocks(table, schema);
  t.throws(() => mergeBlocks([]), /BUG/);
  t.throws(() => mergeBlocks([first!, second!]), /BUG/);
  t.throws(() => projectBlock(third!, 0, 2), /BUG/);
  t.equal(mergeBlocks([first!]), first, "one block is its own union");
});

t.test("counts beyond 2^32 stay exact, in a table, in blocks and through growth", async (t) => {
  const schema = defineSchema({
    dimensions: ["a"],
    subject: "a",
    remembered: [],
    rollups: [["a"]],
  });
  const large = 2 ** 32 - 1;
  const table = new CellTable(1);
  for (let i = 0; i < 5000; i++) {
    const cell = table.upsert(0, Uint32Array.of(i));
    const counts = {
      views: Float64Array.of(large * (i + 1)),
      anonymous: Float64Array.of(i % 2 === 0 ? large : 0),
      created: Float64Array.of(i % 3 === 0 ? large + 7 : 0),
    };
    table.addCounts(cell, counts, 0);
    table.addCounts(cell, counts, 0);
  }
  const twice = new CellTable(1);
  twice.addTable(table);
  twice.addTable(table);
  const [block] = toBlocks(table, schema);
  const [doubled] = toBlocks(twice, schema);
  const merged = mergeBlocks([block!, block!]);
  equal(plain(merged), plain(doubled!), "merged and added");
  for (let i = 0; i < 5000; i++) {
    const wanted = [large * (i + 1), i % 2 === 0 ? large : 0, i % 3 === 0 ? large + 7 : 0];
    const cell = table.find(0, Uint32Array.of(i));
    equal(
      [table.views[cell], table.anonymous[cell], table.created[cell]],
      wanted.map((n) => n * 2),
      `cell ${i}`,
    );
    equal(
      [merged.views[i], merged.anonymous[i], merged.created[i]],
      wanted.map((n) => n * 4),
      `row ${i}`,
    );
  }
  t.equal(table.find(0, Uint32Array.of(5000)), -1, "a key that is not there");
});

t.test("a table of 100,000 cells finds each of them and takes at most 40 bytes a cell", async (t) => {
  const table = new CellTable(2);
  const key = new Uint32Array(2);
  for (let i = 0; i < 100_000; i++) {
    key.set([Math.imul(i, 0x9e37_79b1) >>> 8, i & 0xff]);
    const cell = table.upsert(i % 6, key);
    table.views[cell] = i;
  }
  t.equal(table.count, 100_000);
  for (let i = 0; i < 100_000; i++) {
    key.set([Math.imul(i, 0x9e37_79b1) >>> 8, i & 0xff]);
    equal(table.views[table.find(i % 6, key)], i, `cell ${i}`);
  }
  const perCell = table.sizeBytes / table.count;
  t.ok(perCell <= 40, `${perCell.toFixed(1)} bytes a cell`);
  t.equal(table.anonymousOf(7) + table.createdOf(7), 0);
  t.ok(table.sizeBytes / table.count === perCell, "columns of zeros are not made by asking for one cell");
});
