/**
 * Damaged copies of a real store, each opened as a server would open it. Every outcome but two is fine: a wrong
 * answer that is not flagged, and the death of the process that opened the store.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createEngine } from "../../engine/index.js";
import { Environment } from "../../storage/environment.js";
import { LmdbLog } from "../../storage/lmdb-log.js";
import { LmdbStore } from "../../storage/lmdb-store.js";
import { openLmdb } from "../../storage/lmdb.js";
import { WriteQueue } from "../../storage/write-queue.js";
import { Clock } from "../support/clock.js";
import { argsAt } from "../support/program.js";
import { answersOf, HOME_ZONE, NOW, pumped } from "./damaged-worker.js";

const WORKER = argsAt("damaged-worker", import.meta.url);
const HOUR = 3_600_000;
const HOURS = 80;
const PAGE = 4096;
const SEGMENTS = { events: 600, records: 1000, bytes: 2 ** 20, spanMs: 400 * HOUR };

export type Random = () => number;

export const KINDS = [
  "bit flip",
  "bit flips",
  "random page",
  "zeroed page",
  "page header",
  "node",
  "another page",
  "truncation",
  "meta page",
] as const;
export type Kind = (typeof KINDS)[number];

/**
 * `healed`: right once a damaged bucket was made anew, an error before; `flagged`: the answer says that something is
 * missing; `refused`: the store was not opened; `error`: it was, and a query or a write said why not.
 */
export const OUTCOMES = ["right", "healed", "flagged", "error", "refused", "WRONG", "DIED"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Source {
  /** As a clean stop leaves it. */
  readonly clean: Buffer;
  /** With events in the log that are in no bucket yet. */
  readonly unclean: Buffer;
  /** Answers, as JSON. */
  readonly truth: string;
}

/** A few days of events of a few blogs, late ones among them, some not yet in buckets. */
export async function makeSource(random: Random): Promise<Source> {
  const parent = await mkdtemp(join(tmpdir(), "tidemark-source-"));
  const path = join(parent, "store");
  const clock = new Clock(NOW - HOURS * HOUR);
  const storage = await openLmdb(path);
  const { scheduler } = clock;
  const engine = await pumped(clock, createEngine({ storage, homeZones: [HOME_ZONE], scheduler }));
  for (let hour = 0; hour < HOURS; hour++) {
    const events = Array.from({ length: 30 }, () => ({
      type: random() < 0.02 ? "created" : "view",
      ts: Math.floor(clock.now() - random() ** 3 * 30 * HOUR),
      blog: `blog-${Math.floor(random() ** 2 * 20)}`,
      author: `author-${Math.floor(random() * 5)}`,
      country: ["DE", "IN", "US"][Math.floor(random() * 3)],
      viewer: `viewer-${Math.floor(random() * 2000)}`,
    }));
    await pumped(clock, engine.ingest(events));
    await clock.advance(HOUR);
    if (hour === HOURS - 8) await pumped(clock, engine.checkpoint());
  }
  const copy = join(parent, "copy");
  await storage.backup(copy);
  const truth = JSON.stringify(answersOf(engine));
  await pumped(clock, engine.close());
  const clean = await packed(path);
  const unclean = await packed(copy);
  await rm(parent, { recursive: true });
  return { clean, unclean, truth };
}

/** The data file of a closed store, with the log that the buckets hold in segments: real ones are of a million events. */
async function packed(path: string): Promise<Buffer> {
  const environment = Environment.open(path);
  await environment.claim({ pid: process.pid, host: "test" });
  const queue = new WriteQueue(environment);
  const { position } = new LmdbStore(environment, queue, 0).meta()!;
  const log = new LmdbLog(environment, queue, { limits: SEGMENTS });
  await log.compact(position + 1);
  await environment.close();
  return await readFile(join(path, "data.mdb"));
}

/** Damages `file` in place, or returns what is left of it. */
export function damage(file: Buffer, kind: Kind, random: Random): Buffer {
  const below = (limit: number): number => Math.floor(random() * limit);
  const pages = file.length / PAGE;
  const flip = (): void => void (file[below(file.length)]! ^= 1 << below(8));
  const scramble = (from: number, to: number): void => {
    const at = from + below(to - from);
    file[at] = (file[at]! + 1 + below(255)) & 0xff;
  };
  const page = (2 + below(pages - 2)) * PAGE;
  switch (kind) {
    case "bit flip":
      flip();
      return file;
    case "bit flips":
      for (let i = 0; i < 20; i++) flip();
      return file;
    case "random page":
      for (let i = 0; i < PAGE; i++) file[page + i] = below(256);
      return file;
    case "zeroed page":
      return file.fill(0, page, page + PAGE);
    case "page header":
      for (let i = below(3); i >= 0; i--) scramble(page, page + 24);
      return file;
    case "node":
      scramble(page + 24, page + 24 + 40);
      scramble(page + PAGE - 200, page + PAGE);
      return file;
    case "another page":
      file.copy(file, page, (2 + below(pages - 2)) * PAGE, page);
      file.copyWithin(page, page + PAGE, Math.min(file.length, page + 2 * PAGE));
      return file;
    case "truncation":
      return file.subarray(0, random() < 0.5 ? below(file.length) : below(pages) * PAGE);
    case "meta page":
      scramble(below(2) * PAGE, below(2) * PAGE + 0xa8);
      return file;
  }
}

export interface Result {
  readonly outcome: Outcome;
  readonly detail: string;
}

/** One process that opens copies one after the other, and another when it died. */
export class Host {
  #child: ChildProcess | undefined;
  #lines: AsyncIterator<string> | undefined;
  #output = "";
  readonly #truth: string;

  constructor(truth: string) {
    this.#truth = truth;
  }

  async open(directory: string): Promise<Result> {
    if (this.#child === undefined) this.#start();
    this.#child!.stdin!.write(`${directory}\n`);
    const { value, done } = await this.#lines!.next();
    if (done !== true) return JSON.parse(value) as Result;
    const said = this.#output.trim().split("\n").at(-1) ?? "";
    this.#child = undefined;
    return { outcome: "DIED", detail: said };
  }

  async close(): Promise<void> {
    this.#child?.stdin?.end();
    await this.#lines?.return?.();
  }

  #start(): void {
    const env = { ...process.env, NODE_OPTIONS: "", TIDEMARK_TRUTH: this.#truth };
    this.#child = spawn(process.execPath, WORKER, {
      env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#output = "";
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    // Writing to one that has just died is no failure of the test.
    this.#child.stdin!.on("error", () => undefined);
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }
}

/** A directory with these files, as a process that was killed leaves it, or one that was closed. */
export async function layOut(bytes: Buffer, isClean: boolean): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "tidemark-damaged-"));
  const path = join(parent, "store");
  await mkdir(path, { mode: 0o700 });
  await writeFile(join(path, "data.mdb"), bytes);
  const lock = JSON.stringify({ pid: 2 ** 22 + 1, host: "elsewhere", started: "1" });
  if (!isClean) await writeFile(join(path, "tidemark.lock"), lock);
  return path;
}

/** Outcomes by kind, as lines of a table. */
export function table(results: readonly { kind: Kind; isClean: boolean; outcome: Outcome }[]): string[] {
  const row = (name: string, of: typeof results): string =>
    [
      name.padEnd(16),
      ...OUTCOMES.map((outcome) => String(of.filter((r) => r.outcome === outcome).length).padStart(8)),
    ].join("");
  return [
    [" ".repeat(16), ...OUTCOMES.map((outcome) => outcome.padStart(8))].join(""),
    ...KINDS.map((kind) =>
      row(
        kind,
        results.filter((r) => r.kind === kind),
      ),
    ),
    row(
      "clean stop",
      results.filter((r) => r.isClean),
    ),
    row(
      "unclean stop",
      results.filter((r) => !r.isClean),
    ),
    row("all", results),
  ];
}
