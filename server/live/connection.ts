import type { Writable } from "node:stream";
import type { RawData, WebSocket } from "ws";
import type { TokenCheck } from "../auth.js";
import { LIVE_HIGH_WATER_BYTES, LIVE_LOW_WATER_BYTES } from "../limits.js";
import { problemReply } from "../problem.js";
import type { LiveHub } from "./hub.js";
import { CLOSE, parseMessage, ProtocolError, type ClientMessage, type CloseCode } from "./protocol.js";
import { Rate } from "./rate.js";
import { LiveSubscription, type FrameSink } from "./subscription.js";
import { textFrame } from "./text-frame.js";

/** One socket: the protocol's state machine, and the brake for clients that do not keep up. */
export class LiveConnection implements FrameSink {
  readonly #subscriptions = new Map<string, LiveSubscription>();
  readonly #rate: Rate;
  #isReady = false;
  #isClosed = false;
  /** It has sent something since the last heartbeat. */
  #isAlive = true;
  #initTimer: NodeJS.Timeout | undefined;
  /** Runs while the socket holds too many unsent bytes. */
  #stallTimer: NodeJS.Timeout | undefined;

  constructor(
    readonly socket: WebSocket,
    /** What `socket` writes to: each of its own frames in the turn in which it is asked to, since none is compressed. */
    readonly stream: Writable,
    readonly hub: LiveHub,
    readonly check: TokenCheck | undefined,
  ) {
    const { messageBurst, messagesPerS, initTimeoutMs } = hub.limits;
    this.#rate = new Rate(messageBurst, messagesPerS);
    this.#initTimer = setTimeout(() => this.close(CLOSE.initTimeout, "no connection_init"), initTimeoutMs);
    socket
      .on("message", (data, isBinary) => this.#guard(() => this.#onMessage(data, isBinary)))
      .on("ping", (data) => this.#guard(() => this.#onPing(data)))
      .on("pong", () => (this.#isAlive = true))
      .once("close", () => this.#onClose());
  }

  accepts(): boolean {
    if (this.#isClosed) return false;
    if (this.socket.bufferedAmount <= LIVE_HIGH_WATER_BYTES) return true;
    this.#stallTimer ??= setTimeout(
      () => this.close(CLOSE.stalled, "updates were not read for too long"),
      this.hub.limits.stallMs,
    );
    return false;
  }

  write(frame: Buffer): void {
    if (this.#isClosed || this.socket.readyState !== this.socket.OPEN || !this.stream.writable) return;
    this.stream.write(frame, this.#onSent);
  }

  ended(id: string, error: unknown): void {
    this.#subscriptions.delete(id);
    if (error === undefined) this.#say({ type: "complete", id });
    else this.#sayError(id, error);
  }

  failed(error: unknown): void {
    this.hub.log.error({ err: error }, "live connection failed");
    this.close(CLOSE.internal, "internal error");
  }

  /** Once per heartbeat. A socket that has been silent since the last one is gone; a stalled one has its own timer. */
  beat(heartbeat: Buffer): void {
    if (this.#isClosed || this.#stallTimer !== undefined) return;
    if (!this.#isAlive) return this.socket.terminate();
    this.#isAlive = false;
    this.socket.ping();
    if (this.#isReady && this.accepts()) this.write(heartbeat);
  }

  close(code: CloseCode, reason: string): void {
    if (this.#isClosed) return;
    this.socket.close(code, reason);
    this.#onClose();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#isClosed) return;
    this.#isAlive = true;
    this.#count();
    if (isBinary) throw new ProtocolError(CLOSE.badMessage, "a message is a text frame");
    this.#handle(parseMessage((data as Buffer).toString("utf8")));
  }

  #handle(message: ClientMessage): void {
    if (message.type === "connection_init") return this.#init(message.token);
    if (!this.#isReady) throw new ProtocolError(CLOSE.unauthorized, "send connection_init first");
    switch (message.type) {
      case "subscribe":
        return this.#subscribe(message);
      case "unsubscribe":
        this.#leave(message.id);
        return this.#say({ type: "complete", id: message.id });
      case "resync":
        // An unknown id is one that ended while the message was on its way; the client has been told.
        return this.#subscriptions.get(message.id)?.resync();
    }
  }

  #init(token: string | undefined): void {
    if (this.#isReady) throw new ProtocolError(CLOSE.tooMany, "connection_init may be sent once");
    if (this.check?.(token) === false) throw new ProtocolError(CLOSE.unauthorized, "the token is not valid");
    clearTimeout(this.#initTimer);
    this.#isReady = true;
    const { heartbeatMs, maxSubscriptions } = this.hub.limits;
    const payload = { epoch: this.hub.epoch, heartbeat_ms: heartbeatMs, max_subs: maxSubscriptions };
    this.#say({ type: "connection_ack", payload });
  }

  #subscribe({ id, query, key }: ClientMessage & { type: "subscribe" }): void {
    if (this.#subscriptions.has(id)) throw new ProtocolError(CLOSE.duplicateId, "the id is in use");
    if (this.#subscriptions.size >= this.hub.limits.maxSubscriptions) {
      throw new ProtocolError(CLOSE.tooMany, "too many subscriptions");
    }
    try {
      const subscription = new LiveSubscription(id, this.hub.topic(query, key), this);
      this.#subscriptions.set(id, subscription);
      subscription.topic.add(subscription);
    } catch (error) {
      this.#leave(id);
      this.#sayError(id, error);
    }
  }

  #leave(id: string): void {
    const subscription = this.#subscriptions.get(id);
    this.#subscriptions.delete(id);
    subscription?.topic.remove(subscription);
  }

  /** Ours instead of ws's `autoPong`: answers to a flood of pings would pile up behind a client that reads nothing. */
  #onPing(data: Buffer): void {
    if (this.#isClosed) return;
    this.#isAlive = true;
    this.#count();
    if (this.accepts()) this.socket.pong(data);
  }

  #count(): void {
    if (!this.#rate.take()) throw new ProtocolError(CLOSE.tooMany, "too many messages");
  }

  readonly #onSent = (): void => {
    if (this.#stallTimer === undefined || this.socket.bufferedAmount > LIVE_LOW_WATER_BYTES) return;
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    this.#isAlive = true;
    this.#guard(() => {
      for (const subscription of this.#subscriptions.values()) {
        if (subscription.stale && this.accepts()) subscription.resync();
      }
    });
  };

  #say(message: Record<string, unknown>): void {
    this.write(textFrame(Buffer.from(JSON.stringify(message))));
    // Replies are never held back, but a client that causes them without reading them runs against the stall timer.
    this.accepts();
  }

  #sayError(id: string, error: unknown): void {
    const { problem } = problemReply(error, "/v1/live", (cause, trace) => {
      this.hub.log.error({ err: cause, trace }, "live query failed");
    });
    this.#say({ type: "error", id, payload: problem });
  }

  /** Nothing that happens to one socket may reach the others or the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof ProtocolError) this.close(error.code, error.message);
      else this.failed(error);
    }
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#initTimer);
    clearTimeout(this.#stallTimer);
    for (const id of this.#subscriptions.keys()) this.#leave(id);
  }
}
