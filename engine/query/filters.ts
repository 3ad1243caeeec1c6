import type { Dictionaries } from "../hot/dictionaries.js";
import { NONE_ID, OTHER_ID } from "../hot/interner.js";
import type { Schema } from "../schema.js";
import { listed, quoted } from "./problem.js";
import type { Filter } from "./types.js";

/** Per filtered dimension: the ids that pass all of its filters. */
export type Passing = ReadonlyMap<number, ReadonlySet<number>>;

/** Values named in a warning. */
const MAX_NAMED = 3;

/** `unknown`: per dimension, the values that have no id of their own. */
export function resolveFilters(
  filters: readonly Filter[],
  dictionaries: Dictionaries,
): { readonly passing: Passing; readonly unknown: ReadonlyMap<number, readonly string[]> } {
  const passing = new Map<number, ReadonlySet<number>>();
  const unknown = new Map<number, readonly string[]>();
  for (const { dimension, values } of filters) {
    const ids = new Set<number>();
    for (const value of values) {
      const id = value === null ? NONE_ID : dictionaries.find(dimension, value);
      if (id !== undefined) ids.add(id);
      else unknown.set(dimension, [...(unknown.get(dimension) ?? []), value!]);
    }
    const before = passing.get(dimension);
    passing.set(dimension, before === undefined ? ids : new Set([...ids].filter((id) => before.has(id))));
  }
  return { passing, unknown };
}

/**
 * A warning for each dimension with values that have no id: where the dimension ran over, their events may count as
 * `(other)`, so that a zero would be a lie. `hasEvents` says whether anything passes filters with these ids put in.
 */
export function unkeptValues(
  unknown: ReadonlyMap<number, readonly string[]>,
  schema: Schema,
  hasEvents: (passing: Passing) => boolean,
): string[] {
  const warnings: string[] = [];
  for (const [dimension, values] of unknown) {
    if (!hasEvents(new Map([[dimension, new Set([OTHER_ID])]]))) continue;
    const names = listed(values.slice(0, MAX_NAMED).map(quoted));
    warnings.push(
      `${schema.dimensions[dimension]} has more values than are kept: of ${names} nothing is known by itself; ` +
        `what there is of it is part of "(other)".`,
    );
  }
  return warnings;
}
