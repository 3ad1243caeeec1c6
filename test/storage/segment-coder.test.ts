/** What segments are coded with, and where they end. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { ByteReader, ByteWriter } from "../../storage/bytes.js";
import * as coder from "../../storage/range-coder.js";
import { scaled, SymbolModel, unzigzag, zigzag } from "../../storage/segment-model.js";
import { nextSegment, type SegmentLimits } from "../../storage/segment-plan.js";
import { readTexts, writeTexts } from "../../storage/segment-texts.js";
import {
  decodeMagnitude,
  encodeMagnitude,
  magnitudeSymbol,
  MAGNITUDE_SYMBOLS,
} from "../../storage/segment-times.js";
import { codeThrown } from "./support.js";
import { atOnce } from "../../engine/sliced.js";

/** One thing that is coded. */
type Step =
  | { readonly kind: "bit"; readonly at: number; readonly bit: 0 | 1 }
  | { readonly kind: "direct"; readonly value: number; readonly bits: number }
  | { readonly kind: "frequency"; readonly start: number; readonly size: number; readonly total: number }
  | { readonly kind: "tree"; readonly symbol: number }
  | { readonly kind: "number"; readonly value: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("bit" as const), at: fc.nat(2), bit: fc.constantFrom(0, 0, 0, 0, 1) }),
  fc.tuple(fc.nat(53), fc.maxSafeNat(), fc.nat(3)).map(([bits, value, edge]) => ({
    kind: "direct" as const,
    bits,
    value: edge === 0 ? 0 : edge === 1 ? 2 ** bits - 1 : value % 2 ** bits,
  })),
  fc
    .tuple(fc.integer({ min: 1, max: coder.MAX_TOTAL }), fc.maxSafeNat(), fc.maxSafeNat())
    .map(([total, a, b]) => {
      const start = a % total;
      return { kind: "frequency" as const, total, start, size: 1 + (b % (total - start)) };
    }),
  fc.record({ kind: fc.constant("tree" as const), symbol: fc.nat(63) }),
  fc.record({
    kind: fc.constant("number" as const),
    value: fc.oneof(
      fc.nat(300),
      fc.maxSafeNat().map((n) => Math.min(n, 2 ** 53 - 2)),
    ),
  }),
);

function encodeSteps(steps: readonly Step[], prefix = 0): Uint8Array {
  const writer = new ByteWriter();
  for (let i = 0; i < prefix; i++) writer.u8(255);
  const encoder = new coder.RangeEncoder(writer);
  const [bits, tree, numbers] = [
    coder.createProbabilities(3),
    coder.treeProbabilities(6),
    coder.numberProbabilities(),
  ];
  for (const step of steps) {
    if (step.kind === "bit") encoder.bit(bits, step.at, step.bit);
    else if (step.kind === "direct") encoder.direct(step.value, step.bits);
    else if (step.kind === "frequency") encoder.frequency(step.start, step.size, step.total);
    else if (step.kind === "tree") coder.encodeTree(encoder, tree, step.symbol, 6);
    else coder.encodeNumber(encoder, numbers, step.value);
  }
  encoder.finish();
  return writer.take();
}

/** Whether the bytes say these steps. */
function decodesAs(bytes: Uint8Array, steps: readonly Step[], prefix = 0): boolean {
  const decoder = new coder.RangeDecoder(bytes, prefix, bytes.length);
  const [bits, tree, numbers] = [
    coder.createProbabilities(3),
    coder.treeProbabilities(6),
    coder.numberProbabilities(),
  ];
  let isSame = true;
  for (const step of steps) {
    if (step.kind === "bit") isSame &&= decoder.bit(bits, step.at) === step.bit;
    else if (step.kind === "direct") isSame &&= decoder.direct(step.bits) === step.value;
    else if (step.kind === "frequency") {
      const part = decoder.part(step.total);
      isSame &&= part >= step.start && part < step.start + step.size;
      decoder.take(step.start, step.size, step.total);
    } else if (step.kind === "tree") isSame &&= coder.decodeTree(decoder, tree, 6) === step.symbol;
    else isSame &&= coder.decodeNumber(decoder, numbers) === step.value;
  }
  decoder.finish();
  return isSame;
}

t.test("whatever is range-coded is decoded, and touches nothing written before it", async (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 200 }), fc.nat(3), (steps, prefix) => {
      const bytes = encodeSteps(steps, prefix);
      assert.deepEqual([...bytes.subarray(0, prefix)], Array<number>(prefix).fill(255));
      assert.ok(decodesAs(bytes, steps, prefix));
    }),
    { numRuns: 500 },
  );
  t.pass("held for every sample");
});

t.test(
  "a range-coded stream that was cut, lengthened or changed is refused or read, but it ends",
  async (t) => {
    fc.assert(
      fc.property(
        fc.array(anyStep, { minLength: 1, maxLength: 60 }),
        fc.nat(),
        fc.nat(255),
        (steps, place, value) => {
          const good = encodeSteps(steps);
          const longer = Buffer.concat([good, Uint8Array.of(value, value, value, value, value)]);
          // Read as something else it may end anywhere; the checksum around it is what refuses that.
          let isTaken = false;
          codeThrown(() => {
            isTaken = decodesAs(longer, steps);
          });
          assert.equal(isTaken, false);
          const bad = good.slice();
          if (bad.length > 0) bad[place % bad.length] = value;
          codeThrown(() => decodesAs(bad, steps));
          codeThrown(() => decodesAs(good.subarray(0, place % (good.length + 1)), steps));
        },
      ),
      { numRuns: 500 },
    );
    const zeros = new coder.RangeDecoder(new Uint8Array(0), 0, 0);
    t.throws(
      () => {
        for (let i = 0; i < 100; i++) zeros.direct(16);
      },
      { code: "storage-damaged" },
    );
  },
);

t.test("a coded symbol takes the bits that its probability asks for", async (t) => {
  const random = fc.sample(fc.double({ min: 0, max: 1, noNaN: true }), { numRuns: 20_000, seed: 1 });
  const bits = random.map((x): 0 | 1 => (x < 0.05 ? 1 : 0));
  const writer = new ByteWriter();
  const encoder = new coder.RangeEncoder(writer, 6);
  const probabilities = coder.createProbabilities(1);
  for (const bit of bits) encoder.bit(probabilities, 0, bit);
  encoder.finish();
  const ones = bits.filter((bit) => bit === 1).length / bits.length;
  const entropy = -(ones * Math.log2(ones) + (1 - ones) * Math.log2(1 - ones));
  t.ok(
    (writer.length * 8) / bits.length < entropy * 1.04,
    `${(writer.length * 8) / bits.length} of ${entropy}`,
  );
  const counts = Uint32Array.of(1000, 0, 500, 30, 1);
  const model = new SymbolModel(counts);
  writer.length = 0;
  const symbols = new coder.RangeEncoder(writer);
  let ideal = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let i = 0; i < counts[symbol]!; i++) model.encode(symbols, symbol);
    if (counts[symbol]! > 0) ideal += counts[symbol]! * Math.log2(1531 / counts[symbol]!);
  }
  symbols.finish();
  t.ok(writer.length * 8 < ideal * 1.002 + 16, `${writer.length * 8} of ${ideal}`);
  t.throws(() => model.encode(symbols, 1), /BUG/, "what was not counted has no code");
});

t.test("numbers by magnitude and by sign are read back, to the greatest", async (t) => {
  const anyWhole = fc.oneof(
    fc.nat(200),
    fc.nat(60).map((n) => Math.min(2 ** n, 2 ** 53) - 1),
    fc.maxSafeNat(),
  );
  fc.assert(
    fc.property(fc.array(anyWhole, { minLength: 1, maxLength: 50 }), (values) => {
      const counts = new Uint32Array(MAGNITUDE_SYMBOLS);
      for (const value of values) counts[magnitudeSymbol(value)]!++;
      const model = new SymbolModel(counts);
      const writer = new ByteWriter();
      const encoder = new coder.RangeEncoder(writer);
      for (const value of values) encodeMagnitude(encoder, model, value);
      encoder.finish();
      const bytes = writer.take();
      const decoder = new coder.RangeDecoder(bytes, 0, bytes.length);
      assert.deepEqual(
        values.map(() => decodeMagnitude(decoder, model)),
        values,
      );
      for (const value of values) {
        const small = 1 + (value % 2 ** 50);
        assert.equal(unzigzag(zigzag(small)), small);
        assert.equal(unzigzag(zigzag(-small)), -small);
      }
    }),
  );
  const large = scaled(Uint32Array.of(2 ** 31, 5, 0, 2 ** 30));
  t.ok(large.reduce((sum, count) => sum + count, 0) <= coder.MAX_TOTAL);
  t.equal(large[2], 0);
  t.ok(large[1]! > 0, "what occurs can be coded");
});

t.test("lists of texts of any length are read back", async (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 60 })), fc.nat(2000), (texts, repeat) => {
      const list = [
        ...texts,
        ...Array.from({ length: repeat }, (_, i) => `https://example.org/${i}/${"x".repeat(50)}`),
      ];
      const writer = new ByteWriter();
      atOnce(writeTexts(writer, list));
      const reader = new ByteReader(writer.take(), "It");
      assert.deepEqual(atOnce(readTexts(reader)), list);
      reader.finish();
    }),
    { numRuns: 40 },
  );
  t.pass("held for every sample");
});

t.test("the next segment ends where its limits say, and few records are left alone", async (t) => {
  const limits: SegmentLimits = { events: 100, records: 10, bytes: 1000, spanMs: 50 };
  const rows =
    (list: readonly (readonly [events: number, bytes: number, receivedAt: number])[]) => (at: number) => {
      const [events, bytes, receivedAt] = list[at - 1]!;
      return { events, bytes, receivedAt };
    };
  const many = (count: number, row: readonly [number, number, number]) =>
    rows(Array.from({ length: count }, () => row));
  t.equal(nextSegment(1, 10, many(9, [1, 1, 0]), limits), 1, "too few of all");
  t.equal(nextSegment(1, 11, many(10, [1, 1, 0]), limits), 11, "as many records");
  t.equal(nextSegment(1, 4, many(3, [40, 1, 0]), limits), 3, "no more than as many events");
  t.equal(nextSegment(1, 6, many(5, [1, 300, 0]), limits), 4, "no more than as many bytes");
  t.equal(nextSegment(1, 3, many(2, [5000, 1, 0]), limits), 2, "one record, however large");
  const days = rows(Array.from({ length: 12 }, (_, i) => [1, 1, i * 20] as const));
  t.equal(nextSegment(1, 13, days, limits), 4, "no longer than its span");
  t.equal(nextSegment(1, 1, days, limits), 1, "nothing of nothing");
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(60), fc.nat(600), fc.nat(200)), { minLength: 1, maxLength: 40 }),
      (list) => {
        const at = rows(list);
        const to = nextSegment(1, list.length + 1, at, limits);
        assert.ok(to >= 1 && to <= list.length + 1);
        if (to <= 2) return;
        const part = list.slice(0, to - 1);
        assert.ok(part.reduce((sum, [events]) => sum + events, 0) <= limits.events);
        assert.ok(part.reduce((sum, [, bytes]) => sum + bytes, 0) <= limits.bytes);
        assert.ok(part.length <= limits.records);
        for (const [, , receivedAt] of part) assert.ok(Math.abs(receivedAt - part[0]![2]) <= limits.spanMs);
      },
    ),
  );
});
