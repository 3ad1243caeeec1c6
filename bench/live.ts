/**
 * Live push: how long after an event is sent does a subscriber see it? A real server process on LMDB takes 20,000
 * events a second over HTTP (NDJSON, durable) while 100 WebSocket subscribers watch the current hour of the total, of
 * blogs, authors and countries. Measured for the subscribers of the total: from just before the batch is sent until
 * the frame whose count includes it. Why: "live" is a promise with a number, p99 < 50 ms. The cost should grow with
 * distinct queries, and with subscribers only by the price of a socket write.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { createRng, createZipf } from "./workload.js";

const SUBSCRIBERS = 100;
const EVENTS_PER_S = 20_000;
const BATCH_EVERY_MS = 10;
const SECONDS = Number(process.env["TIDEMARK_BENCH_SECONDS"] ?? 15);
/** Not counted: the server's code is still being compiled. */
const WARM_UP_S = 3;
const BATCH = (EVENTS_PER_S * BATCH_EVERY_MS) / 1000;

interface Sent {
  readonly at: number;
  /** Views of the total once this batch is counted. */
  readonly views: number;
}

const data = mkdtempSync(join(tmpdir(), "tidemark-bench-"));
const server = spawn(
  process.execPath,
  ["--import", "tsx", fileURLToPath(new URL("../server/main.ts", import.meta.url))],
  {
    env: { ...process.env, TIDEMARK_PORT: "0", TIDEMARK_DATA: data },
    stdio: ["ignore", "pipe", "inherit"],
  },
);

async function address(): Promise<string> {
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error("the server ended before it listened");
}

/** Opens a subscription and hands every count of views to `seen`. */
async function subscribe(url: string, filters: unknown[], seen: (views: number) => void): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/live`, "tidemark.live.v1");
  await once(socket, "open");
  socket.send('{"type":"connection_init"}');
  const query = { date_range: "current_hour", metrics: ["views", "viewers"], filters };
  const ready = new Promise<void>((resolve, reject) => {
    socket.on("message", (bytes: Buffer) => {
      const message = JSON.parse(bytes.toString("utf8"));
      if (message.type === "connection_ack") {
        socket.send(JSON.stringify({ type: "subscribe", id: "a", payload: { query } }));
      } else if (message.type === "snapshot") {
        seen(message.payload.results[0]?.metrics[0] ?? 0);
        resolve();
      } else if (message.type === "delta") seen(message.payload.set[0]?.[1][0] ?? 0);
      else if (message.type === "error") reject(new Error(JSON.stringify(message)));
    });
  });
  await ready;
  return socket;
}

function filtersOf(subscriber: number): unknown[] {
  const names = ["blog", "author", "country"] as const;
  const kind = subscriber % 4;
  return kind === 0 ? [] : [["is", names[kind - 1], [`${names[kind - 1]![0]}${subscriber % 10}`]]];
}

const rng = createRng(7);
const drawBlog = createZipf(10_000, 1.05, rng);
const drawViewer = createZipf(1_000_000, 0.8, rng);

function body(): string {
  let text = "";
  for (let i = 0; i < BATCH; i++) {
    const blog = drawBlog();
    text += `{"type":"view","blog":"b${blog}","author":"a${blog % 2000}","country":"c${Math.floor(rng() * 200)}","viewer":"u${drawViewer()}"}\n`;
  }
  return text;
}

const url = await address();
const sent: Sent[] = [];
const latencies: number[] = [];
const sockets: WebSocket[] = [];
let begun = 0;
for (let subscriber = 0; subscriber < SUBSCRIBERS; subscriber++) {
  let next = 0;
  const isTotal = subscriber % 4 === 0;
  const seen = (views: number): void => {
    if (!isTotal) return;
    const now = performance.now();
    for (; next < sent.length && sent[next]!.views <= views; next++) {
      const { at } = sent[next]!;
      if (at - begun > WARM_UP_S * 1000) latencies.push(now - at);
    }
  };
  sockets.push(await subscribe(url, filtersOf(subscriber), seen));
}

const bodies = Array.from({ length: 200 }, body);
const replies: Promise<unknown>[] = [];
begun = performance.now();
let views = 0;
for (let n = 0; performance.now() - begun < SECONDS * 1000; n++) {
  views += BATCH;
  sent.push({ at: performance.now(), views });
  replies.push(
    fetch(`${url}/v1/events`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: bodies[n % bodies.length]!,
    }).then((response) => response.arrayBuffer()),
  );
  const wait = begun + (n + 1) * BATCH_EVERY_MS - performance.now();
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
}
await Promise.all(replies);
const rate = views / ((performance.now() - begun) / 1000);

latencies.sort((a, b) => a - b);
const at = (share: number): string =>
  `${latencies[Math.floor((latencies.length - 1) * share)]!.toFixed(1)} ms`;
process.stdout.write(
  `${SUBSCRIBERS} subscribers, ${Math.round(rate)} events/s for ${SECONDS} s, durable, one machine for both sides\n`,
);
process.stdout.write(
  `event sent → frame with it: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)} (bar < 50 ms), max ${at(1)}\n`,
);

for (const socket of sockets) socket.terminate();
server.kill("SIGTERM");
await once(server, "exit");
rmSync(data, { recursive: true, force: true });
