import { take, type Subscription } from "rxjs";
import type { Engine, LiveMessage, QueryInput } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import { LIVE_SNAPSHOT_REUSE_MS, MAX_LIVE_FRAME_BYTES } from "../limits.js";
import type { Fanout, TopicListener } from "./fanout.js";
import { Frame } from "./frame.js";

/** One live query of the engine's, for all who ask it: one subscription, one serialisation of each message. */
export class Topic {
  readonly #listeners = new Set<TopicListener>();
  /** Those who get the next snapshot. */
  readonly #waiting = new Set<TopicListener>();
  #source: Subscription | undefined;
  #isStopped = false;
  #fetch: Subscription | undefined;
  /** For a moment, and only until something changes: time alone can change the state of a row. */
  #snapshot: Frame | undefined;
  #forget: NodeJS.Timeout | undefined;
  /** The last message is with all listeners. */
  #sent: Promise<void> = Promise.resolve();

  constructor(
    readonly engine: Engine,
    readonly query: QueryInput,
    readonly fanout: Fanout,
    readonly onUnused: () => void,
  ) {}

  /** The listener's first frame is a snapshot. */
  add(listener: TopicListener): void {
    this.#listeners.add(listener);
    if (this.#source !== undefined) return this.refresh(listener);
    this.#waiting.add(listener);
    this.#source = this.engine.live$(this.query, { ready: () => this.#sent }).subscribe({
      next: (message) => this.#broadcast(message),
      error: (error: unknown) => this.#end(error),
      complete: () => this.#end(undefined),
    });
    if (this.#isStopped) this.#source.unsubscribe();
  }

  remove(listener: TopicListener): void {
    this.#waiting.delete(listener);
    if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#stop();
  }

  /** Sends one listener a snapshot of now; what the topic sends after it goes on from there. */
  refresh(listener: TopicListener): void {
    if (this.#snapshot !== undefined) return listener.onFrame(this.#snapshot);
    this.#waiting.add(listener);
    if (this.#fetch !== undefined) return;
    const fetch = this.engine
      .live$(this.query)
      .pipe(take(1))
      .subscribe({
        next: (message) => this.#answerWaiting(message),
        error: (error: unknown) => this.#end(error),
      });
    if (fetch.closed) return;
    this.#fetch = fetch;
    fetch.add(() => (this.#fetch = undefined));
  }

  #broadcast(message: LiveMessage): void {
    const frame = this.#frameOf(message);
    if (frame === undefined) return;
    if (frame.type === "snapshot") this.#waiting.clear();
    this.#sent = this.fanout.send(frame, this.#listeners);
  }

  #answerWaiting(message: LiveMessage): void {
    const frame = this.#frameOf(message);
    if (frame === undefined) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const listener of waiting) listener.onFrame(frame);
  }

  #frameOf(message: LiveMessage): Frame | undefined {
    const frame = new Frame(message);
    if (frame.sizeBytes > MAX_LIVE_FRAME_BYTES) {
      this.#end(tooLarge(frame.sizeBytes));
      return undefined;
    }
    this.#keep(frame.type === "snapshot" ? frame : undefined);
    return frame;
  }

  #keep(snapshot: Frame | undefined): void {
    clearTimeout(this.#forget);
    this.#snapshot = snapshot;
    if (snapshot !== undefined)
      this.#forget = setTimeout(() => this.#keep(undefined), LIVE_SNAPSHOT_REUSE_MS);
  }

  #end(error: unknown): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    this.#stop();
    for (const listener of listeners) listener.onEnd(error);
  }

  #stop(): void {
    this.#isStopped = true;
    this.#keep(undefined);
    this.#waiting.clear();
    this.#source?.unsubscribe();
    this.#fetch?.unsubscribe();
    this.onUnused();
  }
}

function tooLarge(sizeBytes: number): TidemarkError {
  return new TidemarkError(
    "range-too-wide",
    `A live answer may have ${MAX_LIVE_FRAME_BYTES} bytes, this one has ${sizeBytes}; ask for fewer rows with "limit".`,
  );
}
