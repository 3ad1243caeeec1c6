import t, { type Test } from "tap";
import { decodeNdjson, type Decoded } from "../../engine/body.js";
import type { DecodeSetup } from "../../engine/decode-port.js";
import { createEngine, defineSchema } from "../../engine/index.js";
import { viewerHash } from "../../engine/viewer-hash.js";
import { ThreadDecoder } from "../../server/decode/decoder.js";
import { openMemory } from "../../storage/memory.js";
import { mulberry32 } from "../support/random.js";

const NOW_MS = Date.parse("2026-03-18T12:00:00Z");
const SEED = Number(process.env["TIDEMARK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const SETUP: DecodeSetup = { schema: defineSchema(), viewerKey: undefined, hashSeed: 7 };
const KEYED: DecodeSetup = { ...SETUP, viewerKey: Uint8Array.from({ length: 16 }, (_, i) => i) };

/** What is not counted, or not as it seems: all of it is left to JSON.parse, and much of it refused. */
const ODD = [
  "",
  "  ",
  "{",
  "[]",
  "null",
  '{"type":"view","blog":"\\u0062\\ud83d\\ude00","viewer":"€"}',
  '{"type":"view","blog":"b","colour":"red"}',
  '{"type":"view","viewer":"u"}',
  '{"type":"created","blog":"b","author":"ä","viewer":"u"}',
  '{"type":"view","blog":"b","ts":1.5}',
  `{"type":"view","blog":"${"x".repeat(1025)}"}`,
  '{"type":"view","blog":"b","id":"e1"}',
];

/** Over 32 KiB, so that it is handed over. */
function bodyOf(random: () => number, lines: number, blogs = 500): Buffer {
  const event = (i: number): string => {
    if (random() < 0.02) return ODD[Math.floor(random() * ODD.length)]!;
    const blog = `blog-${Math.floor(random() * blogs)}`;
    const ts = random() < 0.9 ? `,"ts":${NOW_MS - Math.floor(random() * 1e6)}` : "";
    const id = random() < 0.1 ? `,"id":"e${i}"` : "";
    return `{"type":"view","blog":"${blog}","country":"c${i % 7}","viewer":"u${Math.floor(random() * 1e5)}"${ts}${id}}`;
  };
  return Buffer.from(Array.from({ length: lines }, (_, i) => event(i)).join("\n"));
}

function here(body: Uint8Array, setup: DecodeSetup): Decoded {
  const { schema, viewerKey } = setup;
  return decodeNdjson(body, { schema, now: NOW_MS, hashViewer: viewerHash(viewerKey) });
}

function opened(t: Test): ThreadDecoder {
  const decoder = new ThreadDecoder();
  t.teardown(() => decoder.close());
  return decoder;
}

for (const [name, setup] of Object.entries({ "without a key": SETUP, "under a key": KEYED })) {
  t.test(`bodies are decoded in the thread as they are here, viewers hashed ${name}`, async (t) => {
    const decoder = opened(t);
    const random = mulberry32(SEED);
    const bodies = Array.from({ length: 40 }, () => bodyOf(random, 400 + Math.floor(random() * 900)));
    const all = await Promise.all(bodies.map(async (body) => decoder.decode(body, NOW_MS, setup)));
    for (const [i, body] of bodies.entries()) {
      t.same(all[i], here(body, setup), `body ${i}, TIDEMARK_SEED=${SEED}`);
    }
    t.ok(
      all.some((decoded) => decoded!.invalid > 0 && decoded!.errors.length > 0),
      "some lines were refused",
    );
  });
}

t.test("values are told once, and all of them anew when there were too many to be kept", async (t) => {
  const decoder = opened(t);
  const manyValues = (first: number): Buffer =>
    Buffer.from(
      Array.from({ length: 60_000 }, (_, i) => `{"type":"view","blog":"blog-${first + i}"}`).join("\n"),
    );
  const few = bodyOf(mulberry32(SEED), 600);
  for (const body of [
    few,
    manyValues(0),
    manyValues(60_000),
    few,
    manyValues(120_000),
    manyValues(0),
    few,
    few,
  ]) {
    const decoded = await decoder.decode(body, NOW_MS, SETUP);
    t.same(decoded!.batch.values, here(body, SETUP).batch.values);
  }
});

t.test("too many events are told with their limit, and the next body is decoded", async (t) => {
  const decoder = opened(t);
  const many = Buffer.from('{"type":"view","blog":"b"}\n'.repeat(100_001));
  await t.rejects(decoder.decode(many, NOW_MS, SETUP)!, {
    code: "too-many-events",
    message: /send 100001 or more in several/,
    extra: { limit: 100_000 },
  });
  const body = bodyOf(mulberry32(SEED), 500);
  t.same(await decoder.decode(body, NOW_MS, SETUP), here(body, SETUP));
  t.equal(body.length > 0 && body[0], "{".charCodeAt(0), "what was given is not taken away");
});

t.test("a small body is decoded where it is, and so is any once the thread is closed", async (t) => {
  const decoder = opened(t);
  t.equal(decoder.decode(Buffer.from('{"type":"view","blog":"b"}'), NOW_MS, SETUP), undefined);
  const body = bodyOf(mulberry32(SEED), 500);
  const underWay = decoder.decode(body, NOW_MS, SETUP);
  await decoder.close();
  t.same(await underWay, here(body, SETUP), "what was under way is not lost");
  t.equal(decoder.decode(body, NOW_MS, SETUP), undefined);
});

t.test(
  "a batch that is sent twice at once under one key is counted once, wherever it is decoded",
  async (t) => {
    const decoder = opened(t);
    const engine = await createEngine({ storage: openMemory(), decoder });
    t.teardown(() => engine.close());
    const body = Buffer.from('{"type":"view","blog":"b","viewer":"u"}\n'.repeat(1000));
    const options = { idempotencyKey: "k1" };
    const twice = await Promise.allSettled([
      engine.ingestBytes(body, "ndjson", options),
      engine.ingestBytes(body, "ndjson", options),
    ]);
    const codes = twice.map((one) => (one.status === "fulfilled" ? one.value.accepted : one.reason.code));
    t.equal(codes[0], 1000);
    t.ok([1000, "idempotency-in-flight"].includes(codes[1] as number), `the other: ${codes[1]}`);
    t.equal((await engine.ingestBytes(body, "ndjson", options)).accepted, 1000, "told again");
    await t.rejects(engine.ingestBytes(bodyOf(mulberry32(1), 400), "ndjson", options), {
      code: "idempotency-conflict",
    });
    const { results } = await engine.query({ date_range: "all", metrics: ["views", "viewers"] });
    t.same(results[0]?.metrics, [1000, 1]);
  },
);
