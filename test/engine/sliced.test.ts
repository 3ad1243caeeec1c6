import t from "tap";
import { Landing } from "../../engine/landing.js";
import { Slices, atOnce, eachChunk, inSlices, type Sliced, type Turns } from "../../engine/sliced.js";

/** A clock that the work moves, and turns that are counted. */
class FakeTurns implements Turns {
  nowMs = 0;
  taken = 0;
  readonly stopwatch = (): number => this.nowMs;
  readonly nextTurn = (): Promise<void> => {
    this.taken++;
    return new Promise((resolve) => void setImmediate(resolve));
  };
}

t.test(
  "work that takes long gives others a turn every millisecond or two, or as often as it was told",
  async (t) => {
    const turns = new FakeTurns();
    function* work(): Sliced<string> {
      for (let step = 0; step < 100; step++) {
        turns.nowMs += 1;
        yield 1;
      }
      return "done";
    }
    t.equal(await inSlices(work(), new Slices(turns)), "done");
    t.equal(turns.taken, 50, "100 ms in slices of 2");
    turns.taken = 0;
    await inSlices(work(), new Slices(turns, () => (turns.taken < 5 ? 9 : 4)));
    t.equal(turns.taken, 15, "50 ms in slices of 10, and 50 in slices of 5");
  },
);

t.test("under a clock that stands still, the amount of work decides", async (t) => {
  const turns = new FakeTurns();
  let chunks = 0;
  function* work(): Sliced<void> {
    yield* eachChunk(200_000, (from, to) => {
      chunks += to - from;
    });
  }
  await inSlices(work(), new Slices(turns));
  t.equal(chunks, 200_000, "each of them once");
  t.ok(turns.taken >= 3 && turns.taken <= 4, `${turns.taken} turns`);
  turns.taken = 0;
  chunks = 0;
  atOnce(work());
  t.equal(chunks, 200_000);
  t.equal(turns.taken, 0, "at once means at once");
});

t.test("what the work throws is what its caller gets", async (t) => {
  function* work(): Sliced<void> {
    yield 1;
    throw new Error("broken");
  }
  await t.rejects(inSlices(work(), new Slices(new FakeTurns())), { message: "broken" });
  t.throws(() => atOnce(work()), { message: "broken" });
});

t.test("batches that land together are folded in order, a few in each turn", async (t) => {
  const turns = new FakeTurns();
  const landing = new Landing(turns);
  const folded: [number, number][] = [];
  const all = Array.from({ length: 12 }, (_, batch) =>
    landing.add(1000, () => {
      turns.nowMs += 2;
      folded.push([batch, turns.taken]);
    }),
  );
  t.same(folded, [], "not while their transaction is still being told");
  await Promise.all(all);
  t.same(
    folded.map(([batch]) => batch),
    all.map((_, batch) => batch),
  );
  t.equal(folded.filter(([, turn]) => turn === 0).length, 1, "one of 2 ms in the first slice");
  t.equal(turns.taken, 11);
});

t.test("a batch that cannot be folded is told so, and those behind it are folded all the same", async (t) => {
  const landing = new Landing(new FakeTurns());
  const folded: string[] = [];
  const [first, second, third] = await Promise.allSettled([
    landing.add(1, () => folded.push("first")),
    landing.add(1, () => {
      throw new Error("BUG: broken");
    }),
    landing.add(1, () => folded.push("third")),
  ]);
  t.same([first.status, second.status, third.status], ["fulfilled", "rejected", "fulfilled"]);
  t.same(folded, ["first", "third"]);
  await landing.add(1, () => folded.push("later"));
  t.same(folded, ["first", "third", "later"], "and those that come later");
});
