import { HOUR_MS } from "../calendar/grain.js";
import { TidemarkError } from "../errors.js";

const DAY_MS = 24 * HOUR_MS;

/** What is kept for a time of its own: the raw events, and the buckets of each grain. */
export const TIERS = ["raw", "quarter", "hour", "day", "week", "month", "year"] as const;
export type TierKind = (typeof TIERS)[number];

/** How long each tier is kept, ms; null for ever. What is left out has its default. */
export type RetentionOptions = Readonly<Partial<Record<TierKind, number | null>>>;

/** The same with `Infinity` for ever. */
export type Retention = Readonly<Record<TierKind, number>>;

/** The ladder of the founding design: each tier is kept until nobody asks at that grain any more. */
export const DEFAULT_RETENTION: Retention = {
  raw: 30 * DAY_MS,
  quarter: 90 * DAY_MS,
  hour: 400 * DAY_MS,
  day: 3653 * DAY_MS,
  week: Infinity,
  month: Infinity,
  year: Infinity,
};

/** A tier must not outlive one that is made of it: what is dropped is proven by the next coarser one. */
const OUTLIVED: readonly (readonly [TierKind, TierKind])[] = [
  ["raw", "quarter"],
  ["quarter", "hour"],
  ["hour", "day"],
  ["day", "week"],
  ["day", "month"],
  ["month", "year"],
];

/** Throws `invalid-config`. */
export function resolveRetention(options: RetentionOptions = {}): Retention {
  for (const name of Object.keys(options)) {
    if (!TIERS.includes(name as TierKind))
      throw invalid(`${name} is no tier; known are ${TIERS.join(", ")}.`);
  }
  const retention = Object.fromEntries(
    TIERS.map((tier) => [tier, durationOf(tier, options[tier])]),
  ) as Record<TierKind, number>;
  for (const [finer, coarser] of OUTLIVED) {
    if (retention[finer] <= retention[coarser]) continue;
    throw invalid(`${finer} must not be kept longer than ${coarser}, which is made of it.`);
  }
  return retention;
}

function durationOf(tier: TierKind, value: number | null | undefined): number {
  if (value === undefined) return DEFAULT_RETENTION[tier];
  if (value === null) return Infinity;
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw invalid(`${tier} must be a whole number of milliseconds above 0, or null for ever.`);
}

function invalid(detail: string): TidemarkError {
  return new TidemarkError("invalid-config", `Retention: ${detail}`);
}
