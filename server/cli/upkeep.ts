/** What is asked of a store that a server has open (`--url`) or nobody: the same question either way. */
import type { Engine, ReconcileReport, RetentionReport, RevisionsReport } from "../../engine/api.js";
import { createEngine } from "../../engine/engine.js";
import { openArchive } from "../../storage/archive.js";
import { openLmdb } from "../../storage/lmdb.js";
import { ConfigError, readConfig } from "../config.js";
import {
  DATA_OPTION,
  dataFolder,
  EXIT,
  say,
  type Command,
  type CommandArgs,
  type CommandOption,
} from "./command.js";

const URL_OPTION: CommandOption = {
  type: "string",
  value: "URL",
  help: "ask the server there, which has the store open (its token: TIDEMARK_TOKEN)",
};

export const STORE_OPTIONS = { data: DATA_OPTION, url: URL_OPTION };
export const STORE_DETAILS =
  "Without --url no server may have the store open; settings are read from the environment as the server reads them.";

export const reconcile: Command = {
  name: "reconcile",
  summary: "compare stored buckets with the raw events and the finer grains, bit for bit",
  details: STORE_DETAILS,
  options: {
    ...STORE_OPTIONS,
    from: { type: "string", value: "TIME", help: "RFC 3339; the first event by default" },
    to: { type: "string", value: "TIME", help: "RFC 3339; now by default" },
    repair: { type: "boolean", help: "make anew what is wrong" },
  },
  async run(args) {
    const { from, to, repair } = args;
    const options = {
      ...(typeof from === "string" ? { from } : {}),
      ...(typeof to === "string" ? { to } : {}),
      repair: repair === true,
    };
    const report = await ask<ReconcileReport>(args, "POST", "/v1/admin/reconcile", options, (engine) =>
      engine.reconcile(options),
    );
    say(JSON.stringify(report, null, 2));
    return report.wrong === 0 ? EXIT.ok : EXIT.damage;
  },
};

export const retention: Command = {
  name: "retention",
  summary: "give up what is older than its tier keeps",
  details: STORE_DETAILS,
  options: { ...STORE_OPTIONS, "dry-run": { type: "boolean", help: "only say what would go" } },
  async run(args) {
    const dryRun = args["dry-run"] === true;
    const report = await ask<RetentionReport>(
      args,
      "POST",
      "/v1/admin/retention",
      { dry_run: dryRun },
      (engine) => engine.retain({ dryRun }),
    );
    say(JSON.stringify(report, null, 2));
    return report.tiers.every(({ blocked }) => blocked === null) ? EXIT.ok : EXIT.damage;
  },
};

export const revisions: Command = {
  name: "revisions",
  summary: "list what changed in sealed buckets, one line of JSON each",
  details: STORE_DETAILS,
  options: {
    ...STORE_OPTIONS,
    after: { type: "string", value: "NUMBER", help: "only later ones than this" },
  },
  async run(args) {
    let after = Number(args["after"] ?? 0);
    if (!Number.isSafeInteger(after)) throw new ConfigError("--after must be the number of a revision.");
    for (;;) {
      const path = `/v1/admin/revisions?after=${after}`;
      const start = after;
      const report = await ask<RevisionsReport>(args, "GET", path, undefined, (engine) =>
        engine.revisions({ after: start }),
      );
      for (const revision of report.revisions) say(JSON.stringify(revision));
      const last = report.revisions.at(-1);
      if (last === undefined) return EXIT.ok;
      after = last.seq;
    }
  },
};

/** Asks the server of `--url`, or an engine that is opened for it. */
export async function ask<T>(
  args: CommandArgs,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body: object | undefined,
  inProcess: (engine: Engine) => T | Promise<T>,
): Promise<T> {
  const { url } = args;
  if (typeof url === "string") return (await overHttp(new URL(path, url), method, body)) as T;
  const engine = await openEngine(args);
  try {
    return await inProcess(engine);
  } finally {
    await engine.close();
  }
}

async function openEngine(args: CommandArgs): Promise<Engine> {
  const command = readConfig([], process.env);
  if (command.kind !== "run") throw new Error("BUG: no configuration without flags");
  const { engine, archive } = command.config;
  return await createEngine({
    ...engine,
    storage: await openLmdb(dataFolder(args)),
    ...(archive === undefined ? {} : { archive: await openArchive(archive) }),
  });
}

async function overHttp(url: URL, method: string, body: object | undefined): Promise<unknown> {
  const token = process.env["TIDEMARK_TOKEN"];
  const response = await fetch(url, {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw new ConfigError(`${url.origin} does not answer (${(error as Error).message}).`);
  });
  const answer = (await response.json()) as { detail?: string };
  if (response.ok) return answer;
  throw new ConfigError(`${url.origin} refuses: ${answer.detail ?? response.status}`);
}
