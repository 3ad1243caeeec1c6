import { formatInstant } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import { comparisonOf, counterparts, type Comparison } from "./compare-range.js";
import { allFromMs } from "./first-event.js";
import { Plan } from "./plan.js";
import { resolveRange } from "./range.js";
import type { Compare } from "./types.js";

/** The range that a query's own is compared with. */
export interface OtherPeriod {
  /** Of the query's own range. */
  readonly main: Plan;
  readonly plan: Plan;
  /** The period as it is when the query's own range is over, RFC 3339. */
  readonly whole: readonly [string, string];
  /** Per time bucket of the query's range: the index of its counterpart, or −1. */
  readonly counterparts: Int32Array;
}

/** Takes the one before over where it still holds. Throws what a range and a plan throw. */
export function otherPeriod(
  compare: Compare,
  main: Plan,
  buckets: Buckets,
  now: number,
  before: OtherPeriod | undefined,
  raw: boolean,
): OtherPeriod {
  const { zone, grain, lead } = main;
  const mode =
    compare.range === undefined
      ? { mode: compare.mode as "previous_period" | "year_over_year", matchWeekday: compare.matchWeekday }
      : {
          mode: "custom" as const,
          range: resolveRange(
            compare.range,
            zone,
            now,
            () => allFromMs(buckets, zone),
            "/compare/date_range",
          ),
        };
  const comparison = comparisonOf(zone, main, mode, now, compare.whole);
  const { fromMs, toMs } = comparison;
  if (before?.main === main && before.plan.isGoodFor(buckets, fromMs, toMs)) return before;
  const plan = new Plan({ zone, grain, fromMs, toMs, lead, raw, isOther: true }, buckets);
  const whole = [fromMs, comparison.wholeToMs].map((ms) => formatInstant(ms, zone)) as [string, string];
  return { main, plan, whole, counterparts: counterpartsOf(main, comparison, plan) };
}

function counterpartsOf(main: Plan, comparison: Comparison, plan: Plan): Int32Array {
  const { zone, grain, lead } = main;
  if (grain === null) return Int32Array.of(0);
  return counterparts(zone, grain, main.edges.subarray(lead), comparison, plan.edges.subarray(lead));
}
