import type { Buckets } from "../hot/buckets.js";
import type { CellTable } from "../hot/cell-table.js";
import type { Schema } from "../schema.js";
import { UTC_CALENDAR } from "../store.js";
import { Aggregation, type Selection } from "./aggregation.js";
import type { Run } from "./cover.js";
import type { SealedParts } from "./parts.js";
import type { Plan } from "./plan.js";

/** Groups found in time buckets. */
export interface Found {
  /** Keys: the index of the time bucket, if asked for by time, then the ids of the selection's groups. */
  readonly table: CellTable;
  /** Per time bucket: was anything in it changed after it was sealed? */
  readonly revised: Uint8Array;
  /** Where groups were left out that `Selection.top` does not ask for: how many there are of each kind (`rowsWith`). */
  readonly kinds?: Uint32Array | undefined;
}

/** One thing that an answer reads. */
export interface Reading {
  readonly selection: Selection;
  /** The plan's own. */
  readonly edges: Float64Array;
  readonly byTime: boolean;
  /** Names it among all that the same question reads; what has none is not kept. */
  readonly name?: string;
}

/** Where the cells of an answer come from. */
export interface Source {
  /** All that is read of one source is of one state. */
  read(plan: Plan, reading: Reading): Found;
  /** What was read, by tier. */
  readonly tiers: ReadonlyMap<string, number>;
}

/** Where sealed parts are kept, and under which name those of one question. */
export interface Keeping {
  readonly parts: SealedParts;
  readonly question: string;
  /** The question has a part that is kept. */
  readonly noted: () => void;
}

/** Where the sealed part of a reading is kept. */
export interface PartPlace {
  readonly key: string;
  /** `Buckets.lastWritten` of `[fromMs, untilMs)` now. */
  readonly written: number;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly sealed: readonly Run[];
}

/** Undefined where nothing is kept. */
export function sealedPartOf(
  buckets: Buckets,
  question: string,
  plan: Plan,
  { edges, byTime, name }: Reading,
): PartPlace | undefined {
  const { sealed, sealedBuckets } = plan.cover(buckets, edges);
  if (name === undefined || sealedBuckets < MIN_BUCKETS_KEPT) return undefined;
  const fromMs = edges[0]!;
  const untilMs = sealed.at(-1)!.toMs;
  const key = `${question} ${name} ${byTime} ${fromMs} ${edges.at(-1)} ${untilMs} ${plan.layout}`;
  return { key, written: buckets.lastWritten(fromMs, untilMs), fromMs, untilMs, sealed };
}

/** Fewer buckets are read as fast as a copy of their sum is made. */
const MIN_BUCKETS_KEPT = 8;

/**
 * Stored buckets, and those in memory. What is sealed of a range is summed up once and kept (`Keeping`), so that a window
 * such as the last 30 days, asked again and again while events come in, costs what lies in memory only.
 */
export class BucketSource implements Source {
  readonly tiers = new Map<string, number>();
  readonly #schema: Schema;
  readonly #buckets: Buckets;
  readonly #finalUntil: number;
  readonly #keeping: Keeping | undefined;

  constructor(schema: Schema, buckets: Buckets, keeping?: Keeping) {
    this.#schema = schema;
    this.#buckets = buckets;
    this.#keeping = keeping;
    // Not the clock's, though a row of what has not ended shows no revision: a part that is kept serves later moments.
    this.#finalUntil = buckets.sealedUntil(UTC_CALENDAR);
  }

  read(plan: Plan, reading: Reading): Found {
    const cover = plan.cover(this.#buckets, reading.edges);
    const { selection, edges, byTime } = reading;
    const span = { edges, runs: cover.runs };
    const found = new Aggregation(this.#schema, selection, span, byTime, this.#finalUntil);
    if (cover.sealedBuckets < MIN_BUCKETS_KEPT) found.run(this.#buckets);
    else {
      this.#addSealed(found, plan, reading, cover.sealed);
      found.addStored(this.#buckets, cover.open).addHot(this.#buckets);
    }
    this.#note(found.sources);
    return found;
  }

  #addSealed(found: Aggregation, plan: Plan, reading: Reading, sealed: readonly Run[]): void {
    const keeping = this.#keeping;
    const place = keeping && sealedPartOf(this.#buckets, keeping.question, plan, reading);
    if (keeping === undefined || place === undefined) {
      found.addStored(this.#buckets, sealed);
      return;
    }
    const { parts, noted } = keeping;
    const { key, written } = place;
    const kept = parts.get(key, written);
    if (kept === undefined) {
      found.addStored(this.#buckets, sealed);
      const { revised, sources } = found;
      const rest = { revised: revised.slice(), sources: new Map(sources), written };
      if (parts.put(key, found.table, rest)) noted();
    } else {
      found.addFound(kept.block, kept.revised);
      this.#note(kept.sources);
      noted();
    }
  }

  #note(sources: ReadonlyMap<string, number>): void {
    for (const [tier, count] of sources) this.tiers.set(tier, (this.tiers.get(tier) ?? 0) + count);
  }
}
