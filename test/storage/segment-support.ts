import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { Environment } from "../../storage/environment.js";
import { LmdbLog, type LmdbLogOptions } from "../../storage/lmdb-log.js";
import type { SegmentLimits } from "../../storage/segment-plan.js";
import { WriteQueue } from "../../storage/write-queue.js";
import type { OpenLog } from "./contract-log.js";

/** A log in LMDB without the rest of a storage. */
export interface LmdbOpenLog extends OpenLog {
  readonly path: string;
  readonly log: LmdbLog;
  readonly environment: Environment;
}

const OWNER = { pid: process.pid, host: "test", started: "0" };

export async function newLogPath(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "tidemark-log-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

export async function openLogAt(
  path: string,
  limits?: SegmentLimits,
  options: LmdbLogOptions = {},
): Promise<LmdbOpenLog> {
  const environment = Environment.open(path);
  await environment.claim(OWNER);
  const queue = new WriteQueue(environment);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await queue.close();
    await environment.close();
  };
  try {
    const log = new LmdbLog(environment, queue, limits === undefined ? options : { ...options, limits });
    return { path, log, environment, close: () => (closing ??= close()) };
  } catch (error) {
    await environment.close();
    throw error;
  }
}
