import { TidemarkError } from "./errors.js";
import { MAX_DIMENSIONS, MAX_ROLLUPS } from "./limits.js";

/** What a stream declares. Everything has a default: blogs, authors and countries. */
export interface SchemaConfig {
  /** Names of the dimensions; an event carries one value, or none, for each. */
  readonly dimensions?: readonly string[];
  /** The event member whose distinct values are counted. */
  readonly identity?: string;
  /** The dimension whose values are created (`type: "created"`); every event must carry it. */
  readonly subject?: string;
  /** Dimensions that an event may leave out: the value last seen for its subject is taken. */
  readonly remembered?: readonly string[];
  /** Declared sets of dimensions; `[]` is the total. */
  readonly rollups?: readonly (readonly string[])[];
}

export interface Rollup {
  /** Index in `Schema.rollups`. */
  readonly id: number;
  /** `"total"`, `"blog"`, `"blog×country"`, … */
  readonly name: string;
  /** Indexes into `Schema.dimensions`, ascending. */
  readonly dims: readonly number[];
  /**
   * Ids of earlier rollups whose dimensions include all of these. Their cell lies inside this one's, so a viewer
   * who is known there is known here (the lattice short-cut).
   */
  readonly finer: readonly number[];
}

export interface Schema {
  readonly dimensions: readonly string[];
  readonly identity: string;
  /** Index of the subject dimension. */
  readonly subject: number;
  /** Indexes of the remembered dimensions. */
  readonly remembered: readonly number[];
  /** Finest first, so that every rollup comes after all that lie inside it. */
  readonly rollups: readonly Rollup[];
  /** Greatest number of dimensions in one rollup. */
  readonly maxArity: number;
  /** Canonical text; equal texts are equal schemas. */
  readonly fingerprint: string;
}

export const DEFAULT_SCHEMA: Required<SchemaConfig> = {
  dimensions: ["blog", "author", "country"],
  identity: "viewer",
  subject: "blog",
  remembered: ["author"],
  rollups: [[], ["blog"], ["author"], ["country"], ["blog", "country"], ["author", "country"]],
};

const NAME = /^[a-z][a-z0-9_]{0,39}$/;
const RESERVED = new Set(["type", "ts", "id", "time", "views", "viewers", "total", "hour_of_week"]);

/** Checks a declaration and derives what the fold and the planner need. Throws `invalid-schema`. */
export function defineSchema(config: SchemaConfig = {}): Schema {
  const { dimensions, identity, subject, remembered, rollups } = { ...DEFAULT_SCHEMA, ...config };
  checkNames(dimensions, identity);
  const indexOf = (name: string, pointer: string): number => {
    const index = dimensions.indexOf(name);
    if (index >= 0) return index;
    throw invalid(`"${name}" is not a declared dimension; declare it in "dimensions".`, pointer);
  };
  const resolved = resolveRollups(rollups, indexOf);
  return {
    dimensions,
    identity,
    subject: indexOf(subject, "/subject"),
    remembered: remembered.map((name) => indexOf(name, "/remembered")),
    rollups: resolved.map((dims, id) => ({
      id,
      name: dims.length === 0 ? "total" : dims.map((d) => dimensions[d]).join("×"),
      dims,
      finer: resolved.flatMap((other, o) => (o < id && dims.every((d) => other.includes(d)) ? [o] : [])),
    })),
    maxArity: Math.max(0, ...resolved.map((dims) => dims.length)),
    fingerprint: JSON.stringify({
      dimensions,
      identity,
      subject,
      remembered,
      rollups: resolved.map((dims) => dims.map((d) => dimensions[d])),
    }),
  };
}

/** The rollup whose dimensions are exactly `dims` (ascending), or undefined. */
export function rollupOf(schema: Schema, dims: readonly number[]): Rollup | undefined {
  return schema.rollups.find((r) => r.dims.length === dims.length && r.dims.every((d, i) => d === dims[i]));
}

/** The rollup with the fewest dimensions that includes all of `dims`; it can answer for them exactly. */
export function rollupCovering(schema: Schema, dims: readonly number[]): Rollup | undefined {
  let best: Rollup | undefined;
  for (const rollup of schema.rollups) {
    if (!dims.every((d) => rollup.dims.includes(d))) continue;
    if (best === undefined || rollup.dims.length < best.dims.length) best = rollup;
  }
  return best;
}

function resolveRollups(
  rollups: readonly (readonly string[])[],
  indexOf: (name: string, pointer: string) => number,
): number[][] {
  if (rollups.length === 0 || rollups.length > MAX_ROLLUPS) {
    throw invalid(`Declare between 1 and ${MAX_ROLLUPS} rollups.`, "/rollups");
  }
  const resolved = rollups.map((names, i) => {
    const dims = names.map((name) => indexOf(name, `/rollups/${i}`)).sort((a, b) => a - b);
    if (new Set(dims).size === dims.length) return dims;
    throw invalid(`Rollup ${i} names a dimension twice.`, `/rollups/${i}`);
  });
  resolved.sort((a, b) => b.length - a.length || compareLists(a, b));
  for (let i = 1; i < resolved.length; i++) {
    if (compareLists(resolved[i - 1]!, resolved[i]!) === 0) {
      throw invalid("Two rollups have the same dimensions; leave one out.", "/rollups");
    }
  }
  return resolved;
}

function checkNames(dimensions: readonly string[], identity: string): void {
  if (dimensions.length === 0 || dimensions.length > MAX_DIMENSIONS) {
    throw invalid(`Declare between 1 and ${MAX_DIMENSIONS} dimensions.`, "/dimensions");
  }
  const names = [...dimensions, identity];
  for (const name of names) {
    if (!NAME.test(name) || RESERVED.has(name)) {
      throw invalid(`"${name}" cannot be a name: use a–z, 0–9 and _, no reserved word.`, "/dimensions");
    }
  }
  if (new Set(names).size !== names.length) {
    throw invalid("Dimension names and the identity must all differ.", "/dimensions");
  }
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return a.length - b.length;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

function invalid(detail: string, pointer: string): TidemarkError {
  return new TidemarkError("invalid-schema", detail, { pointer });
}
