/** The configuration of the server process: flags, then environment variables, then defaults. */
import { isIPv4 } from "node:net";
import { parseArgs } from "node:util";
import type { EngineOptions } from "../engine/api.js";
import { SETTINGS, type Setting, type SettingName, type Settings } from "./settings.js";
import { BadValue, type LogLevel } from "./values.js";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 4567;
const DEFAULT_DATA = "./data";
/** Enough for retention to run, and little on any disk. */
const DEFAULT_BALLAST_BYTES = 64 * 1024 * 1024;

/** What a `tidemark` process runs with. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Folder of the LMDB files. */
  readonly data: string;
  readonly token: string | undefined;
  readonly origins: readonly string[];
  readonly logLevel: LogLevel;
  /** Folder that expiring tiers go to first. */
  readonly archive: string | undefined;
  /** The store grows no further; undefined for as far as the disk goes. */
  readonly maxBytes: number | undefined;
  readonly ballastBytes: number;
  /** Only what was set: the engine has its own defaults. */
  readonly engine: Omit<EngineOptions, "storage" | "scheduler" | "archive">;
  /** Sentences about what looks like a setting and is none. */
  readonly warnings: readonly string[];
}

export type Command =
  | { readonly kind: "run"; readonly config: Config }
  | { readonly kind: "help" | "version" };

/** A setting that the process cannot start with; the message says which and why. */
export class ConfigError extends Error {}

/** Throws `ConfigError`. */
export function readConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Command {
  const flags = readFlags(args);
  if (flags["help"] === true) return { kind: "help" };
  if (flags["version"] === true) return { kind: "version" };
  const { host, port, data, token, origins, logLevel, archive, maxBytes, ballastBytes, ...engine } =
    readSettings(flags, env);
  const config: Config = {
    host: host ?? DEFAULT_HOST,
    port: port ?? DEFAULT_PORT,
    data: data ?? DEFAULT_DATA,
    token,
    origins: origins ?? [],
    logLevel: logLevel ?? "info",
    archive,
    maxBytes,
    ballastBytes: ballastBytes ?? DEFAULT_BALLAST_BYTES,
    engine,
    warnings: unknownVariables(env),
  };
  check(config);
  return { kind: "run", config };
}

/** Whether only this machine can connect to the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

type Flags = Readonly<Record<string, string | boolean | undefined>>;

function readFlags(args: readonly string[]): Flags {
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    help: { type: "boolean", short: "h" },
    version: { type: "boolean" },
  };
  for (const { flag } of Object.values(SETTINGS)) {
    if (flag !== undefined) options[flag] = { type: "string" };
  }
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const [sentence = ""] = (error as Error).message.split(/\. |\n/);
    throw new ConfigError(`${sentence}. Try --help.`);
  }
}

function readSettings(flags: Flags, env: Readonly<Record<string, string | undefined>>): Settings {
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(SETTINGS) as [SettingName, Setting][]) {
    const flag = setting.flag === undefined ? undefined : flags[setting.flag];
    const text = typeof flag === "string" ? flag : env[setting.env];
    if (text === undefined) continue;
    settings[name] = parse(setting, text, typeof flag === "string" ? `--${setting.flag}` : setting.env);
  }
  return settings;
}

function parse(setting: Setting, text: string, source: string): unknown {
  try {
    return setting.parse(text);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const given = setting.flag === undefined ? "" : `, not ${JSON.stringify(text.slice(0, 120))}`;
    throw new ConfigError(`${source} must be ${error.message}${given}.`);
  }
}

function check({ host, token, engine }: Config): void {
  if (token === undefined && !isLoopback(host)) {
    throw new ConfigError(
      `Without a token Tidemark listens on loopback only: set ${SETTINGS.token.env} (openssl rand -hex 32) ` +
        `to listen on ${host}, or leave the host out.`,
    );
  }
  const { allowedLatenessMs, maxLatenessMs } = engine;
  if (allowedLatenessMs !== undefined && maxLatenessMs !== undefined && allowedLatenessMs > maxLatenessMs) {
    throw new ConfigError("The allowed lateness must not be longer than the maximal lateness.");
  }
}

/** A misspelt variable is silent otherwise. */
function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set(Object.values(SETTINGS).map((setting) => setting.env));
  return Object.keys(env)
    .filter((name) => name.startsWith("TIDEMARK_") && !known.has(name))
    .sort()
    .map((name) => `${name} is not a setting and is ignored; see --help.`);
}
