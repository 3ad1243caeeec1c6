/** The full check in a process of its own, so that what brings LMDB down brings down nobody else. */
import { fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { TidemarkError } from "../engine/errors.js";
import { damaged } from "./errors.js";
import type { Depth, Verified } from "./verify.js";

/** Whether this runs from its sources: in development and in tests. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
/** Beside this file, compiled or not. */
const ENTRY = fileURLToPath(new URL(IS_SOURCE ? "verify-main.ts" : "verify-main.js", import.meta.url));
/** Of what the process says before it dies. */
const MOST_OUTPUT = 2000;

/**
 * Opens the directory in a process of its own and reads its records. Nobody may have it open in LMDB here.
 *
 * Rejects with `storage-damaged` when that process dies of it, `storage-failed` when there could be no such process.
 */
export async function readInChild(directory: string, depth: Depth): Promise<Verified> {
  const child = fork(ENTRY, [directory, depth], {
    ...environmentOf(),
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let verified: Verified | undefined;
  let output = "";
  child
    .stderr!.setEncoding("utf8")
    .on("data", (text: string) => (output = (output + text).slice(-MOST_OUTPUT)));
  child.on("message", (message) => (verified = message as Verified));
  const end = await new Promise<string>((resolve, reject) => {
    child.once("error", (error) => reject(unstarted(error)));
    child.once("close", (code, signal) => resolve(signal ?? `exit ${code}`));
  });
  if (verified === undefined) {
    const said = output.trim().split("\n").at(-1) ?? "";
    throw damaged(`The store in ${directory}`, `cannot be read: LMDB ends with ${end} (${said})`);
  }
  return verified;
}

/** As `readInChild`, and rejects with `storage-damaged` when the store cannot be opened. */
export async function verifyInChild(directory: string, depth: Depth): Promise<Verified> {
  const verified = await readInChild(directory, depth);
  if (verified.refusal === undefined) return verified;
  throw new TidemarkError("storage-damaged", verified.refusal, { extra: { damage: verified.damage } });
}

/** What this process runs with, but for a debugger's port; sources are run by tsx, whatever runs the tests. */
function environmentOf(): { execArgv: string[]; env: NodeJS.ProcessEnv } {
  if (!IS_SOURCE) {
    return { execArgv: process.execArgv.filter((flag) => !flag.startsWith("--inspect")), env: process.env };
  }
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return { execArgv: ["--import", tsx], env: { ...process.env, NODE_OPTIONS: "" } };
}

function unstarted(error: Error): TidemarkError {
  const detail =
    `After an unclean stop the store is checked in a process of its own, which cannot be started (${error.message}); ` +
    'see to that, or open it with verify: "never".';
  return new TidemarkError("storage-failed", detail, { cause: error });
}
