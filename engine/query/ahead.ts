import { CALENDAR_END_MS, CALENDAR_START_MS } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import { CellTable } from "../hot/cell-table.js";
import { UTC_CALENDAR } from "../store.js";
import { Aggregation } from "./aggregation.js";
import { Execution, plansFor, type Plans, type PreparedQuery } from "./execute.js";
import { Lru } from "./lru.js";
import type { SealedParts } from "./parts.js";
import type { Plan } from "./plan.js";
import { sealedPartOf, type Found, type PartPlace, type Reading, type Source } from "./source.js";
import type { Moment } from "./types.js";

/** Questions whose windows are made ahead: what some dashboards ask. */
const MAX_QUESTIONS = 256;
/** A question that nobody asked for so long is no longer in use, ms. */
const IN_USE_MS = 6 * 3_600_000;
/** So long is worked before whatever else is due has its turn, ms. */
const SLICE_MS = 4;
/** Where the stopwatch stands still, a slice ends all the same. */
const MAX_STEPS = 256;
/** Between two slices: longer while questions come in, which go first, ms. */
const REST_MS = 1;
const REST_AFTER_QUESTION_MS = 10;
/** After a round, so many times as long as it worked nothing is made: at most a twentieth of a core goes into it. */
const IDLE_FACTOR = 20;

export interface AheadGround {
  readonly buckets: Buckets;
  readonly parts: SealedParts;
  readonly moment: () => Moment;
  /** ms from any start. */
  readonly stopwatch: () => number;
  /** Lets other work run for so many ms. */
  readonly rest: (ms: number) => Promise<void>;
}

/** A question in use, and what its windows were made of last. */
interface InUse {
  readonly prepared: PreparedQuery;
  askedAt: number;
  made: { readonly plans: Plans; readonly written: number } | undefined;
}

/**
 * Makes the sealed parts of questions that are in use again once a seal, a late event or the clock has done away with
 * them, before anybody asks: in slices, between which questions are answered. A part that is made so is the one that
 * the question itself would make; if something is written meanwhile, it is not used.
 */
export class Ahead {
  readonly #ground: AheadGround;
  readonly #inUse = new Lru<InUse>(MAX_QUESTIONS);
  #isClosed = false;
  #isRunning = false;
  #wasAsked = false;
  #made = 0;
  #sliceBegun = 0;
  #steps = 0;
  #workedMs = 0;
  #idleUntil = Number.NEGATIVE_INFINITY;

  constructor(ground: AheadGround) {
    this.#ground = ground;
  }

  /** How many parts were made ahead. */
  get made(): number {
    return this.#made;
  }

  /** A question came in: it goes first. */
  asked(): void {
    this.#wasAsked = true;
  }

  /** The question has a part that is kept. */
  note(question: string, prepared: PreparedQuery, now: number): void {
    const known = this.#inUse.get(question);
    if (known === undefined) this.#inUse.set(question, { prepared, askedAt: now, made: undefined }, 1);
    else known.askedAt = now;
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Makes what is missing, the questions that were asked last first. Never rejects: who asks is told what is wrong. */
  async run(): Promise<void> {
    const { stopwatch, moment } = this.#ground;
    if (this.#isClosed || this.#isRunning || stopwatch() < this.#idleUntil) return;
    this.#isRunning = true;
    this.#workedMs = 0;
    this.#beginSlice();
    try {
      for (const [question, inUse] of this.#inUse.latest()) {
        if (this.#isClosed) break;
        if (moment().now - inUse.askedAt > IN_USE_MS) this.#inUse.delete(question);
        else await this.#renew(question, inUse).catch(() => this.#inUse.delete(question));
      }
    } finally {
      this.#isRunning = false;
      this.#endSlice();
      this.#idleUntil = stopwatch() + this.#workedMs * IDLE_FACTOR;
    }
  }

  async #renew(question: string, inUse: InUse): Promise<void> {
    const { buckets, moment } = this.#ground;
    const now = moment();
    const plans = plansFor(inUse.prepared, buckets, now);
    const written = buckets.lastWritten(CALENDAR_START_MS, CALENDAR_END_MS);
    const { made } = inUse;
    if (made?.written === written && isSame(made.plans, plans)) return;
    for (const [plan, reading] of readingsOf(inUse.prepared, plans, buckets, now)) {
      const place = sealedPartOf(buckets, question, plan, reading);
      if (place === undefined || this.#ground.parts.has(place.key, place.written)) continue;
      if (!(await this.#make(plan, reading, place))) return;
    }
    inUse.made = { plans, written };
  }

  /** False where something came between. */
  async #make(plan: Plan, reading: Reading, place: PartPlace): Promise<boolean> {
    const { buckets, parts } = this.#ground;
    for (const _ of this.#makingOf(reading, place)) {
      if (this.#isSliceOver()) await this.#rest();
      if (this.#isClosed) return false;
      if (buckets.layout !== plan.layout) return false;
      if (buckets.lastWritten(place.fromMs, place.untilMs) !== place.written) return false;
    }
    if (parts.has(place.key, place.written)) this.#made++;
    return true;
  }

  *#makingOf({ selection, edges, byTime }: Reading, place: PartPlace): Generator<void, void> {
    const { buckets, parts } = this.#ground;
    const span = { edges, runs: place.sealed };
    const found = new Aggregation(buckets.schema, selection, span, byTime, buckets.sealedUntil(UTC_CALENDAR));
    yield* found.storedSteps(buckets, place.sealed);
    const { table, revised, sources } = found;
    yield* parts.putSteps(place.key, table, { revised, sources, written: place.written });
  }

  #beginSlice(): void {
    this.#sliceBegun = this.#ground.stopwatch();
    this.#steps = 0;
  }

  #endSlice(): void {
    this.#workedMs += this.#ground.stopwatch() - this.#sliceBegun;
  }

  #isSliceOver(): boolean {
    return ++this.#steps >= MAX_STEPS || this.#ground.stopwatch() - this.#sliceBegun >= SLICE_MS;
  }

  async #rest(): Promise<void> {
    this.#endSlice();
    const wait = this.#wasAsked ? REST_AFTER_QUESTION_MS : REST_MS;
    this.#wasAsked = false;
    await this.#ground.rest(wait);
    this.#beginSlice();
  }
}

function isSame(a: Plans, b: Plans): boolean {
  return a.main === b.main && a.other?.plan === b.other?.plan;
}

/** What a question reads that may be kept: found out by working it out of nothing. */
function readingsOf(
  prepared: PreparedQuery,
  plans: Plans,
  buckets: Buckets,
  moment: Moment,
): readonly (readonly [Plan, Reading])[] {
  const source = new Readings();
  const sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
  const { position } = buckets;
  new Execution({ prepared, plans, buckets, moment, sealedUntil, position, source }).run();
  return source.all;
}

class Readings implements Source {
  readonly tiers = new Map<string, number>();
  readonly all: (readonly [Plan, Reading])[] = [];

  read(plan: Plan, reading: Reading): Found {
    this.all.push([plan, reading]);
    const { selection, edges, byTime } = reading;
    const table = new CellTable(selection.group.length + (byTime ? 1 : 0));
    return { table, revised: new Uint8Array(edges.length - 1) };
  }
}
