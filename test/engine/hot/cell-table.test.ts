import fc from "fast-check";
import t from "tap";
import { CellIndex } from "../../../engine/hot/cell-index.js";
import { CellTable } from "../../../engine/hot/cell-table.js";
import { grownLength } from "../../../engine/hot/column.js";
import { mulberry32 } from "../../support/random.js";

t.test("a table finds each of its cells, and no other, however its index was split", (t) => {
  const table = new CellTable(2);
  const random = mulberry32(5);
  const cells = new Map<string, number>();
  const key = new Uint32Array(2);
  // Beyond 26,214 cells the first bucket is split, and then its parts.
  for (let i = 0; i < 200_000; i++) {
    key[0] = Math.floor(random() * 1000);
    key[1] = Math.floor(random() * 1000);
    const rollup = i % 3;
    const name = `${rollup} ${key[0]} ${key[1]}`;
    const cell = table.upsert(rollup, key);
    const known = cells.get(name);
    if (known === undefined) cells.set(name, cell);
    else if (known !== cell) t.fail(`${name} is cell ${cell}, and was ${known}`);
    table.views[cell]!++;
  }
  t.equal(table.count, cells.size, "one cell a key");
  t.equal(
    table.views.subarray(0, table.count).reduce((sum, views) => sum + views, 0),
    200_000,
    "columns that grew kept what they had",
  );
  let wrong = 0;
  for (const [name, cell] of cells) {
    const [rollup, first, second] = name.split(" ").map(Number) as [number, number, number];
    if (table.find(rollup, Uint32Array.of(first, second)) !== cell) wrong++;
    if (table.find(rollup, Uint32Array.of(first + 1000, second)) !== -1) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});

t.test("an index holds cells whose hashes agree in all bits that choose their bucket", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.nat(2 ** 11 - 1), (count, low) => {
      const hashOf = (cell: number): number => (((cell % 97) << 20) | low) >>> 0;
      const index = new CellIndex(hashOf, 1);
      for (let cell = 0; cell < count; cell++) index.add(cell);
      const found = new Set<number>();
      const { slots } = index.bucketOf(low);
      for (const held of slots) if (held !== 0) found.add((held & 0x3ff_ffff) - 1);
      return found.size === count;
    }),
  );
  t.end();
});

t.test("cells that the directory cannot tell apart make their bucket larger than others become", (t) => {
  const index = new CellIndex((cell) => ((Math.imul(cell, 0x9e37_79b1) << 11) | 77) >>> 0, 1);
  for (let cell = 0; cell < 40_000; cell++) index.add(cell);
  t.equal(index.bucketOf(77).used, 40_000);
  t.equal(index.bucketOf(76).used, 0, "the others are empty");
  t.end();
});

t.test("columns of a large table grow at different lengths, each by half and more", (t) => {
  const lengths = [0, 1, 2, 3, 4].map((column) => grownLength(1_000_000, column));
  t.equal(new Set(lengths).size, lengths.length);
  t.ok(Math.min(...lengths) > 1_500_000);
  for (const cells of [1, 8, 1024, 1025, 65_535, 65_536]) t.ok(grownLength(cells, 4) > cells, `${cells}`);
  t.end();
});
