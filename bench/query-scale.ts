/** The same questions of ten times the blogs and of ten times the history: the cost should hardly differ. */
import { join } from "node:path";
import { ms, print, quantile, row, timesOf } from "./figures.js";
import { ensureHistory, openHistory, w2Options, type History, type OpenHistory } from "./history.js";
import { questionsOf, type Question } from "./questions.js";

const SHORT_DAYS = 18;
const ROUNDS = 5;
const CALLS = 150;
/** Ten times as much costs at most so many times as much. */
const BAR = 1.3;

export async function compareScales(directory: string, events: number): Promise<void> {
  const long = await ensureHistory(directory, w2Options(events));
  const short = await ensureHistory(join(directory, "short"), w2Options(events / 10, SHORT_DAYS));
  const few = await ensureHistory(join(directory, "few"), w2Options(events / 100, SHORT_DAYS, 1000));
  const opened = await Promise.all([
    open(directory, long),
    open(join(directory, "short"), short),
    open(join(directory, "few"), few),
  ]);
  row("p50, ms", "180 days", "18 days", "ratio", "10k blogs", "1k blogs", "ratio", "bar");
  // Only of what fits into the short history.
  for (const [i, { id, what, days }] of questionsOf(long).entries()) {
    if (days > SHORT_DAYS) continue;
    const questions = [long, short, few].map((history) => questionsOf(history)[i]!);
    const [longMs, shortMs, fewMs] = await medians(opened, questions);
    row(
      `${id} ${what}`,
      ms(longMs),
      ms(shortMs),
      (longMs! / shortMs!).toFixed(2),
      ms(shortMs),
      ms(fewMs),
      (shortMs! / fewMs!).toFixed(2),
      BAR.toFixed(1),
    );
  }
  print("1k blogs: with a tenth of the events too, so that a blog has as many");
  print();
  for (const { engine } of opened) await engine.close();
}

async function open(directory: string, { workload }: History): Promise<OpenHistory> {
  return await openHistory(directory, workload.startMs + workload.spanMs, { engine: { maxCacheBytes: 0 } });
}

/** By turns, so that what else the machine does befalls all of them; the median of all rounds but the first. */
async function medians(opened: readonly OpenHistory[], questions: readonly Question[]): Promise<number[]> {
  const times = opened.map((): number[] => []);
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [i, { engine }] of opened.entries()) {
      const found = await timesOf(CALLS, (turn) => engine.query(questions[i]!.input(round * CALLS + turn)));
      if (round > 0) times[i]!.push(...found);
    }
  }
  return times.map((all) => quantile(Float64Array.from(all).sort(), 0.5));
}
