/**
 * `npm run simulate -- --seeds N [--from S]`: plays N histories of an engine on a disk that fails, under virtual time,
 * each against the oracle; with the seeds S, S + 1, … A seed is always the same history, on every machine. Prints how
 * many a second; stops at the first wrong one with its seed, what went wrong, and the shortest history that shows it.
 * `--history JSON` plays that one; `--quick` does without the shortest.
 */
import { parseArgs } from "node:util";
import fc from "fast-check";
import { histories, memoryDisk } from "./disks.js";
import { play, type History } from "./history.js";

const TELL_EVERY_MS = 10_000;
const MOST_SHRINKING_MS = 60_000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    history: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});

interface Failure {
  readonly seed: number;
  readonly history: History;
  readonly error: string;
}

/** What is being played: an error that nobody handles ends the process, and must name it. */
let current: { readonly seed: number; readonly history: History } | undefined;

process.on("uncaughtException", (error) => {
  console.log(`seed ${current?.seed} is wrong, by an error that nobody handled: ${error.stack}`);
  console.log(`again: npm run simulate -- --history '${JSON.stringify(current?.history)}'`);
  process.exit(1);
});

/** The history of one seed; shrunk when it is wrong. */
async function playSeed(seed: number): Promise<Failure | undefined> {
  const property = fc.asyncProperty(histories, async (history) => {
    current = { seed, history };
    await play(history, memoryDisk());
  });
  const parameters = {
    seed,
    numRuns: 1,
    interruptAfterTimeLimit: MOST_SHRINKING_MS,
    endOnFailure: values.quick,
  };
  const { failed, counterexample, errorInstance } = await fc.check(property, parameters);
  if (!failed) return undefined;
  const [history] = counterexample!;
  const error =
    errorInstance instanceof Error ? (errorInstance.stack ?? errorInstance.message) : String(errorInstance);
  return { seed, history, error };
}

async function run(from: number, count: number): Promise<void> {
  const begun = performance.now();
  let toldAt = begun;
  const tell = (played: number): void => {
    const seconds = (performance.now() - begun) / 1000;
    console.log(`${played} histories in ${seconds.toFixed(0)} s, ${(played / seconds).toFixed(1)} a second`);
  };
  for (let played = 0; played < count; played++) {
    const failure = await playSeed(from + played);
    if (failure !== undefined) {
      console.log(`seed ${failure.seed} is wrong: ${failure.error}`);
      console.log(`again: npm run simulate -- --history '${JSON.stringify(failure.history)}'`);
      tell(played + 1);
      process.exitCode = 1;
      return;
    }
    if (performance.now() - toldAt < TELL_EVERY_MS) continue;
    toldAt = performance.now();
    tell(played + 1);
  }
  tell(count);
  console.log(`seeds ${from} to ${from + count - 1}: all good`);
}

if (values.history !== undefined) await play(JSON.parse(values.history) as History, memoryDisk());
else await run(Number(values.from), Number(values.seeds));
