import t from "tap";
import { encodeRecord } from "../../storage/log-codec.js";
import { SegmentBuilder } from "../../storage/segment-builder.js";
import { encodeSegment, type EncodedSegment } from "../../storage/segment-encoder.js";
import type { RecordBytes } from "../../storage/segment-main.js";
import { SegmentPacker, startPacking } from "../../storage/segment-packer.js";
import { ThreadOnDemand } from "../../storage/thread-on-demand.js";
import { WorkThread } from "../../storage/work-thread.js";
import { record } from "./samples.js";
import { codeOf } from "./support.js";
import { atOnce } from "../../engine/sliced.js";

const FROM = 7;
/** With these a segment has more events than are packed in this thread. */
const MANY = Array.from({ length: 60 }, (_, i) => record(FROM + i, 2000 + i));

const packer = new SegmentPacker();
t.teardown(() => packer.close());

function bytesOf(records: typeof MANY): RecordBytes[] {
  return records.map((one, i) => ({ position: FROM + i, bytes: encodeRecord(FROM + i, one) }));
}

function eventsOf(records: typeof MANY): number {
  return records.reduce((sum, { events }) => sum + events.count, 0);
}

function packedHere(records: typeof MANY): EncodedSegment {
  const builder = new SegmentBuilder(FROM, eventsOf(records));
  for (const one of records) atOnce(builder.add(one));
  return atOnce(encodeSegment(builder.take()));
}

t.test("a segment has the same bytes whether it was packed in a thread or here", async (t) => {
  for (const records of [MANY.slice(0, 9), MANY]) {
    const wanted = packedHere(records);
    const packed = await packer.pack(FROM, eventsOf(records), () => bytesOf(records));
    t.same(Buffer.from(packed.header), Buffer.from(wanted.header), "the header");
    t.equal(packed.sections.length, wanted.sections.length);
    for (const [i, section] of wanted.sections.entries()) {
      t.equal(Buffer.compare(packed.sections[i]!, section), 0, `section ${i}`);
    }
  }
});

t.test(
  "a damaged record is told as such from within the thread, and the next segment is packed",
  async (t) => {
    const records = bytesOf(MANY);
    const { position, bytes } = records[40]!;
    const broken = bytes.slice();
    broken[broken.length >> 1]! ^= 4;
    const damaged = records.with(40, { position, bytes: broken });
    t.equal(await codeOf(packer.pack(FROM, eventsOf(MANY), () => damaged)), "storage-damaged");
    const packed = await packer.pack(FROM, eventsOf(MANY), () => records);
    t.ok(packed.sections.length > 0);
  },
);

t.test(
  "what the records throw while they are read is told, and the next segment has none of them",
  async (t) => {
    function* unreadable(): Generator<RecordBytes> {
      yield* bytesOf(MANY.slice(0, 30));
      throw new Error("the disk is gone");
    }
    await t.rejects(packer.pack(FROM, eventsOf(MANY), unreadable), { message: "the disk is gone" });
    const packed = await packer.pack(FROM, eventsOf(MANY), () => bytesOf(MANY));
    t.equal(Buffer.compare(packed.header, packedHere(MANY).header), 0);
  },
);

t.test("a thread that ends in the middle of a segment costs none of its records", async (t) => {
  const thread = new ThreadOnDemand(startPacking);
  let asked = 0;
  function* records(): Generator<RecordBytes> {
    for (const [i, one] of bytesOf(MANY).entries()) {
      if (asked++ === 30) void thread.close();
      yield one;
      if (i === 30) t.equal(thread.isRunning, false);
    }
  }
  const packed = await new SegmentPacker(thread).pack(FROM, eventsOf(MANY), records);
  t.ok(asked > MANY.length, "they were asked for again");
  const wanted = packedHere(MANY);
  t.equal(Buffer.compare(packed.header, wanted.header), 0);
  t.equal(Buffer.compare(Buffer.concat(packed.sections), Buffer.concat(wanted.sections)), 0);
});

t.test("a thread is kept for the next work, and ends after a while without", async (t) => {
  const thread = new ThreadOnDemand(startPacking, { keptMs: 1 });
  t.teardown(() => thread.close());
  const begin = (): Promise<unknown> =>
    thread.use(
      (one) => one.ask({ kind: "begin", from: FROM, events: 10 }),
      async () => undefined,
    );
  await Promise.all([begin(), begin()]);
  t.equal(thread.isRunning, true);
  while (thread.isRunning) await new Promise((resolve) => setTimeout(resolve, 1));
  await begin();
  t.equal(thread.isRunning, true, "and begins again");
  const kept = new ThreadOnDemand(startPacking, { keptMs: 0 });
  await kept.use(
    (one) => one.ask({ kind: "begin", from: FROM, events: 10 }),
    async () => undefined,
  );
  t.equal(kept.isRunning, false, "where memory is scarce it is not kept");
});

t.test("more events than were announced are a bug that the thread tells of", async (t) => {
  await t.rejects(
    packer.pack(FROM, 101_000, () => bytesOf(MANY)),
    { message: /^BUG: more events than announced/ },
  );
});

t.test("a thread that has ended, or never began, is told apart from what it answers", async (t) => {
  const thread = new WorkThread<unknown, unknown>("segment-main");
  await t.rejects(thread.ask({ kind: "finish" }), { message: /^BUG: finish before the beginning/ });
  const underWay = Promise.allSettled([thread.ask({ kind: "begin", from: FROM, events: 10 })]);
  await thread.end();
  t.equal((await underWay).length, 1, "what was under way is answered, or told that it never will be");
  await t.rejects(
    thread.ask({ kind: "finish" }),
    { message: /^A thread of the storage/ },
    "what is asked later",
  );
  await t.rejects(new WorkThread<unknown, unknown>("no-such-module").ask({}), {
    message: /Cannot find module/,
  });
});
