import type { Dictionaries } from "../hot/dictionaries.js";
import { FIRST_VALUE_ID, NONE_ID, OTHER_ID } from "../hot/interner.js";
import type { Schema } from "../schema.js";
import { IdSet } from "./id-set.js";
import { Lru } from "./lru.js";
import { listed, quoted } from "./problem.js";
import type { Filter } from "./types.js";

/** Per filtered dimension: the ids that pass all conditions on it alone. */
export type Passing = ReadonlyMap<number, IdSet>;

/** Does the key at `at` pass? */
export type KeyTest = (keys: Uint32Array, at: number) => boolean;

/** Values named in a warning. */
const MAX_NAMED = 3;

/** A filter with its values looked up; conditions on one dimension are one set. */
type Node =
  | { readonly kind: "ids"; readonly dimension: number; readonly ids: IdSet }
  | { readonly kind: "and" | "or"; readonly nodes: readonly Node[] }
  | { readonly kind: "not"; readonly node: Node };

/** Filters as sets of ids: of each dimension by itself, and what only several dimensions together can say. */
export interface ResolvedFilters {
  readonly passing: Passing;
  /** Must all hold. */
  readonly mixed: readonly Node[];
  /** Per dimension: values and parts of which nobody can say whether `(other)` has them. */
  readonly doubtful: ReadonlyMap<number, readonly string[]>;
}

/** Dimensions that filters speak of, each once. */
export function filteredDimensions(filters: readonly Filter[]): number[] {
  const of = (filter: Filter): readonly number[] => {
    if (filter.kind === "not") return of(filter.filter);
    return "filters" in filter ? filter.filters.flatMap(of) : [filter.dimension];
  };
  return [...new Set(filters.flatMap(of))];
}

export function resolveFilters(filters: readonly Filter[], dictionaries: Dictionaries): ResolvedFilters {
  return new Resolver(dictionaries).resolve(filters);
}

class Resolver {
  readonly #dictionaries: Dictionaries;
  readonly #doubtful = new Map<number, string[]>();

  constructor(dictionaries: Dictionaries) {
    this.#dictionaries = dictionaries;
  }

  resolve(filters: readonly Filter[]): ResolvedFilters {
    const passing = new Map<number, IdSet>();
    const mixed: Node[] = [];
    for (const node of this.#all("and", filters)) {
      if (node.kind === "ids") passing.set(node.dimension, node.ids);
      else mixed.push(node);
    }
    return { passing, mixed, doubtful: this.#doubtful };
  }

  #node(filter: Filter): Node {
    switch (filter.kind) {
      case "is":
        return { kind: "ids", dimension: filter.dimension, ids: this.#are(filter.dimension, filter.values) };
      case "contains":
        return { kind: "ids", dimension: filter.dimension, ids: this.#with(filter.dimension, filter.values) };
      case "not":
        return negated(this.#node(filter.filter));
      default: {
        const nodes = this.#all(filter.kind, filter.filters);
        return nodes.length === 1 ? nodes[0]! : { kind: filter.kind, nodes };
      }
    }
  }

  /** The filters of an `and` or `or`, those of one dimension made one, nested ones of the same kind taken in. */
  #all(kind: "and" | "or", filters: readonly Filter[]): Node[] {
    const sets = new Map<number, IdSet>();
    const others: Node[] = [];
    const add = (node: Node): void => {
      if (node.kind === kind) return node.nodes.forEach(add);
      if (node.kind !== "ids") return void others.push(node);
      const before = sets.get(node.dimension);
      sets.set(node.dimension, before === undefined ? node.ids : before[kind](node.ids));
    };
    for (const filter of filters) add(this.#node(filter));
    return [...Array.from(sets, ([dimension, ids]): Node => ({ kind: "ids", dimension, ids })), ...others];
  }

  #are(dimension: number, values: readonly (string | null)[]): IdSet {
    const ids = new Set<number>();
    for (const value of values) {
      const id = value === null ? NONE_ID : this.#dictionaries.find(dimension, value);
      if (id !== undefined) ids.add(id);
      else this.#doubt(dimension, value!);
    }
    return new IdSet(ids);
  }

  #with(dimension: number, parts: readonly string[]): IdSet {
    for (const part of parts) this.#doubt(dimension, part);
    return new IdSet(matchesOf(this.#dictionaries, dimension, parts));
  }

  #doubt(dimension: number, value: string): void {
    const known = this.#doubtful.get(dimension);
    if (known === undefined) this.#doubtful.set(dimension, [value]);
    else known.push(value);
  }
}

function negated(node: Node): Node {
  if (node.kind === "not") return node.node;
  return node.kind === "ids" ? { ...node, ids: node.ids.not() } : { kind: "not", node };
}

/** Ids that contain a part, as far as the dictionary was gone through. */
interface Matches {
  readonly ids: Set<number>;
  upTo: number;
}

/** Searches kept per dictionary: a live query asks the same one again and again, and values are only ever added. */
const MAX_SEARCHES = 32;
const searches = new WeakMap<Dictionaries, Lru<Matches>>();

function matchesOf(
  dictionaries: Dictionaries,
  dimension: number,
  parts: readonly string[],
): ReadonlySet<number> {
  let known = searches.get(dictionaries);
  if (known === undefined) searches.set(dictionaries, (known = new Lru(MAX_SEARCHES)));
  const name = JSON.stringify([dimension, ...parts]);
  const matches = known.get(name) ?? { ids: new Set<number>(), upTo: FIRST_VALUE_ID };
  known.set(name, matches, 1);
  const end = dictionaries.sizeOf(dimension) + FIRST_VALUE_ID;
  for (let id = matches.upTo; id < end; id++) {
    const value = dictionaries.nameOf(dimension, id)!;
    if (parts.some((part) => value.includes(part))) matches.ids.add(id);
  }
  matches.upTo = end;
  return matches.ids;
}

/** The test of what several dimensions say together, on keys of these dimensions; undefined where there is none. */
export function keyTest({ mixed }: ResolvedFilters, dims: readonly number[]): KeyTest | undefined {
  if (mixed.length === 0) return undefined;
  return testOf({ kind: "and", nodes: mixed }, dims);
}

function testOf(node: Node, dims: readonly number[]): KeyTest {
  if (node.kind === "ids") {
    const { ids } = node;
    const place = dims.indexOf(node.dimension);
    return (keys, at) => ids.has(keys[at + place]!);
  }
  if (node.kind === "not") {
    const test = testOf(node.node, dims);
    return (keys, at) => !test(keys, at);
  }
  const tests = node.nodes.map((each) => testOf(each, dims));
  return node.kind === "and"
    ? (keys, at) => tests.every((test) => test(keys, at))
    : (keys, at) => tests.some((test) => test(keys, at));
}

/**
 * A warning for each dimension whose filters cannot be held against `(other)`: where the dimension ran over, the
 * number may be too small or too large. `hasEvents` says whether anything passes with these ids put in.
 */
export function otherWarnings(
  { doubtful, passing }: ResolvedFilters,
  schema: Schema,
  hasEvents: (passing: Passing) => boolean,
): string[] {
  const warnings: string[] = [];
  for (const [dimension, values] of doubtful) {
    if (!hasEvents(new Map([...passing, [dimension, new IdSet(new Set([OTHER_ID]))]]))) continue;
    const names = listed(values.slice(0, MAX_NAMED).map(quoted));
    warnings.push(
      `${schema.dimensions[dimension]} has more values than are kept: of ${names} nothing is known by itself; ` +
        `what there is of it is part of "(other)".`,
    );
  }
  return warnings;
}
