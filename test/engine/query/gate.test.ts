import t from "tap";
import { Gate } from "../../../engine/query/gate.js";

/** Work that ends when it is told to. */
class Work {
  begun = false;
  end: () => void = () => undefined;
  fail: (error: Error) => void = () => undefined;

  readonly run = async (): Promise<void> => {
    this.begun = true;
    await new Promise<void>((resolve, reject) => {
      this.end = resolve;
      this.fail = reject;
    });
  };
}

t.test("so many work at once, the others begin in their order as places become free", async (t) => {
  const gate = new Gate(2, 3);
  const works = Array.from({ length: 5 }, () => new Work());
  const done = works.map((work) => gate.pass(work.run));
  const begun = (): number[] => works.flatMap((work, i) => (work.begun ? [i] : []));
  t.strictSame(begun(), [0, 1]);
  t.ok(gate.isFull);
  await t.rejects(gate.pass(works[0]!.run), /no room/);
  works[1]!.end();
  await done[1];
  t.strictSame(begun(), [0, 1, 2]);
  t.notOk(gate.isFull, "one less waits");
  works[2]!.fail(new Error("broken"));
  await t.rejects(done[2]!, /broken/);
  t.strictSame(begun(), [0, 1, 2, 3], "a failure lets the next one in, too");
  const late = new Work();
  const latest = gate.pass(late.run);
  works[0]!.end();
  await done[0];
  t.ok(works[4]!.begun && !late.begun, "who came before goes before");
  for (const work of [works[3]!, works[4]!]) work.end();
  await Promise.all([done[3], done[4]]);
  t.ok(late.begun);
  late.end();
  await latest;
  const last = new Work();
  const [one, two] = [gate.pass(last.run), gate.pass(new Work().run)];
  t.ok(last.begun, "all places are free again");
  t.notOk(gate.isFull);
  last.end();
  await one;
  void two;
});
