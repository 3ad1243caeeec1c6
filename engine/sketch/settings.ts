import { TidemarkError } from "../errors.js";

export const MIN_LOG2M = 4;
export const MAX_LOG2M = 18;
export const DEFAULT_LOG2M = 14;

/** Registers at the border have 5 bits: with more, PostgreSQL's `hll_cardinality` answers NaN for large sketches. */
export const DEFAULT_REGWIDTH = 5;

/** `explicitThreshold` of a sketch that leaves the choice to its reader. */
export const AUTOMATIC = -1;

/** The automatic cut-off never goes beyond what PostgreSQL has room for. */
const MAX_AUTOMATIC = 16_383;

/** A cut-off may name up to 2^30 hashes; no known writer (java-hll) keeps more than these, and memory is bounded. */
const MAX_EXPLICIT = 2 ** 17;

/** What the header of the storage format says about a sketch, besides its type. */
export interface SketchSettings {
  /** Binary logarithm of the number of registers: 4 to 18. */
  readonly log2m: number;
  /** Bits of a register: 1 to 8. */
  readonly regwidth: number;
  /** Up to how many hashes are kept as they are: 0 none, −1 automatic, otherwise a power of two. */
  readonly explicitThreshold: number;
  /** Whether SPARSE may be written. */
  readonly sparse: boolean;
}

const own = new Map<number, SketchSettings>();

/** The settings of sketches made here; one shared object per log2m. Throws `invalid-config` out of range. */
export function ownSettings(log2m: number): SketchSettings {
  let settings = own.get(log2m);
  if (settings === undefined) {
    if (!Number.isInteger(log2m) || log2m < MIN_LOG2M || log2m > MAX_LOG2M) {
      throw new TidemarkError(
        "invalid-config",
        `log2m of a HyperLogLog must be a whole number from ${MIN_LOG2M} to ${MAX_LOG2M}, not ${log2m}.`,
      );
    }
    settings = Object.freeze({ log2m, regwidth: DEFAULT_REGWIDTH, explicitThreshold: 0, sparse: true });
    own.set(log2m, settings);
  }
  return settings;
}

export function isOwn(settings: SketchSettings): boolean {
  return settings.regwidth === DEFAULT_REGWIDTH && settings.explicitThreshold === 0 && settings.sparse;
}

/** How many hashes a sketch of these settings keeps: −1 means as many as fit in the bytes of a FULL sketch. */
export function explicitLimit(settings: SketchSettings): number {
  if (settings.explicitThreshold !== AUTOMATIC) return Math.min(settings.explicitThreshold, MAX_EXPLICIT);
  const fullBytes = Math.ceil((settings.regwidth * 2 ** settings.log2m) / 8);
  return Math.min(Math.floor(fullBytes / 8), MAX_AUTOMATIC);
}

/** Whether two sketches can keep their hashes when they are united. */
export function sameExplicit(a: SketchSettings, b: SketchSettings): boolean {
  return a.log2m === b.log2m && a.regwidth === b.regwidth && a.explicitThreshold === b.explicitThreshold;
}

/** The settings of a union: what both can keep. Commutative, associative and idempotent, as the union itself is. */
export function uniteSettings(a: SketchSettings, b: SketchSettings): SketchSettings {
  if (a === b) return a;
  const united = {
    log2m: Math.min(a.log2m, b.log2m),
    regwidth: Math.min(a.regwidth, b.regwidth),
    explicitThreshold: sameExplicit(a, b) ? a.explicitThreshold : 0,
    sparse: a.sparse && b.sparse,
  };
  return isOwn(united) ? ownSettings(united.log2m) : united;
}
