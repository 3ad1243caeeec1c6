import type { Estimate, OverlapResult } from "../api.js";
import { TidemarkError } from "../errors.js";
import { CellTable } from "../hot/cell-table.js";
import { overlapOf as jointSizes, type PartSize, type SketchData } from "../sketch/joint.js";
import type { Buckets } from "../hot/buckets.js";
import { compute, plansFor, prepareQuery, type Computed, type Plans, type PreparedQuery } from "./execute.js";
import { measure, type Measure } from "./measure.js";
import { checkMembers, type ParseContext } from "./parse.js";
import { invalidQuery } from "./problem.js";
import type { Moment } from "./types.js";

const MEMBERS = ["date_range", "timezone", "a", "b"] as const;
const SET_MEMBERS = ["date_range", "filters"] as const;
type Members = Partial<Record<(typeof MEMBERS)[number], unknown>>;

/** One of two sets of viewers, read. */
interface Audience {
  readonly name: "a" | "b";
  readonly hasOwnRange: boolean;
  readonly prepared: PreparedQuery;
}

type Pair<T> = readonly [a: T, b: T];

/** A question for an overlap that was read. */
export type PreparedOverlap = Pair<Audience>;

/** Throws what a query throws, with pointers below `/a` and `/b`. */
export function prepareOverlap(input: unknown, context: ParseContext): PreparedOverlap {
  checkMembers(input, MEMBERS, "", "A question for an overlap");
  const members: Members = input;
  return [audience(members, "a", context), audience(members, "b", context)];
}

/** The plans of both sets as of now. Throws as `prepareOverlap` does. */
export function overlapPlans(sets: PreparedOverlap, buckets: Buckets, moment: Moment): Pair<Plans> {
  const plansOf = (set: Audience): Plans => pointed(set, () => plansFor(set.prepared, buckets, moment));
  return [plansOf(sets[0]), plansOf(sets[1])];
}

/** Sizes of two sets of viewers and of what they share. Throws as `prepareOverlap` does. */
export function overlapOf(
  sets: PreparedOverlap,
  buckets: Buckets,
  moment: Moment,
  plans: Pair<Plans>,
): OverlapResult {
  const computed = (set: Audience, own: Plans): Computed =>
    pointed(set, () => compute(set.prepared, buckets, moment, own));
  const [a, b] = [computed(sets[0], plans[0]), computed(sets[1], plans[1])];
  for (const { frame } of [a, b]) frame.cellOf(new Uint32Array(0));
  const sizes = jointSizes(sketchOf(a), sketchOf(b));
  const [first, second] = [a, b].map((each) => each.page(0, 1)) as [
    ReturnType<Computed["page"]>,
    ReturnType<Computed["page"]>,
  ];
  const parts = { both: sizes.both, only_a: sizes.onlyA, only_b: sizes.onlyB };
  const { watermark, as_of, seq, warnings, incomplete } = first.meta;
  const unresolved = Object.entries(parts).flatMap(([name, { resolved }]) => (resolved ? [] : [name]));
  return {
    a: estimateOf(measure("viewers", a.frame.table, 0)),
    b: estimateOf(measure("viewers", b.frame.table, 0)),
    both: partOf(parts.both),
    either: estimateOf(measure("viewers", either(a, b), 0)),
    only_a: partOf(parts.only_a),
    only_b: partOf(parts.only_b),
    meta: {
      ranges: { a: first.meta.range, b: second.meta.range },
      watermark,
      as_of,
      seq,
      ...incompleteOf(incomplete, second.meta.incomplete),
      warnings: [
        ...new Set([...warnings, ...second.meta.warnings]),
        ...(unresolved.length === 0 ? [] : [unresolvedWarning(unresolved)]),
      ],
    },
    query: { timezone: first.query["timezone"], a: setOf(first.query), b: setOf(second.query) },
  };
}

function audience(members: Members, name: "a" | "b", context: ParseContext): Audience {
  const set = members[name];
  if (set === undefined) throw invalidQuery("Give two sets: a and b.", `/${name}`);
  checkMembers(set, SET_MEMBERS, `/${name}`, "A set of viewers");
  const { date_range = members.date_range, filters }: Partial<Record<(typeof SET_MEMBERS)[number], unknown>> =
    set;
  const hasOwnRange = Object.hasOwn(set, "date_range");
  const query = { date_range, timezone: members.timezone, filters, metrics: ["viewers"] };
  const prepared = pointed({ name, hasOwnRange }, () => prepareQuery(query, context));
  return { name, hasOwnRange, prepared };
}

/** What is wrong with a set's own members is said below its name. */
function pointed<T>({ name, hasOwnRange }: Pick<Audience, "name" | "hasOwnRange">, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.pointer === undefined) throw error;
    const isOwn =
      error.pointer.startsWith("/filters") || (hasOwnRange && error.pointer.startsWith("/date_range"));
    const pointer = isOwn ? `/${name}${error.pointer}` : error.pointer;
    throw new TidemarkError(error.code, error.message, { pointer, extra: error.extra });
  }
}

function sketchOf({ frame }: Computed): SketchData {
  const { sketches } = frame.table;
  if (sketches.isDense(0)) return { registers: sketches.registers(0) };
  const tokens = new Uint32Array(sketches.tokenCount(0));
  sketches.copyTokens(0, tokens, 0);
  return { tokens };
}

function either(a: Computed, b: Computed): CellTable {
  const table = new CellTable(0);
  const cell = table.upsert(0, new Uint32Array(0));
  table.addCell(cell, a.frame.table, 0);
  table.addCell(cell, b.frame.table, 0);
  return table;
}

function estimateOf({ value, error, exact }: Measure): Estimate {
  return { value, error, exact };
}

/** A size that its error bar exceeds is not told. */
function partOf({ value, standardError, exact, resolved }: PartSize): Estimate {
  return { value: resolved ? Math.round(value) : null, error: standardError, exact };
}

function unresolvedWarning(names: readonly string[]): string {
  return `Of ${names.join(" and ")} no more can be told than that it is small: its error bar exceeds it.`;
}

type Incomplete = OverlapResult["meta"]["incomplete"];

function incompleteOf(a: Incomplete, b: Incomplete): { readonly incomplete?: NonNullable<Incomplete> } {
  if (a === undefined && b === undefined) return {};
  return { incomplete: [...(a ?? []), ...(b ?? [])] };
}

function setOf({ date_range, filters }: Record<string, unknown>): Record<string, unknown> {
  return { date_range, filters };
}
