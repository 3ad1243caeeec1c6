import { createHash } from "node:crypto";
import * as fc from "fast-check";
import t from "tap";
import { HyperLogLog } from "../../../engine/sketch/hyperloglog.js";
import { murmur3x64 } from "../../../engine/sketch/murmur3.js";
import { needsShared } from "../../support/env.js";
import {
  damage,
  fromHex,
  originalEstimate,
  Random,
  slowDecode,
  slowRegisters,
  toHex,
  VECTORS,
  vectorRows,
} from "./support.js";

/** After `hll_set_max_sparse(512)`, with which these files were written, and without. */
const MAX_SPARSE = 512;

function capped(registers: Uint8Array, regwidth: number): Uint8Array {
  const largest = 2 ** regwidth - 1;
  return registers.map((value) => Math.min(value, largest));
}

/** Registers, type and bytes of a sketch against a published state. */
function differs(sketch: HyperLogLog, hex: string, maxSparse: number | undefined): string | undefined {
  const expected = fromHex(hex);
  if (toHex(capped(sketch.registers(), 5)) !== toHex(slowDecode(expected))) return "registers";
  const bytes = sketch.toBytes(maxSparse === undefined ? {} : { maxSparse });
  if (bytes[0] !== expected[0]) return "type";
  return toHex(bytes) === toHex(expected) ? undefined : "bytes";
}

for (const name of ["edge", "random", "step"]) {
  const file = `cumulative_add_sparse_${name}`;
  t.test(`every add of ${file} gives the published registers, type and bytes`, needsShared(VECTORS), (t) => {
    const rows = vectorRows(file);
    const sketch = HyperLogLog.fromBytes(fromHex(rows[0]![2]!));
    const wrong = rows.flatMap(([cardinality, hash, hex], row) => {
      if (row > 0) sketch.addHash(BigInt(hash!));
      const difference = differs(sketch, hex!, name === "edge" ? MAX_SPARSE : undefined);
      const original = originalEstimate(sketch.registers());
      const isClose = Math.abs(original - Number(cardinality)) <= 1e-6 * original;
      return difference === undefined && isClose ? [] : [`row ${row}: ${difference ?? "cardinality"}`];
    });
    t.ok(rows.length > 500);
    t.same(wrong, []);
    t.end();
  });
}

for (const [name, maxSparse] of [
  ["comprehensive", undefined],
  ["explicit_explicit", undefined],
  ["explicit_promotion", MAX_SPARSE],
  ["sparse_promotion", MAX_SPARSE],
  ["sparse_sparse", undefined],
] as const) {
  const file = `cumulative_union_${name}`;
  t.test(
    `every union of ${file} gives the published registers, type and bytes`,
    needsShared(VECTORS),
    (t) => {
      const rows = vectorRows(file);
      const union = HyperLogLog.fromBytes(fromHex(rows[0]![3]!));
      const wrong = rows.flatMap(([, operand, , hex], row) => {
        const read = HyperLogLog.fromBytes(fromHex(operand!));
        const backwards = read.clone().merge(union);
        union.merge(read);
        const found = [
          differs(read, operand!, maxSparse),
          differs(union, hex!, maxSparse),
          differs(backwards, hex!, maxSparse),
        ];
        return found.flatMap((difference, i) =>
          difference === undefined ? [] : [`row ${row}.${i}: ${difference}`],
        );
      });
      t.ok(rows.length > 250);
      t.same(wrong, []);
      t.end();
    },
  );
}

const bigintHash = (value: bigint): bigint =>
  murmur3x64(Uint8Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n)));

t.test("the bytes of hll_hash_bigint(1…n) are PostgreSQL's", (t) => {
  const known: Array<[number, string, number]> = [
    [10, "117aeb5e", 27],
    [100, "6fc2655a", 239],
    [1000, "d17cb1ae", 2314],
    [5000, "47fe707a", 10176],
    [10_000, "bdef56ba", 10243],
    [40_960, "8585351b", 10243],
    [100_000, "a9ca0d00", 10243],
  ];
  const hex = new Map<number, string>([
    [1, "138e40112820"],
    [2, "138e4002a0222504"],
    [3, "138e4002a0222504b0c100"],
    [5, "138e4002a0222504b0c16d822dc6c2"],
  ]);
  const sketch = new HyperLogLog();
  for (let n = 1; n <= 100_000; n++) {
    sketch.addHash(bigintHash(BigInt(n)));
    if (hex.has(n)) t.equal(toHex(sketch.toBytes()), hex.get(n), `n = ${n}`);
    const file = known.find(([count]) => count === n);
    if (file === undefined) continue;
    const bytes = sketch.toBytes();
    const digest = createHash("md5").update(bytes).digest("hex");
    t.equal(bytes.length, file[2], `size at n = ${n}`);
    t.ok(digest.startsWith(file[1]), `${digest} at n = ${n}`);
  }
  const explicit = HyperLogLog.fromBytes(fromHex("118e7f"));
  explicit.addHash(bigintHash(1n));
  explicit.addHash(bigintHash(2n));
  t.equal(toHex(explicit.toBytes()), "128e7fde0820a06c76c0a8004403b7fb05c44a", "signed order");
  t.end();
});

t.test("headers of empty sketches are read, kept and written back", (t) => {
  for (const [hex, settings] of [
    ["118b7f", { log2m: 11, regwidth: 5, explicitThreshold: -1, sparse: true }],
    ["118e40", { log2m: 14, regwidth: 5, explicitThreshold: 0, sparse: true }],
    ["11ae7f", { log2m: 14, regwidth: 6, explicitThreshold: -1, sparse: true }],
    ["11ae09", { log2m: 14, regwidth: 6, explicitThreshold: 256, sparse: false }],
    ["11ac00", { log2m: 12, regwidth: 6, explicitThreshold: 0, sparse: false }],
    ["11f25f", { log2m: 18, regwidth: 8, explicitThreshold: 2 ** 30, sparse: true }],
  ] as const) {
    const sketch = HyperLogLog.fromBytes(fromHex(hex));
    t.same(sketch.settings, settings);
    t.same(sketch.estimate(), { value: 0, standardError: 0, exact: true });
    t.equal(toHex(sketch.toBytes()), hex);
  }
  t.equal(toHex(new HyperLogLog().toBytes()), "118e40");
  t.equal(toHex(new HyperLogLog({ log2m: 4 }).toBytes()), "118440");
  t.end();
});

const settingsArbitrary = fc.record({
  log2m: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 4, max: 12 }) },
    { weight: 1, arbitrary: fc.integer({ min: 13, max: 18 }) },
  ),
  regwidth: fc.integer({ min: 1, max: 8 }),
  cutoffCode: fc.constantFrom(0, 1, 2, 5, 8, 11, 17, 31, 63),
  sparse: fc.boolean(),
});

type RawSettings = { log2m: number; regwidth: number; cutoffCode: number; sparse: boolean };

function header(type: number, s: RawSettings): number[] {
  return [0x10 | type, ((s.regwidth - 1) << 5) | s.log2m, (s.sparse ? 0x40 : 0) | s.cutoffCode];
}

function packed(type: number, s: RawSettings, words: string[]): Uint8Array {
  const bits = words.join("");
  const bytes = header(type, s);
  for (let at = 0; at < bits.length; at += 8) bytes.push(parseInt(bits.slice(at, at + 8).padEnd(8, "0"), 2));
  return Uint8Array.from(bytes);
}

const binary = (value: number, width: number): string => value.toString(2).padStart(width, "0");

/** SPARSE and FULL bytes of the same registers, any values that fit, packed as strings of 0s and 1s. */
function bothForms(
  s: RawSettings,
  filled: number,
  seed: number,
): { sparse: Uint8Array; full: Uint8Array; smaller: string } {
  const random = new Random(seed);
  const registers = new Uint8Array(2 ** s.log2m);
  for (let i = 0; i < filled; i++) {
    registers[random.next() & (registers.length - 1)] = 1 + (random.next() % (2 ** s.regwidth - 1));
  }
  const full = [...registers].map((value) => binary(value, s.regwidth));
  const sparse = full.flatMap((bits, i) => (registers[i] === 0 ? [] : [binary(i, s.log2m) + bits]));
  const isSparse = s.sparse && sparse.length * (s.log2m + s.regwidth) < registers.length * s.regwidth;
  const result = { sparse: packed(3, s, sparse), full: packed(4, s, full) };
  return { ...result, smaller: toHex(isSparse ? result.sparse : result.full) };
}

t.test("what is read, SPARSE or FULL, of any settings, is written back in the smaller form", (t) => {
  fc.assert(
    fc.property(settingsArbitrary, fc.nat(), fc.nat(), (settings, filled, seed) => {
      const { sparse, full, smaller } = bothForms(settings, filled % (2 ** settings.log2m * 0.7), seed);
      const fromSparse = HyperLogLog.fromBytes(sparse);
      const fromFull = HyperLogLog.fromBytes(full);
      return (
        toHex(fromSparse.toBytes()) === smaller &&
        toHex(fromFull.toBytes()) === smaller &&
        toHex(fromFull.registers()) === toHex(slowDecode(full)) &&
        toHex(HyperLogLog.fromCanonicalBytes(fromFull.canonicalBytes()).toBytes()) === smaller
      );
    }),
    { numRuns: 60 },
  );
  t.pass("60 random sketches");
  t.end();
});

t.test(
  "EXPLICIT is written back while the hashes fit and becomes registers beyond, as in PostgreSQL",
  (t) => {
    fc.assert(
      fc.property(settingsArbitrary, fc.nat(400), fc.nat(), (settings, count, seed) => {
        const hashes = new Random(seed).hashes(count);
        const sketch = HyperLogLog.fromBytes(Uint8Array.from(header(1, settings)));
        for (const hash of hashes) sketch.addHash(hash);
        for (const hash of hashes) sketch.addHash(hash);
        const fullBytes = Math.ceil((settings.regwidth * 2 ** settings.log2m) / 8);
        const limit = settings.cutoffCode === 63 ? Math.floor(fullBytes / 8) : 2 ** (settings.cutoffCode - 1);
        const isExplicit = settings.cutoffCode > 0 && count <= limit && count > 0;
        const bytes = sketch.toBytes();
        const again = HyperLogLog.fromBytes(bytes);
        return (
          ((bytes[0]! & 15) === 2) === isExplicit &&
          toHex(capped(sketch.registers(), settings.regwidth)) ===
            toHex(slowRegisters(hashes, settings.log2m, 2 ** settings.regwidth - 1)) &&
          sketch.estimate().value === count &&
          toHex(again.toBytes()) === toHex(bytes) &&
          (!isExplicit || again.estimate().value === count)
        );
      }),
      { numRuns: 60 },
    );
    t.pass("60 random sets");
    t.end();
  },
);

t.test("values beyond the register width are written as the largest, and nothing else changes", (t) => {
  const sketch = new HyperLogLog({ log2m: 4 });
  sketch.addHash(0n);
  sketch.addHash(1n << 40n);
  sketch.addHash(0x8000000000000005n);
  t.equal(sketch.registers()[0], 61);
  t.equal(sketch.registers()[5], 60);
  t.equal(sketch.estimate().value, 3);
  // Index 0 and 5 of 4 bits, value 31 of 5 bits: 00001111 10101111 11 and padding.
  t.equal(toHex(sketch.toBytes()), "1384400fafc0");
  t.same(HyperLogLog.fromBytes(sketch.toBytes()).registers(), slowDecode(sketch.toBytes()));
  t.end();
});

t.test("damaged bytes are told as such, with what is wrong", (t) => {
  const cases: Array<[string, RegExp]> = [
    ["", /0 bytes are fewer/],
    ["118e", /2 bytes are fewer/],
    ["218e40", /version is 2/],
    ["018e40", /version is 0/],
    ["108e40", /UNDEFINED/],
    ["158e40", /type is 5/],
    ["1f8e40", /type is 15/],
    ["118340", /log2m is 3/],
    ["119340", /log2m is 19/],
    ["118ec0", /top bit/],
    ["118e60", /cut-off code is 32/],
    ["118e4000", /EMPTY/],
    ["128e7f00000000000000", /7 bytes are no multiple/],
    ["128e7f00000000000000020000000000000001", /hash 1 is not greater/],
    ["128e7f00000000000000020000000000000002", /hash 1 is not greater/],
    ["128e7f0000000000000001ffffffffffffffff", /hash 1 is not greater/],
    ["138b48000200", /8 bits of padding/],
    ["138b4800020002", /after register/],
    ["138b4800420002", /after register/],
    ["138b480000", /value 0/],
    ["138b48ff", /8 bits of padding/],
    ["138e40112821", /padding is not zero/],
    ["138440000000", /value 0/],
    ["1304400000", /value 0/],
    ["14844000", /1 bytes of registers, where 10 are due/],
    [`148440${"00".repeat(11)}`, /11 bytes of registers/],
    [`148440${"00".repeat(9)}`, /9 bytes of registers/],
  ];
  for (const [hex, reason] of cases) {
    t.match(
      damage(() => HyperLogLog.fromBytes(fromHex(hex))),
      reason,
      hex || "(nothing)",
    );
  }
  // 4 + 1 bits: one word, and 3 bits of padding; three words in two bytes; one word and a padding of a whole word.
  for (const hex of ["130440", "13044008", "13044008ca", "13044008c0"]) {
    t.same(HyperLogLog.fromBytes(fromHex(hex)).registers(), slowDecode(fromHex(hex)), hex);
  }
  t.end();
});

t.test("no flipped bit, cut or added byte makes anything but a sketch or storage-damaged", (t) => {
  let refused = 0;
  let read = 0;
  const tryBytes = (bytes: Uint8Array): void => {
    let sketch: HyperLogLog | undefined;
    if (damage(() => (sketch = HyperLogLog.fromBytes(bytes))) !== "") {
      refused++;
      return;
    }
    read++;
    const written = sketch!.toBytes();
    const value = sketch!.estimate().value;
    if (!(value >= 0)) t.fail(`estimate ${value} of ${toHex(bytes)}`);
    if (toHex(HyperLogLog.fromBytes(written).toBytes()) !== toHex(written)) t.fail(toHex(bytes));
  };
  const sources = ["118b48", "128e7fde0820a06c76c0a8004403b7fb05c44a", "138e4002a0222504b0c16d822dc6c2"].map(
    fromHex,
  );
  const full = new HyperLogLog({ log2m: 6 });
  for (const hash of new Random(1).hashes(3000)) full.addHash(hash);
  sources.push(full.toBytes());
  for (const source of sources) {
    for (let bit = 0; bit < source.length * 8; bit++) {
      const flipped = source.slice();
      flipped[bit >> 3]! ^= 0x80 >> (bit & 7);
      tryBytes(flipped);
    }
    for (let end = 0; end < source.length; end++) tryBytes(source.subarray(0, end));
    tryBytes(Uint8Array.from([...source, 0]));
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), tryBytes), { numRuns: 500 });
  fc.assert(
    fc.property(
      settingsArbitrary,
      fc.integer({ min: 1, max: 4 }),
      fc.uint8Array({ maxLength: 40 }),
      (s, type, data) =>
        tryBytes(Uint8Array.from([...header(type, { ...s, log2m: Math.min(s.log2m, 10) }), ...data])),
    ),
    { numRuns: 2000 },
  );
  t.ok(refused > 1000 && read > 100, `${refused} refused, ${read} read`);
  t.end();
});

t.test("damaged canonical bytes are told as such, and every canonical form comes back as it was", (t) => {
  const cases: Array<[string, RegExp]> = [
    ["", /empty/],
    ["03", /log2m is 3/],
    ["13", /log2m is 19/],
    ["8e", /settings are cut off/],
    ["8e8b4833", /contradict/],
    ["6e", /form is 3/],
    ["2e00", /1 registers, where 16384 are due/],
    [`a484401f${"20".repeat(16)}`, /register 0 is 32/],
    ["0e00", /listed twice/],
    ["0e4100", /listed twice/],
    ["0ec100", /more bytes/],
    ["0e80", /cut off/],
    ["0effffffffffff01", /too long/],
    ["0effffffff1f", /not a token/],
    ["0e40", /not a token/],
    ["0e28", /not a token/],
    ["ce8e7f33010203", /3 bytes are no multiple/],
  ];
  for (const [hex, reason] of cases) {
    t.match(
      damage(() => HyperLogLog.fromCanonicalBytes(fromHex(hex))),
      reason,
      hex || "(nothing)",
    );
  }
  const tooMany = [0x0e];
  for (let i = 0; i < 2049; i++) tooMany.push(0x80 | 0x40, 0x00 + 1);
  t.match(
    damage(() => HyperLogLog.fromCanonicalBytes(Uint8Array.from(tooMany))),
    /token/,
  );
  const random = new Random(3);
  for (const count of [0, 1, 2, 3, 50, 2048, 2049, 20_000]) {
    const sketch = new HyperLogLog({ log2m: 12 });
    for (const hash of random.hashes(count)) sketch.addHash(hash);
    const bytes = sketch.canonicalBytes();
    const framed = new Uint8Array(bytes.length + 3);
    framed.set(bytes, 3);
    const again = HyperLogLog.fromCanonicalBytes(framed.subarray(3));
    framed.fill(0);
    t.same(toHex(again.canonicalBytes()), toHex(bytes), `${count} elements`);
    t.same(again.estimate(), sketch.estimate());
    t.ok(bytes.length <= 1 + (count > 2048 ? 4096 : 5 * count), `${bytes.length} bytes for ${count}`);
  }
  t.end();
});
