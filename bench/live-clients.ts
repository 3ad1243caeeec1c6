/**
 * WebSocket subscribers of the live benchmark, all in a process of their own, so that reading a thousand sockets keeps
 * neither the sender nor the server waiting. They read frames off bare sockets: what a client library does with a frame
 * would be a good part of what the two cores do.
 *
 * Every fourth watches the total, and notes when each count of views came; times are those of the machine's monotonic
 * clock, which the sender's are too.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

const CLIENTS = "clients";
/** Sockets opened at once: a server's backlog is 511. */
const OPENED_AT_ONCE = 100;
const TEXT = 0x81;
const PING = 0x89;
const PONG = 0x8a;
const MASKED = 0x80;

/** A batch: when it was sent, and the views of the total once it is counted. */
export interface Sent {
  readonly atMs: number;
  readonly views: number;
}

export interface LiveReport {
  /** From sent to seen, by batch and subscriber of the total; ascending, ms. */
  readonly times: Float64Array;
  /** To all subscribers. */
  readonly frames: number;
  readonly cpuMs: number;
}

/** Monotonic, and the same for all processes of a machine. */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export class LiveClients {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when every subscriber has its snapshot. */
  static async start(port: number, subscribers: number): Promise<LiveClients> {
    const child = fork(fileURLToPath(import.meta.url), [CLIENTS], { serialization: "advanced" });
    child.send([port, subscribers]);
    const [message] = (await Promise.race([once(child, "message"), once(child, "exit")])) as [unknown];
    if (message !== "ready") throw new Error(`the subscribers ended with ${String(message)}`);
    return new LiveClients(child);
  }

  /** What the subscribers saw of these batches; then they are gone. */
  async stop(sent: readonly Sent[]): Promise<LiveReport> {
    this.#child.send(sent);
    const [report] = (await once(this.#child, "message")) as [LiveReport];
    this.#child.disconnect();
    await once(this.#child, "exit");
    return report;
  }
}

class Subscriber {
  /** Counts of views and when they came, in turn. */
  readonly seen: number[] = [];
  frames = 0;
  readonly ready: Promise<void>;
  readonly #socket: Socket;
  readonly #isTotal: boolean;
  #rest: Buffer = Buffer.alloc(0);
  #isUpgraded = false;
  #resolve!: () => void;

  constructor(
    port: number,
    readonly number: number,
  ) {
    this.#isTotal = number % 4 === 0;
    this.ready = new Promise((resolve) => (this.#resolve = resolve));
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.setNoDelay(true);
    this.#socket.write(
      "GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
        "Sec-WebSocket-Protocol: tidemark.live.v1\r\n\r\n",
    );
    this.#socket.on("data", (part: Buffer) => this.#read(part));
    this.#socket.once("close", () => {
      throw new Error("the server closed a subscriber's socket");
    });
  }

  end(): void {
    this.#socket.removeAllListeners("close").destroy();
  }

  #read(part: Buffer): void {
    const bytes = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    let at = this.#isUpgraded ? 0 : this.#readHandshake(bytes);
    while (bytes.length - at >= 2) {
      const short = bytes[at + 1]!;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length - at < head) break;
      const length =
        head === 2 ? short : head === 4 ? bytes.readUInt16BE(at + 2) : bytes.readUInt32BE(at + 6);
      if (bytes.length - at < head + length) break;
      this.#onFrame(bytes[at]!, bytes.subarray(at + head, at + head + length));
      at += head + length;
    }
    this.#rest = bytes.subarray(at);
  }

  #readHandshake(bytes: Buffer): number {
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) return 0;
    if (!bytes.toString("latin1", 0, end).startsWith("HTTP/1.1 101")) throw new Error(bytes.toString());
    this.#isUpgraded = true;
    this.#send(TEXT, Buffer.from('{"type":"connection_init"}'));
    const query = { date_range: "current_hour", metrics: ["views", "viewers"], filters: this.#filters() };
    this.#send(TEXT, Buffer.from(JSON.stringify({ type: "subscribe", id: "a", payload: { query } })));
    return end + 4;
  }

  #filters(): unknown[] {
    if (this.#isTotal) return [];
    const name = ["blog", "author", "country"][(this.number % 4) - 1]!;
    return [["is", name, [`${name[0]}${this.number % 10}`]]];
  }

  #onFrame(type: number, payload: Buffer): void {
    if (type === PING) this.#send(PONG, payload);
    if (type !== TEXT) return;
    this.frames++;
    // Those who watch something else are there to be written to.
    if (!this.#isTotal && this.frames > 2) return;
    const nowMs = clockMs();
    const message = JSON.parse(payload.toString("utf8"));
    if (message.type === "error") throw new Error(payload.toString("utf8"));
    if (message.type === "snapshot") {
      this.#note(nowMs, message.payload.results[0]?.metrics[0]);
      this.#resolve();
    } else if (message.type === "delta") this.#note(nowMs, message.payload.set[0]?.[1][0]);
  }

  #note(nowMs: number, views: number | undefined): void {
    if (views !== undefined) this.seen.push(nowMs, views);
  }

  /** Clients mask what they send, and the mask may be zero. Nothing here is longer than 64 KiB. */
  #send(type: number, payload: Buffer): void {
    const head = payload.length < 126 ? Buffer.alloc(6) : Buffer.alloc(8);
    head[0] = type;
    head[1] = MASKED | (payload.length < 126 ? payload.length : 126);
    if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
    this.#socket.write(Buffer.concat([head, payload]));
  }
}

function timesOf({ seen }: Subscriber, sent: readonly Sent[], times: number[]): void {
  let next = 0;
  for (let i = 0; i < seen.length && next < sent.length; i += 2) {
    for (; next < sent.length && sent[next]!.views <= seen[i + 1]!; next++) {
      times.push(seen[i]! - sent[next]!.atMs);
    }
  }
}

async function run(port: number, count: number): Promise<void> {
  const subscribers: Subscriber[] = [];
  while (subscribers.length < count) {
    const more = Math.min(OPENED_AT_ONCE, count - subscribers.length);
    const opened = Array.from({ length: more }, (_, i) => new Subscriber(port, subscribers.length + i));
    await Promise.all(opened.map(({ ready }) => ready));
    subscribers.push(...opened);
  }
  process.send!("ready");
  const cpu = process.cpuUsage();
  const [sent] = (await once(process, "message")) as [readonly Sent[]];
  const { user, system } = process.cpuUsage(cpu);
  const times: number[] = [];
  let frames = 0;
  for (const subscriber of subscribers) {
    subscriber.end();
    timesOf(subscriber, sent, times);
    frames += subscriber.frames;
  }
  process.send!({ times: Float64Array.from(times).sort(), frames, cpuMs: (user + system) / 1000 });
}

if (process.argv[2] === CLIENTS) {
  const [[port, count]] = (await once(process, "message")) as [[number, number]];
  await run(port, count);
}
