import type { IngestReply, QueryResult } from "../../engine/index.js";
import type { Process } from "./process.js";

export const EVENTS_PER_BATCH = 25;
/** From the first acknowledgement on. */
const MAX_KILL_AFTER_MS = 200;
const LANES = 4;

/** One batch is one blog of its own, so that its events can be counted apart. */
export interface Batch {
  readonly blog: string;
  /** Half of the batches carry a key, the other half an id in every event. */
  readonly key: string | undefined;
  readonly body: string;
}

export function makeBatch(number: number): Batch {
  const blog = `blog-${number}`;
  const hasKey = number % 2 === 0;
  // Some of it for quarters that are sealed already.
  const ts = Date.now() - (number % 5) * 3_600_000;
  const events = Array.from({ length: EVENTS_PER_BATCH }, (_, i) => {
    const viewer = `viewer-${number}-${i}`;
    return { type: "view", ts: ts + i, blog, viewer, ...(hasKey ? {} : { id: `event-${number}-${i}` }) };
  });
  return { blog, key: hasKey ? `key-${number}` : undefined, body: JSON.stringify(events) };
}

/** Several clients at once, each sending one batch after the other, until the connection breaks. */
export async function sendUntilKilled(
  url: string,
  next: () => Batch,
  server: Process,
  random: () => number,
): Promise<{ acked: Batch[]; unknown: Batch[] }> {
  const acked: Batch[] = [];
  const unknown: Batch[] = [];
  let killed: Promise<void> | undefined;
  const lane = async (): Promise<void> => {
    for (;;) {
      const batch = next();
      try {
        await post(url, batch);
      } catch (error) {
        // What fetch says of a connection that broke; anything else is an answer that should not have come.
        if (killed === undefined || !(error instanceof TypeError)) throw error;
        unknown.push(batch);
        return;
      }
      acked.push(batch);
      killed ??= after(random() * MAX_KILL_AFTER_MS).then(() => server.kill("SIGKILL"));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await killed;
  return { acked, unknown };
}

/** Resolves when the whole batch is acknowledged, as new or as known. */
export async function post(url: string, { key, body }: Batch): Promise<void> {
  const headers = {
    "content-type": "application/json",
    ...(key === undefined ? {} : { "idempotency-key": key }),
  };
  const response = await fetch(`${url}/v1/events`, { method: "POST", headers, body });
  const reply = (await response.json()) as IngestReply;
  if (response.status === 503) return await post(url, { blog: "", key, body });
  if (response.status !== 202 || reply.accepted + reply.duplicate !== EVENTS_PER_BATCH || !reply.durable) {
    throw new Error(`not acknowledged: ${response.status} ${JSON.stringify(reply)}`);
  }
}

/** Views by blog. */
export async function countByBlog(url: string): Promise<Map<string, number>> {
  const query = { date_range: "30d", dimensions: ["blog"], metrics: ["views", "viewers"], limit: 100_000 };
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/v1/query`, { method: "POST", headers, body: JSON.stringify(query) });
  const { results } = (await response.json()) as QueryResult;
  for (const { dimensions, metrics } of results) {
    if (metrics[0] !== metrics[1])
      throw new Error(`${dimensions[0]}: ${metrics[0]} views of ${metrics[1]} viewers`);
  }
  return new Map(results.map(({ dimensions, metrics }) => [dimensions[0]!, metrics[0]!]));
}

export async function after(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
