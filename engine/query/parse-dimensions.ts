import { GRAINS, isGrain, type Grain } from "../calendar/index.js";
import type { Schema } from "../schema.js";
import { invalidQuery, listed, quoted } from "./problem.js";
import type { Column } from "./types.js";

export interface AskedColumns {
  readonly columns: readonly Column[];
  /** Null where time is no column. */
  readonly grain: Grain | "auto" | null;
}

export function parseDimensions(value: unknown = [], schema: Schema): AskedColumns {
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
export function grainOf(name: unknown, pointer: string): Grain | "auto" | undefined {
  if (name === "time") return "auto";
  if (typeof name !== "string" || !name.startsWith("time:")) return undefined;
  const grain = name.slice(5);
  if (isGrain(grain)) return grain;
  const known = listed(["time", ...GRAINS.map((each) => `time:${each}`)]);
  throw invalidQuery(`${quoted(name)} is no grain of time; known are ${known}.`, pointer);
}

export function dimensionOf(name: unknown, schema: Schema, pointer: string): number {
  const dimension = schema.dimensions.indexOf(name as string);
  if (dimension >= 0) return dimension;
  throw invalidQuery(`${quoted(name)} is no dimension; declared are ${listed(schema.dimensions)}.`, pointer);
}
