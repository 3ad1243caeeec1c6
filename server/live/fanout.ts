import { nextTurn } from "../../storage/write-queue.js";
import type { Frame } from "./frame.js";

export interface TopicListener {
  onFrame(frame: Frame): void;
  /** Nothing comes any more: the engine has closed (undefined), or the query failed. */
  onEnd(error: unknown): void;
}

/** Written in one go, ms: a write is a call of the system, some 20 µs, and a thousand of them a pause. */
const SLICE_MS = 4;
/** Listeners between two looks at the clock. */
const STEP = 16;
/** What takes no longer than that is not rested from. */
const SHORT_MS = 2;

interface Broadcast {
  readonly frame: Frame;
  readonly all: readonly TopicListener[];
  /** Those who still listen. */
  readonly listeners: ReadonlySet<TopicListener>;
  next: number;
  tookMs: number;
}

/** Writes messages to any number of sockets, in slices, one message after the other. */
export class Fanout {
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  /**
   * Resolves when the message is written to all who still listen then, and the process has had as much time for other
   * things: a query that many watch is told less often, rather than that nothing else is done.
   */
  send(frame: Frame, listeners: ReadonlySet<TopicListener>): Promise<void> {
    const broadcast: Broadcast = { frame, all: [...listeners], listeners, next: 0, tookMs: 0 };
    // Most have few listeners: they need not wait for a turn.
    if (this.#waiting === 0 && writeSome(broadcast)) return rest(broadcast);
    this.#waiting++;
    const written = this.#last.then(() => this.#writeAll(broadcast));
    this.#last = written;
    return written.then(() => rest(broadcast));
  }

  async #writeAll(broadcast: Broadcast): Promise<void> {
    do await nextTurn();
    while (!writeSome(broadcast));
    this.#waiting--;
  }
}

/** One slice; tells whether that was all. */
function writeSome(broadcast: Broadcast): boolean {
  const { frame, all, listeners } = broadcast;
  const begun = performance.now();
  let took = 0;
  while (broadcast.next < all.length && took < SLICE_MS) {
    const end = Math.min(broadcast.next + STEP, all.length);
    for (; broadcast.next < end; broadcast.next++) {
      const listener = all[broadcast.next]!;
      if (listeners.has(listener)) listener.onFrame(frame);
    }
    took = performance.now() - begun;
  }
  broadcast.tookMs += took;
  return broadcast.next >= all.length;
}

async function rest({ tookMs }: Broadcast): Promise<void> {
  if (tookMs > SHORT_MS) await new Promise((resolve) => setTimeout(resolve, tookMs));
}
