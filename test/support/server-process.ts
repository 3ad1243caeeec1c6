import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAIN = fileURLToPath(new URL("../../server/main.ts", import.meta.url));

/** A real server in a process of its own, on any free port. */
export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #output = "";

  /** `settings`: as in server/settings.ts, without `TIDEMARK_`. Nothing else of this process's environment is passed on. */
  constructor(settings: Readonly<Record<string, string>>) {
    const env: NodeJS.ProcessEnv = { PATH: process.env["PATH"], TIDEMARK_PORT: "0", TIDEMARK_LOG: "warn" };
    for (const [name, value] of Object.entries(settings)) env[`TIDEMARK_${name}`] = value;
    const stdio = ["ignore", "pipe", "pipe"] as const;
    this.#child = spawn(process.execPath, ["--import", "tsx", MAIN], { cwd: ROOT, env, stdio: [...stdio] });
    this.#exited = once(this.#child, "exit");
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    }
  }

  /** What the process said. */
  get output(): string {
    return this.#output;
  }

  /** Its URL, once it listens. Throws with what it said when it ends before. */
  async ready(): Promise<string> {
    const ended = this.#exited.then(() => false);
    for (;;) {
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(this.#output)?.[0];
      if (url !== undefined) return url;
      const said = once(this.#child.stdout!, "data").then(() => true);
      if (!(await Promise.race([said, ended]))) throw new Error(`the server did not start:\n${this.#output}`);
    }
  }

  async kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#child.kill(signal);
    await this.#exited;
  }
}
