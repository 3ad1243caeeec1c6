import { HOUR_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { readable } from "../errors.js";
import { partTiers, partTiersOf, partsOf, type CoarseGrain, type Tier } from "../hot/parts.js";
import type { Position } from "../log.js";
import { countRows } from "../hot/seal.js";
import { mergeByRollup } from "../hot/merge-blocks.js";
import { UTC_CALENDAR, tierName, type BucketAddress, type CellBlock, type Incomplete } from "../store.js";
import type { Findings } from "./findings.js";
import { overlaps, readBucket, type Ground } from "./ground.js";
import { recomputeQuarters } from "./recompute.js";

/** Events that keep coming for a quarter change it while raw is read; then it is read again. */
const MAX_ATTEMPTS = 5;

/** Events recomputed at once, were they spread evenly: a few ten megabytes of cells. */
const EVENTS_AT_ONCE = 100_000;

/** Compares stored buckets with what they are made of, bit for bit: quarters with raw events, others with finer ones. */
export class Prover {
  readonly #ground: Ground;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** Quarters that are kept and begin in `[fromMs, toMs)`, which lie on whole quarters. */
  async quarters(fromMs: number, toMs: number, findings: Findings): Promise<void> {
    let from = Math.max(fromMs, this.#ground.buckets.reachOf(UTC_CALENDAR, "quarter"));
    const stepMs = this.#hoursAtOnce(from, toMs) * HOUR_MS;
    while (from < toMs) {
      const to = Math.min(toMs, from - (from % HOUR_MS) + stepMs);
      await this.#someQuarters(from, to, findings);
      from = to;
    }
  }

  /** Memory follows the cells of what is recomputed at once; empty years are not worth an hour each. */
  #hoursAtOnce(fromMs: number, toMs: number): number {
    const { tail, segments } = this.#ground.log.sizes();
    const hours = Math.max(1, (toMs - fromMs) / HOUR_MS);
    return Math.max(1, Math.floor((hours * EVENTS_AT_ONCE) / (tail.events + segments.events + 1)));
  }

  /** Sealed buckets of the grain that end in `(fromMs, toMs]`. */
  async composed(
    zone: Zone,
    grain: CoarseGrain,
    fromMs: number,
    toMs: number,
    findings: Findings,
  ): Promise<void> {
    const calendar = grain === "hour" ? UTC_CALENDAR : zone.name;
    const until = Math.min(toMs, this.#ground.buckets.sealedUntil(calendar));
    for (const startMs of this.#startsOf(zone, [calendar, grain], fromMs, until)) {
      const endMs = zone.endOf(grain, startMs);
      if (endMs > fromMs && endMs <= until) {
        await this.#ground.pause(this.#compose(zone, grain, startMs, endMs, findings));
      }
    }
  }

  /** Where buckets begin that are stored, or that any part is stored of, ascending. Years without events are not walked. */
  #startsOf(
    zone: Zone,
    [calendar, grain]: readonly [string, CoarseGrain],
    fromMs: number,
    toMs: number,
  ): readonly number[] {
    const first = zone.startOf(grain, fromMs);
    const tiers: Tier[] = [[calendar, grain], ...partTiers(zone, grain)];
    const starts = new Set<number>();
    for (const tier of tiers) {
      for (const startMs of this.#ground.store.starts(...tier, first, toMs)) {
        starts.add(zone.startOf(grain, startMs));
      }
    }
    return [...starts].sort((a, b) => a - b);
  }

  /** Are all raw events of the range still there? */
  hasRaw(fromMs: number, toMs: number): boolean {
    const { log } = this.#ground;
    return fromMs >= log.completeFrom && !log.gaps().some((gap) => overlaps(gap, fromMs, toMs));
  }

  /**
   * The parts that a coarse bucket is made of, of those that are stored and of `others`; undefined when some of them
   * are no longer kept.
   */
  partsOf(
    zone: Zone,
    grain: CoarseGrain,
    startMs: number,
    endMs: number,
    others: Iterable<BucketAddress> = [],
  ): BucketAddress[] | undefined {
    const { buckets, store } = this.#ground;
    const tiers = partTiersOf(zone, grain, startMs, endMs);
    if (!tiers.every(([calendar, finer]) => startMs >= buckets.reachOf(calendar, finer))) return undefined;
    const existing = (calendar: string, finer: Grain): BucketAddress[] => {
      const starts = new Set(store.starts(calendar, finer, startMs, endMs));
      for (const other of others) {
        if (other.calendar !== calendar || other.grain !== finer) continue;
        if (other.startMs >= startMs && other.startMs < endMs) starts.add(other.startMs);
      }
      return Array.from(starts, (start) => ({ calendar, grain: finer, startMs: start }));
    };
    return [...partsOf(zone, grain, existing)];
  }

  /** Did damage take some of the parts? Then a bucket that is still whole must not be held against the rest. */
  lacksParts(
    zone: Zone,
    grain: CoarseGrain,
    startMs: number,
    endMs: number,
    also: readonly Incomplete[] = [],
  ): boolean {
    const tiers = partTiersOf(zone, grain, startMs, endMs).map((tier) => tierName(...tier));
    return [...this.#ground.buckets.incomplete, ...also].some(
      (missing) => missing.tier !== null && tiers.includes(missing.tier) && overlaps(missing, startMs, endMs),
    );
  }

  async #someQuarters(fromMs: number, toMs: number, findings: Findings): Promise<void> {
    const { log, store, buckets } = this.#ground;
    const stored = (): Float64Array => store.starts(UTC_CALENDAR, "quarter", fromMs, toMs);
    const { schema, dictionaries } = buckets;
    const through = (startMs: number): Position => buckets.storedThrough(startMs);
    for (let attempt = 0; attempt < MAX_ATTEMPTS && this.hasRaw(fromMs, toMs); attempt++) {
      const before = this.#positionsOf(stored());
      const raw = await recomputeQuarters({ schema, dictionaries, log }, fromMs, toMs, through);
      // The reading may have found a segment damaged.
      if (!this.hasRaw(fromMs, toMs)) break;
      if (this.#positionsOf(stored()) !== before) continue;
      for (const startMs of new Set([...stored(), ...raw.keys()])) {
        this.#compareQuarter(startMs, raw.get(startMs) ?? [], findings);
      }
      await this.#ground.pause(countRows([...raw.values()].flat()));
      return;
    }
    findings.unproven += stored().length;
    for (const startMs of stored()) this.#read(quarterAt(startMs), findings);
  }

  #compareQuarter(startMs: number, recomputed: readonly CellBlock[], findings: Findings): void {
    const address = quarterAt(startMs);
    const stored = this.#read(address, findings);
    if (stored !== undefined) findings.compare(address, stored, recomputed);
  }

  /** Returns how many cells were read for it. */
  #compose(zone: Zone, grain: CoarseGrain, startMs: number, endMs: number, findings: Findings): number {
    const address = { calendar: grain === "hour" ? UTC_CALENDAR : zone.name, grain, startMs };
    if (startMs < this.#ground.buckets.reachOf(address.calendar, grain)) return 0;
    const stored = this.#read(address, findings);
    if (stored === undefined) return 1;
    const parts = this.partsOf(zone, grain, startMs, endMs);
    if (parts === undefined || this.lacksParts(zone, grain, startMs, endMs)) {
      if (stored.length > 0) findings.unproven++;
      return countRows(stored);
    }
    if (stored.length === 0 && parts.length === 0) return 0;
    const blocks: CellBlock[] = [];
    for (const part of parts) {
      const read = readable(() => readBucket(this.#ground.store, part));
      // A part that cannot be read is told of where it is compared itself.
      if (read === undefined) return countRows(stored);
      blocks.push(...read);
    }
    findings.compare(address, stored, mergeByRollup(blocks));
    return countRows(blocks);
  }

  /** A bucket's blocks, none where there is no bucket; undefined, and told of, when they cannot be read. */
  #read(address: BucketAddress, findings: Findings): readonly CellBlock[] | undefined {
    return readable(
      () => readBucket(this.#ground.store, address),
      (error) => findings.unreadable(address, error),
    );
  }

  /** Up to which records the quarters are stored, as one text; −1 where a head cannot be read. */
  #positionsOf(starts: Float64Array): string {
    const { store } = this.#ground;
    const position = (startMs: number): number =>
      readable(() => store.head(quarterAt(startMs))!.position) ?? -1;
    return Array.from(starts, (startMs) => `${startMs} ${position(startMs)}`).join();
  }
}

function quarterAt(startMs: number): BucketAddress {
  return { calendar: UTC_CALENDAR, grain: "quarter", startMs };
}
