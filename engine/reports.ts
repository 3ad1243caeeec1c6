/** The reports of upkeep in the words of the wire. */
import type {
  BucketName,
  IncompleteRange,
  MerkleReport,
  ReconcileReport,
  RetentionReport,
  RevisionsReport,
  StorageReport,
} from "./api.js";
import { utcIso, utcIsoOrNull } from "./calendar/label.js";
import { parseInstant } from "./calendar/parse.js";
import { TidemarkError } from "./errors.js";
import type { Buckets } from "./hot/buckets.js";
import type { BucketAddress, BucketStore, Incomplete, Storage } from "./store.js";
import { tierName } from "./store.js";
import type { DayRoot } from "./upkeep/merkle.js";
import type { Expiry } from "./upkeep/retainer.js";
import type { Reconciled } from "./upkeep/upkeep.js";

/** Revisions in one answer: some 200 KB. */
const MAX_REVISIONS_PER_ANSWER = 1000;

export function revisionsReport(store: BucketStore, after: number, limit: number): RevisionsReport {
  if (!Number.isSafeInteger(after) || after < 0) {
    throw invalid("after must be the number of a revision, or 0.", "/after");
  }
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_REVISIONS_PER_ANSWER) {
    throw invalid(`limit must be from 1 to ${MAX_REVISIONS_PER_ANSWER}.`, "/limit");
  }
  const revisions = store.revisions(after, limit).map(({ at, address, ...revision }) => ({
    ...revision,
    at: utcIso(at),
    bucket: bucketName(address),
  }));
  return { revisions, last: store.lastRevision() };
}

export function reconcileReport({ findings, range, repaired }: Reconciled): ReconcileReport {
  const { compared, unproven, wrong, mismatchedCells, mismatches, damaged } = findings;
  return {
    range: [utcIso(range[0]), utcIso(range[1])],
    compared,
    unproven,
    wrong: wrong.length,
    mismatched_cells: mismatchedCells,
    mismatches: mismatches.map(({ bucket, ...mismatch }) => ({ bucket: bucketName(bucket), ...mismatch })),
    damaged,
    repaired: repaired?.buckets ?? 0,
    incomplete: (repaired?.incomplete ?? []).map(incompleteRange),
  };
}

export function retentionReport(dryRun: boolean, expiries: readonly Expiry[]): RetentionReport {
  const tiers = expiries.map(({ tier, beforeMs, count, blocked }) => ({
    tier,
    before: beforeMs === null ? null : utcIso(beforeMs),
    count,
    blocked,
  }));
  return { dry_run: dryRun, tiers };
}

export function merkleReport(roots: readonly DayRoot[]): MerkleReport {
  const days = roots.map(({ dayMs, root, leaves }) => ({
    day: utcIso(dayMs).slice(0, "2026-01-31".length),
    root,
    leaves: leaves.map(({ bucket, hash }) => ({ bucket: bucketName(bucket), hash })),
  }));
  return { days };
}

export function storageReport({ log, store }: Storage, buckets: Buckets): StorageReport {
  const tiers = store.sizes().map(({ calendar, grain, buckets: count, cells, bytes }) => ({
    tier: tierName(calendar, grain),
    buckets: count,
    cells,
    bytes,
    bytes_per_cell: cells === 0 ? null : Math.round((bytes / cells) * 100) / 100,
    reach: utcIsoOrNull(buckets.reachOf(calendar, grain)),
  }));
  const gaps = log.gaps().map((gap) => incompleteRange({ tier: "raw", ...gap }));
  const raw = { ...log.sizes(), complete_from: utcIsoOrNull(log.completeFrom), gaps };
  return { raw, tiers, incomplete: buckets.incomplete.map(incompleteRange) };
}

/** Reads an instant of a request, `fallback` where there is none. */
export function instantOf(text: string | undefined, fallback: number, pointer: string): number {
  if (text === undefined) return fallback;
  const ms = typeof text === "string" ? parseInstant(text) : undefined;
  if (ms !== undefined) return ms;
  throw new TidemarkError("invalid-range", "Give an RFC 3339 instant such as 2026-01-31T00:00:00Z.", {
    pointer,
  });
}

function incompleteRange({ tier, fromMs, toMs }: Incomplete): IncompleteRange {
  return { tier, from: utcIsoOrNull(fromMs), to: utcIsoOrNull(toMs) };
}

function bucketName({ calendar, grain, startMs }: BucketAddress): BucketName {
  return { calendar, grain, start: utcIso(startMs) };
}

function invalid(detail: string, pointer: string): TidemarkError {
  return new TidemarkError("invalid-query", detail, { pointer });
}
