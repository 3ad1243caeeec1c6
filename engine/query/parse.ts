import { METRICS, type Metric } from "../api.js";
import { GRAINS, getZone, isGrain, type Grain, type Zone } from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import { MAX_QUERY_ROWS } from "../limits.js";
import type { Schema } from "../schema.js";
import { invalidQuery, listed, quoted } from "./problem.js";
import { parseRange } from "./range.js";
import type { Column, Filter, Order, ParsedQuery, QueryContext } from "./types.js";

const MEMBERS = [
  "date_range",
  "timezone",
  "metrics",
  "dimensions",
  "filters",
  "order_by",
  "limit",
  "fill",
  "include",
] as const;
type Member = (typeof MEMBERS)[number];

const INCLUDES = ["total", "time_labels", "explain"] as const;

const DEFAULT_METRICS: readonly Metric[] = ["views", "viewers"];

/** Rows of an answer whose query names no limit; the answer tells how many were left off. */
export const DEFAULT_LIMIT = 10_000;

/** Values of one filter: each is looked up by itself. */
export const MAX_FILTER_VALUES = 10_000;

/** More conditions than dimensions say nothing new; the bound keeps a hostile query short. */
const MAX_FILTERS = 64;

/**
 * Reads a query strictly: members, names and values that are not known are refused, nothing is guessed. Throws
 * `invalid-query`, `invalid-range`, `invalid-timezone` or `range-not-aligned`, with a JSON pointer to the culprit.
 */
export function parseQuery(
  input: unknown,
  context: Pick<QueryContext, "schema" | "defaultZone">,
): ParsedQuery {
  const members = readMembers(input);
  const zone = parseZone(members.timezone, context.defaultZone);
  const range = parseRange(members.date_range, zone);
  const metrics = parseMetrics(members.metrics);
  const { columns, grain } = parseDimensions(members.dimensions, context.schema);
  const fill = parseFill(members.fill, columns);
  return {
    zone,
    range,
    metrics,
    columns,
    grain,
    filters: parseFilters(members.filters, context.schema),
    order: parseOrder(members.order_by, { metrics, columns, grain }, context.schema),
    limit: parseLimit(members.limit),
    fill,
    include: parseInclude(members.include),
  };
}

function readMembers(input: unknown): Partial<Record<Member, unknown>> {
  checkMembers(input, MEMBERS, "", "A query");
  return input;
}

function checkMembers(
  value: unknown,
  known: readonly string[],
  pointer: string,
  what: string,
): asserts value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidQuery(`${what} is a JSON object with ${listed(known, "or")}.`, pointer);
  }
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    const path = `${pointer}/${name.slice(0, 40).replaceAll("~", "~0").replaceAll("/", "~1")}`;
    throw invalidQuery(`${quoted(name)} is no member of it; known are ${listed(known)}.`, path);
  }
}

function parseZone(value: unknown, defaultZone: string): Zone {
  if (value !== undefined && typeof value !== "string") {
    throw new TidemarkError("invalid-timezone", "A timezone is an IANA name such as Asia/Kolkata.", {
      pointer: "/timezone",
    });
  }
  try {
    return getZone(value ?? defaultZone);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    throw new TidemarkError(error.code, error.message, { pointer: "/timezone", extra: error.extra });
  }
}

function parseMetrics(value: unknown): readonly Metric[] {
  if (value === undefined) return DEFAULT_METRICS;
  const known = `Known are ${listed(METRICS)}.`;
  if (!Array.isArray(value) || value.length === 0) {
    throw invalidQuery(`metrics is a list of at least one. ${known}`, "/metrics");
  }
  return Array.from(value as readonly unknown[], (metric, i) => {
    const pointer = `/metrics/${i}`;
    if (!isMetric(metric)) throw invalidQuery(`${quoted(metric)} is no metric. ${known}`, pointer);
    if (value.indexOf(metric) !== i) throw invalidQuery(`${metric} is asked for twice.`, pointer);
    return metric;
  });
}

function isMetric(value: unknown): value is Metric {
  return (METRICS as readonly unknown[]).includes(value);
}

function parseDimensions(
  value: unknown = [],
  schema: Schema,
): { columns: readonly Column[]; grain: Grain | "auto" | null } {
  if (!Array.isArray(value)) throw invalidQuery("dimensions is a list.", "/dimensions");
  let grain: Grain | "auto" | null = null;
  const columns: Column[] = [];
  for (const [i, name] of (value as readonly unknown[]).entries()) {
    const pointer = `/dimensions/${i}`;
    const asked = grainOf(name, pointer);
    const column = asked === undefined ? dimensionOf(name, schema, pointer) : "time";
    if (columns.includes(column)) throw invalidQuery(`${quoted(name)} is asked for twice.`, pointer);
    columns.push(column);
    grain = asked ?? grain;
  }
  return { columns, grain };
}

/** The grain of `time` or `time:…`; undefined for any other name. */
function grainOf(name: unknown, pointer: string): Grain | "auto" | undefined {
  if (name === "time") return "auto";
  if (typeof name !== "string" || !name.startsWith("time:")) return undefined;
  const grain = name.slice(5);
  if (isGrain(grain)) return grain;
  const known = listed(["time", ...GRAINS.map((each) => `time:${each}`)]);
  throw invalidQuery(`${quoted(name)} is no grain of time; known are ${known}.`, pointer);
}

function dimensionOf(name: unknown, schema: Schema, pointer: string): number {
  const dimension = schema.dimensions.indexOf(name as string);
  if (dimension >= 0) return dimension;
  throw invalidQuery(`${quoted(name)} is no dimension; declared are ${listed(schema.dimensions)}.`, pointer);
}

function parseFilters(value: unknown = [], schema: Schema): readonly Filter[] {
  if (!Array.isArray(value))
    throw invalidQuery('filters is a list of ["is", dimension, [values]].', "/filters");
  if (value.length > MAX_FILTERS) throw invalidQuery(`Give at most ${MAX_FILTERS} filters.`, "/filters");
  return Array.from(value as readonly unknown[], (filter, i) => parseFilter(filter, `/filters/${i}`, schema));
}

function parseFilter(filter: unknown, pointer: string, schema: Schema): Filter {
  if (!Array.isArray(filter) || filter.length !== 3) {
    throw invalidQuery('A filter is ["is", dimension, [values]].', pointer);
  }
  const [operator, name, values] = filter as readonly unknown[];
  if (operator !== "is") {
    const detail = `${quoted(operator)} is not known here: the one operator so far is "is", and all filters must hold.`;
    throw invalidQuery(detail, `${pointer}/0`);
  }
  if (grainOf(name, `${pointer}/1`) !== undefined) {
    throw invalidQuery("Time is narrowed by date_range, not by a filter.", `${pointer}/1`);
  }
  return {
    dimension: dimensionOf(name, schema, `${pointer}/1`),
    values: parseValues(values, `${pointer}/2`),
  };
}

function parseValues(values: unknown, pointer: string): readonly (string | null)[] {
  if (!Array.isArray(values) || values.length === 0 || values.length > MAX_FILTER_VALUES) {
    throw invalidQuery(`The values of a filter are a list of 1 to ${MAX_FILTER_VALUES}.`, pointer);
  }
  for (const [i, value] of (values as readonly unknown[]).entries()) {
    if (value === null || (typeof value === "string" && value !== "")) continue;
    throw invalidQuery("A value is a string that is not empty, or null for “no value”.", `${pointer}/${i}`);
  }
  return (values as readonly (string | null)[]).slice();
}

function parseOrder(
  value: unknown,
  asked: Pick<ParsedQuery, "metrics" | "columns" | "grain">,
  schema: Schema,
): readonly Order[] {
  if (value === undefined) return defaultOrder(asked);
  if (!Array.isArray(value)) {
    throw invalidQuery('order_by is a list such as [["views", "desc"]].', "/order_by");
  }
  const names = new Set<unknown>();
  return Array.from(value as readonly unknown[], (entry, i) => {
    const pointer = `/order_by/${i}`;
    if (!Array.isArray(entry) || entry.length !== 2 || (entry[1] !== "asc" && entry[1] !== "desc")) {
      throw invalidQuery('An order is a name and "asc" or "desc", such as ["views", "desc"].', pointer);
    }
    if (names.has(entry[0])) throw invalidQuery(`${quoted(entry[0])} orders twice.`, `${pointer}/0`);
    names.add(entry[0]);
    return { by: orderKey(entry[0], asked, schema, `${pointer}/0`), descending: entry[1] === "desc" };
  });
}

function orderKey(
  name: unknown,
  { metrics, columns, grain }: Pick<ParsedQuery, "metrics" | "columns" | "grain">,
  schema: Schema,
  pointer: string,
): Order["by"] {
  const metric = metrics.find((each) => each === name);
  if (metric !== undefined) return { metric };
  const column = columns.findIndex((each) =>
    each === "time" ? name === "time" || name === `time:${grain}` : schema.dimensions[each] === name,
  );
  if (column >= 0) return { column };
  throw invalidQuery(`Order by what is asked for: add ${quoted(name)} to metrics or dimensions.`, pointer);
}

function defaultOrder({ metrics, columns }: Pick<ParsedQuery, "metrics" | "columns">): readonly Order[] {
  const byMetric: Order = { by: { metric: metrics[0]! }, descending: true };
  const time = columns.indexOf("time");
  return time < 0 ? [byMetric] : [{ by: { column: time }, descending: false }, byMetric];
}

function parseLimit(value: unknown): number {
  if (value === undefined) return DEFAULT_LIMIT;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_QUERY_ROWS)
    return value;
  throw invalidQuery(`limit is a whole number from 1 to ${MAX_QUERY_ROWS}.`, "/limit");
}

function parseFill(value: unknown, columns: readonly Column[]): "none" | "zero" {
  if (value === undefined || value === "none") return "none";
  if (value !== "zero") throw invalidQuery('fill is "none" or "zero".', "/fill");
  if (columns.length === 1 && columns[0] === "time") return "zero";
  throw invalidQuery(
    '"zero" fills empty time buckets: make time the only dimension, or leave fill out.',
    "/fill",
  );
}

function parseInclude(value: unknown): ParsedQuery["include"] {
  const include = { total: false, time_labels: false, explain: false };
  if (value === undefined) return include;
  checkMembers(value, INCLUDES, "/include", "include");
  for (const name of INCLUDES) {
    const wanted = (value as Partial<Record<(typeof INCLUDES)[number], unknown>>)[name];
    if (wanted === undefined) continue;
    if (typeof wanted !== "boolean") throw invalidQuery(`${name} is true or false.`, `/include/${name}`);
    include[name] = wanted;
  }
  return include;
}
