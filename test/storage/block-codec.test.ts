import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { projectBlock } from "../../engine/hot/merge-blocks.js";
import type { CellBlock } from "../../engine/store.js";
import { BitReader, BitWriter } from "../../storage/block-bits.js";
import {
  blockChecksum,
  decodeBlock,
  decodeRow,
  decodeRows,
  encodeBlock,
  encodeBlocks,
} from "../../storage/block-codec.js";
import { ByteReader } from "../../storage/bytes.js";
import { crc32c } from "../../storage/crc32c.js";
import { MAX_CODED_BYTES, decodeRegisters, encodeRegisters } from "../../storage/registers.js";
import { anyBlock } from "./arbitraries.js";
import { encodeBlockV1 } from "./block-v1.js";
import { block } from "./samples.js";
import { codeThrown, hex } from "./support.js";

const SAMPLE: CellBlock = {
  rollup: 4,
  arity: 2,
  count: 3,
  keys: Uint32Array.of(2, 3, 2, 5, 300, 0),
  views: Float64Array.of(1, 300, 2 ** 40),
  anonymous: Float64Array.of(0, 1, 0),
  created: new Float64Array(3),
  tokenStart: Uint32Array.of(0, 1, 4, 4),
  tokens: Uint32Array.of(0x8000_0001, 5, 70, 0xffff_ffff),
  dense: new Map(),
};
const COARSE = projectBlock(SAMPLE, 1, 1);
const [STORED, DERIVED] = encodeBlocks([SAMPLE, COARSE]) as [Uint8Array, Uint8Array];
const sourceOf = (rollup: number): Uint8Array | undefined => (rollup === SAMPLE.rollup ? STORED : undefined);

/** What FORMAT.md shows, by the name of its example. */
const EXAMPLES: Readonly<Record<string, Uint8Array>> = {
  "cell block": encodeBlock(SAMPLE),
  "derived block": DERIVED,
  "cell block of version 1": encodeBlockV1(SAMPLE),
};

const ENCODERS = [encodeBlock, encodeBlockV1] as const;

t.test("FORMAT.md shows the bytes of blocks as they are", async (t) => {
  const text = readFileSync(new URL("../../storage/FORMAT.md", import.meta.url), "utf8");
  for (const [name, bytes] of Object.entries(EXAMPLES)) {
    const lines = new RegExp(`^Example, ${name}:\n\n((?: {4}[^\n]*\n)+)`, "m").exec(text)?.[1] ?? "";
    t.equal(lines.replaceAll(/ +·[^\n]*/g, "").replaceAll(/\s/g, ""), hex(bytes), name);
  }
});

t.test("the samples of FORMAT.md are read back", async () => {
  assert.deepEqual(decodeBlock(EXAMPLES["cell block"]!, "It"), SAMPLE);
  assert.deepEqual(decodeBlock(EXAMPLES["cell block of version 1"]!, "It"), SAMPLE);
  assert.deepEqual(decodeBlock(EXAMPLES["derived block"]!, "It", sourceOf), COARSE);
});

t.test("blocks of any shape are read back as written, in both versions", async (t) => {
  const property = fc.property(anyBlock, (sample) => {
    for (const encode of ENCODERS) assert.deepEqual(decodeBlock(encode(sample), "The block"), sample);
  });
  fc.assert(property, { numRuns: 40 });
  t.pass("held for every sample");
});

t.test("tokens of any rank and any distance come back exactly", async (t) => {
  const word = fc.oneof(
    fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    fc.nat(5000).map((n) => n + 1),
    fc.nat(5000).map((n) => 2 ** 32 - 1 - n),
    fc.nat(63).map((rank) => (12_345 << 6) | rank),
  );
  const rows = fc.array(fc.uniqueArray(word, { maxLength: 80 }), { minLength: 1, maxLength: 5 });
  const property = fc.property(rows, (sets) => {
    const sorted = sets.map((set) => set.sort((a, b) => a - b));
    const starts = [0, ...sorted.map((_, i) => sorted.slice(0, i + 1).flat().length)];
    const sample = {
      ...block(
        0,
        sorted.map((_, i) => [i]),
      ),
      tokenStart: Uint32Array.from(starts),
      tokens: Uint32Array.from(sorted.flat()),
    };
    assert.deepEqual(decodeBlock(encodeBlock(sample), "It"), sample);
  });
  fc.assert(property, { numRuns: 1000 });
  t.pass("1,000 blocks");
});

t.test("a set of thousands of tokens that lie as badly as can be comes back", async (t) => {
  // Each step takes half of what is left: the quotients are as great as they get.
  const halves = Array.from({ length: 26 }, (_, i) => (2 ** 26 - 2 ** (26 - i)) * 64 + 1);
  const ends = Array.from({ length: 3000 }, (_, i) => (2 ** 26 - 3000 + i) * 64 + 39);
  for (const tokens of [halves, ends, [...halves.slice(0, 14), ...ends].sort((a, b) => a - b)]) {
    const sample = {
      ...block(0, [[7]]),
      tokenStart: Uint32Array.of(0, tokens.length),
      tokens: Uint32Array.from(tokens),
    };
    t.same(decodeBlock(encodeBlock(sample), "It").tokens, sample.tokens);
  }
});

t.test("numbers up to 2^53 − 1 take every order, and a reader never runs past the end", async (t) => {
  const number = fc.oneof(
    fc.maxSafeNat(),
    fc.nat(1000),
    fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1),
  );
  const property = fc.property(fc.array(number, { maxLength: 30 }), fc.nat(15), (numbers, order) => {
    const writer = new BitWriter();
    writer.clear();
    writer.reserve(numbers.length * 128);
    for (const value of numbers) writer.number(value, order);
    const bytes = writer.bytes().slice();
    const reader = new BitReader();
    reader.load(bytes, 0, bytes.length, "It");
    assert.deepEqual(
      numbers.map(() => reader.number(order)),
      numbers,
    );
    reader.finish();
    reader.load(bytes, 0, Math.max(0, bytes.length - 8), "It");
    codeThrown(() => {
      for (let i = 0; i < 40; i++) reader.number(order);
    });
  });
  fc.assert(property, { numRuns: 500 });
  t.pass("500 columns");
});

/** Registers as n viewers leave them: max of n geometric ranks over 2^14 registers (Poisson). */
function registersOf(n: number, random: () => number): Uint8Array {
  return Uint8Array.from({ length: 16_384 }, () => {
    const u = random();
    let value = 0;
    while (value < 51 && Math.exp(-n / 16_384 / 2 ** value) < u) value++;
    return value;
  });
}

t.test("registers take their entropy: at most 5,950 bytes at any number of viewers", async (t) => {
  let state = 1;
  const random = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  for (const n of [0, 2049, 10_000, 30_000, 1e5, 1e6, 1e9]) {
    const registers = registersOf(n, random);
    const counts = new Map<number, number>();
    for (const value of registers) counts.set(value, (counts.get(value) ?? 0) + 1);
    let entropy = 0;
    for (const count of counts.values()) entropy -= (count * Math.log2(count / 16_384)) / 8;
    const out = new Uint8Array(MAX_CODED_BYTES);
    const end = encodeRegisters(registers, out, 0);
    assert.deepEqual(decodeRegisters(new ByteReader(out, "It", 0, end)), registers);
    t.ok(end <= 5950 && end <= entropy + 64, `${n} viewers: ${end} bytes, entropy ${entropy.toFixed(0)}`);
  }
});

t.test("one row is found in a block as the whole block has it", async (t) => {
  const other = fc.array(fc.nat(300), { minLength: 3, maxLength: 3 });
  const property = fc.property(anyBlock, fc.nat(), other, (sample, pick, ids) => {
    const { arity, count, keys } = sample;
    const absent = Uint32Array.from(ids.slice(0, arity));
    const key = count === 0 ? absent : keys.slice((pick % count) * arity, ((pick % count) + 1) * arity);
    for (const encode of ENCODERS) {
      const bytes = encode(sample);
      for (const wanted of [key, absent]) {
        assert.deepEqual(decodeRow(bytes, wanted, "The block"), partOf(sample, wanted));
      }
      for (let length = 0; length < arity; length++) {
        const prefix = key.subarray(0, length);
        assert.deepEqual(
          decodeRows(bytes, prefix, "The block"),
          partOf(sample, prefix),
          `prefix of ${length}`,
        );
      }
    }
  });
  fc.assert(property, { numRuns: 25 });
  t.pass("held for every sample");
});

/** The rows of a block whose key begins with `prefix`. */
function partOf(sample: CellBlock, prefix: Uint32Array): CellBlock | undefined {
  const { rollup, arity, count, keys, tokenStart, tokens, dense } = sample;
  const rows = Array.from({ length: count }, (_, row) => row).filter((row) =>
    prefix.every((id, i) => keys[row * arity + i] === id),
  );
  const [from, to] = [rows[0]!, (rows.at(-1) ?? 0) + 1];
  if (rows.length === 0) return undefined;
  return {
    rollup,
    arity,
    count: rows.length,
    keys: keys.slice(from * arity, to * arity),
    views: sample.views.slice(from, to),
    anonymous: sample.anonymous.slice(from, to),
    created: sample.created.slice(from, to),
    tokenStart: tokenStart.slice(from, to + 1).map((start) => start - tokenStart[from]!),
    tokens: tokens.slice(tokenStart[from], tokenStart[to]),
    dense: new Map(rows.flatMap((row) => (dense.has(row) ? [[row - from, dense.get(row)!] as const] : []))),
  };
}

t.test("a row is found without reading the groups that it is not in", async (t) => {
  const keys = Array.from({ length: 2000 }, (_, i) => [2 * i]);
  for (const encode of ENCODERS) {
    const bytes = encode(block(1, keys));
    bytes[bytes.length - 1]! ^= 1;
    t.equal(decodeRow(bytes, Uint32Array.of(20), "The block")?.views[0], 11);
    t.equal(decodeRow(bytes, Uint32Array.of(21), "The block"), undefined);
    t.equal(
      codeThrown(() => decodeRow(bytes, Uint32Array.of(3998), "The block")),
      "storage-damaged",
    );
    t.equal(
      codeThrown(() => decodeBlock(bytes, "The block")),
      "storage-damaged",
    );
    t.throws(() => decodeRow(bytes, Uint32Array.of(1, 2), "The block"), /BUG/);
  }
});

t.test("no bit of a block can turn, and no byte be lost or added, unnoticed", async (t) => {
  const registers = {
    ...SAMPLE,
    dense: new Map([[2, Uint8Array.from({ length: 16_384 }, (_, i) => i % 3)]]),
  };
  const cases: [string, Uint8Array, number][] = [
    ...Object.entries(EXAMPLES).map(([name, bytes]): [string, Uint8Array, number] => [name, bytes, 1]),
    ["registers", encodeBlock(registers), 29],
  ];
  for (const [name, good, every] of cases) {
    const read = (bytes: Uint8Array) => (): unknown => decodeBlock(bytes, "It", sourceOf);
    t.equal(codeThrown(read(good)), "none");
    for (let at = 0; at < good.length; at += every) {
      for (let bit = 0; bit < 8; bit++) {
        const bad = good.slice();
        bad[at]! ^= 1 << bit;
        assert.equal(codeThrown(read(bad)), "storage-damaged", `${name}, byte ${at}, bit ${bit}`);
      }
      assert.equal(codeThrown(read(good.slice(0, at))), "storage-damaged", `${name}, cut at ${at}`);
    }
    t.equal(codeThrown(read(Uint8Array.of(...good, 0))), "storage-damaged", `${name}, one byte more`);
  }
});

t.test("any damage of a large block is noticed", async (t) => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 3,
  });
  const property = fc.property(anyBlock, damage, (sample, places) => {
    for (const encode of ENCODERS) {
      const good = encode(sample);
      const bad = good.slice();
      for (const [place, mask] of places) bad[place % bad.length]! ^= mask;
      if (Buffer.compare(bad, good) === 0) continue;
      assert.equal(
        codeThrown(() => decodeBlock(bad, "It")),
        "storage-damaged",
      );
    }
  });
  fc.assert(property, { numRuns: 25 });
  t.pass("held for every sample");
});

t.test("another block has another checksum, and one of a later version is named as such", async (t) => {
  const other = { ...SAMPLE, views: SAMPLE.views.with(0, 2) };
  for (const encode of ENCODERS) {
    t.not(blockChecksum(encode(other), "It"), blockChecksum(encode(SAMPLE), "It"));
    const later = Buffer.from(encode(block(1, [[2]])));
    later[1] = 3;
    const indexEnd = 24 + 16;
    later.writeUInt32LE(crc32c(later, 0, indexEnd), indexEnd);
    t.equal(
      codeThrown(() => decodeBlock(later, "The block")),
      "storage-version",
    );
  }
  const later = Buffer.from(DERIVED);
  later[1] = 2;
  later.writeUInt32LE(crc32c(later, 0, 24), 24);
  t.equal(
    codeThrown(() => decodeBlock(later, "The block")),
    "storage-version",
  );
});

t.test("nonsense under right checksums is read or refused, but nothing else happens", async (t) => {
  const place = fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)));
  const places = fc.array(place, { minLength: 1, maxLength: 6 });
  const registers = Uint8Array.from({ length: 16_384 }, (_, i) => i % 5);
  const wide = { ...SAMPLE, dense: new Map([[2, registers]]) };
  const goods = ENCODERS.flatMap((encode) => [encode(SAMPLE), encode(wide)]);
  const property = fc.property(places, (changes) => {
    for (const good of goods) {
      const bytes = Buffer.from(good);
      const indexEnd = 24 + 20;
      for (const [at, value] of changes) bytes[4 + (at % Math.min(200, bytes.length - 4))] = value;
      bytes.writeUInt32LE(1, 16);
      bytes.writeUInt32LE(0, 24);
      bytes.writeUInt32LE(bytes.length - indexEnd - 4, 20);
      bytes.writeUInt32LE(crc32c(bytes, indexEnd + 4), 28);
      bytes.writeUInt32LE(crc32c(bytes, 0, indexEnd), indexEnd);
      codeThrown(() => decodeBlock(bytes, "It"));
      codeThrown(() => decodeRow(bytes, Uint32Array.of(2, 5), "It"));
      codeThrown(() => decodeRows(bytes, Uint32Array.of(2), "It"));
    }
  });
  fc.assert(property, { numRuns: 1500 });
  t.pass("held for every sample");
});

/** A block as events leave it: with tokens that hashes can give, whose ranks are 1 to 39. */
function fineBlock(sample: CellBlock): CellBlock {
  const sets = Array.from({ length: sample.count }, (_, row) => {
    const tokens = sample.tokens.subarray(sample.tokenStart[row], sample.tokenStart[row + 1]);
    return [...new Set(Array.from(tokens, (token) => (token - (token % 64) + 1 + (token % 39)) >>> 0))].sort(
      (a, b) => a - b,
    );
  });
  const tokenStart = new Uint32Array(sample.count + 1);
  for (const [row, set] of sets.entries()) tokenStart[row + 1] = tokenStart[row]! + set.length;
  const counters = { views: sample.views, anonymous: sample.anonymous, created: sample.created };
  const bounded = Object.entries(counters).map(([name, column]) => [name, column.map((n) => n % 2 ** 40)]);
  const tokens = Uint32Array.from(sets.flat());
  return { ...sample, rollup: 0, tokenStart, tokens, ...Object.fromEntries(bounded) };
}

t.test("blocks that are the sums of finer ones are derived, and read back as they were", async (t) => {
  const property = fc.property(anyBlock, fc.nat(), (sample, pick) => {
    const fine = fineBlock(sample);
    const coarse = Array.from({ length: fine.arity }, (_, arity) => projectBlock(fine, 1 + arity, arity));
    const blocks = [...coarse, fine];
    const encoded = encodeBlocks(blocks);
    const bytesOf = (rollup: number): Uint8Array | undefined =>
      encoded[blocks.findIndex((one) => one.rollup === rollup)];
    blocks.forEach((one, i) => {
      assert.deepEqual(decodeBlock(encoded[i]!, "It", bytesOf), one);
      assert.equal(
        encoded[i]!.length === 28 && one.count > 0,
        one.arity > 0 && one !== fine && one.count > 0,
      );
      if (one.count === 0) return;
      const row = pick % one.count;
      const key = one.keys.slice(row * one.arity, (row + 1) * one.arity);
      assert.deepEqual(decodeRow(encoded[i]!, key, "It", bytesOf), partOf(one, key));
      const beyond = key.map((id) => id + 1_000_000_000);
      if (one.arity > 0) assert.equal(decodeRow(encoded[i]!, beyond, "It", bytesOf), undefined);
    });
  });
  fc.assert(property, { numRuns: 25 });
  t.pass("held for every sample");
});

t.test("a block that differs from the sum of the finer one in one number is stored itself", async (t) => {
  const column = fc.constantFrom("views", "anonymous", "created", "tokens", "keys" as const);
  const property = fc.property(anyBlock, column, fc.nat(), (sample, name, pick) => {
    const fine = fineBlock(sample);
    if (fine.arity < 2 || fine.count === 0) return;
    const sum = projectBlock(fine, 1, fine.arity - 1);
    if (sum[name].length === 0) return;
    const at = name === "keys" ? sum.keys.length - 1 : pick % sum[name].length;
    const changed = { ...sum, [name]: sum[name].map((value, i) => (i === at ? value ^ 1 : value)) };
    const encoded = (() => {
      try {
        return encodeBlocks([fine, changed])[1];
      } catch (error) {
        // The change made it a block that cannot be.
        assert.match(String(error), /BUG/);
        return undefined;
      }
    })();
    if (encoded !== undefined) assert.deepEqual(decodeBlock(encoded, "It"), changed);
  });
  fc.assert(property, { numRuns: 25 });
  t.pass("held for every sample");
});

t.test("a derived block without the very block that it is made from is damage", async (t) => {
  const other = encodeBlock({ ...SAMPLE, views: SAMPLE.views.with(0, 2) });
  for (const wrong of [undefined, other, DERIVED, encodeBlockV1(SAMPLE)]) {
    t.equal(
      codeThrown(() => decodeBlock(DERIVED, "It", () => wrong)),
      "storage-damaged",
    );
    t.equal(
      codeThrown(() => decodeRow(DERIVED, Uint32Array.of(2), "It", () => wrong)),
      "storage-damaged",
    );
  }
  t.equal(
    codeThrown(() => decodeBlock(DERIVED, "It")),
    "storage-damaged",
  );
});
