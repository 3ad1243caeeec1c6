/**
 * Opens damaged stores, one a line of its input, and says of each what came of it. What the answers should be comes
 * in TIDEMARK_TRUTH, a file. It is the process that must not die.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createEngine, type Engine, type QueryInput } from "../../engine/index.js";
import { TidemarkError } from "../../engine/errors.js";
import { openLmdb } from "../../storage/lmdb.js";
import { Clock } from "../support/clock.js";
import type { Outcome } from "./damaged-copies.js";

export const NOW = Date.UTC(2026, 2, 12, 5);
export const HOME_ZONE = "America/New_York";

const QUERIES: readonly QueryInput[] = [
  { date_range: "all" },
  ...["quarter", "hour", "day", "week", "month", "year"].map((grain) => ({
    date_range: "all",
    timezone: HOME_ZONE,
    dimensions: [`time:${grain}`],
  })),
  ...[["blog"], ["author"], ["country"], ["blog", "country"]].map((dimensions) => ({
    date_range: "all",
    dimensions,
  })),
  { date_range: "all", dimensions: ["time:hour"], filters: [["is", "blog", ["blog-0"]]] },
];

interface Answer {
  readonly results: unknown;
  readonly isFlagged: boolean;
}

/** Every rollup, each grain. */
export function answersOf(engine: Engine): Answer[] {
  return QUERIES.map((query) => {
    const { results, meta } = engine.queryNow({ ...query, metrics: ["views", "viewers"], limit: 100_000 });
    const rows = results.map(({ dimensions, metrics }) => [dimensions, metrics]);
    return { results: rows, isFlagged: isFlagged(meta) };
  });
}

/** Whether an answer says of itself that something is missing in it. */
function isFlagged(meta: object): boolean {
  const { incomplete } = meta as { incomplete?: readonly unknown[] | boolean };
  return incomplete === true || (Array.isArray(incomplete) && incomplete.length > 0);
}

/** Waits for work that pauses on the engine's clock, which does not move by itself. */
export async function pumped<T>(clock: Clock, work: Promise<T>): Promise<T> {
  const state = { isDone: false };
  const settled = work.finally(() => (state.isDone = true));
  settled.catch(() => undefined);
  while (!state.isDone) await clock.advance(0);
  return await settled;
}

interface Told {
  readonly outcome: Outcome;
  readonly detail: string;
}

/** A query that comes upon a damaged bucket is refused while it is made anew: so often it is asked again. */
const MOST_ASKS = 4;
/** Turns of the event loop between two asks; a bucket made anew is some transactions. */
const TURNS = 300;

/** Opens it as a server does, asks, writes one event more, asks again. */
async function tell(directory: string, truth: readonly Answer[]): Promise<Told> {
  const clock = new Clock(NOW);
  let engine: Engine;
  try {
    engine = await opened(directory, clock);
  } catch (error) {
    return { outcome: "refused", detail: messageOf(error) };
  }
  try {
    const told = await ask(engine, clock, truth);
    if (told.outcome === "error" || told.outcome === "WRONG") return told;
    const before = totalOf(engine);
    await pumped(clock, engine.ingest([{ type: "view", ts: NOW, blog: "blog-0", author: "author-0" }]));
    await pumped(clock, engine.checkpoint());
    const after = totalOf(engine);
    // What is made anew meanwhile, as far as it goes, is told.
    if (after.isFlagged) return { outcome: "flagged", detail: "" };
    if (after.views !== before.views + 1)
      return { outcome: "WRONG", detail: "one event more is not one more" };
    return told;
  } catch (error) {
    return { outcome: "error", detail: messageOf(error) };
  } finally {
    await pumped(clock, engine.close()).catch(() => undefined);
  }
}

async function opened(directory: string, clock: Clock): Promise<Engine> {
  const storage = await openLmdb(directory);
  try {
    return await pumped(clock, createEngine({ storage, homeZones: [HOME_ZONE], scheduler: clock.scheduler }));
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function ask(engine: Engine, clock: Clock, truth: readonly Answer[]): Promise<Told> {
  let failure = "";
  for (let i = 0; i < MOST_ASKS; i++) {
    try {
      const told = judge(answersOf(engine), truth);
      return failure === "" || told.outcome !== "right" ? told : { outcome: "healed", detail: failure };
    } catch (error) {
      failure = messageOf(error);
    }
    for (let turn = 0; turn < TURNS; turn++) await clock.advance(0);
  }
  return { outcome: "error", detail: failure };
}

function judge(answers: readonly Answer[], truth: readonly Answer[]): Told {
  let isRight = true;
  for (const [i, { results, isFlagged }] of answers.entries()) {
    if (JSON.stringify(results) === JSON.stringify(truth[i]!.results)) continue;
    if (!isFlagged) return { outcome: "WRONG", detail: `query ${i}: ${JSON.stringify(QUERIES[i])}` };
    isRight = false;
  }
  return { outcome: isRight ? "right" : "flagged", detail: "" };
}

function totalOf(engine: Engine): { views: number; isFlagged: boolean } {
  const { results, meta } = engine.queryNow({ date_range: "all", metrics: ["views"] });
  return { views: results[0]?.metrics[0] ?? 0, isFlagged: meta.incomplete !== undefined };
}

/** Only what the storage itself says counts as told. */
function messageOf(error: unknown): string {
  if (error instanceof TidemarkError) return `${error.code}: ${error.message}`;
  throw error;
}

async function main(truthFile: string): Promise<void> {
  const truth = JSON.parse(readFileSync(truthFile, "utf8")) as Answer[];
  for await (const directory of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await tell(directory, truth))}\n`);
  }
}

const truthFile = process.env["TIDEMARK_TRUTH"];
const isProgram = process.argv[1] === fileURLToPath(import.meta.url);
if (truthFile !== undefined && isProgram) await main(truthFile);
