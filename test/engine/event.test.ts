import { readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { decodeEvents, decodeNdjson } from "../../engine/body.js";
import { BatchBuilder } from "../../engine/event.js";
import { hashText } from "../../engine/sketch/murmur3.js";
import {
  FLAG_CREATED,
  FLAG_ID,
  FLAG_VIEWER,
  defineSchema,
  murmur3x64,
  type EventBatch,
  type RejectionCode,
  type Schema,
} from "../../engine/index.js";
import { equal } from "../simulation/check.js";
import { needsShared, sharedPath } from "../support/env.js";

const NOW_MS = Date.parse("2026-03-18T12:00:00Z");
const FIRST_MS = Date.parse("1990-01-01T00:00:00Z");
const END_MS = Date.parse("2038-01-01T00:00:00Z");
const MAX_BYTES = 1024;

type Fields = Record<string, unknown>;

/** What the interface says of one event, in the words of a reader: the reason, or undefined for a good event. */
function judge(event: unknown, schema: Schema): RejectionCode | undefined {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return "not-an-object";
  const fields = Object.entries(event);
  const texts = [...schema.dimensions, schema.identity, "id"];
  for (const [name, value] of fields) {
    if (name === "type") {
      if (value !== "view" && value !== "created") return "invalid-type";
    } else if (name === "ts") {
      const ms = typeof value === "string" && /(Z|[+-]\d\d:\d\d)$/.test(value) ? Date.parse(value) : value;
      if (!Number.isInteger(ms) || (ms as number) < FIRST_MS || (ms as number) >= END_MS)
        return "invalid-timestamp";
    } else if (!texts.includes(name)) return "unknown-field";
    else if (value === null || value === "") continue;
    else if (typeof value !== "string") return "invalid-value";
    else if (new TextEncoder().encode(value).length > MAX_BYTES) return "value-too-long";
    else if (!value.isWellFormed()) return "invalid-value";
  }
  if (!Object.hasOwn(event, "type")) return "invalid-type";
  const blog = (event as Fields)[schema.dimensions[schema.subject]!];
  return typeof blog === "string" && blog !== "" ? undefined : "missing-value";
}

/** A batch's rows as plain objects again; hashes as bigints. */
function rowsOf(batch: EventBatch, schema: Schema): Fields[] {
  return Array.from({ length: batch.count }, (_, row) => {
    const flags = batch.flags[row]!;
    const fields: Fields = { type: flags & FLAG_CREATED ? "created" : "view", ts: batch.ts[row] };
    for (const [d, name] of schema.dimensions.entries()) {
      const index = batch.dims[d]![row]!;
      if (index > 0) fields[name] = batch.values[d]![index - 1];
    }
    if (flags & FLAG_VIEWER)
      fields["viewer"] = (BigInt(batch.viewerHi[row]!) << 32n) | BigInt(batch.viewerLo[row]!);
    if (flags & FLAG_ID) fields["id"] = (BigInt(batch.idHi![row]!) << 32n) | BigInt(batch.idLo![row]!);
    return fields;
  });
}

/** What a good event must have become. */
function wantedOf(event: Fields, schema: Schema): Fields {
  const text = (name: string): string | undefined => (event[name] as string | null | undefined) || undefined;
  const ts = event["ts"] ?? NOW_MS;
  const fields: Fields = { type: event["type"], ts: typeof ts === "string" ? Date.parse(ts) : ts };
  for (const name of schema.dimensions) if (text(name) !== undefined) fields[name] = text(name);
  const [viewer, id] = [text("viewer"), text("id")];
  if (viewer !== undefined && event["type"] === "view")
    fields["viewer"] = BigInt.asUintN(48, murmur3x64(viewer));
  if (id !== undefined) fields["id"] = murmur3x64(id);
  return fields;
}

const texts = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom("a", "b", "(other)", "__proto__", "constructor", "ü", "\u0000", " "),
  },
  { weight: 2, arbitrary: fc.string({ unit: "grapheme", maxLength: 8 }) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 4 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      "",
      null,
      0,
      true,
      {},
      ["a"],
      "\ud800",
      "x\udc00",
      "é".repeat(512),
      "é".repeat(513),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>("x".repeat(1024), "x".repeat(1025), "€".repeat(341), "€".repeat(342)),
  },
);
const times = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: FIRST_MS, max: END_MS - 1 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      FIRST_MS,
      END_MS - 1,
      FIRST_MS - 1,
      END_MS,
      0,
      -1,
      NaN,
      Infinity,
      1.5e12 + 0.5,
      1.7e9,
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      "2026-03-18T12:00:00Z",
      "2026-03-18T12:00:00.25+05:45",
      "2026-03-18",
      "now",
      null,
      true,
    ),
  },
);
const types = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<unknown>("view", "created") },
  fc.constantFrom<unknown>("VIEW", "", null, 1, undefined),
);
const objects = fc
  .record(
    {
      type: types,
      ts: times,
      blog: texts,
      author: texts,
      country: texts,
      viewer: texts,
      id: texts,
      extra: fc.constant(1),
    },
    { requiredKeys: ["type", "blog"] },
  )
  .map((event): Fields => {
    // Most events have no surplus member.
    if (typeof event.blog !== "string" || event.blog.length % 7 !== 0) delete event.extra;
    return event;
  });
const events = fc.oneof(
  { weight: 30, arbitrary: objects },
  fc.constantFrom<unknown>(
    null,
    1,
    "view",
    [],
    [{}],
    {},
    { type: "view" },
    JSON.parse('{"type":"view","__proto__":1,"blog":"b"}'),
  ),
);

t.test(
  "each event is judged by itself, and what is good arrives unchanged whatever stands around it",
  async (t) => {
    const schema = defineSchema();
    const property = fc.property(fc.array(events, { maxLength: 12 }), (sent) => {
      const builder = new BatchBuilder(schema, sent.length, NOW_MS);
      const found = sent.map((event) => builder.add(event)?.type);
      equal(
        found,
        sent.map((event) => judge(event, schema)),
        "verdicts",
      );
      const good = sent.filter((_, i) => found[i] === undefined) as Fields[];
      const batch = builder.build();
      equal(
        rowsOf(batch, schema),
        good.map((event) => wantedOf(event, schema)),
        "rows",
      );
      for (const [d, name] of schema.dimensions.entries()) {
        const values = good
          .map((event) => event[name])
          .filter((value) => value !== undefined && value !== null && value !== "");
        equal(batch.values[d], [...new Set(values)], `dictionary of ${name}, in order of appearance`);
      }
      const hasId = good.some(
        (event) => event["id"] !== undefined && event["id"] !== null && event["id"] !== "",
      );
      equal(batch.idLo !== undefined, hasId, "columns of ids");
    });
    fc.assert(property, { numRuns: 3000, includeErrorInReport: true });
    t.pass("3,000 batches");
  },
);

t.test("a refusal says what to do, and shows a stranger's name cut short", async (t) => {
  const builder = new BatchBuilder(defineSchema(), 10, NOW_MS);
  const detail = (event: unknown): string => builder.add(event)?.detail ?? "accepted";
  const blog = { type: "view", blog: "b" };
  t.match(detail({ ...blog, ts: NOW_MS / 1000 }), /looks like seconds/);
  t.match(detail({ ...blog, ts: "2026-03-18T12:00:00" }), /Z or an offset/);
  t.match(
    detail({ ...blog, [`\n${"x".repeat(1000)}`]: 1 }),
    /^"\\nx{39}…" is not declared; known are type, ts, blog/,
  );
  t.match(detail({ type: "view" }), /needs a blog/);
  t.match(detail({ blog: "b" }), /"type": "view" or "created"/);
  t.match(detail({ ...blog, viewer: "x".repeat(1025) }), /longer than 1024 bytes/);
  t.equal(builder.build().count, 0);
});

t.test("the schema's own names are the members of an event; the subject need not come first", async (t) => {
  const schema = defineSchema({
    dimensions: ["constructor", "page", "device"],
    identity: "reader",
    subject: "page",
    remembered: [],
    rollups: [[], ["page"]],
  });
  const builder = new BatchBuilder(schema, 4, NOW_MS);
  t.equal(builder.add({ type: "view", page: "p", reader: "r", constructor: "c" }), undefined);
  t.equal(
    builder.add({ type: "view", page: "p" }),
    undefined,
    "a function that every object inherits is no value",
  );
  t.equal(builder.add({ type: "view", page: "p", viewer: "v" })?.type, "unknown-field");
  t.equal(builder.add({ type: "view", device: "d" })?.type, "missing-value");
  const { dims, values, flags } = builder.build();
  t.same(
    dims.map((column) => [...column]),
    [
      [1, 0],
      [1, 1],
      [0, 0],
    ],
  );
  t.same(values, [["c"], ["p"], []]);
  t.same([...flags], [FLAG_VIEWER, 0]);
});

t.test(
  "every naughty string is a value like any other",
  needsShared("vectors/naughty-strings"),
  async (t) => {
    const schema = defineSchema();
    const strings = JSON.parse(
      readFileSync(sharedPath("vectors/naughty-strings/blns.json"), "utf8"),
    ) as string[];
    const sent = strings.map((text) => ({
      type: "view",
      ts: NOW_MS,
      blog: text,
      author: text,
      viewer: text,
      id: text,
    }));
    const builder = new BatchBuilder(schema, sent.length, NOW_MS);
    const found = sent.map((event) => builder.add(event)?.type);
    t.same(
      found,
      sent.map((event) => judge(event, schema)),
    );
    const good = sent.filter((_, i) => found[i] === undefined);
    t.ok(good.length > 400, `${good.length} of ${strings.length}`);
    equal(
      rowsOf(builder.build(), schema),
      good.map((event) => wantedOf(event, schema)),
      "rows",
    );
  },
);

t.test(
  "a batch of 100,000 events is taken in every form, and one more is refused in every form",
  async (t) => {
    const context = { schema: defineSchema(), now: 1_767_225_600_000, hashViewer: hashText };
    const event = { type: "view", blog: "b" };
    const line = JSON.stringify(event);
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    const forms: Record<string, (events: number) => number> = {
      "an array": (n) =>
        decodeEvents(
          Array.from({ length: n }, () => event),
          context,
        ).batch.count,
      "lines, the last ended": (n) => decodeNdjson(bytes(`${line}\n`.repeat(n)), context).batch.count,
      "lines, the last open": (n) =>
        decodeNdjson(bytes(`${line}\n`.repeat(n - 1) + line), context).batch.count,
      "lines that are no events": (n) => decodeNdjson(bytes("{}\n".repeat(n)), context).invalid,
    };
    for (const [form, decode] of Object.entries(forms)) {
      t.equal(decode(100_000), 100_000, form);
      t.throws(() => decode(100_001), { code: "too-many-events" }, `${form}, one more`);
    }
  },
);
