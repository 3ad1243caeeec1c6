import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import t from "tap";
import { CellTable } from "../../../engine/hot/cell-table.js";
import { runningColumns, slidingColumns, type UnionColumns } from "../../../engine/query/sliding-union.js";
import { HyperLogLog } from "../../../engine/sketch/hyperloglog.js";
import { tokenOf } from "../../../engine/sketch/token.js";
import { randomWords } from "../../support/random.js";

const long = process.env["TIDEMARK_LONG"] === "1";

/** What happened in one cell: viewers by the index of their hash. */
interface Cell {
  readonly viewers: readonly number[];
  readonly anonymous: number;
  readonly created: number;
}

interface Sample {
  readonly groups: number;
  readonly times: number;
  readonly length: number;
  readonly from: number;
  readonly cells: readonly Cell[];
  readonly past: readonly Cell[];
}

/** Numbers of viewers on both sides of what is exact (1,024) and small (2,048), and none. */
const SIZES = [0, 0, 1, 3, 40, 400, 1023, 1100, 2048, 2500, 6000];

/** Cells whose viewers come from one pool, so that most windows see the same ones again. */
function makeSample(
  seed: number,
  groups: number,
  times: number,
  length: number,
  from: number,
  sizes: readonly number[],
): Sample {
  const random = randomWords(seed);
  const pool = 1 + (random() % 8000);
  const cell = (): Cell => ({
    viewers: Array.from({ length: sizes[random() % sizes.length]! }, () => random() % pool),
    anonymous: random() % 3,
    created: random() % 2,
  });
  const cells = Array.from({ length: groups * times }, cell);
  return {
    groups,
    times,
    length,
    from: Math.min(from, times),
    cells,
    past: Array.from({ length: groups }, cell),
  };
}

const samples = fc
  .tuple(
    fc.nat(),
    fc.integer({ min: 0, max: 3 }),
    fc.integer({ min: 1, max: 14 }),
    fc.integer({ min: 1, max: 16 }),
    fc.nat(4),
    fc.subarray(SIZES, { minLength: 2 }),
  )
  .map((parts) => makeSample(...parts));

/** Two words of the hash of a viewer. */
function hashOf(viewer: number): [lo: number, hi: number] {
  const random = randomWords(viewer ^ 0x5bd1_e995);
  return [random(), random()];
}

function tokenOfViewer(viewer: number): number {
  return tokenOf(...hashOf(viewer));
}

function tableOf(cells: readonly Cell[], times: number | undefined): CellTable {
  const table = new CellTable(times === undefined ? 1 : 2, { cells: cells.length });
  cells.forEach(({ viewers, anonymous, created }, index) => {
    const key = times === undefined ? [index] : [index % times, Math.floor(index / times)];
    const cell = table.upsert(0, Uint32Array.from(key));
    table.views[cell]! += viewers.length + anonymous;
    if (anonymous > 0) table.anonymous[cell]! += anonymous;
    if (created > 0) table.created[cell]! += created;
    for (const viewer of viewers) table.sketches.add(cell, tokenOfViewer(viewer));
  });
  return table;
}

/** All of the cells as one, viewer by viewer. */
function naive(cells: readonly Cell[]): {
  sketch: HyperLogLog;
  views: number;
  anonymous: number;
  created: number;
} {
  const sketch = new HyperLogLog();
  const sum = { sketch, views: 0, anonymous: 0, created: 0 };
  for (const viewer of new Set(cells.flatMap(({ viewers }) => viewers)))
    sketch.addHashParts(...hashOf(viewer));
  for (const { viewers, anonymous, created } of cells) {
    sum.views += viewers.length + anonymous;
    sum.anonymous += anonymous;
    sum.created += created;
  }
  return sum;
}

function columnsAt(columns: UnionColumns, cell: number): unknown {
  const { views, anonymous, created, viewers, errors, exact } = columns;
  return [views[cell], anonymous[cell], created[cell], viewers[cell], errors[cell], exact[cell] === 1];
}

function expectedAt(cells: readonly Cell[]): unknown {
  const { sketch, views, anonymous, created } = naive(cells);
  const { value, standardError, exact } = sketch.estimate();
  return [views, anonymous, created, value, standardError, exact];
}

/** Bit by bit: the tokens or the registers, and the counts. */
function isUnion(table: CellTable, cell: number, cells: readonly Cell[]): boolean {
  const { sketch, views, anonymous, created } = naive(cells);
  if (table.views[cell] !== views || table.anonymousOf(cell) !== anonymous) return false;
  if (table.createdOf(cell) !== created || table.sketches.isDense(cell) !== sketch.isDense) return false;
  if (sketch.isDense) return Buffer.compare(table.sketches.registers(cell), sketch.registers()) === 0;
  const tokens = new Uint32Array(table.sketches.tokenCount(cell));
  table.sketches.copyTokens(cell, tokens, 0);
  return isDeepStrictEqual(tokens, sketch.sortedTokens());
}

/** The cells of the window that ends with `cell`. */
function windowOf({ cells, times, length }: Sample, cell: number): Cell[] {
  return cells.slice(Math.max(cell - (cell % times), cell - length + 1), cell + 1);
}

function until({ cells, times, from, past }: Sample, cell: number): Cell[] {
  const first = cell - (cell % times);
  return [past[first / times]!, ...cells.slice(first + from, cell + 1)];
}

t.test("the numbers of every rolling window are those of its viewers united one by one", (t) => {
  fc.assert(
    fc.property(samples, (sample) => {
      const columns = slidingColumns(tableOf(sample.cells, sample.times), sample.times, sample.length);
      return sample.cells.every((_, cell) =>
        isDeepStrictEqual(columnsAt(columns, cell), expectedAt(windowOf(sample, cell))),
      );
    }),
    { numRuns: long ? 2000 : 25 },
  );
  t.end();
});

t.test("running numbers are those of all viewers since a time and of the past, united one by one", (t) => {
  fc.assert(
    fc.property(samples, (sample) => {
      const past = tableOf(sample.past, undefined);
      const columns = runningColumns(tableOf(sample.cells, sample.times), sample.times, past, sample.from);
      return sample.cells.every((_, cell) => {
        if (cell % sample.times < sample.from)
          return isDeepStrictEqual(columnsAt(columns, cell), [0, 0, 0, 0, 0, true]);
        return isDeepStrictEqual(columnsAt(columns, cell), expectedAt(until(sample, cell)));
      });
    }),
    { numRuns: long ? 2000 : 25 },
  );
  const sample = makeSample(3, 2, 9, 1, 0, SIZES);
  const columns = runningColumns(tableOf(sample.cells, 9), 9, undefined, 0);
  for (let cell = 0; cell < 18; cell++) {
    t.same(
      columnsAt(columns, cell),
      expectedAt(sample.cells.slice(cell - (cell % 9), cell + 1)),
      "without a past",
    );
  }
  t.end();
});

t.test("a window costs at most three unions a step, however long it is; running numbers cost one", (t) => {
  const times = 400;
  const table = tableOf(makeSample(5, 2, times, 1, 0, [1, 2, 3]).cells, times);
  for (const length of [1, 2, 3, 7, 28, 90, 199, 200, 399, 400, 1000]) {
    const { unions } = slidingColumns(table, times, length);
    t.ok(unions <= 3 * table.count, `${(unions / table.count).toFixed(2)} unions a step for ${length}`);
  }
  const { unions } = runningColumns(table, times, undefined, 0);
  t.ok(unions <= table.count, `${(unions / table.count).toFixed(2)} unions a step`);
  t.end();
});

t.test("the table that is read stays as it is", (t) => {
  const sample = makeSample(9, 2, 10, 4, 0, SIZES);
  const table = tableOf(sample.cells, 10);
  slidingColumns(table, 10, 4);
  runningColumns(table, 10, undefined, 0);
  sample.cells.forEach((cell, index) => t.ok(isUnion(table, index, [cell]), `cell ${index}`));
  t.end();
});

t.test("exact up to 1,024 viewers of a window, small up to 2,048, to the one", (t) => {
  for (const size of [1023, 1024, 1025, 2047, 2048, 2049]) {
    const viewers = Array.from({ length: size }, (_, viewer) => viewer);
    // The last is united when its window is measured, the one before as the window is made.
    const cells = [viewers.slice(0, 500), viewers.slice(500), []].map((each) => ({
      viewers: each,
      anonymous: 0,
      created: 0,
    }));
    const table = tableOf(cells, 3);
    const expected = expectedAt(cells);
    t.equal((expected as unknown[])[5], size <= 1024);
    t.same(columnsAt(slidingColumns(table, 3, 3), 2), expected, `${size} in one window`);
    t.same(columnsAt(slidingColumns(table, 3, 2), 1), expected, `${size} in a window of two`);
    t.same(
      columnsAt(slidingColumns(tableOf([cells[2]!, ...cells], 4), 4, 2), 2),
      expected,
      `${size} across two windows`,
    );
    t.same(columnsAt(runningColumns(table, 3, undefined, 0), 2), expected, `${size} running`);
  }
  t.end();
});
