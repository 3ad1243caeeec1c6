/**
 * Live push: how long after an event is sent does a subscriber see it? A real server process on LMDB takes events over
 * HTTP (NDJSON, durable), a batch every 10 ms, while WebSocket subscribers watch the current hour of the total, of blogs,
 * authors and countries. Measured for the subscribers of the total: from just before the batch is sent, or would be if
 * those before were answered, until the frame whose count includes it. Why: "live" is a promise with a number. The cost
 * should grow with distinct queries, and with subscribers only by the price of a socket write.
 *
 * First 100 subscribers at 20,000 events a second, then 1,000 at 100,000. Server, sender and subscribers are processes
 * of their own on the same two cores; each one's share of them is printed.
 *
 *   TIDEMARK_BENCH_SECONDS=15  TIDEMARK_BENCH_SUBSCRIBERS=1000  TIDEMARK_BENCH_RATE=100000   (of the second part)
 *   TIDEMARK_BENCH_PUSH=20ms   the server's least time between two pushes of one query (its default)
 */
import { once } from "node:events";
import { connect } from "node:net";
import { ms, print, quantile } from "./figures.js";
import { protocol, requestOf } from "./http-protocol.js";
import { clockMs, LiveClients, type Sent } from "./live-clients.js";
import { Connection } from "./connection.js";
import { ServerProcess } from "./server-process.js";
import { createRng, createZipf } from "./workload.js";

const BATCH_EVERY_MS = 10;
/** So many that a sender rarely waits for one: an interval apart, replies may take a third of a second. */
const CONNECTIONS = 32;
const SECONDS = Number(process.env["TIDEMARK_BENCH_SECONDS"] ?? 15);
/** Not counted: the server's code is still being compiled. */
const WARM_UP_S = 3;
/** Different batches; then they come again. */
const BODIES = 200;
const HOUR_MS = 3_600_000;
/** For starting everything. */
const MARGIN_MS = 10_000;

interface Part {
  readonly subscribers: number;
  readonly eventsPerS: number;
  readonly barMs: number;
}

const PARTS: readonly Part[] = [
  { subscribers: 100, eventsPerS: 20_000, barMs: 50 },
  {
    subscribers: Number(process.env["TIDEMARK_BENCH_SUBSCRIBERS"] ?? 1000),
    eventsPerS: Number(process.env["TIDEMARK_BENCH_RATE"] ?? 100_000),
    barMs: 10,
  },
];

const rng = createRng(7);
const drawBlog = createZipf(10_000, 1.05, rng);
const drawViewer = createZipf(1_000_000, 0.8, rng);

function body(events: number): Buffer {
  let text = "";
  for (let i = 0; i < events; i++) {
    const blog = drawBlog();
    text += `{"type":"view","blog":"b${blog}","author":"a${blog % 2000}","country":"c${Math.floor(rng() * 200)}","viewer":"u${drawViewer()}"}\n`;
  }
  return Buffer.from(text);
}

/** Batches by the clock, whether those before are answered or not; on each connection one after the other. */
async function sendAll(port: number, batch: number): Promise<Sent[]> {
  const requests = Array.from({ length: BODIES }, () => requestOf(body(batch)));
  const lanes = await Promise.all(Array.from({ length: CONNECTIONS }, () => openLane(port)));
  const sent: Sent[] = [];
  const begun = clockMs();
  for (let n = 0; clockMs() - begun < SECONDS * 1000; n++) {
    const wait = begun + n * BATCH_EVERY_MS - clockMs();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    lanes[n % CONNECTIONS]!.push(requests[n % BODIES]!);
    sent.push({ atMs: clockMs(), views: (n + 1) * batch });
  }
  await Promise.all(lanes.map((lane) => lane.end()));
  return sent;
}

/** A connection, and what waits for it. */
class Lane {
  readonly #connection: Connection;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  push(request: Buffer): void {
    this.#last = this.#sendAfter(this.#last, request);
  }

  async end(): Promise<void> {
    await this.#last;
    this.#connection.end();
  }

  async #sendAfter(last: Promise<unknown>, request: Buffer): Promise<void> {
    await last;
    if ((await this.#connection.ask(request)) !== "done") throw new Error("the server refused a batch");
  }
}

async function openLane(port: number): Promise<Lane> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return new Lane(new Connection(socket, protocol));
}

/** The current hour must be the same from the first event to the last. */
async function waitForHour(): Promise<void> {
  const left = HOUR_MS - (Date.now() % HOUR_MS);
  if (left < SECONDS * 1000 + MARGIN_MS) await new Promise((resolve) => setTimeout(resolve, left));
}

async function runPart({ subscribers, eventsPerS, barMs }: Part): Promise<void> {
  await waitForHour();
  const push = process.env["TIDEMARK_BENCH_PUSH"];
  const server = await ServerProcess.start(push === undefined ? {} : { TIDEMARK_PUSH_INTERVAL: push });
  const clients = await LiveClients.start(server.port, subscribers);
  const cpu = process.cpuUsage();
  server.begin();
  const begun = clockMs();
  const batch = (eventsPerS * BATCH_EVERY_MS) / 1000;
  const sent = await sendAll(server.port, batch);
  const tookMs = clockMs() - begun;
  const { cpuMs, pauses } = await server.end();
  const own = process.cpuUsage(cpu);
  const first = sent[0]!.atMs + WARM_UP_S * 1000;
  const seen = await clients.stop(sent.filter(({ atMs }) => atMs > first));
  await server.stop();
  const p99 = quantile(seen.times, 0.99);
  const at = (share: number): string => `${ms(quantile(seen.times, share))} ms`;
  const cores = (value: number): string => (value / tookMs).toFixed(2);
  print(`${subscribers} subscribers, ${Math.round((sent.length * batch * 1000) / tookMs)} events/s, durable`);
  print(
    `event sent → frame with it: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)} ` +
      `(bar < ${barMs} ms: ${p99 < barMs ? "held" : "missed"}), max ${at(1)}`,
    {
      [`${subscribers} subscribers p50_ms`]: quantile(seen.times, 0.5),
      [`${subscribers} subscribers p99_ms`]: p99,
    },
  );
  const sorted = Float64Array.from(pauses).sort();
  print(
    `cores: server ${cores(cpuMs)}, sender ${cores((own.user + own.system) / 1000)}, subscribers ${cores(seen.cpuMs)}; ` +
      `${Math.round((seen.frames * 1000) / tookMs)} frames/s; pauses of the server's event loop: ` +
      `p99 ${ms(quantile(sorted, 0.99))}, p99.9 ${ms(quantile(sorted, 0.999))}, max ${ms(quantile(sorted, 1))} ms`,
  );
}

for (const part of PARTS) await runPart(part);
