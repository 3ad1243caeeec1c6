import type { Test } from "tap";
import WebSocket, { type ClientOptions } from "ws";

// oxlint-disable-next-line typescript/no-explicit-any -- messages are judged by what they hold
export type Message = any;

/** A WebSocket client that keeps what it was sent until it is asked for. */
export class LiveClient {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #messages: Message[] = [];
  readonly #waiting: ((message: Message) => void)[] = [];

  constructor(t: Test, url: string, options: ClientOptions = {}, protocol: string[] = ["tidemark.live.v1"]) {
    this.socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/live`, protocol, options);
    this.socket.on("error", () => undefined);
    this.socket.on("message", (data) => this.#take(JSON.parse((data as Buffer).toString("utf8"))));
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
    });
    t.teardown(() => this.socket.terminate());
  }

  static async open(t: Test, url: string, options: ClientOptions = {}): Promise<LiveClient> {
    const client = new LiveClient(t, url, options);
    await new Promise((resolve, reject) => client.socket.once("open", resolve).once("error", reject));
    return client;
  }

  /** Open and acknowledged. */
  static async ready(t: Test, url: string, payload?: Record<string, unknown>): Promise<LiveClient> {
    const client = await LiveClient.open(t, url);
    client.say({ type: "connection_init", ...(payload === undefined ? {} : { payload }) });
    const ack = await client.next();
    if (ack.type !== "connection_ack") throw new Error(`no ack but ${JSON.stringify(ack)}`);
    return client;
  }

  say(message: unknown): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  subscribe(id: string, query: Record<string, unknown> = {}): void {
    this.say({
      type: "subscribe",
      id,
      payload: { query: { date_range: "current_hour", metrics: ["views"], ...query } },
    });
  }

  next(): Promise<Message> {
    const known = this.#messages.shift();
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next message that fits; those before it are dropped. */
  async until(fits: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const message = await this.next();
      if (fits(message)) return message;
    }
  }

  #take(message: Message): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#messages.push(message);
    else waiting(message);
  }
}

/** The status of a refused handshake, or 101. */
export function handshake(url: string, options: ClientOptions = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/live`, options);
    socket.on("open", () => {
      socket.terminate();
      resolve(101);
    });
    socket.on("unexpected-response", (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on("error", reject);
  });
}
