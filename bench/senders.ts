/**
 * What sends the same events to Tidemark and to its peers: a process of its own (bench/sender-process.ts) with a number
 * of connections, each of which sends one request, waits for its reply, and sends the next that nobody has sent. Requests
 * are bytes made before the clock starts, so that sending costs the two cores next to nothing beside what is measured.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { NetConnectOpts } from "node:net";
import { fileURLToPath } from "node:url";
import type { WorkloadOptions } from "./workload.js";

const PROCESS = fileURLToPath(new URL("sender-process.js", import.meta.url));

export interface SendersOptions {
  /** Module that exports the `protocol`. */
  readonly module: string;
  readonly to: NetConnectOpts;
  readonly workload: WorkloadOptions;
  readonly batch: number;
  readonly connections: number;
}

export interface SendersReport {
  readonly ms: number;
  readonly cpuMs: number;
  /** Of the replies, ascending, ms. */
  readonly times: Float64Array;
  /** Requests that the server did not take at first. */
  readonly refused: number;
}

export class Senders {
  readonly #child: ChildProcess;
  #isStopping = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.once("exit", (code) => {
      if (!this.#isStopping) throw new Error(`the senders ended with ${code}`);
    });
  }

  /** Resolves when all requests are made and all connections open. */
  static async start(options: SendersOptions): Promise<Senders> {
    const child = fork(PROCESS, { serialization: "advanced" });
    const senders = new Senders(child);
    child.send(options);
    await once(child, "message");
    return senders;
  }

  /** Sends the requests from `from` to before `to`. */
  async send(from: number, to: number): Promise<SendersReport> {
    this.#child.send([from, to]);
    const [report] = (await once(this.#child, "message")) as [SendersReport];
    return report;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#child.disconnect();
    await once(this.#child, "exit");
  }
}
