import { once } from "node:events";
import type { AddressInfo } from "node:net";
import t from "tap";
import { WebSocket, WebSocketServer } from "ws";
import { createEngine, type LiveMessage } from "../../engine/index.js";
import { Fanout, type TopicListener } from "../../server/live/fanout.js";
import { textFrame } from "../../server/live/text-frame.js";
import { Frame } from "../../server/live/frame.js";
import { openMemory } from "../../storage/memory.js";
import { mulberry32 } from "../support/random.js";

function frame(seq: number): Frame {
  const message: LiveMessage = { type: "delta", seq, prev: seq - 1, payload: { set: [] } };
  return new Frame(message);
}

/** Takes a while for each frame, as a socket does. */
class SlowListener implements TopicListener {
  readonly seen: number[] = [];
  readonly #forMs: number;
  readonly #onFrame: (seq: number) => void;

  constructor(forMs: number, onFrame: (seq: number) => void = () => undefined) {
    this.#forMs = forMs;
    this.#onFrame = onFrame;
  }

  onFrame({ seq }: Frame): void {
    const until = performance.now() + this.#forMs;
    while (performance.now() < until);
    this.seen.push(seq);
    this.#onFrame(seq);
  }

  onEnd(): void {}
}

t.test("a few listeners have the message at once", (t) => {
  const listener = new SlowListener(0);
  void new Fanout().send(frame(1), new Set([listener]));
  t.same(listener.seen, [1]);
  t.end();
});

t.test(
  "while many are written to, others have their turns, and each sees every message in order",
  async (t) => {
    const fanout = new Fanout();
    const listeners = new Set(Array.from({ length: 200 }, () => new SlowListener(0.1)));
    let turns = 0;
    let isDone = false;
    const count = (): void => {
      turns++;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    const sent = [1, 2, 3].map((seq) => fanout.send(frame(seq), listeners));
    t.ok(
      [...listeners].some(({ seen }) => seen.length === 0),
      "not all at once",
    );
    await Promise.all(sent);
    isDone = true;
    t.ok(turns >= 9, `${turns} turns in 60 ms of writing`);
    for (const { seen } of listeners) if (seen.join() !== "1,2,3") t.fail(`saw ${seen.join()}`);
  },
);

t.test("who leaves while others are written to sees nothing more", async (t) => {
  const listeners = new Set<SlowListener>();
  const random = mulberry32(3);
  const last = new SlowListener(0);
  for (let i = 0; i < 100; i++) listeners.add(new SlowListener(0.2 * random(), () => listeners.delete(last)));
  listeners.add(last);
  await new Fanout().send(frame(1), listeners);
  t.same(last.seen, []);
  t.equal(listeners.size, 100);
});

t.test("a broadcast that took long is followed by as long a rest", async (t) => {
  const fanout = new Fanout();
  const slow = new Set(Array.from({ length: 20 }, () => new SlowListener(1)));
  const begun = performance.now();
  await fanout.send(frame(1), slow);
  t.ok(performance.now() - begun >= 39, "20 ms of writing, and of rest");
});

t.test("what changes while the reader of a live query is not ready is told together", async (t) => {
  const engine = await createEngine({ storage: openMemory(), pushIntervalMs: 1 });
  const messages: LiveMessage[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const ready: (() => void)[] = [];
  const source = engine
    .live$(
      { date_range: "current_hour", metrics: ["views"] },
      { ready: () => new Promise<void>((resolve) => ready.push(resolve)) },
    )
    .subscribe((message) => {
      messages.push(message);
      for (const { count, resolve } of waiting) if (messages.length >= count) resolve();
    });
  const told = (count: number): Promise<void> =>
    new Promise((resolve) => {
      if (messages.length >= count) resolve();
      else waiting.push({ count, resolve });
    });
  const view = { type: "view", blog: "b", viewer: "u" };
  await engine.ingest([view]);
  await told(2);
  for (let i = 0; i < 5; i++) await engine.ingest([view]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(messages.length, 2, "long after the interval nothing more is told");
  for (const resolve of ready) resolve();
  await told(3);
  t.match(messages[2], { type: "delta", payload: { set: [[[], [6]]] } });
  source.unsubscribe();
  await engine.close();
});

t.test("a client reads text frames of every form of size as what was put into them", async (t) => {
  // Of the last one, two bytes a letter.
  const texts = [0, 1, 125, 126, 127, 65_535, 65_536]
    .map((size) => "x".repeat(size))
    .concat("ü".repeat(40_000));
  const server = new WebSocketServer({ port: 0, perMessageDeflate: false });
  t.teardown(() => server.close());
  server.on("connection", (_, request) => {
    for (const text of texts) {
      const half = text.length >> 1;
      request.socket.write(textFrame(Buffer.from(text.slice(0, half)), Buffer.from(text.slice(half))));
    }
  });
  await once(server, "listening");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => client.terminate());
  const read: string[] = [];
  await new Promise<void>((resolve, reject) => {
    client.on("error", reject).on("message", (data: Buffer, isBinary) => {
      read.push(isBinary ? "binary" : data.toString());
      if (read.length === texts.length) resolve();
    });
  });
  t.same(read, texts);
});
