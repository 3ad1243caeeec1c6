import { HOUR_MS, QUARTER_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import { readable } from "../errors.js";
import type { Committer } from "../hot/committer.js";
import type { CoarseGrain } from "../hot/parts.js";
import type { LogEntry, Position } from "../log.js";
import type { Schema } from "../schema.js";
import {
  UTC_CALENDAR,
  tierName,
  type BucketAddress,
  type BucketStore,
  type CellBlock,
  type StoredBucket,
} from "../store.js";
import type { Archive } from "./archive.js";
import { Findings } from "./findings.js";
import type { Ground } from "./ground.js";
import type { Retention } from "./policy.js";
import type { Prover } from "./prover.js";

/** Buckets given up in one transaction: commits wait for it. */
const REMOVED_PER_COMMIT = 500;
/** Events handed to the archive at a time. */
const EVENTS_PER_CHUNK = 50_000;

/** What became, or would become, of one tier. */
export interface Expiry {
  /** `raw`, calendar and grain, or `quarantine`. */
  readonly tier: string;
  /** What lies before this instant is given up, ms; null when nothing is due. */
  readonly beforeMs: number | null;
  /** Buckets, log records, or refused events. */
  readonly count: number;
  /** Why nothing was given up although it was due; null where all is well. */
  readonly blocked: string | null;
}

export interface RetainerOptions {
  readonly ground: Ground;
  readonly prover: Prover;
  readonly committer: Committer;
  readonly retention: Retention;
  /** Events further ahead of the clock were refused, ms. */
  readonly maxSkewMs: number;
  readonly archive: Archive | undefined;
  /** Oldest record whose ids or claims are still asked for; 0 for none. */
  readonly dedupeFrom: () => Position;
  readonly expireQuarantine: (beforeMs: number, dryRun: boolean) => Promise<number>;
}

/** A tier of buckets and what must hold before it may go. */
interface Tier {
  readonly zone: Zone;
  readonly calendar: string;
  readonly grain: Grain;
  /** Buckets that are made of this tier, which prove it. */
  readonly parents: readonly (readonly [Zone, CoarseGrain])[];
  /** A cut lies between two buckets of this grain. */
  readonly cutAt: Exclude<CoarseGrain, "hour">;
}

/**
 * Gives up what is older than its tier keeps: finest first, and only after the tier above was compared with it, bit
 * for bit. The raw events prove the quarters, the quarters the hours, and so on up.
 */
export class Retainer {
  readonly #options: RetainerOptions;

  constructor(options: RetainerOptions) {
    this.#options = options;
  }

  /** With `dryRun`, nothing is proven, archived or given up. Rejects with the store's or the archive's error. */
  async run(dryRun: boolean): Promise<Expiry[]> {
    const expiries = [await this.#raw(dryRun)];
    for (const tier of this.#tiers()) expiries.push(await this.#buckets(tier, dryRun));
    expiries.push(await this.#quarantine(dryRun));
    return expiries;
  }

  /** Refused events go with the raw events of their time of receipt. They were never counted: nothing has to prove them. */
  async #quarantine(dryRun: boolean): Promise<Expiry> {
    const { ground, retention, expireQuarantine } = this.#options;
    const due = ground.now() - retention.raw;
    const count = await expireQuarantine(due, dryRun);
    return { tier: "quarantine", beforeMs: count === 0 ? null : due, count, blocked: null };
  }

  #tiers(): Tier[] {
    const { calendars } = this.#options.ground.buckets;
    const utc = calendars[0]!;
    const days = calendars.map((zone) => [zone, "day"] as const);
    return [
      {
        zone: utc,
        calendar: UTC_CALENDAR,
        grain: "quarter",
        parents: [[utc, "hour"], ...days],
        cutAt: "day",
      },
      { zone: utc, calendar: UTC_CALENDAR, grain: "hour", parents: days, cutAt: "day" },
      ...calendars.flatMap((zone): Tier[] => [
        {
          zone,
          calendar: zone.name,
          grain: "day",
          parents: [
            [zone, "week"],
            [zone, "month"],
          ],
          cutAt: "month",
        },
        { zone, calendar: zone.name, grain: "week", parents: [], cutAt: "week" },
        { zone, calendar: zone.name, grain: "month", parents: [[zone, "year"]], cutAt: "year" },
        { zone, calendar: zone.name, grain: "year", parents: [], cutAt: "year" },
      ]),
    ];
  }

  async #raw(dryRun: boolean): Promise<Expiry> {
    const { ground, retention, maxSkewMs } = this.#options;
    const { log } = ground;
    const due = ground.now() - retention.raw;
    const before = Number.isFinite(due) ? await this.#firstSince(due) : log.first;
    const count = before - log.first;
    if (count <= 0) return { tier: "raw", beforeMs: null, count: 0, blocked: null };
    if (dryRun) return { tier: "raw", beforeMs: due, count, blocked: null };
    const blocked = await this.#proveRaw(due + maxSkewMs);
    if (blocked === null) {
      await this.#archiveRaw(before);
      await log.trim(before);
    }
    return { tier: "raw", beforeMs: due, count, blocked };
  }

  /** The first record received since, or that is needed for something else. */
  async #firstSince(since: number): Promise<Position> {
    const { ground, dedupeFrom } = this.#options;
    const { log, buckets } = ground;
    const needed = dedupeFrom();
    const end = Math.min(buckets.savedPosition + 1, needed > 0 ? needed : Infinity);
    for await (const { position, receivedAt } of log.claims(log.first)) {
      if (receivedAt >= since || position >= end) return Math.min(position, end);
    }
    return end;
  }

  /** Holds the quarters against the raw events that are to go; null where they agree. */
  async #proveRaw(untilMs: number): Promise<string | null> {
    const { ground, prover } = this.#options;
    const { buckets, store, log } = ground;
    const [first] = store.starts(UTC_CALENDAR, "quarter", log.completeFrom, untilMs);
    if (first === undefined) return null;
    const findings = new Findings(buckets.schema, buckets.dictionaries);
    await prover.quarters(first, Math.ceil(untilMs / QUARTER_MS) * QUARTER_MS, findings);
    return blockedBy(findings);
  }

  async #archiveRaw(before: Position): Promise<void> {
    const { archive, ground } = this.#options;
    if (archive === undefined) return;
    let entries: LogEntry[] = [];
    let events = 0;
    const flush = async (): Promise<void> => {
      if (entries.length > 0) await archive.write({ kind: "raw", entries });
      entries = [];
      events = 0;
    };
    for await (const entry of ground.log.read(ground.log.first)) {
      if (entry.position >= before) break;
      entries.push(entry);
      events += entry.record.events.count;
      if (events >= EVENTS_PER_CHUNK) await flush();
    }
    await flush();
  }

  async #buckets(tier: Tier, dryRun: boolean): Promise<Expiry> {
    const { ground } = this.#options;
    const name = tierName(tier.calendar, tier.grain);
    const beforeMs = this.#cutOf(tier);
    const starts = ground.store.starts(tier.calendar, tier.grain, Number.NEGATIVE_INFINITY, beforeMs);
    if (starts.length === 0) return { tier: name, beforeMs: null, count: 0, blocked: null };
    const expiry = { tier: name, beforeMs, count: starts.length, blocked: null };
    if (dryRun) return expiry;
    const blocked = await this.#prove(tier, starts[0]!, beforeMs);
    if (blocked !== null) return { ...expiry, blocked };
    await this.#giveUp(tier, beforeMs);
    return expiry;
  }

  /** The last cut at which everything before it is old enough, and sealed in every parent. */
  #cutOf({ zone, grain, parents, cutAt }: Tier): number {
    const { ground, retention } = this.#options;
    const due = ground.now() - retention[grain];
    if (!Number.isFinite(due)) return Number.NEGATIVE_INFINITY;
    const { buckets } = ground;
    let cut = zone.startOf(cutAt, due);
    const isSealed = ([parent, coarser]: Tier["parents"][number]): boolean =>
      parent.endOf(coarser, parent.startOf(coarser, cut - 1)) <= buckets.sealedUntil(parent.name);
    const own = buckets.sealedUntil(zone.name);
    while (cut > own || !parents.every(isSealed)) {
      const before = zone.startOf(cutAt, cut - 1);
      if (!Number.isFinite(own) || before >= cut) return Number.NEGATIVE_INFINITY;
      cut = before;
    }
    return cut;
  }

  async #prove(tier: Tier, firstMs: number, beforeMs: number): Promise<string | null> {
    const { ground, prover } = this.#options;
    const { buckets, log } = ground;
    const findings = new Findings(buckets.schema, buckets.dictionaries);
    const from = Math.max(firstMs, buckets.reachOf(tier.calendar, tier.grain));
    if (tier.grain === "quarter") {
      // What raw still holds proves them now: later it would have nothing to prove.
      const since = Math.max(from, Math.ceil(log.completeFrom / HOUR_MS) * HOUR_MS);
      if (since < beforeMs) await prover.quarters(since, beforeMs, findings);
    }
    for (const [zone, grain] of tier.parents) {
      await prover.composed(
        zone,
        grain,
        from,
        zone.endOf(grain, zone.startOf(grain, beforeMs - 1)),
        findings,
      );
    }
    return blockedBy(findings);
  }

  async #giveUp({ calendar, grain }: Tier, beforeMs: number): Promise<void> {
    const { committer, archive, ground } = this.#options;
    const reach = { [tierName(calendar, grain)]: beforeMs };
    // A commit that runs meanwhile may write some anew, as long as the reach has not moved.
    for (let isFirst = true; ; isFirst = false) {
      const starts = ground.store.starts(calendar, grain, Number.NEGATIVE_INFINITY, beforeMs);
      if (starts.length === 0 && !isFirst) return;
      const removed = Array.from(starts.subarray(0, REMOVED_PER_COMMIT), (startMs): BucketAddress => ({
        calendar,
        grain,
        startMs,
      }));
      if (archive !== undefined && removed.length > 0) await archive.write(this.#chunkOf(removed));
      await committer.exclusively((commit) => commit({ reach, removed }));
    }
  }

  #chunkOf(addresses: readonly BucketAddress[]): Parameters<Archive["write"]>[0] {
    const { store, buckets } = this.#options.ground;
    const { schema } = buckets;
    const stored = addresses.flatMap((address): StoredBucket[] => {
      const head = readable(() => store.head(address));
      const blocks = readable(() => storedBlocks(store, schema, address));
      return head === undefined || blocks === undefined ? [] : [{ address, head, blocks }];
    });
    return {
      kind: "buckets",
      buckets: stored,
      rollups: schema.rollups.map(({ name }) => name),
      dims: schema.rollups.map(({ dims }) => dims),
      values: schema.dimensions.map((_, dimension) => buckets.dictionaries.allOf(dimension)),
    };
  }
}

/** All blocks of a stored bucket, by rollup; none where there is no bucket. */
function storedBlocks(store: BucketStore, schema: Schema, address: BucketAddress): CellBlock[] {
  return schema.rollups.flatMap(({ id }) => store.block(address, id) ?? []);
}

function blockedBy({ wrong, mismatchedCells, damaged }: Findings): string | null {
  if (wrong.length === 0) return null;
  const what = `${wrong.length} buckets (${mismatchedCells} cells differ, ${damaged.length} cannot be read)`;
  return `${what} are not what the finer tier says; reconcile with repair, then this tier can go.`;
}
