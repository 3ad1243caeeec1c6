import t from "tap";
import { Turnstile } from "../../server/turnstile.js";

function work(forMs: number): void {
  const until = performance.now() + forMs;
  while (performance.now() < until);
}

/** The number of the event loop's turn, counted in its check phase. */
class Turns {
  count = 0;
  #isOver = false;

  constructor() {
    const next = (): void => {
      this.count++;
      if (!this.#isOver) setImmediate(next);
    };
    setImmediate(next);
  }

  end(): void {
    this.#isOver = true;
  }
}

t.test("what arrives together is let through over several turns, in order, a few ms in each", async (t) => {
  const turnstile = new Turnstile(4);
  const turns = new Turns();
  const passed: [number, number][] = [];
  await Promise.all(
    Array.from({ length: 20 }, (_, one) =>
      turnstile.run(() => {
        work(1.5);
        passed.push([one, turns.count]);
      }),
    ),
  );
  turns.end();
  t.same(
    passed.map(([one]) => one),
    passed.map((_, one) => one),
  );
  const inTurn = new Map<number, number>();
  for (const [, turn] of passed) inTurn.set(turn, (inTurn.get(turn) ?? 0) + 1);
  t.ok(Math.max(...inTurn.values()) <= 3, [...inTurn.values()].join());
});

t.test("who comes alone does not wait for a turn", async (t) => {
  const turnstile = new Turnstile(4);
  const turns = new Turns();
  t.equal(await turnstile.run(async () => "done"), "done", "what the work returns");
  t.equal(turns.count, 0);
  await t.rejects(
    turnstile.run(() => Promise.reject(new Error("no"))),
    { message: "no" },
  );
  turns.end();
});

t.test("one that takes longer than the budget is let through all the same, alone", async (t) => {
  const turnstile = new Turnstile(4);
  const turns = new Turns();
  const seen: number[] = [];
  await Promise.all(
    [1, 2, 3].map(() =>
      turnstile.run(() => {
        work(6);
        seen.push(turns.count);
      }),
    ),
  );
  turns.end();
  t.equal(new Set(seen).size, 3, `turns ${seen.join()}`);
});
