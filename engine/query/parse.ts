import { getZone, type Zone } from "../calendar/index.js";
import { TidemarkError } from "../errors.js";
import { MAX_QUERY_ROWS } from "../limits.js";
import type { Schema } from "../schema.js";
import { parseDimensions, type AskedColumns } from "./parse-dimensions.js";
import { parseFilters } from "./parse-filters.js";
import { metricName, parseMetrics } from "./parse-metrics.js";
import { invalidQuery, jsonOf, listed, quoted } from "./problem.js";
import { parseRange } from "./range.js";
import {
  INCLUDES,
  type Column,
  type Compare,
  type Order,
  type ParsedQuery,
  type QueryContext,
} from "./types.js";

const MEMBERS = [
  "date_range",
  "timezone",
  "metrics",
  "dimensions",
  "filters",
  "compare",
  "order_by",
  "limit",
  "cursor",
  "fill",
  "include_today",
  "source",
  "include",
] as const;
type Members = Partial<Record<(typeof MEMBERS)[number], unknown>>;

const COMPARE_MEMBERS = ["mode", "date_range", "match_day_of_week", "whole"] as const;
export const COMPARE_MODES = ["previous_period", "year_over_year", "custom"] as const;
const SOURCES = ["auto", "buckets", "raw"] as const;

/** Rows of an answer whose query names no limit; the answer tells how many were left off. */
export const DEFAULT_LIMIT = 10_000;

/** A cursor is short; what is longer was never given out. */
const MAX_CURSOR_CHARS = 200;

export type ParseContext = Pick<QueryContext, "schema" | "defaultZone"> & {
  /** May the range begin and end within a quarter-hour? */
  readonly anyInstant?: boolean;
};

/**
 * Reads a query strictly: members, names and values that are not known are refused, nothing is guessed. Throws
 * `invalid-query`, `invalid-range`, `invalid-timezone` or `range-not-aligned`, with a JSON pointer to the culprit.
 */
export function parseQuery(
  input: unknown,
  { schema, defaultZone, anyInstant = false }: ParseContext,
): ParsedQuery {
  checkMembers(input, MEMBERS, "", "A query");
  const members: Members = input;
  const zone = parseZone(members.timezone, defaultZone);
  const includeToday = parseFlag(members.include_today, true, "/include_today");
  const range = parseRange(members.date_range, zone, { includeToday, anyInstant });
  const { columns, grain } = parseDimensions(members.dimensions, schema);
  const metrics = parseMetrics(members.metrics, grain !== null);
  const fill = parseFill(members.fill, columns);
  return {
    zone,
    range,
    metrics,
    columns,
    grain,
    filters: parseFilters(members.filters, schema),
    compare: parseCompare(members.compare, zone, anyInstant),
    order: parseOrder(members.order_by, { metrics, columns, grain }, schema),
    limit: parseLimit(members.limit),
    cursor: parseCursor(members.cursor),
    fill,
    source: parseSource(members.source),
    include: parseInclude(members.include, grain !== null),
  };
}

export function checkMembers(
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

export function parseZone(value: unknown, defaultZone: string): Zone {
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

function parseCompare(value: unknown, zone: Zone, anyInstant: boolean): Compare | undefined {
  if (value === undefined) return undefined;
  checkMembers(value, COMPARE_MEMBERS, "/compare", "compare");
  const members: Partial<Record<(typeof COMPARE_MEMBERS)[number], unknown>> = value;
  const mode = COMPARE_MODES.find((each) => each === members.mode);
  if (mode === undefined)
    throw invalidQuery(`mode is one of ${listed(COMPARE_MODES, "or")}.`, "/compare/mode");
  const given = members.date_range;
  if ((given !== undefined) !== (mode === "custom")) {
    throw invalidQuery('Give a date_range with the mode "custom", and with no other.', "/compare/date_range");
  }
  const matchWeekday = parseFlag(members.match_day_of_week, false, "/compare/match_day_of_week");
  if (matchWeekday && mode === "custom") {
    const detail = "A range that is given is taken as it is: leave match_day_of_week out.";
    throw invalidQuery(detail, "/compare/match_day_of_week");
  }
  return {
    mode,
    range:
      mode === "custom" ? parseRange(given, zone, { pointer: "/compare/date_range", anyInstant }) : undefined,
    matchWeekday,
    whole: parseFlag(members.whole, false, "/compare/whole"),
  };
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
  const names = new Set<string>();
  return Array.from(value as readonly unknown[], (entry, i) => {
    const pointer = `/order_by/${i}`;
    if (!Array.isArray(entry) || entry.length !== 2 || (entry[1] !== "asc" && entry[1] !== "desc")) {
      throw invalidQuery('An order is a name and "asc" or "desc", such as ["views", "desc"].', pointer);
    }
    const name = typeof entry[0] === "string" ? entry[0] : (jsonOf(entry[0]) ?? "");
    if (names.has(name)) throw invalidQuery(`${quoted(entry[0])} orders twice.`, `${pointer}/0`);
    names.add(name);
    return { by: orderKey(name, asked, schema, `${pointer}/0`), descending: entry[1] === "desc" };
  });
}

function orderKey(
  name: string,
  { metrics, columns, grain }: AskedColumns & Pick<ParsedQuery, "metrics">,
  schema: Schema,
  pointer: string,
): Order["by"] {
  const metric = metrics.findIndex((each) => metricName(each) === name);
  if (metric >= 0) return { metric };
  const column = columns.findIndex((each) =>
    each === "time" ? name === "time" || name === `time:${grain}` : schema.dimensions[each] === name,
  );
  if (column >= 0) return { column };
  throw invalidQuery(`Order by what is asked for: add ${quoted(name)} to metrics or dimensions.`, pointer);
}

function defaultOrder({ columns }: { readonly columns: readonly Column[] }): readonly Order[] {
  const byMetric: Order = { by: { metric: 0 }, descending: true };
  const time = columns.indexOf("time");
  return time < 0 ? [byMetric] : [{ by: { column: time }, descending: false }, byMetric];
}

export function parseLimit(value: unknown, fallback = DEFAULT_LIMIT, most = MAX_QUERY_ROWS): number {
  if (value === undefined) return fallback;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw invalidQuery(`limit is a whole number from 1 to ${most}.`, "/limit");
}

/** Undefined where no pages are asked for, null for the first one. */
export function parseCursor(value: unknown): string | null | undefined {
  if (value === undefined || value === null) return value;
  if (typeof value === "string" && value.length <= MAX_CURSOR_CHARS) return value;
  throw invalidQuery("cursor is null for the first page, or meta.next_cursor of the page before.", "/cursor");
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

function parseSource(value: unknown): ParsedQuery["source"] {
  if (value === undefined) return "auto";
  const source = SOURCES.find((each) => each === value);
  if (source !== undefined) return source;
  throw invalidQuery(`source is one of ${listed(SOURCES, "or")}.`, "/source");
}

function parseFlag(value: unknown, fallback: boolean, pointer: string): boolean {
  if (value === undefined) return fallback;
  if (typeof value === "boolean") return value;
  throw invalidQuery(`${pointer.slice(pointer.lastIndexOf("/") + 1)} is true or false.`, pointer);
}

function parseInclude(value: unknown, byTime: boolean): ParsedQuery["include"] {
  const include = { total: false, other: false, time_labels: false, explain: false };
  if (value === undefined) return include;
  checkMembers(value, INCLUDES, "/include", "include");
  for (const name of INCLUDES) {
    const wanted = (value as Partial<Record<(typeof INCLUDES)[number], unknown>>)[name];
    include[name] = parseFlag(wanted, false, `/include/${name}`);
  }
  if (!include.other || !byTime) return include;
  throw invalidQuery("other is what limit cut off; it is told where time is no dimension.", "/include/other");
}
