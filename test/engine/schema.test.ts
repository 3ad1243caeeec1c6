import fc from "fast-check";
import t from "tap";
import { TidemarkError, defineSchema, type SchemaConfig } from "../../engine/index.js";
import { rollupCovering, rollupOf } from "../../engine/schema.js";
import { equal } from "../simulation/check.js";

t.test("without a word the stream is that of blogs, authors and countries", async (t) => {
  const schema = defineSchema();
  t.same(
    schema.rollups.map(({ name }) => name),
    ["blog×country", "author×country", "blog", "author", "country", "total"],
  );
  t.same(
    schema.rollups.map(({ finer }) => finer),
    [[], [], [0], [1], [0, 1], [0, 1, 2, 3, 4]],
  );
  t.equal(schema.dimensions[schema.subject], "blog");
  t.same(schema.remembered, [1]);
  t.equal(schema.maxArity, 2);
  t.equal(defineSchema({}).fingerprint, schema.fingerprint);
});

t.test("one line more declares a dimension; a rollup named in any order is the same", async (t) => {
  const dimensions = ["blog", "author", "country", "referrer"];
  const rollups = [[], ["referrer", "blog"], ["blog"]];
  const schema = defineSchema({ dimensions, rollups });
  const turned = defineSchema({ dimensions, rollups: [["blog"], ["blog", "referrer"], []] });
  t.equal(schema.fingerprint, turned.fingerprint, "the order of rollups says nothing");
  t.same(schema.rollups, turned.rollups);
  t.equal(rollupOf(schema, [0, 3])?.name, "blog×referrer");
  t.equal(rollupOf(schema, [3]), undefined);
  t.equal(rollupCovering(schema, [3])?.name, "blog×referrer", "what includes it answers for it");
  t.equal(rollupCovering(schema, [1]), undefined);
  const fingerprints = new Set(
    [
      {},
      { dimensions, rollups },
      { dimensions: dimensions.toReversed(), rollups },
      { identity: "reader" },
      { subject: "author" },
      { remembered: [] },
      { remembered: ["country"] },
      { rollups: [[]] },
    ].map((config) => defineSchema(config).fingerprint),
  );
  t.equal(fingerprints.size, 8, "whatever changes what is stored changes the fingerprint");
});

t.test("a declaration that cannot be kept is refused with a pointer to what is wrong", async (t) => {
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `d${i}`);
  const subsets = many(6).flatMap((a, i) =>
    many(6)
      .slice(i + 1)
      .map((b) => [a, b]),
  );
  const bad: readonly (readonly [SchemaConfig, string])[] = [
    [{ dimensions: [] }, "/dimensions"],
    [{ dimensions: ["blog", "blog"] }, "/dimensions"],
    [{ dimensions: ["blog", "viewer"] }, "/dimensions"],
    [{ identity: "blog" }, "/dimensions"],
    [{ identity: "id" }, "/dimensions"],
    ...[
      "type",
      "ts",
      "id",
      "time",
      "views",
      "viewers",
      "total",
      "Blog",
      "1st",
      "",
      "a-b",
      "__proto__",
      "é",
      "a".repeat(41),
    ].map((name) => [{ dimensions: ["blog", "author", "country", name] }, "/dimensions"] as const),
    [{ dimensions: [...many(14), "blog", "author", "country"] }, "/dimensions"],
    [{ subject: "viewer" }, "/subject"],
    [{ subject: "" }, "/subject"],
    [{ remembered: ["viewer"] }, "/remembered"],
    [{ rollups: [] }, "/rollups"],
    [{ rollups: [[], ["blog"], ["blog"]] }, "/rollups"],
    [
      {
        rollups: [
          ["blog", "author"],
          ["author", "blog"],
        ],
      },
      "/rollups",
    ],
    [{ rollups: [["blog", "blog"]] }, "/rollups/0"],
    [{ rollups: [[], ["viewer"]] }, "/rollups/1"],
    [
      {
        dimensions: many(6),
        subject: "d0",
        remembered: [],
        rollups: [...subsets, ...subsets.map((s) => [...s, "d5"]), [], ["d0"], ["d1"]],
      },
      "/rollups",
    ],
  ];
  for (const [config, pointer] of bad) {
    try {
      defineSchema(config);
      t.fail(`${JSON.stringify(config)} was taken`);
    } catch (error) {
      t.ok(error instanceof TidemarkError && error.code === "invalid-schema", JSON.stringify(config));
      t.equal((error as TidemarkError).pointer, pointer);
    }
  }
});

t.test(
  "finest first, and the covering rollup is the smallest that includes what is asked, for any declaration",
  async (t) => {
    const dimensions = ["a", "b", "c", "d", "e"];
    const sets = fc.uniqueArray(fc.nat(31), { minLength: 1, maxLength: 32 });
    const bits = (mask: number): number[] => dimensions.map((_, d) => d).filter((d) => (mask >> d) % 2 === 1);
    const property = fc.property(sets, fc.nat(31), (masks, asked) => {
      const rollups = masks.map((mask) => bits(mask).map((d) => dimensions[d]!));
      const schema = defineSchema({ dimensions, subject: "a", remembered: [], rollups });
      for (const { id, dims, finer } of schema.rollups) {
        const inside = schema.rollups
          .filter((r) => r.id !== id && dims.every((d) => r.dims.includes(d)))
          .map((r) => r.id);
        equal(finer, inside, "finer rollups");
        if (inside.some((other) => other > id)) throw new Error("a finer rollup comes later");
      }
      const covering = masks.filter((mask) => (mask & asked) === asked).map((mask) => bits(mask).length);
      const found = rollupCovering(schema, bits(asked));
      equal(
        found?.dims.length,
        covering.length === 0 ? undefined : Math.min(...covering),
        "size of the covering rollup",
      );
      equal(rollupOf(schema, bits(asked)) !== undefined, masks.includes(asked), "the rollup itself");
    });
    fc.assert(property, { numRuns: 1000, includeErrorInReport: true });
    t.pass("1,000 declarations");
  },
);
