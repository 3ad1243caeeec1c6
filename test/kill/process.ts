import { spawn } from "node:child_process";
import { once } from "node:events";
import { argsAt } from "../support/program.js";

const ROOT = new URL("../../", import.meta.url);
const MAIN = argsAt("server/main", ROOT.href);

/** The program in a process of its own, with arguments of its own. */
export class Process {
  readonly #child: ReturnType<typeof spawn>;
  readonly #ended: Promise<unknown>;
  #output = "";

  constructor(args: readonly string[], settings: Readonly<Record<string, string>>) {
    const env: NodeJS.ProcessEnv = { PATH: process.env["PATH"], TIDEMARK_PORT: "0", TIDEMARK_LOG: "warn" };
    for (const [name, value] of Object.entries(settings)) env[`TIDEMARK_${name}`] = value;
    this.#child = spawn(process.execPath, [...MAIN, ...args], {
      cwd: ROOT,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#ended = once(this.#child, "exit");
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    }
  }

  /** The server's URL, once it listens. Throws with what it said when it ends before. */
  async ready(): Promise<string> {
    const ended = this.#ended.then(() => false);
    for (;;) {
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(this.#output)?.[0];
      if (url !== undefined) return url;
      const said = once(this.#child.stdout!, "data").then(() => true);
      if (!(await Promise.race([said, ended]))) throw new Error(`it did not start:\n${this.#output}`);
    }
  }

  async kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }
}
