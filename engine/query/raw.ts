import type { QueryResult } from "../api.js";
import type { Buckets } from "../hot/buckets.js";
import { CellTable } from "../hot/cell-table.js";
import { knownIds } from "../hot/known-ids.js";
import { TidemarkError } from "../errors.js";
import { FLAG_CREATED, FLAG_VIEWER, type EventBatch, type EventLog, type Position } from "../log.js";
import { tokenOf } from "../sketch/token.js";
import { UTC_CALENDAR } from "../store.js";
import { utcIso } from "../calendar/index.js";
import type { Rollup } from "../schema.js";
import { MAX_GROUPS, tooManyGroups, type Selection } from "./aggregation.js";
import { Execution, dimensionsOf, plansFor, type Explain, type PreparedQuery } from "./execute.js";
import { MISSING_WARNING } from "./incomplete.js";
import { parseQuery, type ParseContext } from "./parse.js";
import type { Plan } from "./plan.js";
import type { Found, Reading, Source } from "./source.js";
import { edgeIndex } from "./time-buckets.js";
import type { Moment } from "./types.js";

/** Events that one question may go through: some ten seconds of one core, in slices. */
const MAX_EVENTS = 20_000_000;

export interface RawGround {
  readonly log: EventLog;
  readonly buckets: Buckets;
  /** So many events were gone through: lets other work run where that adds up to much. */
  readonly pause: (events: number) => Promise<void>;
}

/** How one answer is worked out. */
export interface RawCall {
  readonly explain: Explain;
  /** Goes through the log when its turn comes. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
}

/** A query to be answered from raw events: any dimensions together, any instants. */
export function prepareRaw(input: unknown, context: ParseContext): PreparedQuery {
  const query = parseQuery(input, { ...context, anyInstant: true });
  const { schema } = context;
  const dims = dimensionsOf(query).sort((a, b) => a - b);
  const rollup: Rollup = { id: 0, name: "raw", dims, finer: [] };
  return { query, schema, rollup, totalRollup: rollup, plans: undefined };
}

/**
 * Answers from the raw events, up to the newest at the time of the call, however long it waits for its turn. First it is found out what the answer reads
 * (by working it out of nothing), then the log is gone through once, then the answer is worked out.
 *
 * Rejects with `raw-expired` where raw events of that time are no longer kept, and with `range-too-wide`.
 */
export async function answerFromRaw(
  prepared: PreparedQuery,
  moment: Moment,
  ground: RawGround,
  { explain, inTurn }: RawCall,
): Promise<QueryResult> {
  const { log, buckets } = ground;
  const plans = plansFor(prepared, buckets, moment, true);
  const { position } = buckets;
  const sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
  const execution = (source: Source): Execution =>
    new Execution({ prepared, plans, buckets, moment, sealedUntil, position, source });
  const reads = new Reads();
  execution(reads).run();
  await inTurn(async () => {
    checkKept(log, reads);
    await scan(reads, position, ground);
  });
  const computed = execution(reads.again()).run();
  const answer = computed.page(0, prepared.query.limit, explain);
  const gaps = log.gaps().filter(({ fromMs, toMs }) => fromMs < reads.toMs && toMs > reads.fromMs);
  if (gaps.length === 0) return answer;
  const incomplete = gaps.map(({ fromMs, toMs }) => [utcIso(fromMs), utcIso(toMs)] as const);
  return {
    ...answer,
    meta: { ...answer.meta, incomplete, warnings: [...answer.meta.warnings, MISSING_WARNING] },
  };
}

/** One thing that the answer reads, and what was found of it. */
interface Read {
  readonly selection: Selection;
  readonly edges: Float64Array;
  readonly byTime: boolean;
  readonly table: CellTable;
}

/** First notes what is read, then gives what was found of it, in the same order. */
class Reads implements Source {
  readonly tiers = new Map<string, number>();
  readonly all: Read[] = [];
  #next = Infinity;

  read(_plan: Plan, { selection, edges, byTime }: Reading): Found {
    const revised = new Uint8Array(edges.length - 1);
    if (this.#next < this.all.length) return { table: this.all[this.#next++]!.table, revised };
    const table = new CellTable(selection.group.length + (byTime ? 1 : 0));
    this.all.push({ selection, edges, byTime, table });
    // What is found comes into a table of its own: the first run may add to what it is given.
    return { table: new CellTable(table.arity), revised };
  }

  again(): this {
    this.#next = 0;
    return this;
  }

  get fromMs(): number {
    return Math.min(...this.all.map(({ edges }) => edges[0]!));
  }

  get toMs(): number {
    return Math.max(...this.all.map(({ edges }) => edges.at(-1)!));
  }
}

function checkKept({ completeFrom }: EventLog, { fromMs }: Reads): void {
  if (fromMs >= completeFrom) return;
  throw new TidemarkError(
    "raw-expired",
    `Raw events are kept from ${utcIso(completeFrom)} on: ask for a range from there on, or for what the buckets tell.`,
    { pointer: "/date_range", extra: { kept_from: utcIso(completeFrom) } },
  );
}

async function scan(reads: Reads, until: Position, ground: RawGround): Promise<void> {
  let events = 0;
  const adders = reads.all.map((read) => new Adder(read));
  const { dictionaries } = ground.buckets;
  for await (const { position, record } of ground.log.readRange(reads.fromMs, reads.toMs)) {
    if (position > until) break;
    events += record.events.count;
    if (events > MAX_EVENTS) throw tooManyEvents();
    const ids = knownIds(record.events, dictionaries);
    for (const adder of adders) adder.add(record.events, ids);
    await ground.pause(record.events.count);
  }
  reads.tiers.set("raw", events);
}

function tooManyEvents(): TidemarkError {
  return new TidemarkError(
    "range-too-wide",
    `More than ${MAX_EVENTS} raw events would have to be gone through: ask for a shorter range.`,
    { pointer: "/date_range", extra: { limit: MAX_EVENTS } },
  );
}

/** Takes the events that one read wants, batch by batch. */
class Adder {
  readonly #read: Read;
  readonly #key: Uint32Array;
  /** The event's ids, in the order of the rollup's dimensions. */
  readonly #ids: Uint32Array;

  constructor(read: Read) {
    this.#read = read;
    this.#key = new Uint32Array(read.table.arity);
    this.#ids = new Uint32Array(read.selection.rollup.dims.length);
  }

  add({ count, ts, flags, dims, viewerLo, viewerHi }: EventBatch, ids: readonly Uint32Array[]): void {
    const { selection, edges, byTime, table } = this.#read;
    const { rollup, sketches } = selection;
    const fromMs = edges[0]!;
    const toMs = edges.at(-1)!;
    for (let row = 0; row < count; row++) {
      const at = ts[row]!;
      if (at < fromMs || at >= toMs) continue;
      for (let i = 0; i < rollup.dims.length; i++) {
        const dimension = rollup.dims[i]!;
        this.#ids[i] = ids[dimension]![dims[dimension]![row]!]!;
      }
      if (!this.#passes()) continue;
      const cell = this.#cell(byTime ? edgeIndex(edges, at) : -1);
      const flag = flags[row]!;
      if ((flag & FLAG_CREATED) !== 0) table.created[cell]!++;
      else {
        table.views[cell]!++;
        if ((flag & FLAG_VIEWER) === 0) table.anonymous[cell]!++;
        else if (sketches) table.sketches.add(cell, tokenOf(viewerLo[row]!, viewerHi[row]!));
      }
    }
    if (table.count > MAX_GROUPS) throw tooManyGroups();
  }

  #passes(): boolean {
    const { passing, residual } = this.#read.selection;
    for (let i = 0; i < passing.length; i++) if (passing[i]?.has(this.#ids[i]!) === false) return false;
    return residual === undefined || residual(this.#ids, 0);
  }

  #cell(time: number): number {
    const { selection, table } = this.#read;
    const offset = time < 0 ? 0 : 1;
    if (time >= 0) this.#key[0] = time;
    for (let i = 0; i < selection.group.length; i++) this.#key[offset + i] = this.#ids[selection.group[i]!]!;
    return table.upsert(0, this.#key);
  }
}
