/**
 * Lifelike traffic for a running server: popular and unpopular blogs (Zipf), a daily rhythm in each country's
 * own time, viewers who come back, new posts now and then, a few events that arrive late. Runs until stopped.
 *
 *   npm run demo                        to the server that `npm start` runs
 *   npm run demo -- --rate 500          events a second at the busiest hour (default 200)
 *   npm run demo -- --url http://127.0.0.1:4567 --token …
 */
import { parseArgs } from "node:util";
import { createRng, createZipf } from "../bench/workload.js";

const COUNTRIES = [
  { code: "US", offsetHours: -6, weight: 30 },
  { code: "IN", offsetHours: 5.5, weight: 24 },
  { code: "GB", offsetHours: 0, weight: 9 },
  { code: "DE", offsetHours: 1, weight: 8 },
  { code: "BR", offsetHours: -3, weight: 8 },
  { code: "JP", offsetHours: 9, weight: 7 },
  { code: "NG", offsetHours: 1, weight: 5 },
  { code: "AU", offsetHours: 10, weight: 4 },
  { code: "NP", offsetHours: 5.75, weight: 2 },
];
const TICK_MS = 250;
const BLOGS = 400;
const VIEWERS = 20_000;
const LATE_SHARE = 0.01;
const LATEST_MS = 20 * 60_000;
const NEW_POSTS_PER_HOUR = 6;

const { values: flags } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:4567" },
    token: { type: "string", default: process.env["TIDEMARK_TOKEN"] ?? "" },
    rate: { type: "string", default: "200" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
  },
});
const rate = Number(flags.rate);
if (!(rate > 0)) throw new Error("--rate is a number of events a second, above 0");

const rng = createRng(Number(flags.seed));
const drawBlog = createZipf(BLOGS, 1.05, rng);
const drawViewer = createZipf(VIEWERS, 0.8, rng);
let posts = BLOGS;
let sent = 0;
let refused = 0;
let owed = 0;
const stop = new AbortController();

/** How busy a country is now, 0–1: quiet at four in the morning, busiest at eight in the evening. */
function rhythm(now: number, offsetHours: number): number {
  const hour = (now / 3_600_000 + offsetHours) % 24;
  return 0.55 + 0.45 * Math.cos(((hour - 20) / 24) * 2 * Math.PI);
}

function drawCountry(now: number): string {
  const busy = COUNTRIES.map(({ weight, offsetHours }) => weight * rhythm(now, offsetHours));
  let at = rng() * busy.reduce((a, b) => a + b, 0);
  const found = COUNTRIES.findIndex((_, i) => (at -= busy[i]!) <= 0);
  return COUNTRIES[Math.max(found, 0)]!.code;
}

function view(now: number): object {
  const blog = posts - 1 - drawBlog();
  const late = rng() < LATE_SHARE ? Math.floor(rng() * LATEST_MS) : 0;
  return {
    type: "view",
    ts: now - late,
    blog: `post-${blog}`,
    country: drawCountry(now),
    viewer: `v${drawViewer()}`,
  };
}

function created(now: number): object {
  const blog = `post-${posts++}`;
  return {
    type: "created",
    ts: now,
    blog,
    author: `author-${Math.floor(rng() * 40)}`,
    country: drawCountry(now),
  };
}

async function send(events: object[]): Promise<void> {
  const body = events.map((event) => JSON.stringify(event)).join("\n");
  const headers: Record<string, string> = { "content-type": "application/x-ndjson" };
  if (flags.token !== "") headers["authorization"] = `Bearer ${flags.token}`;
  const response = await fetch(`${flags.url}/v1/events`, { method: "POST", headers, body });
  const reply = (await response.json()) as { accepted?: number; detail?: string };
  sent += reply.accepted ?? 0;
  if (response.status !== 202) {
    refused += events.length;
    process.stderr.write(`\n${response.status}: ${reply.detail ?? "refused"}\n`);
  }
}

/** The newest posts have an author before anybody reads them. */
async function announce(now: number): Promise<void> {
  const first = Array.from({ length: BLOGS }, (_, i) => ({
    type: "created",
    ts: now,
    blog: `post-${i}`,
    author: `author-${i % 40}`,
    id: `demo-created-${i}`,
  }));
  await send(first);
}

async function tick(): Promise<void> {
  const now = Date.now();
  owed += (rate * TICK_MS * rhythm(now, 0)) / 1000;
  const events = Array.from({ length: Math.floor(owed) }, () => view(now));
  owed -= events.length;
  if (rng() < (NEW_POSTS_PER_HOUR * TICK_MS) / 3_600_000) events.push(created(now));
  if (events.length > 0) await send(events);
  const clock = new Date(now).toISOString().slice(11, 19);
  process.stdout.write(
    `\r${clock}  ${sent.toLocaleString("en")} events sent, ${refused} refused, ${posts} posts  `,
  );
}

process.once("SIGINT", () => stop.abort());

try {
  await announce(Date.now());
  process.stdout.write(`Sending to ${flags.url}; stop with Ctrl-C.\n`);
  while (!stop.signal.aborted) {
    const next = Date.now() + TICK_MS;
    await tick();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - Date.now())));
  }
  process.stdout.write("\nStopped.\n");
} catch (error) {
  const cause = (error as Error).cause ?? error;
  process.stderr.write(
    `\nCannot reach ${flags.url}: ${String(cause)}. Is it running? Start it with: npm start\n`,
  );
  process.exitCode = 1;
}
