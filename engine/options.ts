import { asyncScheduler, type SchedulerLike } from "rxjs";
import type { EngineOptions } from "./api.js";
import { HOUR_MS, MINUTE_MS } from "./calendar/grain.js";
import { getZone } from "./calendar/names.js";
import type { Zone } from "./calendar/zone.js";
import type { BodyDecoder } from "./decode-port.js";
import { TidemarkError } from "./errors.js";
import type { TextHash } from "./event.js";
import {
  DEFAULT_MAX_CACHE_BYTES,
  DEFAULT_MAX_DEDUPE_ENTRIES,
  DEFAULT_MAX_QUARANTINED_BYTES,
  DEFAULT_MAX_QUARANTINED_EVENTS,
  DEFAULT_MAX_QUEUED_BYTES,
  DEFAULT_MAX_REPLAY_EVENTS,
  DEFAULT_MAX_VALUES_PER_DIMENSION,
} from "./limits.js";
import { resolveRetention, type Retention } from "./upkeep/policy.js";
import type { Archive } from "./upkeep/archive.js";
import { defineSchema, type Schema } from "./schema.js";
import type { Turns } from "./sliced.js";
import { UTC_CALENDAR, type Storage } from "./store.js";
import { viewerHash } from "./viewer-hash.js";

const DAY_MS = 24 * HOUR_MS;

/** Unsealed cells in memory by default: about 100 MB. */
const DEFAULT_MAX_HOT_CELLS = 1_500_000;

/** What an engine runs with: checked, and with every default filled in. */
export interface Settings extends Turns {
  readonly storage: Storage;
  readonly schema: Schema;
  /** UTC first, then the other home zones. */
  readonly calendars: readonly Zone[];
  /** Zone of queries that name none. */
  readonly defaultZone: string;
  readonly allowedLatenessMs: number;
  readonly maxLatenessMs: number;
  readonly maxSkewMs: number;
  readonly idleAfterMs: number;
  readonly pushIntervalMs: number;
  readonly dedupeWindowMs: number;
  readonly hashViewer: TextHash;
  readonly viewerKey: Uint8Array | undefined;
  readonly decoder: BodyDecoder | undefined;
  readonly maxValuesPerDimension: number;
  readonly maxQueuedBytes: number;
  readonly maxHotCells: number;
  readonly maxReplayEvents: number;
  readonly maxDedupeEntries: number;
  readonly maxQuarantinedEvents: number;
  readonly maxQuarantinedBytes: number;
  readonly hashSeed: number;
  readonly retention: Retention;
  readonly archive: Archive | undefined;
  readonly reconcileEveryMs: number;
  readonly maxCacheBytes: number;
  readonly scheduler: SchedulerLike;
}

/** Throws `invalid-config`, `invalid-schema` or `invalid-timezone`. */
export function resolveOptions(options: EngineOptions): Settings {
  const homeZones = (options.homeZones ?? [UTC_CALENDAR]).map((name) => getZone(name));
  const utc = getZone(UTC_CALENDAR);
  const others = homeZones.filter((zone, i) => zone.name !== UTC_CALENDAR && homeZones.indexOf(zone) === i);
  const number = (name: keyof EngineOptions, fallback: number, least = 0): number => {
    const value = options[name] ?? fallback;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    throw new TidemarkError("invalid-config", `${name} must be a whole number of at least ${least}.`);
  };
  const scheduler = options.scheduler ?? asyncScheduler;
  return {
    storage: options.storage,
    schema: defineSchema(options.schema),
    calendars: [utc, ...others],
    defaultZone: homeZones[0]?.name ?? UTC_CALENDAR,
    allowedLatenessMs: number("allowedLatenessMs", 5 * MINUTE_MS),
    maxLatenessMs: number("maxLatenessMs", 30 * DAY_MS),
    maxSkewMs: number("maxSkewMs", 5 * MINUTE_MS),
    idleAfterMs: number("idleAfterMs", MINUTE_MS),
    pushIntervalMs: number("pushIntervalMs", 20, 1),
    dedupeWindowMs: number("dedupeWindowMs", DAY_MS),
    hashViewer: viewerHash(options.viewerKey),
    viewerKey: options.viewerKey,
    decoder: options.decoder,
    maxValuesPerDimension: number("maxValuesPerDimension", DEFAULT_MAX_VALUES_PER_DIMENSION, 1),
    maxQueuedBytes: number("maxQueuedBytes", DEFAULT_MAX_QUEUED_BYTES, 1),
    maxHotCells: number("maxHotCells", DEFAULT_MAX_HOT_CELLS, 1),
    maxReplayEvents: number("maxReplayEvents", DEFAULT_MAX_REPLAY_EVENTS, 1),
    maxDedupeEntries: number("maxDedupeEntries", DEFAULT_MAX_DEDUPE_ENTRIES, 1),
    maxQuarantinedEvents: number("maxQuarantinedEvents", DEFAULT_MAX_QUARANTINED_EVENTS),
    maxQuarantinedBytes: number("maxQuarantinedBytes", DEFAULT_MAX_QUARANTINED_BYTES),
    hashSeed: number("hashSeed", 0),
    retention: resolveRetention(options.retention),
    archive: options.archive,
    reconcileEveryMs: number("reconcileEveryMs", HOUR_MS),
    maxCacheBytes: number("maxCacheBytes", DEFAULT_MAX_CACHE_BYTES),
    stopwatch: options.stopwatch ?? (() => scheduler.now()),
    scheduler,
    nextTurn: options.nextTurn ?? (() => new Promise((resolve) => scheduler.schedule(() => resolve()))),
  };
}
