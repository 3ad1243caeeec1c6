import { spawn, type ChildProcess } from "node:child_process";
import type { Test } from "tap";
import { argsAt } from "../../support/program.js";

const ROOT = new URL("../../../", import.meta.url);

/** A TypeScript program of this project in a process of its own, with what it printed. */
export class Program {
  readonly #child: ChildProcess;
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  output = "";
  readonly #watchers = new Set<() => void>();

  /** Nothing of this process's environment is passed on but the path. It is killed with the test. */
  constructor(t: Test, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, args, { cwd: ROOT, env: { PATH: process.env["PATH"], ...env } });
    this.ended = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        resolve(code ?? signal ?? "");
        for (const watcher of this.#watchers) watcher();
      });
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        for (const watcher of this.#watchers) watcher();
      });
    }
    t.teardown(() => this.#child.kill("SIGKILL"));
  }

  static typescript(
    t: Test,
    file: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Program {
    const program = argsAt(file.replace(/\.ts$/, ""), ROOT.href);
    return new Program(t, [...program, ...args], env);
  }

  /** What it printed that fits. Throws, with all that it printed, when it ends without. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    let hasEnded = false;
    void this.ended.then(() => (hasEnded = true));
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (hasEnded) throw new Error(`it ended without saying ${String(pattern)}:\n${this.output}`);
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }
}
