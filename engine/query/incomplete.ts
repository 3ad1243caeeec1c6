import { utcIsoOrNull } from "../calendar/index.js";
import { tierName, type Incomplete } from "../store.js";
import type { Run } from "./cover.js";

/** RFC 3339; null where nobody knows the border. */
export type MissingRange = readonly [string | null, string | null];

export const MISSING_WARNING =
  "Damage took events of the times in meta.incomplete: numbers that cover them may be too small.";

/** Where damage took events that the stored buckets of these runs should hold. */
export function missingIn(runs: readonly Run[], incomplete: readonly Incomplete[]): MissingRange[] {
  if (incomplete.length === 0) return [];
  return incomplete
    .filter(({ tier, fromMs, toMs }) =>
      runs.some(
        (run) =>
          fromMs < run.toMs &&
          toMs > run.fromMs &&
          (tier === null || tier === tierName(run.calendar, run.grain)),
      ),
    )
    .map(({ fromMs, toMs }) => [utcIsoOrNull(fromMs), utcIsoOrNull(toMs)]);
}
