import t from "tap";
import { HyperLogLog } from "../../../engine/sketch/hyperloglog.js";
import { murmur3x64 } from "../../../engine/sketch/murmur3.js";
import { needs } from "../../support/env.js";
import { obstacle, Postgres } from "./postgres.js";
import { fromHex, originalEstimate, Random, toHex } from "./support.js";

const SKETCHES = 1000;

function littleEndian(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** Sizes from 0 to some tens of thousands, small ones as often as large ones; log2m from 4 to 14. */
function ourSketches(): HyperLogLog[] {
  const random = new Random(2026);
  return Array.from({ length: SKETCHES }, (_, i) => {
    const sketch = new HyperLogLog({ log2m: 4 + (i % 11) });
    const count = Math.floor(2 ** ((random.next() / 2 ** 32) * 15)) - 1;
    for (let k = 0; k < count; k++) sketch.addHashParts(random.next(), random.next());
    return sketch;
  });
}

function copy(table: string, rows: string[]): string {
  return `copy ${table} from stdin;\n${rows.join("\n")}\n\\.\n`;
}

const hex = (sketch: HyperLogLog): string => `\\x${toHex(sketch.toBytes())}`;

t.test("PostgreSQL's hll", needs(obstacle === "", obstacle), (t) => {
  const postgres = new Postgres();
  t.teardown(() => postgres.stop());
  const sketches = ourSketches();
  postgres.query(
    `create table ours (id int primary key, log2m int, s hll);\n${copy(
      "ours",
      sketches.map((sketch, i) => `${i}\t${sketch.log2m}\t\\${hex(sketch)}`),
    )}`,
  );

  t.test("reads 1,000 of our sketches to the same registers and writes the same bytes", (t) => {
    const rows = postgres.query(
      "select id, hll_cardinality(s), # s, s || hll_empty(log2m, 5, 0, 1), hll_log2m(s), hll_regwidth(s) from ours order by id;",
    );
    const wrong = rows.flatMap(([id, cardinality, sharp, bytes, log2m, regwidth]) => {
      const sketch = sketches[Number(id)]!;
      const expected = originalEstimate(sketch.registers());
      const isClose = Math.abs(Number(cardinality) - expected) <= 1e-9 * expected && sharp === cardinality;
      const isSame = bytes === hex(sketch) && Number(log2m) === sketch.log2m && regwidth === "5";
      return isClose && isSame ? [] : [`${id}: ${cardinality} for ${expected}, ${bytes!.slice(0, 40)}`];
    });
    t.equal(rows.length, SKETCHES);
    t.same(wrong, []);
    t.end();
  });

  t.test("unites our sketches to the bytes that we unite them to", (t) => {
    const pairs = postgres.query(
      `select a.id, b.id, a.s || b.s from ours a join ours b on b.id = (a.id + 11 * 7) % ${SKETCHES - 10} and a.log2m = b.log2m;`,
    );
    const wrong = pairs.filter(([a, b, bytes]) => {
      const union = sketches[Number(a)]!.clone().merge(sketches[Number(b)]!);
      return hex(union) !== bytes;
    });
    t.ok(pairs.length > 900, `${pairs.length} pairs`);
    t.same(wrong.length, 0);
    const all = postgres.query("select log2m, hll_union_agg(s) from ours group by log2m;");
    for (const [log2m, bytes] of all) {
      const union = new HyperLogLog({ log2m: Number(log2m) });
      for (const sketch of sketches) if (sketch.log2m === Number(log2m)) union.merge(sketch);
      t.equal(toHex(fromHex(bytes!)), toHex(union.toBytes()), `hll_union_agg at log2m ${log2m}`);
    }
    t.equal(all.length, 11);
    t.end();
  });

  t.test("builds from texts the bytes that we build", (t) => {
    for (const count of [1, 2, 5, 50, 500, 1024, 1500, 2048, 2049, 5000, 20_000, 100_000]) {
      const [[bytes]] = postgres.query(
        `select hll_add_agg(hll_hash_text('viewer-' || i), 14, 5, 0, 1) from generate_series(1, ${count}) i;`,
      ) as [[string]];
      const ours = new HyperLogLog();
      for (let i = 1; i <= count; i++) ours.add(`viewer-${i}`);
      t.equal(hex(ours), bytes, `${count} viewers`);
      t.equal(toHex(HyperLogLog.fromBytes(fromHex(bytes)).registers()), toHex(ours.registers()));
    }
    t.end();
  });

  t.test("hashes every text as we do", (t) => {
    const texts = [
      "",
      " ",
      "é",
      "日本語",
      "👩‍🚀",
      "\u0001",
      "\u{10ffff}",
      "\ufeff",
      "ß".repeat(300),
      "a".repeat(5000),
    ];
    for (let length = 0; length < 70; length++) texts.push("0123456789abcdefé".repeat(5).slice(0, length));
    const encoded = texts.map((text) => `(convert_from('\\x${Buffer.from(text).toString("hex")}', 'UTF8'))`);
    const rows = postgres.query(`select hll_hash_text(t) from (values ${encoded.join(", ")}) v(t);`);
    t.same(
      rows.map(([hash]) => BigInt(hash!)),
      texts.map((text) => BigInt.asIntN(64, murmur3x64(text))),
    );
    t.end();
  });

  t.test("in 400 other settings, writes bytes that we read, keep and grow as it does", (t) => {
    const random = new Random(7);
    const pick = (values: number[]): number => values[random.next() % values.length]!;
    const settings = Array.from({ length: 400 }, (_, id) =>
      [
        id,
        4 + (random.next() % 11),
        pick([1, 2, 3, 4, 5, 6, 7]),
        pick([-1, 0, 1, 64, 128]),
        pick([0, 1]),
        1 + Math.floor(2 ** ((random.next() / 2 ** 32) * 12)),
      ].join("\t"),
    );
    const rows = postgres.query(
      `create table settings (id int, log2m int, regwidth int, expthresh bigint, sparse int, n int);
       ${copy("settings", settings)}
       select n, hll_empty(log2m, regwidth, expthresh, sparse), (select hll_add_agg(hll_hash_bigint(i), log2m, regwidth, expthresh, sparse)
         from generate_series(1, n) i) from settings order by id;`,
    );
    const wrong = rows.filter(([n, empty, bytes]) => {
      const grown = HyperLogLog.fromBytes(fromHex(empty!));
      for (let i = 1; i <= Number(n); i++) grown.addHash(murmur3x64(littleEndian(i)));
      const read = HyperLogLog.fromBytes(fromHex(bytes!));
      return hex(grown) !== bytes || hex(read) !== bytes || hex(grown.merge(read)) !== bytes;
    });
    t.equal(rows.length, 400);
    t.same(
      wrong.map((row) => row.join(" ").slice(0, 80)),
      [],
    );
    t.end();
  });
  t.end();
});
