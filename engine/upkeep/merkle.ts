import { canonicalBucket } from "../canonical.js";
import { UTC_CALENDAR, type BucketAddress } from "../store.js";
import { hashText } from "../sketch/murmur3.js";
import type { Ground } from "./ground.js";

/** Grains that lie inside a day of UTC. */
const GRAINS = ["quarter", "hour", "day"] as const;

export interface DayRoot {
  /** Start of the day, ms. */
  readonly dayMs: number;
  /** 16 hexadecimal digits over all stored buckets of the day. Against accidents, not against forgery. */
  readonly root: string;
  /** The buckets and what each of them hashes to. */
  readonly leaves: readonly { readonly bucket: BucketAddress; readonly hash: string }[];
}

/**
 * The root of each UTC day of `[fromMs, toMs)` that has stored buckets: equal roots are equal days, whatever
 * the order of arrival and the numbers of the dictionaries, so that two stores are compared day by day, then
 * bucket by bucket (R. Merkle, "A Digital Signature Based on a Conventional Encryption Function", 1987).
 */
export async function dayRoots(ground: Ground, fromMs: number, toMs: number): Promise<DayRoot[]> {
  const utc = ground.buckets.calendars[0]!;
  const roots: DayRoot[] = [];
  const [first] = ground.store.starts(UTC_CALENDAR, "quarter", fromMs, toMs);
  const [firstDay] = ground.store.starts(UTC_CALENDAR, "day", fromMs, toMs);
  const start = Math.min(first ?? Infinity, firstDay ?? Infinity);
  for (let dayMs = utc.startOf("day", Math.min(start, toMs)); dayMs < toMs; dayMs = utc.endOf("day", dayMs)) {
    const leaves = await leavesOf(ground, dayMs, utc.endOf("day", dayMs));
    if (leaves.length > 0) roots.push({ dayMs, root: rootOf(leaves), leaves });
  }
  return roots;
}

async function leavesOf(ground: Ground, fromMs: number, toMs: number): Promise<DayRoot["leaves"]> {
  const { buckets, store, pause } = ground;
  const leaves: { bucket: BucketAddress; hash: string }[] = [];
  for (const grain of GRAINS) {
    for (const startMs of store.starts(UTC_CALENDAR, grain, fromMs, toMs)) {
      const bucket = { calendar: UTC_CALENDAR, grain, startMs };
      const rows = [...canonicalBucket(buckets.schema, store, buckets.dictionaries, bucket)];
      leaves.push({ bucket, hash: hashOf(rows.join("\n")) });
      await pause(rows.length);
    }
  }
  return leaves;
}

function rootOf(leaves: DayRoot["leaves"]): string {
  return hashOf(leaves.map(({ bucket, hash }) => `${bucket.grain} ${bucket.startMs} ${hash}`).join("\n"));
}

function hashOf(text: string): string {
  const out = new Uint32Array(2);
  hashText(text, out, 0);
  return [out[1]!, out[0]!].map((word) => word.toString(16).padStart(8, "0")).join("");
}
