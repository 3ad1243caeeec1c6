import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER, type LogRecord } from "../../engine/log.js";
import type { QuarantineChunk } from "../../engine/quarantine-port.js";
import { ByteReader, ByteWriter } from "../../storage/bytes.js";
import { crc32c } from "../../storage/crc32c.js";
import { checkFormat, encodeFormat } from "../../storage/format.js";
import {
  bucketKey,
  HEAD,
  logKey,
  metaKey,
  pageKey,
  positionOf,
  startOf,
  VALUES,
} from "../../storage/keys.js";
import { decodeRecord, encodeRecord } from "../../storage/log-codec.js";
import { decodeChunk, decodeState, encodeChunk, encodeState } from "../../storage/quarantine-codec.js";
import * as codec from "../../storage/store-codec.js";
import { anyRecord } from "./arbitraries.js";
import { anyLogRecord } from "./contract-log.js";
import { plainRecord, record } from "./samples.js";
import { codeThrown, hex } from "./support.js";

const SAMPLE_RECORD: LogRecord = {
  receivedAt: 1_750_000_000_000,
  events: {
    count: 3,
    flags: Uint8Array.of(FLAG_VIEWER, FLAG_CREATED, FLAG_VIEWER | FLAG_ID),
    ts: Float64Array.of(1_750_000_000_000, 1_750_000_000_040, 1_749_999_999_990),
    dims: [Uint32Array.of(1, 2, 1), Uint32Array.of(0, 0, 1), Uint32Array.of(0, 0, 0)],
    values: [["a", "über"], ["anna"], []],
    viewerLo: Uint32Array.of(0x0102_0304, 0, 0xffff_fffe),
    viewerHi: Uint16Array.of(0x0506, 0, 0x8000),
    idLo: Uint32Array.of(0, 0, 0xdead_beef),
    idHi: Uint32Array.of(0, 0, 0x0bad_cafe),
  },
  claim: { key: "k", bodyHash: "0123456789abcdef", reply: "{}" },
  backfill: true,
};

/** The same, but no backfill, as version 1 wrote it. */
const RECORD_V1 = Buffer.from(
  "4c010000c00d4277794203030302016105c3bc6265720104616e6e610001120680f086c2ee65506301020100000104030201" +
    "0605feffffff0080efbeaddefecaad0b016b1030313233343536373839616263646566027b7db1e5d98f",
  "hex",
);

const HEAD_KEY = bucketKey(0, "hour", HEAD, 3_600_000);
const META_KEY = metaKey("meta");
const SAMPLE_HEAD: codec.HeadRecord = {
  revision: 2,
  position: 300,
  blocks: [{ rollup: 4, rows: 3, sizeBytes: 90, checksum: 0xcafe_f00d }],
};
const SAMPLE_META: codec.MetaRecord = {
  meta: {
    schema: "s",
    generation: 7,
    position: 300,
    watermark: 1_750_000_000_000,
    sealedUntil: { UTC: Number.NEGATIVE_INFINITY },
    dedupeFrom: 1,
    reach: { "UTC quarter": 900_000 },
    incomplete: [{ tier: null, fromMs: Number.NEGATIVE_INFINITY, toMs: 0 }],
  },
  counts: {
    buckets: 130,
    headKeys: 0x0102_0304,
    values: [3, 0],
    rememberedPages: [0, 1],
    revisions: { first: 3, next: 5 },
  },
};
const PAGE_KEY = pageKey(VALUES, 1, 0);

const SAMPLE_CHUNK: QuarantineChunk = {
  name: 5,
  reason: "too-far-ahead",
  receivedAt: 1_750_000_000_000,
  ids: [5, 7],
  events: {
    count: 2,
    flags: Uint8Array.of(FLAG_VIEWER, FLAG_ID),
    ts: Float64Array.of(1_750_003_600_000, 1_750_003_600_040),
    dims: [Uint32Array.of(1, 1), Uint32Array.of(0, 0)],
    values: [["a"], []],
    viewerLo: Uint32Array.of(0x0102_0304, 0),
    viewerHi: Uint16Array.of(0x0506, 0),
    idLo: Uint32Array.of(0, 0xdead_beef),
    idHi: Uint32Array.of(0, 0x0bad_cafe),
  },
};
const SAMPLE_STATE = { next: 8, dropped: 0, expired: 3, released: 300, discarded: 1 };

/** What FORMAT.md shows, by the name of its example. */
const EXAMPLES: Readonly<Record<string, Uint8Array>> = {
  "log record": encodeRecord(5, SAMPLE_RECORD),
  "log record of version 1": RECORD_V1,
  "bucket head": codec.encodeHead(HEAD_KEY, SAMPLE_HEAD),
  meta: codec.encodeMeta(META_KEY, SAMPLE_META),
  number: codec.encodeNumber(metaKey("generation"), 300),
  texts: codec.encodeTexts(PAGE_KEY, ["a", "ü"]),
  format: encodeFormat(),
  "refused events": encodeChunk(SAMPLE_CHUNK),
  "counts of refused events": encodeState(SAMPLE_STATE),
  "log key": logKey(5),
  "head key": HEAD_KEY,
  "page key": PAGE_KEY,
};

t.test("CRC32C is that of RFC 3720, in one piece or in several", async (t) => {
  const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
  t.equal(crc32c(new Uint8Array(32)), 0x8a91_36aa);
  t.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8_ab43);
  t.equal(crc32c(ascending), 0x46dd_794e);
  t.equal(crc32c(ascending.toReversed()), 0x113f_db5c);
  t.equal(crc32c(new TextEncoder().encode("123456789")), 0xe306_9283);
  t.equal(crc32c(new Uint8Array(0)), 0);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), fc.nat(60), (bytes, a, b) => {
      const [low, high] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
      const parts = crc32c(bytes, high, bytes.length, crc32c(bytes, low, high, crc32c(bytes, 0, low)));
      assert.equal(parts, crc32c(bytes));
    }),
  );
});

t.test("numbers and texts are read back as written, and never past the end", async (t) => {
  const edges = [0, 1, 127, 128, 2 ** 14 - 1, 2 ** 14, 2 ** 28 - 1, 2 ** 28, 2 ** 32, 2 ** 53 - 1];
  const writer = new ByteWriter();
  for (const edge of edges) writer.varint(edge);
  const bytes = writer.take();
  const reader = new ByteReader(bytes, "The sample");
  t.same(
    edges.map(() => reader.varint()),
    edges,
  );
  reader.finish();
  for (let end = 0; end < bytes.length; end++) {
    const short = new ByteReader(bytes, "The sample", 0, end);
    t.equal(
      codeThrown(() => edges.forEach(() => short.varint())),
      "storage-damaged",
    );
  }
  for (const bad of [-1, 0.5, 2 ** 53, Number.NaN, Infinity]) t.throws(() => writer.varint(bad), /BUG/);
  t.throws(() => writer.text("half \ud800 pair"), /BUG/);
  writer.length = 0;
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.maxSafeNat(), fc.double(), (text, whole, double) => {
      writer.text(text);
      writer.varint(whole);
      writer.f64(double);
      const back = new ByteReader(writer.take(), "The sample");
      assert.deepEqual([back.text(), back.varint(), back.f64()], [text, whole, double]);
      back.finish();
    }),
  );
  const tooLong = new ByteReader(new Uint8Array(9).fill(0xff), "The sample");
  t.equal(
    codeThrown(() => tooLong.varint()),
    "storage-damaged",
  );
  t.equal(
    codeThrown(() => new ByteReader(Uint8Array.of(200, 1), "The sample").text()),
    "storage-damaged",
  );
  t.equal(
    codeThrown(() => new ByteReader(Uint8Array.of(200, 1), "The sample").count(1)),
    "storage-damaged",
  );
});

t.test("the order of keys is the order of the numbers in them", async (t) => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
      assert.equal(Math.sign(Buffer.compare(logKey(a), logKey(b))), Math.sign(a - b));
      assert.equal(positionOf(logKey(a)), a);
    }),
  );
  const start = fc.integer({ min: -(2 ** 50), max: 2 ** 50 });
  const part = fc.tuple(fc.nat(3), fc.constantFrom("quarter", "day", "year" as const), fc.nat(2), start);
  const order = ["quarter", "day", "year"];
  fc.assert(
    fc.property(part, part, (a, b) => {
      const rank = ([c, g, r, s]: typeof a): number[] => [c, order.indexOf(g), r, s];
      const differs = rank(a).findIndex((number, i) => number !== rank(b)[i]);
      const expected = differs < 0 ? 0 : Math.sign(rank(a)[differs]! - rank(b)[differs]!);
      assert.equal(Math.sign(Buffer.compare(bucketKey(...a), bucketKey(...b))), expected);
      assert.equal(startOf(bucketKey(...a)), a[3]);
    }),
  );
  t.pass("held for every sample");
});

t.test("FORMAT.md shows the bytes as they are", async (t) => {
  const text = readFileSync(new URL("../../storage/FORMAT.md", import.meta.url), "utf8");
  const shown = new Map(
    [...text.matchAll(/^Example, ([^:\n]+):\n\n((?: {4}[^\n]*\n)+)/gm)].map(([, name, lines]) => [
      name!,
      lines!.replaceAll(/ +·[^\n]*/g, "").replaceAll(/\s/g, ""),
    ]),
  );
  // Cell blocks and segments have tests of their own.
  const names = [...shown.keys()].filter((name) => !/ block|^segment |^gap$|^instant$/.test(name));
  t.same(names.sort(), Object.keys(EXAMPLES).sort());
  for (const [name, bytes] of Object.entries(EXAMPLES)) t.equal(shown.get(name), hex(bytes), name);
});

t.test("the samples of FORMAT.md are read back", async (t) => {
  const read = decodeRecord(5, EXAMPLES["log record"]!);
  t.same(plainRecord(read), plainRecord(SAMPLE_RECORD));
  t.equal(read.backfill, true);
  const old = decodeRecord(5, RECORD_V1);
  t.same(plainRecord(old), plainRecord(SAMPLE_RECORD));
  t.notOk("backfill" in old);
  t.same(codec.decodeHead(HEAD_KEY, EXAMPLES["bucket head"]!, "The head"), SAMPLE_HEAD);
  t.same(codec.decodeMeta(META_KEY, EXAMPLES["meta"]!), SAMPLE_META);
  t.equal(codec.decodeNumber(metaKey("generation"), EXAMPLES["number"]!, "It"), 300);
  t.same(codec.decodeTexts(PAGE_KEY, EXAMPLES["texts"]!, "The page"), ["a", "ü"]);
  checkFormat(EXAMPLES["format"]!);
  t.same(decodeChunk(5, EXAMPLES["refused events"]!), SAMPLE_CHUNK);
  t.same(decodeState(EXAMPLES["counts of refused events"]!), SAMPLE_STATE);
  const ids = Uint32Array.from({ length: codec.PAGE_SUBJECTS }, (_, i) => (i % 3 === 0 ? i * 4_000_000 : 0));
  t.same(codec.decodeIds(PAGE_KEY, codec.encodeIds(PAGE_KEY, ids), "The page"), ids);
});

t.test("log records of any shape are read back as written", async (t) => {
  fc.assert(
    fc.property(anyLogRecord, fc.maxSafeNat(), (sample, position) => {
      const read = decodeRecord(position, encodeRecord(position, sample));
      assert.deepEqual(plainRecord(read), plainRecord(sample));
      assert.equal(read.backfill, sample.backfill);
      assert.equal(read.events.ts.length, sample.events.count);
    }),
    { numRuns: 200 },
  );
  t.pass("held for every sample");
});

t.test("dictionaries of one, two and four bytes to an index keep every event's value", async (t) => {
  for (const size of [1, 255, 256, 65_535, 65_536, 70_000]) {
    const values = Array.from({ length: size }, (_, i) => `v${i}`);
    const sample = record(1, size + 1);
    const dims = [Uint32Array.from({ length: size + 1 }, (_, i) => i)];
    const wide = { ...sample, events: { ...sample.events, dims, values: [values] } };
    const { events } = decodeRecord(1, encodeRecord(1, wide));
    t.same(events.dims, dims, `${size} values`);
    t.equal(events.values[0]!.at(-1), values.at(-1));
    const beyond = { ...wide.events, dims: [dims[0]!.with(0, size + 1)] };
    t.throws(() => encodeRecord(1, { ...wide, events: beyond }), /BUG/);
  }
});

t.test("events that cannot be are bugs", async (t) => {
  const { events } = record(1);
  for (const time of [0.5, Number.NaN, Infinity, 2 ** 52]) {
    const bad = { ...events, ts: Float64Array.of(0, time) };
    t.throws(() => encodeRecord(1, { receivedAt: 0, events: bad }), /BUG/, `${time}`);
  }
  t.throws(
    () => encodeRecord(1, { receivedAt: 0, events: { ...events, flags: Uint8Array.of(16, 0) } }),
    /BUG/,
  );
});

/** Every kind of record, with the function that reads it. */
const READERS: readonly (readonly [name: string, bytes: Uint8Array, read: (bytes: Uint8Array) => unknown])[] =
  [
    ["log record", EXAMPLES["log record"]!, (bytes) => decodeRecord(5, bytes)],
    ["bucket head", EXAMPLES["bucket head"]!, (bytes) => codec.decodeHead(HEAD_KEY, bytes, "It")],
    ["meta", EXAMPLES["meta"]!, (bytes) => codec.decodeMeta(META_KEY, bytes)],
    ["number", EXAMPLES["number"]!, (bytes) => codec.decodeNumber(metaKey("generation"), bytes, "It")],
    ["texts", EXAMPLES["texts"]!, (bytes) => codec.decodeTexts(PAGE_KEY, bytes, "It")],
    ["format", EXAMPLES["format"]!, (bytes) => checkFormat(bytes)],
    ["refused events", EXAMPLES["refused events"]!, (bytes) => decodeChunk(5, bytes)],
    ["counts of refused events", EXAMPLES["counts of refused events"]!, decodeState],
  ];

t.test("no bit of a record can turn, and no byte be lost or added, unnoticed", async (t) => {
  for (const [name, good, read] of READERS) {
    t.equal(
      codeThrown(() => read(good)),
      "none",
    );
    for (let at = 0; at < good.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bad = good.slice();
        bad[at]! ^= 1 << bit;
        assert.equal(
          codeThrown(() => read(bad)),
          "storage-damaged",
          `${name}, byte ${at}, bit ${bit}`,
        );
      }
      assert.equal(
        codeThrown(() => read(good.slice(0, at))),
        "storage-damaged",
        `${name}, cut at ${at}`,
      );
    }
    t.equal(
      codeThrown(() => read(Uint8Array.of(...good, 0))),
      "storage-damaged",
      `${name}, one byte more`,
    );
  }
});

t.test("any damage of a large record is noticed", async (t) => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(anyRecord, damage, (logged, places) => {
      const good = encodeRecord(1, logged);
      const bad = good.slice();
      for (const [place, mask] of places) bad[place % bad.length]! ^= mask;
      if (Buffer.compare(bad, good) === 0) return;
      assert.equal(
        codeThrown(() => decodeRecord(1, bad)),
        "storage-damaged",
      );
    }),
    { numRuns: 150 },
  );
  t.pass("held for every sample");
});

t.test("a good record in the wrong place is damage", async (t) => {
  t.equal(
    codeThrown(() => decodeRecord(6, EXAMPLES["log record"]!)),
    "storage-damaged",
  );
  const otherHour = bucketKey(0, "hour", HEAD, 7_200_000);
  t.equal(
    codeThrown(() => codec.decodeHead(otherHour, EXAMPLES["bucket head"]!, "It")),
    "storage-damaged",
  );
  t.equal(
    codeThrown(() => codec.decodeTexts(pageKey(VALUES, 2, 0), EXAMPLES["texts"]!, "It")),
    "storage-damaged",
  );
  t.equal(
    codeThrown(() => codec.decodeTexts(HEAD_KEY, EXAMPLES["bucket head"]!, "It")),
    "storage-damaged",
  );
});

/** Puts the right checksum at the end of a framed record. */
function reframe(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const end = bytes.length - 4;
  Buffer.from(bytes.buffer, bytes.byteOffset).writeUInt32LE(crc32c(bytes, 0, end, crc32c(key)), end);
  return bytes;
}

t.test("a record of a later version is named as such", async (t) => {
  const later = EXAMPLES["log record"]!.slice();
  later[1] = 3;
  t.equal(
    codeThrown(() => decodeRecord(5, reframe(later, logKey(5)))),
    "storage-version",
  );
  later[1] = 1;
  t.equal(
    codeThrown(() => decodeRecord(5, reframe(later, logKey(5)))),
    "storage-damaged",
    "version 1 had no backfill",
  );
  t.throws(() => checkFormat(encodeFormat(3)), { code: "storage-version", message: /version 3/ });
});

t.test("nonsense under a right checksum is read or refused, but nothing else happens", async (t) => {
  const place = fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)));
  const places = fc.array(place, { minLength: 1, maxLength: 6 });
  const framed: [Uint8Array, Uint8Array, (bytes: Uint8Array) => unknown][] = [
    [EXAMPLES["log record"]!, logKey(5), (bytes) => decodeRecord(5, bytes)],
    [EXAMPLES["bucket head"]!, HEAD_KEY, (bytes) => codec.decodeHead(HEAD_KEY, bytes, "It")],
    [EXAMPLES["meta"]!, META_KEY, (bytes) => codec.decodeMeta(META_KEY, bytes)],
    [EXAMPLES["texts"]!, PAGE_KEY, (bytes) => codec.decodeTexts(PAGE_KEY, bytes, "It")],
  ];
  fc.assert(
    fc.property(places, (changes) => {
      for (const [good, key, read] of framed) {
        const bytes = good.slice();
        for (const [at, value] of changes) bytes[2 + (at % (bytes.length - 6))] = value;
        codeThrown(() => read(reframe(bytes, key)));
      }
    }),
    { numRuns: 3000 },
  );
  t.pass("held for every sample");
});
