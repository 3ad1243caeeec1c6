import { GRAINS, HOUR_MS, QUARTER_MS } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { readable } from "../errors.js";
import type { Committer } from "../hot/committer.js";
import { mergeByRollup } from "../hot/merge-blocks.js";
import { countRows, totalOf } from "../hot/seal.js";
import {
  addressName,
  tierName,
  type BucketAddress,
  type CellBlock,
  type Incomplete,
  type Revision,
  type StoredBucket,
} from "../store.js";
import { differences } from "./compare.js";
import { readBucket, type Ground } from "./ground.js";
import type { Prover } from "./prover.js";
import { recomputeQuarters } from "./recompute.js";

export interface Repaired {
  readonly buckets: number;
  /** What could not be won back. */
  readonly incomplete: readonly Incomplete[];
}

/** Makes buckets anew: from raw events while they are kept, from finer buckets else, and says what is lost. */
export class Repairer {
  readonly #ground: Ground;
  readonly #prover: Prover;
  readonly #committer: Committer;

  constructor(ground: Ground, prover: Prover, committer: Committer) {
    this.#ground = ground;
    this.#prover = prover;
    this.#committer = committer;
  }

  /** One transaction; no other commit runs meanwhile. Rejects with the store's error. */
  async repair(addresses: readonly BucketAddress[]): Promise<Repaired> {
    return await this.#committer.exclusively(async (commit) => {
      const work = new Repair(this.#ground, this.#prover);
      const sorted = addresses.toSorted((a, b) => GRAINS.indexOf(a.grain) - GRAINS.indexOf(b.grain));
      for (const address of sorted) await work.make(address);
      const { replaced, removed, revisions, lost } = work;
      const incomplete = [...this.#ground.buckets.incomplete, ...lost];
      await commit({ replaced: [...replaced.values()], removed, revisions, incomplete });
      return { buckets: replaced.size, incomplete: lost };
    });
  }
}

class Repair {
  readonly replaced = new Map<string, StoredBucket>();
  readonly removed: BucketAddress[] = [];
  readonly revisions: Omit<Revision, "seq">[] = [];
  readonly lost: Incomplete[] = [];
  /** By name, those of which nothing is left included. */
  readonly #made = new Map<string, readonly CellBlock[]>();
  readonly #ground: Ground;
  readonly #prover: Prover;

  constructor(ground: Ground, prover: Prover) {
    this.#ground = ground;
    this.#prover = prover;
  }

  /** The blocks of the bucket made anew; what it is made of is made anew too where it cannot be read. */
  async make(address: BucketAddress): Promise<readonly CellBlock[]> {
    const known = this.#made.get(addressName(address));
    if (known !== undefined) return known;
    const zone = this.#zoneOf(address);
    const endMs =
      address.grain === "quarter" ? address.startMs + QUARTER_MS : zone.endOf(address.grain, address.startMs);
    const blocks = await this.#blocksOf(address, zone, endMs);
    this.#made.set(addressName(address), blocks);
    this.#replace(address, blocks);
    await this.#ground.pause(countRows(blocks));
    return blocks;
  }

  async #blocksOf(address: BucketAddress, zone: Zone, endMs: number): Promise<CellBlock[]> {
    if (zone.startOf(address.grain, address.startMs) !== address.startMs) {
      // Its key is damaged too: no such bucket was ever written, and nobody knows which one it was.
      const tier = tierName(address.calendar, address.grain);
      this.lost.push({ tier, fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY });
      return [];
    }
    const { grain, startMs } = address;
    if (grain === "quarter") return await this.#fromRaw(address, endMs);
    const parts = this.#prover.partsOf(zone, grain, startMs, endMs, this.#replacements());
    if (parts === undefined) return await this.#fromRaw(address, endMs);
    const blocks: CellBlock[] = [];
    for (const part of parts) blocks.push(...(this.#read(part) ?? (await this.make(part))));
    // What its parts lack, it lacks too.
    if (this.#prover.lacksParts(zone, grain, startMs, endMs, this.lost)) this.#lose(address, endMs);
    return mergeByRollup(blocks);
  }

  *#replacements(): Generator<BucketAddress> {
    for (const { address } of this.replaced.values()) yield address;
  }

  /** As much as raw has; where it does not have all, that is told. */
  async #fromRaw(address: BucketAddress, endMs: number): Promise<CellBlock[]> {
    const { startMs } = address;
    const { log, buckets } = this.#ground;
    const { schema, dictionaries } = buckets;
    let blocks: CellBlock[] = [];
    for (let from = startMs; from < endMs; from += HOUR_MS) {
      const to = Math.min(endMs, from + HOUR_MS);
      const through = (quarterMs: number): number => buckets.storedThrough(quarterMs);
      const quarters = await recomputeQuarters({ schema, dictionaries, log }, from, to, through);
      blocks = mergeByRollup([...blocks, ...[...quarters.values()].flat()]);
    }
    // Not before: it may be the reading that finds a segment damaged.
    if (!this.#prover.hasRaw(startMs, endMs)) this.#lose(address, endMs);
    return blocks;
  }

  #lose({ calendar, grain, startMs }: BucketAddress, endMs: number): void {
    this.lost.push({ tier: tierName(calendar, grain), fromMs: startMs, toMs: endMs });
  }

  #replace(address: BucketAddress, blocks: readonly CellBlock[]): void {
    const before = this.#read(address) ?? [];
    const revision = this.#revisionOf(address) + 1;
    const { buckets } = this.#ground;
    const position = address.grain === "quarter" ? buckets.storedThrough(address.startMs) : buckets.position;
    if (blocks.length === 0) this.removed.push(address);
    else this.replaced.set(addressName(address), { address, head: { revision, position }, blocks });
    const [old, now] = [totalOf(before), totalOf(blocks)];
    let cells = 0;
    for (const _ of differences(before, blocks)) cells++;
    const change = { views: now.views - old.views, created: now.created - old.created, cells };
    const at = this.#ground.now();
    this.revisions.push({ at, address, revision, reason: "repair", position, ...change });
  }

  /** Undefined when the bucket cannot be read. */
  #read(address: BucketAddress): readonly CellBlock[] | undefined {
    const known = this.#made.get(addressName(address));
    if (known !== undefined) return known;
    return readable(() => readBucket(this.#ground.store, address));
  }

  #revisionOf(address: BucketAddress): number {
    return readable(() => this.#ground.store.head(address)?.revision ?? 0) ?? 0;
  }

  #zoneOf({ calendar }: BucketAddress): Zone {
    const zone = this.#ground.buckets.calendars.find(({ name }) => name === calendar);
    if (zone === undefined) throw new Error(`BUG: ${calendar} is no calendar of this engine`);
    return zone;
  }
}
