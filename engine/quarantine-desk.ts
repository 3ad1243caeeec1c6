import type {
  DiscardReport,
  QuarantinedEvent,
  QuarantineOptions,
  QuarantineReport,
  QuarantineSelection,
  QuarantineTotals,
  ReplayReport,
} from "./api.js";
import type { Buckets } from "./hot/buckets.js";
import { utcIso } from "./calendar/label.js";
import { TidemarkError } from "./errors.js";
import type { Health } from "./health.js";
import type { Ingestor } from "./ingest.js";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER } from "./log.js";
import type { ChunkRows, GivenUp, Quarantine } from "./quarantine.js";
import type { QuarantineChunk, QuarantineId, QuarantineReason } from "./quarantine-port.js";
import type { Schema } from "./schema.js";

/** Events in one answer: some 200 KB. */
const MAX_LISTED = 1000;
const DEFAULT_LISTED = 100;

/** Ids in one request: some 100 KB of JSON. */
const MAX_IDS = 10_000;

/** Events counted, or given up, in one transaction: batches of senders wait for it. */
const STEP_EVENTS = 2000;

const REASONS: readonly QuarantineReason[] = ["too-old", "too-far-ahead"];

export interface QuarantineDeskOptions {
  readonly quarantine: Quarantine;
  readonly ingestor: Ingestor;
  readonly buckets: Buckets;
  readonly health: Health;
}

/** What the operator asks of the quarantine, one request after another. */
export class QuarantineDesk {
  readonly #options: QuarantineDeskOptions;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: QuarantineDeskOptions) {
    this.#options = options;
  }

  get totals(): QuarantineTotals {
    return this.#options.quarantine.counts;
  }

  /** Throws `invalid-query`. */
  list({ after = 0, limit = DEFAULT_LISTED }: QuarantineOptions): QuarantineReport {
    if (!Number.isSafeInteger(after) || after < 0)
      throw invalid("after must be an event's id, or 0.", "/after");
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LISTED) {
      throw invalid(`limit must be from 1 to ${MAX_LISTED}.`, "/limit");
    }
    const { quarantine, buckets } = this.#options;
    const events: QuarantinedEvent[] = [];
    for (const chunk of quarantine.durable(after + 1)) {
      for (const [row, id] of chunk.ids.entries()) {
        if (id <= after) continue;
        if (events.length === limit) return { events, next: events.at(-1)!.id, ...quarantine.counts };
        events.push(eventOf(chunk, row, id, buckets.schema));
      }
    }
    return { events, next: null, ...quarantine.counts };
  }

  async replay(selection: QuarantineSelection): Promise<ReplayReport> {
    const wanted = idsOf(selection);
    return await this.#alone(async () => {
      const found = { accepted: 0, duplicate: 0, late_accepted: 0, kept: 0 };
      let last: number | null = null;
      for (const reason of REASONS) {
        for (const parts of this.#steps(reason, wanted)) {
          const { admission, position } = await this.#options.ingestor.replay(parts);
          found.accepted += admission.batch.count;
          found.duplicate += admission.duplicate;
          found.late_accepted += admission.late;
          found.kept += admission.tooFarAhead.length;
          last = position ?? last;
        }
      }
      const { accepted, duplicate, kept } = found;
      const missing = wanted === undefined ? 0 : wanted.size - accepted - duplicate - kept;
      return { ...found, missing, position: last };
    });
  }

  async discard(selection: QuarantineSelection): Promise<DiscardReport> {
    const wanted = idsOf(selection);
    const { quarantine, ingestor } = this.#options;
    return await this.#alone(async () => {
      if (wanted === undefined) {
        const { last } = quarantine;
        return { discarded: await this.#giveUp(() => quarantine.cleared(last)), missing: 0 };
      }
      let discarded = 0;
      for (const reason of REASONS) {
        for (const parts of this.#steps(reason, wanted)) {
          discarded += countOf(parts);
          await ingestor.change(quarantine.discarded(parts));
        }
      }
      return { discarded, missing: wanted.size - discarded };
    });
  }

  /** Gives up what was received before an instant, ms; with `dryRun`, only tells how many events that are. */
  async expire(beforeMs: number, dryRun: boolean): Promise<number> {
    const { quarantine } = this.#options;
    if (dryRun) return quarantine.countBefore(beforeMs);
    return await this.#giveUp(() => quarantine.expired(beforeMs));
  }

  /** Resolves when nothing is under way; nothing more is begun. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
  }

  /** Some events at a time, read when they are asked for: what is given must be used in the same turn. */
  *#steps(reason: QuarantineReason, wanted: ReadonlySet<QuarantineId> | undefined): Generator<ChunkRows[]> {
    const { quarantine } = this.#options;
    let parts: ChunkRows[] = [];
    let count = 0;
    for (const name of namesWith(quarantine.names(reason), wanted)) {
      const chunk = quarantine.chunk(name);
      if (chunk === undefined) continue;
      const rows = Array.from(chunk.ids.keys()).filter((row) => wanted?.has(chunk.ids[row]!) ?? true);
      if (rows.length > 0) parts.push({ chunk, rows });
      count += rows.length;
      if (count < STEP_EVENTS) continue;
      yield parts;
      this.#check();
      parts = [];
      count = 0;
    }
    if (parts.length > 0) yield parts;
  }

  async #giveUp(some: () => GivenUp | undefined): Promise<number> {
    for (let events = 0; ;) {
      this.#check();
      const part = some();
      if (part === undefined) return events;
      await this.#options.ingestor.change(part.change);
      events += part.events;
    }
  }

  /** Throws when nothing more may be changed. */
  #check(): void {
    this.#options.health.check();
    if (!this.#isClosed) return;
    throw new TidemarkError("not-ready", "The engine is closing; ask again.", { extra: { retryAfterS: 2 } });
  }

  async #alone<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      this.#check();
      return task();
    });
    this.#last = done.catch(() => undefined);
    return await done;
  }
}

/** Undefined for all. Throws `invalid-query`. */
function idsOf({ ids }: QuarantineSelection): ReadonlySet<QuarantineId> | undefined {
  if (ids === undefined) return undefined;
  if (!Array.isArray(ids) || ids.length === 0 || ids.length > MAX_IDS) {
    throw invalid(`ids is a list of 1 to ${MAX_IDS} ids, or is left out for all.`, "/ids");
  }
  const bad = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 1);
  if (bad >= 0) throw invalid("An id is a whole number from 1 on.", `/ids/${bad}`);
  return new Set(ids);
}

/** Those of the names, ascending, whose chunks may hold one of the ids. */
function namesWith(
  names: readonly QuarantineId[],
  wanted: ReadonlySet<QuarantineId> | undefined,
): readonly QuarantineId[] {
  if (wanted === undefined) return names;
  const ids = [...wanted].sort((a, b) => a - b);
  let at = 0;
  return names.filter((name, i) => {
    const end = names[i + 1] ?? Infinity;
    while (at < ids.length && ids[at]! < name) at++;
    return at < ids.length && ids[at]! < end;
  });
}

function countOf(parts: readonly ChunkRows[]): number {
  return parts.reduce((sum, { rows }) => sum + rows.length, 0);
}

function eventOf(
  { reason, receivedAt, events }: QuarantineChunk,
  row: number,
  id: QuarantineId,
  { dimensions }: Schema,
): QuarantinedEvent {
  const { flags, ts, dims, values, viewerLo, viewerHi, idLo, idHi } = events;
  const flag = flags[row]!;
  const event: Record<string, string> = {
    type: (flag & FLAG_CREATED) === 0 ? "view" : "created",
    ts: utcIso(ts[row]!),
  };
  for (const [d, name] of dimensions.entries()) {
    const index = dims[d]![row]!;
    if (index !== 0) event[name] = values[d]![index - 1]!;
  }
  const viewer = `${hex(viewerHi[row]!, 4)}${hex(viewerLo[row]!, 8)}`;
  return {
    id,
    reason,
    received_at: utcIso(receivedAt),
    event,
    viewer_hash: (flag & FLAG_VIEWER) === 0 ? null : viewer,
    id_hash: (flag & FLAG_ID) === 0 ? null : `${hex(idHi![row]!, 8)}${hex(idLo![row]!, 8)}`,
  };
}

function hex(word: number, digits: number): string {
  return word.toString(16).padStart(digits, "0");
}

function invalid(detail: string, pointer: string): TidemarkError {
  return new TidemarkError("invalid-query", detail, { pointer });
}
