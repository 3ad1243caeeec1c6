import type { Schema } from "../schema.js";
import { dimensionOf, grainOf } from "./parse-dimensions.js";
import { invalidQuery, listed, quoted } from "./problem.js";
import type { Filter } from "./types.js";

/** Values of one filter: each is looked up by itself. */
export const MAX_FILTER_VALUES = 10_000;
/** Conditions of one question: the bound keeps a hostile query short. */
const MAX_CONDITIONS = 64;
/** Nested deeper than anybody writes by hand. */
const MAX_DEPTH = 16;
/** Parts to look for: each is held against every value of the dimension. */
const MAX_PARTS = 100;

export const FILTER_OPERATORS = [
  "is",
  "is_not",
  "in",
  "not_in",
  "contains",
  "contains_not",
  "and",
  "or",
  "not",
] as const;
type Operator = (typeof FILTER_OPERATORS)[number];

const FORM = 'A filter is [operator, dimension, [values]], such as ["is", "country", ["PT"]]';

/** Throws `invalid-query` with a pointer below `pointer`. */
export function parseFilters(value: unknown, schema: Schema, pointer = "/filters"): readonly Filter[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalidQuery(`filters is a list. ${FORM}.`, pointer);
  return new FilterParser(schema).list(value, pointer, 0);
}

class FilterParser {
  readonly #schema: Schema;
  #conditions = 0;

  constructor(schema: Schema) {
    this.#schema = schema;
  }

  list(value: unknown, pointer: string, depth: number): Filter[] {
    if (!Array.isArray(value)) throw invalidQuery("and and or take a list of filters.", pointer);
    return Array.from(value as readonly unknown[], (each, i) => this.#filter(each, `${pointer}/${i}`, depth));
  }

  #filter(value: unknown, pointer: string, depth: number): Filter {
    if (depth > MAX_DEPTH) throw invalidQuery(`Filters are nested deeper than ${MAX_DEPTH}.`, pointer);
    if (++this.#conditions > MAX_CONDITIONS) {
      throw invalidQuery(`Give at most ${MAX_CONDITIONS} conditions.`, pointer);
    }
    if (!Array.isArray(value) || value.length === 0) throw invalidQuery(`${FORM}.`, pointer);
    const [operator, ...operands] = value as readonly unknown[];
    switch (this.#operator(operator, operands, pointer)) {
      case "and":
      case "or":
        return this.#junction(operator as "and" | "or", operands[0], pointer, depth);
      case "not":
        return { kind: "not", filter: this.#filter(operands[0], `${pointer}/1`, depth + 1) };
      case "is":
      case "in":
        return this.#is(operands, pointer);
      case "is_not":
      case "not_in":
        return { kind: "not", filter: this.#is(operands, pointer) };
      case "contains":
        return this.#contains(operands, pointer);
      case "contains_not":
        return { kind: "not", filter: this.#contains(operands, pointer) };
    }
  }

  #operator(name: unknown, operands: readonly unknown[], pointer: string): Operator {
    const operator = FILTER_OPERATORS.find((each) => each === name);
    if (operator === undefined) {
      const detail = `${quoted(name)} is no operator; known are ${listed(FILTER_OPERATORS)}.`;
      throw invalidQuery(detail, `${pointer}/0`);
    }
    const wanted = operator === "and" || operator === "or" || operator === "not" ? 1 : 2;
    if (operands.length === wanted) return operator;
    throw invalidQuery(wanted === 2 ? `${FORM}.` : `${quoted(operator)} takes one operand.`, pointer);
  }

  #junction(kind: "and" | "or", value: unknown, pointer: string, depth: number): Filter {
    const filters = this.list(value, `${pointer}/1`, depth + 1);
    if (filters.length > 0) return { kind, filters };
    throw invalidQuery(`${quoted(kind)} takes at least one filter.`, `${pointer}/1`);
  }

  #is([name, values]: readonly unknown[], pointer: string): Filter {
    const dimension = this.#dimension(name, `${pointer}/1`);
    return { kind: "is", dimension, values: parseValues(values, `${pointer}/2`) };
  }

  #contains([name, parts]: readonly unknown[], pointer: string): Filter {
    const dimension = this.#dimension(name, `${pointer}/1`);
    const values = parseValues(parts, `${pointer}/2`);
    if (values.length <= MAX_PARTS && !values.includes(null)) {
      return { kind: "contains", dimension, values: values as readonly string[] };
    }
    throw invalidQuery(`contains takes 1 to ${MAX_PARTS} strings.`, `${pointer}/2`);
  }

  #dimension(name: unknown, pointer: string): number {
    if (grainOf(name, pointer) === undefined) return dimensionOf(name, this.#schema, pointer);
    throw invalidQuery("Time is narrowed by date_range, not by a filter.", pointer);
  }
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
