/**
 * A server as in production, for benchmarks from outside: `server/main.js` in a process of its own, on a folder of its
 * own that is removed in the end, with its event loop watched from inside (bench/loop-sampler.js).
 *
 *   TIDEMARK_BENCH_PROFILE=/tmp/profiles   a CPU profile of the server is left there (`--cpu-prof`)
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../server/main.js", import.meta.url));
const SAMPLER = new URL("loop-sampler.js", import.meta.url).href;
/** As `npm start` has it: docs/runbook.md, "Node's own threads". */
const NODE_FLAGS = ["--v8-pool-size=1"];
/** Of a profile, µs: fine enough to find functions, and coarse enough to change little. */
const PROFILE_INTERVAL_US = 500;

/** What the server's process saw of itself between `begin` and `end`. */
export interface ServerReport {
  /** Of the event loop, ms, one for each turn that took over 1 ms and for each ms without. */
  readonly pauses: readonly number[];
  /** Spent collecting garbage, ms, on whichever thread. */
  readonly collectedMs: number;
  /** Of all its threads. */
  readonly cpuMs: number;
  /** Bytes in memory, those of the mapped file too. */
  readonly rss: number;
}

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #data: string;

  private constructor(
    child: ChildProcess,
    data: string,
    readonly url: string,
  ) {
    this.#child = child;
    this.#data = data;
  }

  /** `env` are settings of the server, by their variables. */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    const data = mkdtempSync(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-bench-"));
    const child = spawn(process.execPath, [...NODE_FLAGS, ...profileFlags(), "--import", SAMPLER, MAIN], {
      env: { ...withoutSettings(), TIDEMARK_PORT: "0", TIDEMARK_DATA: data, ...env },
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    return new ServerProcess(child, data, await addressOf(child));
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  begin(): void {
    this.#child.send("begin");
  }

  async end(): Promise<ServerReport> {
    this.#child.send("end");
    const [report] = (await once(this.#child, "message")) as [ServerReport];
    return report;
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
    rmSync(this.#data, { recursive: true, force: true });
  }
}

function profileFlags(): string[] {
  const folder = process.env["TIDEMARK_BENCH_PROFILE"];
  if (folder === undefined) return [];
  return ["--cpu-prof", `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${PROFILE_INTERVAL_US}`];
}

/** The settings of a benchmark are none of the server's: it would warn of each. */
function withoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEMARK_")));
}

async function addressOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error("the server ended before it listened");
}
