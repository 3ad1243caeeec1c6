import type { Position } from "../../engine/log.js";
import type { Frame } from "./frame.js";
import type { TopicListener } from "./fanout.js";
import type { Topic } from "./topic.js";

/** What a subscription needs of its socket. */
export interface FrameSink {
  /** False while the socket holds too many unsent bytes; the subscription is resynced when it holds few again. */
  accepts(): boolean;
  write(frame: Buffer): void;
  /** The subscription has ended without the client's asking. */
  ended(id: string, error: unknown): void;
  /** Something happened that cannot happen: this socket is given up, the others and the process go on. */
  failed(error: unknown): void;
}

/** One subscription of one socket: knows what it was sent last, and whether it missed something since. */
export class LiveSubscription implements TopicListener {
  readonly #idJson: string;
  #stale = true;
  #lastSeq: Position = 0;

  constructor(
    readonly id: string,
    readonly topic: Topic,
    readonly sink: FrameSink,
  ) {
    this.#idJson = JSON.stringify(id);
  }

  /** Needs a snapshot before anything else makes sense. */
  get stale(): boolean {
    return this.#stale;
  }

  resync(): void {
    this.#stale = true;
    this.topic.refresh(this);
  }

  onFrame(frame: Frame): void {
    try {
      this.#send(frame);
    } catch (error) {
      this.sink.failed(error);
    }
  }

  #send(frame: Frame): void {
    if (frame.type !== "snapshot" && (this.#stale || frame.seq < this.#lastSeq)) return;
    if (!this.sink.accepts()) {
      this.#stale = true;
      return;
    }
    const bytes = frame.bytesFor(this.#idJson, this.#lastSeq);
    this.#stale = false;
    this.#lastSeq = frame.seq;
    this.sink.write(bytes);
  }

  onEnd(error: unknown): void {
    this.sink.ended(this.id, error);
  }
}
