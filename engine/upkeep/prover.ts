import { HOUR_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { TidemarkError } from "../errors.js";
import { isCut, partsOf } from "../hot/parts.js";
import type { Position } from "../log.js";
import { countRows, mergeByRollup, storedBlocks } from "../hot/seal.js";
import { UTC_CALENDAR, tierName, type BucketAddress, type CellBlock, type Incomplete } from "../store.js";
import type { Findings } from "./findings.js";
import { readable, type Ground } from "./ground.js";
import { recomputeQuarters } from "./recompute.js";

/** Events that keep coming for a quarter change it while raw is read; then it is read again. */
const MAX_ATTEMPTS = 5;

/** Events recomputed at once, were they spread evenly: a few ten megabytes of cells. */
const EVENTS_AT_ONCE = 100_000;

export type CoarseGrain = Exclude<Grain, "quarter">;

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
    let startMs = zone.startOf(grain, fromMs);
    for (let endMs = zone.endOf(grain, startMs); endMs <= until; endMs = zone.endOf(grain, startMs)) {
      if (endMs > fromMs) {
        await this.#ground.pause(this.#compose({ calendar, grain, startMs }, zone, endMs, findings));
      }
      startMs = endMs;
    }
  }

  /** Are all raw events of the range still there? */
  hasRaw(fromMs: number, toMs: number): boolean {
    const { log } = this.#ground;
    return fromMs >= log.completeFrom && !log.gaps().some((gap) => gap.fromMs < toMs && gap.toMs > fromMs);
  }

  /**
   * The parts that a coarse bucket is made of, of those that are stored and of `others`; undefined when some of them
   * are no longer kept.
   */
  partsOf(
    zone: Zone,
    { grain, startMs }: BucketAddress,
    endMs: number,
    others: Iterable<BucketAddress> = [],
  ): BucketAddress[] | undefined {
    if (grain === "quarter") throw new Error("BUG: quarters are made of raw events");
    const { buckets, store } = this.#ground;
    const tiers = partTiers(zone, { calendar: zone.name, grain, startMs }, endMs);
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
  lacksParts(zone: Zone, address: BucketAddress, endMs: number, also: readonly Incomplete[] = []): boolean {
    const tiers = new Set(
      partTiers(zone, address, endMs).map(([calendar, grain]) => tierName(calendar, grain)),
    );
    return [...this.#ground.buckets.incomplete, ...also].some(
      ({ tier, fromMs, toMs }) =>
        tier !== null && tiers.has(tier) && fromMs < endMs && toMs > address.startMs,
    );
  }

  async #someQuarters(fromMs: number, toMs: number, findings: Findings): Promise<void> {
    const { log, store, buckets } = this.#ground;
    const stored = (): Float64Array => store.starts(UTC_CALENDAR, "quarter", fromMs, toMs);
    if (!this.hasRaw(fromMs, toMs)) {
      findings.unproven += stored().length;
      for (const startMs of stored()) this.#read(quarterAt(startMs), findings);
      return;
    }
    const { schema, dictionaries } = buckets;
    const through = (startMs: number): Position => buckets.storedThrough(startMs);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const before = this.#positionsOf(stored());
      const raw = await recomputeQuarters({ schema, dictionaries, log }, fromMs, toMs, through);
      if (this.#positionsOf(stored()) !== before) continue;
      for (const startMs of new Set([...stored(), ...raw.keys()])) {
        this.#compareQuarter(startMs, raw.get(startMs) ?? [], findings);
      }
      await this.#ground.pause(countRows([...raw.values()].flat()));
      return;
    }
    findings.unproven += stored().length;
  }

  #compareQuarter(startMs: number, recomputed: readonly CellBlock[], findings: Findings): void {
    const address = quarterAt(startMs);
    const stored = this.#read(address, findings);
    if (stored !== undefined) findings.compare(address, stored, recomputed);
  }

  /** Returns how many cells were read for it. */
  #compose(address: BucketAddress, zone: Zone, endMs: number, findings: Findings): number {
    const { buckets } = this.#ground;
    if (address.startMs < buckets.reachOf(address.calendar, address.grain)) return 0;
    const stored = this.#read(address, findings);
    if (stored === undefined) return 1;
    const parts = this.partsOf(zone, address, endMs);
    if (parts === undefined || this.lacksParts(zone, address, endMs)) {
      if (stored.length > 0) findings.unproven++;
      return countRows(stored);
    }
    if (stored.length === 0 && parts.length === 0) return 0;
    const blocks: CellBlock[] = [];
    for (const part of parts) {
      const read = this.#read(part, findings, false);
      // A part that cannot be read is told of where it is compared itself.
      if (read === undefined) return countRows(stored);
      blocks.push(...read);
    }
    findings.compare(address, stored, mergeByRollup(blocks));
    return countRows(blocks);
  }

  /** A bucket's blocks, none where there is no bucket; undefined, and told of, when they cannot be read. */
  #read(address: BucketAddress, findings: Findings, isTold = true): CellBlock[] | undefined {
    const { store, buckets } = this.#ground;
    try {
      if (store.head(address) === undefined) return [];
      store.check(address);
      return storedBlocks(store, buckets.schema, address);
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") throw error;
      if (isTold) findings.unreadable(address, error);
      return undefined;
    }
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

/** The tiers that a coarse bucket is made from. */
function partTiers(
  zone: Zone,
  { grain, startMs }: BucketAddress,
  endMs: number,
): readonly (readonly [string, Grain])[] {
  switch (grain) {
    case "quarter":
      throw new Error("BUG: quarters are made of raw events");
    case "hour":
      return [[UTC_CALENDAR, "quarter"]];
    case "day":
      return isCutDay(zone, startMs, endMs)
        ? [
            [UTC_CALENDAR, "hour"],
            [UTC_CALENDAR, "quarter"],
          ]
        : [[UTC_CALENDAR, "hour"]];
    case "week":
    case "month":
      return [[zone.name, "day"]];
    case "year":
      return [[zone.name, "month"]];
  }
}

function isCutDay(zone: Zone, startMs: number, endMs: number): boolean {
  return isCut(zone, startMs - (startMs % HOUR_MS)) || isCut(zone, endMs - (endMs % HOUR_MS));
}
