/**
 * Redis 7 beside Tidemark, as its experts would count: the client sums up each batch of 1,000 events, and sends one
 * pipeline of HINCRBY (a hash of views for each rollup and hour or day) and PFADD (a HyperLogLog for each cell) over a
 * Unix socket. The append-only file is on, once with `appendfsync everysec`, where a crash of the machine loses a second,
 * and once with `always`, where a reply means what Tidemark's means.
 *
 * What differs, to its favour: summing up is done before the clock starts; there are UTC hours and days alone (no
 * quarters, weeks, months, raw events, late events, checks of events or names); its sketches have 2^14 registers too, but
 * none of the exact counts below 1,280 viewers; a pipeline is no transaction; nothing is ever rewritten or expired.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { print } from "../figures.js";
import type { Protocol } from "../connection.js";
import { cellsOf } from "./cells.js";
import { measureIngest, type IngestOptions } from "./ingest-peer.js";

const SERVER = "redis-server";
const FSYNCS = ["everysec", "always"] as const;
/** Ends each pipeline: the only reply that is no number. */
const LAST = "*1\r\n$4\r\nPING\r\n";
const LAST_REPLY = "+PONG\r\n";
const MINUS = 0x2d;

export const protocol: Protocol = {
  *requests(workload, size) {
    for (let from = 0; from < workload.count; from += size) {
      let text = "";
      for (const { rollup, grain, period, key, views, viewers } of cellsOf(workload, from, from + size)) {
        const bucket = `${rollup}:${grain}:${period}`;
        text += command("HINCRBY", bucket, key, String(views));
        text += command("PFADD", `${bucket}:${key}`, ...Array.from(viewers, (viewer) => `u${viewer}`));
      }
      yield Buffer.from(text + LAST);
    }
  },
  reader() {
    let end = "";
    return (part) => {
      if (part.includes(MINUS)) throw new Error(part.toString("utf8"));
      end = (end + part.toString("latin1", Math.max(0, part.length - LAST_REPLY.length))).slice(
        -LAST_REPLY.length,
      );
      return end === LAST_REPLY ? "done" : "more";
    };
  },
};

/** All of it is ASCII. */
function command(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

/** Events a second by `appendfsync`. Undefined where it is not installed. */
export async function redisPeer(
  options: IngestOptions,
): Promise<ReadonlyMap<(typeof FSYNCS)[number], number> | undefined> {
  if (spawnSync(SERVER, ["--version"]).error !== undefined) {
    print("Redis is not installed: no peer (bench/peers/install.sh).");
    return undefined;
  }
  const rates = new Map<(typeof FSYNCS)[number], number>();
  for (const fsync of FSYNCS) {
    const folder = mkdtempSync(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-redis-"));
    const path = join(folder, "socket");
    const server = await start(folder, path, fsync);
    try {
      const target = { name: `Redis, appendfsync ${fsync}`, module: import.meta.url, to: { path } };
      rates.set(fsync, await measureIngest(target, options));
    } finally {
      server.kill("SIGKILL");
      await once(server, "exit");
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return rates;
}

async function start(folder: string, path: string, fsync: string): Promise<ChildProcess> {
  const settings = {
    port: "0",
    unixsocket: path,
    dir: folder,
    save: "",
    appendonly: "yes",
    appendfsync: fsync,
    "auto-aof-rewrite-percentage": "0",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const server = spawn(SERVER, flags, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: server.stdout })) {
    if (!line.includes("ready to accept connections")) continue;
    server.stdout.resume();
    return server;
  }
  throw new Error("redis-server ended before it was ready");
}
