import t from "tap";
import { encodeRecord } from "../../storage/log-codec.js";
import { SegmentBuilder } from "../../storage/segment-builder.js";
import { encodeSegment } from "../../storage/segment-encoder.js";
import type { RecordBytes } from "../../storage/segment-main.js";
import { packSegment } from "../../storage/segment-packer.js";
import { WorkThread } from "../../storage/work-thread.js";
import { record } from "./samples.js";
import { codeOf } from "./support.js";
import { atOnce } from "../../engine/sliced.js";

const FROM = 7;
/** With these a segment has more events than are packed in this thread. */
const MANY = Array.from({ length: 60 }, (_, i) => record(FROM + i, 2000 + i));

function bytesOf(records: typeof MANY): RecordBytes[] {
  return records.map((one, i) => ({ position: FROM + i, bytes: encodeRecord(FROM + i, one) }));
}

function eventsOf(records: typeof MANY): number {
  return records.reduce((sum, { events }) => sum + events.count, 0);
}

t.test("a segment has the same bytes whether it was packed in a thread or here", async (t) => {
  for (const records of [MANY.slice(0, 9), MANY]) {
    const builder = new SegmentBuilder(FROM, eventsOf(records));
    for (const one of records) atOnce(builder.add(one));
    const wanted = atOnce(encodeSegment(builder.take()));
    const packed = await packSegment(FROM, eventsOf(records), bytesOf(records));
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
    t.equal(await codeOf(packSegment(FROM, eventsOf(MANY), damaged)), "storage-damaged");
    const packed = await packSegment(FROM, eventsOf(MANY), records);
    t.ok(packed.sections.length > 0);
  },
);

t.test("what the records throw while they are read ends the thread too", async (t) => {
  function* unreadable(): Generator<RecordBytes> {
    yield* bytesOf(MANY.slice(0, 30));
    throw new Error("the disk is gone");
  }
  await t.rejects(packSegment(FROM, eventsOf(MANY), unreadable()), { message: "the disk is gone" });
});

t.test("more events than were announced are a bug that the thread tells of", async (t) => {
  await t.rejects(packSegment(FROM, 101_000, bytesOf(MANY)), { message: /^BUG: more events than announced/ });
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
