/** Schemas of what the operator asks and is told: engine/api.ts in JSON Schema. */
import {
  array,
  choice,
  closed,
  flag,
  instant,
  nullable,
  number,
  object,
  ref,
  text,
  tuple,
  whole,
  type JsonSchema,
} from "./json-schema.js";
import { quarantineSchemas, totals } from "./quarantine.js";

export function adminSchemas(): Record<string, JsonSchema> {
  return {
    BucketName: object({ calendar: text(), grain: text(), start: instant() }),
    IncompleteRange: object({ tier: nullable(text()), from: nullable(instant()), to: nullable(instant()) }),
    StorageReport: storageReport(),
    StatsReport: statsReport(),
    RevisionsReport: revisionsReport(),
    MerkleReport: object({
      days: array(
        object({
          day: text(),
          root: text(),
          leaves: array(object({ bucket: ref("BucketName"), hash: text() })),
        }),
      ),
    }),
    ReconcileInput: closed({ from: instant(), to: instant(), repair: flag("Makes anew what is wrong.") }, []),
    ReconcileReport: reconcileReport(),
    RetentionInput: closed({ dry_run: flag("Only says what would go.") }, []),
    RetentionReport: object({
      dry_run: flag(),
      tiers: array(
        object({
          tier: text(),
          before: nullable(instant()),
          count: whole("Buckets, log records, or refused events."),
          blocked: nullable(text("Why it is kept all the same.")),
        }),
      ),
    }),
    ...quarantineSchemas(),
    Empty: closed({}, []),
    Position: object({ position: whole("In the event log.") }),
  };
}

function storageReport(): JsonSchema {
  const gaps = array(ref("IncompleteRange"));
  return object({
    raw: {
      ...object({ complete_from: nullable(instant()), gaps }),
      description: "The event log: sizes by kind of record, and from where on it is complete.",
    },
    tiers: array(
      object({
        tier: text(),
        buckets: whole(),
        cells: whole(),
        bytes: whole(),
        bytes_per_cell: nullable(number()),
        reach: nullable(instant("Buckets that begin before were given up.")),
      }),
    ),
    incomplete: gaps,
  });
}

function statsReport(): JsonSchema {
  const counts = (names: readonly string[]): JsonSchema =>
    object(Object.fromEntries(names.map((name) => [name, whole()])));
  return object({
    ready: flag(),
    position: whole("In the event log."),
    watermark: nullable(instant()),
    hot_cells: whole("In memory, not stored yet."),
    hot_buckets: whole("Quarter-hours in memory."),
    unsaved_events: whole("That a restart would count again, at most."),
    queued_bytes: whole("Received, not counted yet."),
    events: counts(["accepted", "duplicate", "late_accepted"]),
    rejected: {
      type: "object",
      additionalProperties: whole(),
      description: "By the reason's code; reasons that nothing was refused for are absent.",
    },
    quarantine: object(totals()),
    commits: whole(),
    cache: object({
      hits: whole("Answers that were kept and given again."),
      misses: whole("Answers that were worked out."),
      entries: whole("Answers that are kept."),
      bytes: whole("What they take, about."),
      ahead: whole("Windows whose sealed part was made before anybody asked."),
    }),
    mismatches: whole("Buckets found to differ from what they are made of."),
    last_commit_error: nullable(text()),
    last_upkeep_error: nullable(text()),
    failure: nullable(text("Why nothing can be written at the moment.")),
  });
}

function revisionsReport(): JsonSchema {
  return object({
    revisions: array(
      object({
        seq: whole(),
        at: instant(),
        bucket: ref("BucketName"),
        revision: whole(),
        reason: text(),
        position: whole(),
        views: { type: "integer" },
        created: { type: "integer" },
        cells: whole(),
      }),
    ),
    last: whole("Number of the newest revision of all."),
  });
}

function reconcileReport(): JsonSchema {
  const values: JsonSchema = { anyOf: [{ type: "object" }, { type: "null" }] };
  return object({
    range: tuple(instant(), instant()),
    compared: whole(),
    unproven: whole("Buckets that nothing finer is left of to compare with."),
    wrong: whole(),
    mismatched_cells: whole(),
    mismatches: array(
      object({
        bucket: ref("BucketName"),
        rollup: text(),
        key: array(nullable(text())),
        stored: values,
        recomputed: values,
      }),
    ),
    damaged: array(text()),
    repaired: whole(),
    incomplete: array(ref("IncompleteRange")),
  });
}

/** What probes and people are told first. */
export function publicSchemas(): Record<string, JsonSchema> {
  return {
    Index: {
      ...object({ name: text(), version: text() }),
      description: "What is here, by method and address.",
    },
    Alive: object({ status: choice(["alive"]) }),
    Ready: object({ status: choice(["ready"]), position: whole() }),
  };
}
