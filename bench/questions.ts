/**
 * Q1 to Q7 of the query benchmarks and the founding document's four use cases, each as a series of queries that
 * differ: another blog, day or range every time, so that nothing but blocks can have been read before.
 */
import type { QueryInput } from "../engine/api.js";
import type { History } from "./history.js";

export interface Question {
  readonly id: string;
  readonly what: string;
  /** What the median is to stay below, in process, blocks read before, ms. */
  readonly barMs?: number;
  /** Needs a history as long as this, days. */
  readonly days: number;
  readonly input: (turn: number) => QueryInput;
  /** The same of a range that moves with the clock, as a dashboard asks it again and again. */
  readonly window?: QueryInput;
}

const DAY_MS = 86_400_000;
const METRICS = ["views", "viewers"] as const;
/** Of the most read blogs of 10,000: of 27 million events, the least of them has some 200 a week. */
const ASKED_BLOGS = 1000;
/** A step that is prime to it: blogs come in no order of theirs. */
const BLOG_STEP = 379;

/** The blogs that are asked about: a tenth of all. */
export function askedBlog({ workload }: History, turn: number): number {
  return (turn * BLOG_STEP) % Math.min(ASKED_BLOGS, (workload.blogs ?? 0) / 10);
}

/** The local date so many whole days before the last one of the history, which is today. */
export function dayBefore({ workload }: History, days: number): string {
  return new Date(workload.startMs + workload.spanMs - days * DAY_MS).toISOString().slice(0, 10);
}

export function questionsOf(history: History): Question[] {
  const blog = (turn: number): Pick<QueryInput, "filters"> => ({
    filters: [["is", "blog", [`b${askedBlog(history, turn)}`]]],
  });
  // The limit is beyond all rows: it makes the query another one, and no other work.
  const another = (turn: number): Pick<QueryInput, "limit" | "metrics"> => ({
    limit: 10_000 - (turn % 5000),
    metrics: METRICS,
  });
  const daysFrom = (turn: number, count: number, days: number): [string, string] => {
    const last = 1 + (turn % days);
    return [dayBefore(history, last + count - 1), dayBefore(history, last)];
  };
  const hourly = { date_range: "24h", dimensions: ["time:hour"] } as const;
  const daily = { date_range: "90d", dimensions: ["time:day"] } as const;
  const monthly = { date_range: "6mo", dimensions: ["time:month"] } as const;
  const question = (
    id: string,
    what: string,
    barMs: number,
    days: number,
    input: Question["input"],
    window: QueryInput = input(0),
  ): Question => {
    const isWindow = typeof window.date_range === "string";
    const asked = { id, what, barMs, days, input: (turn: number) => ({ ...another(turn), ...input(turn) }) };
    return isWindow ? { ...asked, window: { metrics: METRICS, ...window } } : asked;
  };
  return [
    question("Q1", "current hour of a blog", 0.045, 1, (t) => ({ date_range: "current_hour", ...blog(t) })),
    question("Q2", "last 24 h hourly of a blog", 0.095, 2, (t) => ({ ...hourly, ...blog(t) })),
    question("Q3", "7-day uniques of a blog", 0.6, 8, (t) => ({ date_range: "7d", ...blog(t) })),
    question("Q3", "7-day uniques, total", 0.26, 8, () => ({ date_range: "7d" })),
    question("Q4", "90 days daily, total", 1.8, 91, () => daily),
    question("Q4", "90 days daily of a blog", 1.75, 91, (t) => ({ ...daily, ...blog(t) })),
    question("Q5", "6 months monthly, total", 3.1, 179, () => monthly),
    question("Q5", "6 months monthly of a blog", 4.1, 179, (t) => ({ ...monthly, ...blog(t) })),
    question("Q6", "top 10 blogs of a day", 0.055, 15, (t) => ({
      date_range: daysFrom(t, 1, 14),
      dimensions: ["blog"],
      order_by: [["views", "desc"]],
      limit: 10,
    })),
    question(
      "Q7",
      "countries over 30 days",
      2,
      37,
      (t) => ({ date_range: daysFrom(t, 30, 6), dimensions: ["country"] }),
      { date_range: "30d", dimensions: ["country"] },
    ),
  ];
}

/** What the founding document asks for first; over HTTP. */
export function useCasesOf(history: History): Question[] {
  const blog = (turn: number): Pick<QueryInput, "filters"> => ({
    filters: [["is", "blog", [`b${askedBlog(history, turn)}`]]],
  });
  const useCase = (what: string, input: Question["input"]): Question => ({ id: "", what, days: 1, input });
  return [
    useCase("current hour of a blog", (t) => ({ date_range: "current_hour", metrics: METRICS, ...blog(t) })),
    useCase("last 24 h of a blog, hourly", (t) => ({
      date_range: "24h",
      dimensions: ["time:hour"],
      metrics: METRICS,
      ...blog(t),
    })),
    useCase("six months of a blog, monthly", (t) => ({
      date_range: "6mo",
      dimensions: ["time:month"],
      metrics: METRICS,
      ...blog(t),
    })),
    useCase("year over year of a blog, monthly", (t) => ({
      date_range: "year",
      dimensions: ["time:month"],
      metrics: METRICS,
      compare: { mode: "year_over_year" },
      ...blog(t),
    })),
  ];
}
