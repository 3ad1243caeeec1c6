/** A PostgreSQL 15 with hll in a folder of its own, run as the user that Debian's package made; reached by a socket. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const BIN = "/usr/lib/postgresql/15/bin";
const EXTENSION = "/usr/share/postgresql/15/extension/hll.control";
const PORT = 5432;

export function isInstalled(): boolean {
  return existsSync(`${BIN}/initdb`) && existsSync(EXTENSION) && process.getuid?.() === 0;
}

export class PostgresServer {
  readonly folder: string;
  readonly #settings: readonly string[];
  readonly #sockets = mkdtempSync(join(tmpdir(), "tidemark-pg-"));
  #runs = false;

  /** Neither made nor started yet; it is stopped when this process ends. */
  constructor(folder: string, settings: readonly string[]) {
    this.folder = folder;
    this.#settings = settings;
    execFileSync("chown", ["postgres", this.#sockets]);
    process.once("exit", () => this.stop());
  }

  /** Anew, and started. */
  create(): void {
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    execFileSync("chown", ["postgres", this.folder]);
    this.#asPostgres("initdb", `-D ${this.folder}/data -A trust -U postgres -N -E UTF8 --locale=C`);
    this.start();
  }

  start(): void {
    const settings = [`unix_socket_directories=${this.#sockets}`, "listen_addresses=", ...this.#settings];
    const options = settings.map((setting) => `-c ${setting}`).join(" ");
    this.#asPostgres("pg_ctl", `-D ${this.folder}/data -w -l ${this.folder}/log -o "${options}" start`);
    this.#runs = true;
  }

  run(sql: string): string {
    return execFileSync(`${BIN}/psql`, [...this.connection(), "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"], {
      input: sql,
      encoding: "utf8",
    });
  }

  /** Flags for its client programs. */
  connection(): string[] {
    return ["-h", this.#sockets, "-U", "postgres"];
  }

  get socketPath(): string {
    return join(this.#sockets, `.s.PGSQL.${PORT}`);
  }

  /** Idempotent. */
  stop(): void {
    try {
      if (this.#runs) this.#asPostgres("pg_ctl", `-D ${this.folder}/data -m fast -w stop`);
    } finally {
      this.#runs = false;
      rmSync(this.#sockets, { recursive: true, force: true });
    }
  }

  #asPostgres(program: string, parameters: string): void {
    execFileSync("su", ["postgres", "-s", "/bin/sh", "-c", `${BIN}/${program} ${parameters}`], {
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe"],
    });
  }
}
