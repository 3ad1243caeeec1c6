import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BIN = "/usr/lib/postgresql/15/bin";
const EXTENSION = "/usr/share/postgresql/15/extension/hll.control";

/** Why no PostgreSQL with `hll` can be started here, or nothing. */
export const obstacle = !existsSync(`${BIN}/initdb`)
  ? `PostgreSQL 15 is not in ${BIN}`
  : !existsSync(EXTENSION)
    ? "the hll extension of PostgreSQL 15 is not installed"
    : process.getuid?.() !== 0
      ? "only root can start a server as the user postgres"
      : "";

/** A PostgreSQL 15 with `hll` 2.17 in a folder of its own, reached through a socket there. */
export class Postgres {
  readonly #folder = mkdtempSync(join(tmpdir(), "tidemark-pg-"));
  #runs = false;

  constructor() {
    process.once("exit", () => this.stop());
    execFileSync("chown", ["postgres", this.#folder]);
    this.#server("initdb", `-D ${this.#folder}/data -A trust -U postgres -N -E UTF8 --locale=C`);
    const options = `-c listen_addresses= -c unix_socket_directories=${this.#folder} -c fsync=off`;
    this.#runs = true;
    this.#server("pg_ctl", `-D ${this.#folder}/data -w -l ${this.#folder}/log -o "${options}" start`);
    this.query("create extension hll; alter extension hll update to '2.17';");
  }

  /** Runs SQL and answers its rows. Rows for a `copy … from stdin` follow that statement. */
  query(sql: string): string[][] {
    const text = execFileSync(
      `${BIN}/psql`,
      ["-h", this.#folder, "-U", "postgres", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
      { input: sql, encoding: "utf8", maxBuffer: 2 ** 28 },
    );
    return text === ""
      ? []
      : text
          .trimEnd()
          .split("\n")
          .map((line) => line.split("\t"));
  }

  stop(): void {
    try {
      if (this.#runs) this.#server("pg_ctl", `-D ${this.#folder}/data -m immediate -w stop`);
    } finally {
      this.#runs = false;
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }

  #server(program: string, parameters: string): void {
    execFileSync("su", ["postgres", "-s", "/bin/sh", "-c", `${BIN}/${program} ${parameters}`], {
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe"],
    });
  }
}
