import { randomBytes } from "node:crypto";
import type { Writable } from "node:stream";
import type { FastifyBaseLogger } from "fastify";
import type { WebSocket } from "ws";
import type { Engine, QueryInput } from "../../engine/api.js";
import { TidemarkError } from "../../engine/errors.js";
import type { TokenCheck } from "../auth.js";
import * as limits from "../limits.js";
import { LiveConnection } from "./connection.js";
import { Fanout } from "./fanout.js";
import { CLOSE } from "./protocol.js";
import { textFrame } from "./text-frame.js";
import { Topic } from "./topic.js";

/** See limits.ts; tests make them smaller. */
export const LIVE_LIMITS = {
  heartbeatMs: limits.LIVE_HEARTBEAT_MS,
  initTimeoutMs: limits.LIVE_INIT_TIMEOUT_MS,
  stallMs: limits.LIVE_STALL_MS,
  maxSockets: limits.MAX_LIVE_SOCKETS,
  maxTopics: limits.MAX_LIVE_TOPICS,
  maxSubscriptions: limits.MAX_SUBSCRIPTIONS_PER_SOCKET,
  messageBurst: limits.LIVE_MESSAGE_BURST,
  messagesPerS: limits.LIVE_MESSAGES_PER_S,
};

export type LiveLimits = Readonly<typeof LIVE_LIMITS>;

/** All sockets and all live queries of one server. */
export class LiveHub {
  /** Changes with every start: positions of another epoch mean nothing here. */
  readonly epoch = randomBytes(6).toString("hex");
  readonly #fanout = new Fanout();
  readonly #connections = new Set<LiveConnection>();
  readonly #topics = new Map<string, Topic>();
  #heartbeat: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(
    readonly engine: Engine,
    readonly limits: LiveLimits,
    readonly log: FastifyBaseLogger,
  ) {}

  get sockets(): number {
    return this.#connections.size;
  }

  /**
   * `stream` is what the socket was upgraded from. `check` is asked for the token of `connection_init`, unless the
   * handshake carried a valid one.
   */
  accept(socket: WebSocket, stream: Writable, check: TokenCheck | undefined): void {
    if (this.#closing) return socket.close(CLOSE.goingAway);
    const connection = new LiveConnection(socket, stream, this, check);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    this.#heartbeat ??= setInterval(() => this.#beat(), this.limits.heartbeatMs).unref();
  }

  /** The topic of a query; `key` is its canonical text. Throws `overloaded` when there are too many. */
  topic(query: QueryInput, key: string): Topic {
    const known = this.#topics.get(key);
    if (known !== undefined) return known;
    if (this.#topics.size >= this.limits.maxTopics) {
      throw new TidemarkError("overloaded", "Too many different live queries are open; try again later.");
    }
    const topic: Topic = new Topic(this.engine, query, this.#fanout, () => {
      if (this.#topics.get(key) === topic) this.#topics.delete(key);
    });
    this.#topics.set(key, topic);
    return topic;
  }

  get topics(): number {
    return this.#topics.size;
  }

  /** Every socket gets a close frame; those that do not answer it are cut by `closeTimeout`. */
  close(): void {
    this.#closing = true;
    clearInterval(this.#heartbeat);
    for (const connection of this.#connections) connection.close(CLOSE.goingAway, "the server is closing");
  }

  #beat(): void {
    const { position, watermarkMs } = this.engine.stats();
    const watermark = watermarkMs === null ? null : new Date(watermarkMs).toISOString();
    const message = JSON.stringify({ type: "heartbeat", seq: position, watermark });
    const heartbeat = textFrame(Buffer.from(message));
    for (const connection of this.#connections) connection.beat(heartbeat);
  }
}
