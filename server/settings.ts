/** Every setting of the server process: its environment variable, its flag, its meaning, its parser. */
import { readFileSync } from "node:fs";
import { getZone } from "../engine/calendar/index.js";
import { TidemarkError } from "../engine/errors.js";
import { resolveRetention, type RetentionOptions } from "../engine/upkeep/policy.js";
import { DEFAULT_SCHEMA, defineSchema, type SchemaConfig } from "../engine/schema.js";
import * as values from "./values.js";

export interface Setting<T = unknown> {
  readonly env: string;
  /** Secrets have none: other users of the machine can read command lines. */
  readonly flag: string | undefined;
  readonly value: string;
  readonly help: string;
  readonly parse: (text: string) => T;
}

export const SETTINGS = {
  host: setting("HOST", "host", "ADDRESS", "where to listen (127.0.0.1)", values.host),
  port: setting("PORT", "port", "PORT", "0 takes any free one (4567)", values.port),
  data: setting("DATA", "data", "FOLDER", "where everything is kept (./data)", values.nonEmpty),
  token: secret("TOKEN", "what clients must send; needed off loopback", values.token),
  origins: setting("ORIGINS", "origins", "LIST", "other sites whose pages may connect live", values.origins),
  homeZones: setting("HOME_ZONES", "home-zone", "LIST", "zones whose days are kept ready (UTC)", zones),
  schema: setting("SCHEMA", "schema", "FILE", "dimensions and rollups, as JSON", schemaFile),
  allowedLatenessMs: setting(
    "ALLOWED_LATENESS",
    "allowed-lateness",
    "TIME",
    "a past bucket stays in memory so long (5m)",
    values.duration,
  ),
  maxLatenessMs: setting(
    "MAX_LATENESS",
    "max-lateness",
    "TIME",
    "older events are refused (30d)",
    values.duration,
  ),
  maxSkewMs: setting(
    "MAX_SKEW",
    "max-skew",
    "TIME",
    "events further ahead are refused (5m)",
    values.duration,
  ),
  idleAfterMs: setting(
    "IDLE_AFTER",
    "idle-after",
    "TIME",
    "then the clock seals buckets (1m)",
    values.duration,
  ),
  pushIntervalMs: setting(
    "PUSH_INTERVAL",
    "push-interval",
    "TIME",
    "at least, between two live updates (20ms)",
    values.positiveDuration,
  ),
  dedupeWindowMs: setting(
    "DEDUPE_WINDOW",
    "dedupe-window",
    "TIME",
    "ids and keys are remembered so long (1d)",
    values.duration,
  ),
  viewerKey: secret("VIEWER_KEY", "32 hex digits: viewers are hashed under this key", values.key16),
  maxValuesPerDimension: setting(
    "MAX_VALUES",
    "max-values",
    "COUNT",
    "distinct values of one dimension (2000000)",
    values.count,
  ),
  maxHotCells: setting("MAX_HOT_CELLS", "max-hot-cells", "COUNT", "cells in memory (1500000)", values.count),
  maxQueuedBytes: setting(
    "MAX_QUEUED_BYTES",
    "max-queued-bytes",
    "BYTES",
    "events that wait for the disk (67108864)",
    values.count,
  ),
  maxReplayEvents: setting(
    "MAX_REPLAY_EVENTS",
    "max-replay-events",
    "COUNT",
    "events that a restart may have to fold again, about (500000)",
    values.count,
  ),
  maxDedupeEntries: setting(
    "MAX_DEDUPE",
    "max-dedupe",
    "COUNT",
    "ids and keys remembered at most (20000000)",
    values.count,
  ),
  maxQuarantinedEvents: setting(
    "MAX_QUARANTINED",
    "max-quarantined",
    "COUNT",
    "events refused for their time that are kept, 0 for none (100000)",
    values.countOrNone,
  ),
  maxQuarantinedBytes: setting(
    "MAX_QUARANTINED_BYTES",
    "max-quarantined-bytes",
    "BYTES",
    "of these, at most (67108864)",
    values.count,
  ),
  maxCacheBytes: setting(
    "CACHE_BYTES",
    "cache-bytes",
    "BYTES",
    "answers and sealed parts kept for the next time (67108864)",
    values.count,
  ),
  retention: setting(
    "RETENTION",
    "retention",
    "LIST",
    "how long tiers are kept (raw=30d,quarter=90d,hour=400d,day=3653d)",
    retention,
  ),
  archive: setting(
    "ARCHIVE",
    "archive",
    "FOLDER",
    "where expiring tiers go first (nowhere)",
    values.nonEmpty,
  ),
  maxBytes: setting(
    "MAX_BYTES",
    "max-bytes",
    "BYTES",
    "the store grows no further (as far as the disk goes)",
    values.count,
  ),
  ballastBytes: setting(
    "BALLAST",
    "ballast",
    "BYTES",
    "kept free on the disk for retention to run when it is full (67108864)",
    values.count,
  ),
  reconcileEveryMs: setting(
    "RECONCILE_EVERY",
    "reconcile-every",
    "TIME",
    "one day is compared with its raw events so often, 0s never (1h)",
    values.duration,
  ),
  logLevel: setting("LOG", "log", "LEVEL", "silent, error, warn, info or debug (info)", values.logLevel),
};

export type SettingName = keyof typeof SETTINGS;

/** What was set, parsed. */
export type Settings = { [K in SettingName]?: ReturnType<(typeof SETTINGS)[K]["parse"]> };

export function helpText(): string {
  const rows = Object.values(SETTINGS).map(({ flag, value, env, help }): [string, string, string] => [
    flag === undefined ? "" : `--${flag} ${value}`,
    env,
    help,
  ]);
  const width = (column: 0 | 1): number => Math.max(...rows.map((row) => row[column].length));
  const lines = rows.map(
    ([flag, env, help]) => `  ${flag.padEnd(width(0))}  ${env.padEnd(width(1))}  ${help}`,
  );
  return [
    "tidemark: views and unique viewers of blogs, in any range and time zone, live.",
    "",
    "Usage: tidemark [flags]. A flag goes before its environment variable.",
    "",
    ...lines,
    `  ${"--version".padEnd(width(0))}  ${"".padEnd(width(1))}  print the version`,
    `  ${"--help".padEnd(width(0))}  ${"".padEnd(width(1))}  print this`,
    "",
  ].join("\n");
}

function setting<T>(
  name: string,
  flag: string | undefined,
  value: string,
  help: string,
  parse: (text: string) => T,
): Setting<T> {
  return { env: `TIDEMARK_${name}`, flag, value, help, parse };
}

function secret<T>(name: string, help: string, parse: (text: string) => T): Setting<T> {
  return setting(name, undefined, "", help, parse);
}

/** `raw=30d,hour=forever` → ms, null for ever. */
function retention(text: string): RetentionOptions {
  const entries = values.list(text).map((item): [string, number | null] => {
    const [tier = "", time = ""] = item.split("=");
    return [tier, time === "forever" ? null : values.positiveDuration(time)];
  });
  const options = Object.fromEntries(entries) as RetentionOptions;
  try {
    resolveRetention(options);
  } catch (error) {
    throw new values.BadValue(`a list like raw=30d,day=forever: ${(error as Error).message}`);
  }
  return options;
}

function zones(text: string): readonly string[] {
  const names = values.list(text);
  for (const name of names) {
    try {
      getZone(name);
    } catch (error) {
      throw new values.BadValue(`a list of IANA time zones: ${(error as Error).message}`);
    }
  }
  return names;
}

/** Reads and checks a file with a `SchemaConfig`. */
function schemaFile(path: string): SchemaConfig {
  const config = readJson(path);
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new values.BadValue("a file that holds one JSON object");
  }
  for (const [name, value] of Object.entries(config)) {
    const example = Object.hasOwn(DEFAULT_SCHEMA, name)
      ? DEFAULT_SCHEMA[name as keyof SchemaConfig]
      : undefined;
    if (example === undefined) {
      throw new values.BadValue(
        `a file with only ${Object.keys(DEFAULT_SCHEMA).join(", ")}; it has "${name}"`,
      );
    }
    if (!isLike(value, example)) {
      throw new values.BadValue(`a file whose "${name}" looks like ${JSON.stringify(example)}`);
    }
  }
  try {
    defineSchema(config);
  } catch (error) {
    if (error instanceof TidemarkError)
      throw new values.BadValue(`a file with a valid schema: ${error.message}`);
    throw error;
  }
  return config;
}

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new values.BadValue(`a file that can be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new values.BadValue(`a file with JSON (${(error as Error).message})`);
  }
}

/** A string where the example has one, a list of such where it has a list. */
function isLike(value: unknown, example: unknown): boolean {
  if (!Array.isArray(example)) return typeof value === typeof example;
  // The total's list is empty: the first that is not shows what the items are.
  const item = (example as unknown[]).find((entry) => !Array.isArray(entry) || entry.length > 0);
  return Array.isArray(value) && value.every((entry) => isLike(entry, item));
}
