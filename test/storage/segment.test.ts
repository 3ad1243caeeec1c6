/** The bytes of segments; FORMAT.md shows them as they are. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER, type LogEntry, type LogRecord } from "../../engine/log.js";
import { SegmentBuilder } from "../../storage/segment-builder.js";
import { encodeSegment, type EncodedSegment } from "../../storage/segment-encoder.js";
import {
  decodeGap,
  decodeHeader,
  decodeInstant,
  encodeGap,
  encodeInstant,
  gapKey,
  headerKey,
  partKey,
  partsOf,
  PART_BYTES,
  readSection,
} from "../../storage/segment-format.js";
import { COMPLETE_KEY } from "../../storage/segment-open.js";
import { SegmentReader } from "../../storage/segment-reader.js";
import { anyLogRecord, claimsIn, normalized } from "./contract-log.js";
import { codeThrown, hex } from "./support.js";
import { atOnce } from "../../engine/sliced.js";

function segmentOf(records: readonly LogRecord[], from = 1, blockEvents?: number): EncodedSegment {
  const events = records.reduce((sum, { events }) => sum + events.count, 0);
  const builder = new SegmentBuilder(from, events, blockEvents);
  for (const one of records) atOnce(builder.add(one));
  return atOnce(encodeSegment(builder.take()));
}

function readerOf({ header, sections }: EncodedSegment, from = 1): SegmentReader {
  return new SegmentReader(decodeHeader(from, header), (section) => sections[section]!);
}

function entriesOf(reader: SegmentReader, blocks = [...reader.header.blocks.keys()]): LogEntry[] {
  return blocks.flatMap((block) => [...reader.entries(block)].filter((entry) => entry !== undefined));
}

t.test("a segment gives its records back, whole or by block, however they are cut into blocks", async (t) => {
  fc.assert(
    fc.property(
      fc.array(anyLogRecord, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(1, 50, 700, undefined),
      fc.nat(2 ** 40),
      fc.nat(),
      (records, blockEvents, from, which) => {
        const segment = segmentOf(records, from, blockEvents);
        const entries = entriesOf(readerOf(segment, from));
        assert.deepEqual(
          entries.map(({ position, record }) => [position, normalized(record)]),
          records.map((one, i) => [from + i, normalized(one)]),
        );
        const reader = readerOf(segment, from);
        const block = which % reader.header.blocks.length;
        const [alone] = entriesOf(reader, [block]);
        assert.deepEqual(normalized(alone!.record), normalized(records[alone!.position - from]!));
        const claims = [...reader.header.blocks.keys()].flatMap((b) =>
          [...reader.claims(b)].filter((one) => one !== undefined),
        );
        assert.deepEqual(
          claims.map(({ idLo, idHi, ...rest }) => ({
            ...rest,
            claim: rest.claim,
            ids: Array.from(idLo, (low, i) => [low, idHi[i]]),
          })),
          entries.map((entry) => claimsIn(entry)),
        );
        const times = records.flatMap(({ events }) => Array.from(events.ts.subarray(0, events.count)));
        assert.equal(
          reader.header.least,
          times.reduce((a, b) => Math.min(a, b), Infinity),
        );
        assert.equal(
          reader.header.greatest,
          times.reduce((a, b) => Math.max(a, b), -Infinity),
        );
      },
    ),
    { numRuns: 120 },
  );
  t.pass("held for every sample");
});

t.test("values that follow from others take next to nothing", async (t) => {
  const count = 20_000;
  const random = fc.sample(fc.nat(499), { numRuns: 2 * count, seed: 5 });
  const recordOf = (author: (i: number) => number, country: (i: number) => number): LogRecord => {
    const column = (of: (i: number) => number): Uint32Array =>
      Uint32Array.from({ length: count }, (_, i) => 1 + of(i));
    const names = (prefix: string): string[] => Array.from({ length: 500 }, (_, i) => `${prefix}${i}`);
    return {
      receivedAt: 0,
      events: {
        count,
        flags: new Uint8Array(count).fill(FLAG_VIEWER),
        ts: new Float64Array(count),
        dims: [column((i) => random[i]!), column(author), column(country)],
        values: [names("b"), names("a"), names("c")],
        viewerLo: Uint32Array.from({ length: count }, (_, i) => random[count + i]! * 7919),
        viewerHi: new Uint16Array(count),
      },
    };
  };
  const sizeOf = (one: LogRecord): number =>
    segmentOf([one]).sections.reduce((sum, { length }) => sum + length, 0);
  const blog = (i: number): number => random[i]!;
  const nothing = sizeOf(
    recordOf(
      () => 0,
      () => 0,
    ),
  );
  const followed = sizeOf(
    recordOf(
      (i) => (blog(i) * 7) % 500,
      (i) => (random[count + i]! * 3) % 500,
    ),
  );
  const independent = sizeOf(
    recordOf(
      (i) => random[(i * 31) % (2 * count)]!,
      () => 0,
    ),
  );
  t.ok(followed - nothing < 0.35 * count, `${followed - nothing} bytes for two columns that follow`);
  t.ok(independent - nothing > count, `${independent - nothing} bytes for one that does not`);
});

t.test("a section longer than a value is put together from several", async (t) => {
  const bytes = Uint8Array.from({ length: 2 * PART_BYTES + 5 }, (_, i) => (i * 31) >>> 3);
  const values = new Map([...partsOf(7, 0, bytes)].map(([key, value]) => [hex(key), value]));
  t.equal(values.size, 3);
  const header = { ...decodeHeader(7, segmentOf([SAMPLES[1]!], 7).header), dictionary: bytes.length };
  const read = (): Uint8Array => readSection(header, 0, (key) => values.get(hex(key)));
  t.equal(Buffer.compare(read(), bytes), 0);
  values.delete(hex(partKey(7, 0, 1)));
  t.throws(read, { code: "storage-damaged" });
  values.set(hex(partKey(7, 0, 1)), values.get(hex(partKey(7, 0, 0)))!);
  t.throws(read, { code: "storage-damaged" }, "another's place");
});

const SAMPLES: readonly LogRecord[] = [
  {
    receivedAt: 1_750_000_000_000,
    events: {
      count: 3,
      flags: Uint8Array.of(FLAG_VIEWER, FLAG_CREATED, FLAG_VIEWER | FLAG_ID),
      ts: Float64Array.of(1_750_000_000_000, 1_750_000_000_040, 1_749_999_999_990),
      dims: [Uint32Array.of(1, 2, 1), Uint32Array.of(0, 0, 1)],
      values: [["a", "über"], ["anna"]],
      viewerLo: Uint32Array.of(0x0102_0304, 0, 0xffff_fffe),
      viewerHi: Uint16Array.of(0x0506, 0, 0x8000),
      idLo: Uint32Array.of(0, 0, 0xdead_beef),
      idHi: Uint32Array.of(0, 0, 0x0bad_cafe),
    },
    claim: { key: "k", bodyHash: "0123456789abcdef", reply: "{}" },
  },
  {
    receivedAt: 1_750_000_000_500,
    events: {
      count: 1,
      flags: Uint8Array.of(FLAG_VIEWER),
      ts: Float64Array.of(1_750_000_000_300),
      dims: [Uint32Array.of(1), Uint32Array.of(1)],
      values: [["a"], ["anna"]],
      viewerLo: Uint32Array.of(0x0102_0304),
      viewerHi: Uint16Array.of(0x0506),
    },
    backfill: true,
  },
];

const SEGMENT = segmentOf(SAMPLES, 5);
const partOf = (section: number): Uint8Array => [...partsOf(5, section, SEGMENT.sections[section]!)][0]![1];

/** What FORMAT.md shows, by the name of its example. */
const EXAMPLES: Readonly<Record<string, Uint8Array>> = {
  "segment header key": headerKey(5),
  "segment body key": partKey(5, 3, 0),
  "segment header": SEGMENT.header,
  "segment dictionary": partOf(0),
  "segment records": partOf(1),
  "segment viewers": partOf(2),
  "segment events": partOf(3),
  gap: encodeGap(5, { to: 7, fromMs: -Infinity, toMs: 1000 }),
  instant: encodeInstant(COMPLETE_KEY, 1_750_000_000_301),
};

t.test("FORMAT.md shows the bytes of segments as they are", async (t) => {
  const text = readFileSync(new URL("../../storage/FORMAT.md", import.meta.url), "utf8");
  const shown = new Map(
    [...text.matchAll(/^Example, ([^:\n]+):\n\n((?: {4}.*\n)+)/gm)].map(([, name, lines]) => [
      name!,
      lines!.replaceAll(/ +·[^\n]*/g, "").replaceAll(/\s/g, ""),
    ]),
  );
  for (const [name, bytes] of Object.entries(EXAMPLES)) t.equal(shown.get(name), hex(bytes), name);
});

t.test("the samples of FORMAT.md are read back", async (t) => {
  const header = decodeHeader(5, EXAMPLES["segment header"]!);
  const reader = new SegmentReader(header, (section) =>
    readSection(header, section, (key) =>
      hex(key) === hex(partKey(5, section, 0)) ? partOf(section) : undefined,
    ),
  );
  assert.deepEqual(
    entriesOf(reader).map(({ record }) => normalized(record)),
    SAMPLES.map((one) => normalized(one)),
  );
  t.same(decodeGap(5, EXAMPLES["gap"]!), { to: 7, fromMs: -Infinity, toMs: 1000 });
  t.equal(decodeInstant(COMPLETE_KEY, EXAMPLES["instant"]!, "It"), 1_750_000_000_301);
  t.equal(hex(gapKey(5)), "020000000000000005");
});

t.test("no bit of a segment's values can turn unnoticed", async (t) => {
  for (let section = 0; section < SEGMENT.sections.length; section++) {
    const good = partOf(section);
    const header = decodeHeader(5, SEGMENT.header);
    for (let at = 0; at < good.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bad = good.slice();
        bad[at]! ^= 1 << bit;
        assert.equal(
          codeThrown(() => readSection(header, section, () => bad)),
          "storage-damaged",
        );
      }
    }
  }
  t.pass("held for every bit");
});

t.test(
  "sections of nonsense, under right checksums, are read or refused, but nothing else happens",
  async (t) => {
    const records = fc.sample(anyLogRecord, { numRuns: 6, seed: 3 });
    const good = segmentOf(records);
    const place = fc.tuple(fc.nat(), fc.nat(), fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)));
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 4 }), (places) => {
        const sections = good.sections.map((bytes) => bytes.slice());
        for (const [which, at, value] of places) {
          const section = sections[which % sections.length]!;
          if (section.length > 0) section[at % section.length] = value;
        }
        codeThrown(() => entriesOf(readerOf({ header: good.header, sections })));
      }),
      { numRuns: 300 },
    );
    t.pass("held for every sample");
  },
);
