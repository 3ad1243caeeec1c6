import { BASE_METRICS, RATE_UNITS, type BaseMetric, type Metric } from "../api.js";
import { invalidQuery, listed, quoted } from "./problem.js";

const DEFAULT_METRICS: readonly Metric[] = ["views", "viewers"];

/** Metrics of one query: each is worked out for every row. */
const MAX_METRICS = 32;
/** Functions of functions of functions … */
const MAX_DEPTH = 4;
/** Buckets that a row may look back on: a year of days. */
const MAX_WINDOW = 366;

/** What can be summed or united over several buckets. */
export const WINDOW_METRICS = ["views", "viewers", "views_anonymous", "blogs_created"] as const;
export const FUNCTIONS = ["rolling", "cumulative", "rate", "moving_average", "change", "ratio"] as const;

/** Throws `invalid-query`; functions along time are refused where `byTime` is false. */
export function parseMetrics(value: unknown, byTime: boolean): readonly Metric[] {
  if (value === undefined) return DEFAULT_METRICS;
  const known = `Known are ${listed(BASE_METRICS)}.`;
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_METRICS) {
    throw invalidQuery(`metrics is a list of 1 to ${MAX_METRICS}. ${known}`, "/metrics");
  }
  const seen = new Set<string>();
  return Array.from(value as readonly unknown[], (each, i) => {
    const pointer = `/metrics/${i}`;
    const metric = parseMetric(each, pointer, 0, byTime);
    const name = metricName(metric);
    if (seen.has(name)) throw invalidQuery(`${name} is asked for twice.`, pointer);
    seen.add(name);
    return metric;
  });
}

/** `views`, or a function as its JSON. */
export function metricName(metric: Metric): string {
  return typeof metric === "string" ? metric : JSON.stringify(metric);
}

function parseMetric(value: unknown, pointer: string, depth: number, byTime: boolean): Metric {
  if (isBaseMetric(value)) return value;
  if (!Array.isArray(value)) {
    const detail = `${quoted(value)} is no metric. Known are ${listed(BASE_METRICS)}, and functions such as ["rolling", "viewers", 7].`;
    throw invalidQuery(detail, pointer);
  }
  if (depth >= MAX_DEPTH) throw invalidQuery(`Functions are nested deeper than ${MAX_DEPTH}.`, pointer);
  const [name, first, second] = value as readonly unknown[];
  const inner = (operand: unknown, at: number): Metric =>
    parseMetric(operand, `${pointer}/${at}`, depth + 1, byTime);
  if (name !== "ratio" && FUNCTIONS.some((each) => each === name)) requireTime(name, byTime, pointer);
  switch (name) {
    case "rolling":
      checkLength(value, 3, '["rolling", "viewers", 7]', pointer);
      return ["rolling", windowMetric(first, `${pointer}/1`), count(second, `${pointer}/2`)];
    case "cumulative":
      checkLength(value, 2, '["cumulative", "views"]', pointer);
      return ["cumulative", windowMetric(first, `${pointer}/1`)];
    case "rate":
      checkLength(value, 3, '["rate", "views", "hour"]', pointer);
      return ["rate", inner(first, 1), oneOf(RATE_UNITS, second, `${pointer}/2`)];
    case "moving_average":
      checkLength(value, 3, '["moving_average", "views", 7]', pointer);
      return ["moving_average", inner(first, 1), count(second, `${pointer}/2`)];
    case "change":
      checkLength(value, 2, '["change", "views"]', pointer);
      return ["change", inner(first, 1)];
    case "ratio":
      checkLength(value, 3, '["ratio", "viewers", ["rolling", "viewers", 28]]', pointer);
      return ["ratio", inner(first, 1), inner(second, 2)];
    default:
      throw invalidQuery(`${quoted(name)} is no function; known are ${listed(FUNCTIONS)}.`, `${pointer}/0`);
  }
}

function isBaseMetric(value: unknown): value is BaseMetric {
  return (BASE_METRICS as readonly unknown[]).includes(value);
}

function requireTime(name: unknown, byTime: boolean, pointer: string): void {
  if (byTime) return;
  throw invalidQuery(`${quoted(name)} goes along time: add time, or time:day, to dimensions.`, pointer);
}

function checkLength(value: readonly unknown[], length: number, example: string, pointer: string): void {
  if (value.length !== length) throw invalidQuery(`Write it like ${example}.`, pointer);
}

function windowMetric(value: unknown, pointer: string): (typeof WINDOW_METRICS)[number] {
  return oneOf(WINDOW_METRICS, value, pointer);
}

function oneOf<T extends string>(known: readonly T[], value: unknown, pointer: string): T {
  const found = known.find((each) => each === value);
  if (found !== undefined) return found;
  throw invalidQuery(`${quoted(value)} cannot stand here: it is one of ${listed(known, "or")}.`, pointer);
}

function count(value: unknown, pointer: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_WINDOW) return value;
  throw invalidQuery(`So many time buckets: a whole number from 1 to ${MAX_WINDOW}.`, pointer);
}
