import { TidemarkError } from "../errors.js";
import { rollupCovering, type Rollup, type Schema } from "../schema.js";
import { listed } from "./problem.js";

/** Declared sets named in the refusal. */
const MAX_NEAREST = 5;

/**
 * The smallest rollup that holds all of `dims`: its other dimensions are summed over, exactly. Throws
 * `dimension-set-not-materialised` with the declared sets that come closest.
 */
export function chooseRollup(schema: Schema, dims: readonly number[], pointer = "/dimensions"): Rollup {
  const rollup = rollupCovering(schema, dims);
  if (rollup !== undefined) return rollup;
  const names = (set: readonly number[]): string[] => set.map((d) => schema.dimensions[d]!);
  const asked = names([...dims].sort((a, b) => a - b));
  const nearest = nearestRollups(schema, dims);
  throw new TidemarkError(
    "dimension-set-not-materialised",
    `Nothing is kept by ${listed(asked)} together. Ask for ${listed(
      nearest.map((each) => each.name),
      "or",
    )}, or declare the rollup ${JSON.stringify(asked)} and import the events again.`,
    { pointer, extra: { nearest: nearest.map((each) => names(each.dims)) } },
  );
}

/** Those that share the most dimensions, and of these the ones with the fewest others. */
function nearestRollups(schema: Schema, dims: readonly number[]): Rollup[] {
  const shared = (rollup: Rollup): number => rollup.dims.filter((d) => dims.includes(d)).length;
  const related = schema.rollups.filter((rollup) => shared(rollup) > 0);
  return (related.length > 0 ? related : [...schema.rollups])
    .sort((a, b) => shared(b) - shared(a) || a.dims.length - b.dims.length || a.id - b.id)
    .slice(0, MAX_NEAREST);
}
