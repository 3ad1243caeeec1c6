import type {
  Answer,
  AnswerError,
  BatchResult,
  Freshness,
  OverlapResult,
  PeakResult,
  Question,
  QueryResult,
} from "../api.js";
import { TidemarkError, type ErrorCode } from "../errors.js";
import type { Buckets } from "../hot/buckets.js";
import type { Schema } from "../schema.js";
import { Ahead } from "./ahead.js";
import type { AnswerCache } from "./cache.js";
import { compute, plansFor, prepareQuery, type Explain, type Plans, type PreparedQuery } from "./execute.js";
import { looksAtThePast, movesByItself } from "./frame.js";
import { Gate } from "./gate.js";
import { Keeper, type KeeperGround, type Origin } from "./keeper.js";
import { Lru } from "./lru.js";
import { overlapOf, overlapPlans, prepareOverlap, type PreparedOverlap } from "./overlap.js";
import { Pages } from "./pages.js";
import { checkMembers, parseCursor } from "./parse.js";
import { peakOf, preparePeak, type PreparedPeak } from "./peak-answer.js";
import { invalidQuery, jsonOf, listed } from "./problem.js";
import { SealedParts } from "./parts.js";
import { answerFromRaw, prepareRaw, type RawGround } from "./raw.js";
import type { Moment, ParsedQuery } from "./types.js";

export const MAX_BATCH_QUESTIONS = 64;
/** Queries whose reading is remembered: what a dashboard asks again and again. */
const MAX_PREPARED = 500;
/** Questions that go through raw events at once; more would only slow each other down. */
const MAX_RAW = 2;
/** Questions that wait for these: as many as a dashboard has, and few enough that the last is not given up. */
const MAX_RAW_WAITING = 16;
const RAW_RETRY_S = 5;

/** Deeper than any question that is answered. */
const MAX_KEY_DEPTH = 64;

/** Of the memory for what is kept: this much for sealed parts, which spare more than they take. */
const PARTS_SHARE = 0.75;

/** What buckets cannot tell, but raw events perhaps can. */
const ONLY_RAW: ReadonlySet<ErrorCode> = new Set(["dimension-set-not-materialised", "range-not-aligned"]);

const KINDS = ["query", "peak", "overlap"] as const;

export interface QuestionGround extends RawGround, KeeperGround {
  readonly schema: Schema;
  readonly buckets: Buckets;
  /** IANA name, for questions that name none. */
  readonly defaultZone: string;
  readonly moment: () => Moment;
  /** ms from any start. */
  readonly stopwatch: () => number;
  readonly maxCacheBytes: number;
  /** Lets other work run for so many ms. */
  readonly rest: (ms: number) => Promise<void>;
  /** What `answer` returns; damage that it comes upon is told. */
  readonly watched: <T>(answer: () => T) => T;
}

/** Everything that may be asked of one state of the buckets, and what is remembered of earlier answers. */
export class Questions {
  /** Makes the windows of questions in use before they are asked for again. */
  readonly ahead: Ahead;
  readonly #ground: QuestionGround;
  readonly #parts: SealedParts;
  readonly #pages: Pages;
  readonly #prepared = new Lru<PreparedQuery>(MAX_PREPARED);
  readonly #peaks = new Lru<PreparedPeak>(MAX_PREPARED);
  readonly #overlaps = new Lru<PreparedOverlap>(MAX_PREPARED);
  readonly #keeper: Keeper;
  readonly #raw = new Gate(MAX_RAW, MAX_RAW_WAITING);

  constructor(ground: QuestionGround) {
    this.#ground = ground;
    this.#keeper = new Keeper(ground, ground.maxCacheBytes * (1 - PARTS_SHARE));
    this.#parts = new SealedParts(ground.maxCacheBytes * PARTS_SHARE);
    this.#pages = new Pages(ground.epoch);
    this.ahead = new Ahead({ ...ground, parts: this.#parts });
  }

  get cache(): AnswerCache {
    return this.#keeper.cache;
  }

  /** From buckets and in this turn; `prepareQuery`'s and `execute`'s errors. */
  queryNow(input: unknown): QueryResult {
    if (isRaw(input)) throw invalidQuery("Raw events take time: ask with query().", "/source");
    const key = keyOf(input);
    this.ahead.asked();
    const prepared = remembered(this.#prepared, key, () => prepareQuery(input, this.#ground));
    const { query } = prepared;
    const moment = this.#ground.moment();
    if (key === undefined) return compute(prepared, this.#ground.buckets, moment).page(0, query.limit);
    const cursor = cursorOf(input);
    // A snapshot has its range: where the clock or retention have left it since, its pages are told all the same.
    if (cursor !== undefined) return this.#page(prepared, key, cursor, moment);
    const plans = plansFor(prepared, this.#ground.buckets, moment);
    const place = `${key} ${placeOf(plans)}`;
    const kept = this.#keeper.get(place, moment) as QueryResult | undefined;
    if (kept !== undefined) return query.include.explain ? this.#asHit(kept) : kept;
    const answer = this.#compute(prepared, key, moment, plans);
    // A rate of a bucket that is open falls with every moment.
    if (plans.main.toMs > moment.now && query.metrics.some(movesByItself)) return answer;
    this.#keeper.put(place, answer, originOf(query, plans), moment);
    return answer;
  }

  /** As `queryNow`; raw events are gone through where only they can tell, or where they are asked for. */
  query(input: unknown): QueryResult | Promise<QueryResult> {
    let refusal: unknown;
    if (!isRaw(input)) {
      try {
        return this.queryNow(input);
      } catch (error) {
        if (!(error instanceof TidemarkError) || !ONLY_RAW.has(error.code) || !mayBeRaw(input)) throw error;
        refusal = error;
      }
    }
    return this.#fromRaw(input, refusal);
  }

  /** From buckets and in this turn. */
  peak(input: unknown): PeakResult {
    const { buckets } = this.#ground;
    const key = keyOf(input);
    const peak = remembered(this.#peaks, key, () => preparePeak(input, this.#ground));
    const moment = this.#ground.moment();
    const plans = plansFor(peak.prepared, buckets, moment);
    const { zone } = peak.prepared.query;
    const origin: Origin = {
      plans: [plans.main],
      told: [plans.main],
      // Which hour it is, and which are over, is in the answer.
      clock: [zone.startOf("hour", moment.now), zone.endOf("hour", moment.now)],
    };
    const place = key === undefined ? undefined : `peak ${key} ${placeOf(plans)}`;
    return this.#answered(place, origin, moment, () => peakOf(peak, buckets, moment, plans));
  }

  /** From buckets and in this turn. */
  overlap(input: unknown): OverlapResult {
    const { buckets } = this.#ground;
    const key = keyOf(input);
    const sets = remembered(this.#overlaps, key, () => prepareOverlap(input, this.#ground));
    const moment = this.#ground.moment();
    const plans = overlapPlans(sets, buckets, moment);
    const both = plans.map(({ main }) => main);
    const place = key === undefined ? undefined : `overlap ${key} ${plans.map(placeOf).join(" ")}`;
    return this.#answered(place, { plans: both, told: both }, moment, () =>
      overlapOf(sets, buckets, moment, plans),
    );
  }

  /** All of one state: what is not answered in this turn reads the log up to where it is now. */
  async batch(questions: readonly Question[]): Promise<BatchResult> {
    if (!Array.isArray(questions) || questions.length === 0 || questions.length > MAX_BATCH_QUESTIONS) {
      throw invalidQuery(`A batch is a list of 1 to ${MAX_BATCH_QUESTIONS} questions.`, "/queries");
    }
    const seq = this.#ground.buckets.position;
    const answers = Array.from(questions as readonly unknown[], async (each) =>
      this.#ground.watched(() => this.#one(each)),
    );
    const settled = await Promise.allSettled(answers);
    return {
      answers: settled.map((each) => (each.status === "fulfilled" ? each.value : failed(each.reason))),
      seq,
    };
  }

  freshness(answer: Answer): Freshness | undefined {
    return this.#keeper.freshness(answer);
  }

  #one(question: unknown): Answer | Promise<Answer> {
    checkMembers(question, KINDS, "", "A question of a batch");
    const entries = Object.entries(question) as [(typeof KINDS)[number], unknown][];
    const [kind, input] = entries[0] ?? ["query", undefined];
    if (entries.length !== 1) {
      throw invalidQuery(`A question of a batch has one member: ${listed(KINDS, "or")}.`, "");
    }
    return this[kind](input);
  }

  /** The answer that is kept at this place, or the one that is worked out now. */
  #answered<T extends Answer>(place: string | undefined, origin: Origin, moment: Moment, work: () => T): T {
    if (place === undefined) return work();
    const kept = this.#keeper.get(place, moment);
    if (kept !== undefined) return kept as T;
    const answer = work();
    this.#keeper.put(place, answer, origin, moment);
    return answer;
  }

  #compute(prepared: PreparedQuery, question: string, moment: Moment, plans: Plans): QueryResult {
    const { stopwatch, buckets } = this.#ground;
    const started = stopwatch();
    const noted = (): void => this.ahead.note(question, prepared, moment.now);
    const computed = compute(prepared, buckets, moment, plans, { parts: this.#parts, question, noted });
    return computed.page(0, prepared.query.limit, () => ({ cache: "miss", ms: stopwatch() - started }));
  }

  #page(
    prepared: PreparedQuery,
    key: string,
    cursor: string | null,
    { now, watermarkMs }: Moment,
  ): QueryResult {
    const { limit } = prepared.query;
    const page =
      cursor === null
        ? this.#pages.open(key, compute(prepared, this.#ground.buckets, { now, watermarkMs }), now)
        : this.#pages.next(key, cursor, now);
    return page.computed.page(page.offset, limit, undefined, page.cursor(page.offset + limit));
  }

  async #fromRaw(input: unknown, refusal: unknown): Promise<QueryResult> {
    const prepared = prepareRaw(input, this.#ground);
    if (prepared.query.cursor !== undefined) {
      throw invalidQuery("Answers from raw events have no pages: leave cursor out.", "/cursor");
    }
    if (this.#raw.isFull) {
      throw new TidemarkError("overloaded", "Other questions are going through the raw events; try again.", {
        extra: { retryAfterS: RAW_RETRY_S },
      });
    }
    try {
      const { moment, stopwatch } = this.#ground;
      const started = stopwatch();
      const explain = (): ReturnType<Explain> => ({ cache: "miss", ms: stopwatch() - started });
      const inTurn = this.#raw.pass.bind(this.#raw);
      return await answerFromRaw(prepared, moment(), this.#ground, { explain, inTurn });
    } catch (error) {
      // What the buckets would need says more than that the events are gone.
      const isGone = error instanceof TidemarkError && error.code === "raw-expired";
      throw isGone && refusal !== undefined ? refusal : error;
    }
  }

  #asHit(answer: QueryResult): QueryResult {
    const { meta } = answer;
    const hit = { ...answer, meta: { ...meta, explain: { ...meta.explain!, cache: "hit" as const, ms: 0 } } };
    this.#keeper.noteCopy(hit, answer);
    return hit;
  }
}

/** The question as text, without its cursor; undefined for what is not plain JSON, which is not remembered. */
function keyOf(input: unknown): string | undefined {
  if (!isPlain(input, 0)) return undefined;
  const isPaged = typeof input === "object" && input !== null && Object.hasOwn(input, "cursor");
  return jsonOf(isPaged ? { ...input, cursor: null } : input);
}

/** Is it equal to what its JSON says? Then so are the questions of equal texts. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object":
      if (value === null) return true;
      if (depth > MAX_KEY_DEPTH) return false;
      return Array.isArray(value) ? isPlainList(value, depth) : isPlainObject(value, depth);
    default:
      return false;
  }
}

function isPlainList(values: readonly unknown[], depth: number): boolean {
  // Holes are no members for `every`.
  for (let i = 0; i < values.length; i++) if (!isPlain(values[i], depth + 1)) return false;
  return true;
}

/** A member without a value counts as left out, here as in JSON. */
function isPlainObject(value: object, depth: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return Object.values(value).every((each) => each === undefined || isPlain(each, depth + 1));
}

/** Not the one of the prepared query, which stands for all pages. */
function cursorOf(input: unknown): string | null | undefined {
  return parseCursor((input as { readonly cursor?: unknown }).cursor);
}

/** What was made of a question's text, made now unless it is known. */
function remembered<T>(known: Lru<T>, key: string | undefined, make: () => T): T {
  if (key === undefined) return make();
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = make();
  known.set(key, made, 1);
  return made;
}

function originOf({ metrics }: ParsedQuery, { main, other }: Plans): Origin {
  const plans = other === undefined ? [main] : [main, other.plan];
  return { plans, told: [main], past: metrics.some(looksAtThePast) };
}

function placeOf({ main, other }: Plans): string {
  const ranges = [main, other?.plan].map((plan) => (plan === undefined ? "" : `${plan.fromMs} ${plan.toMs}`));
  return ranges.join(" ");
}

function sourceOf(input: unknown): unknown {
  return typeof input === "object" && input !== null ? (input as { source?: unknown }).source : undefined;
}

function isRaw(input: unknown): boolean {
  return sourceOf(input) === "raw";
}

function mayBeRaw(input: unknown): boolean {
  const source = sourceOf(input);
  return source === undefined || source === "auto";
}

function failed(reason: unknown): { error: AnswerError } {
  if (!(reason instanceof TidemarkError)) throw reason;
  const { code, message, pointer } = reason;
  return { error: { code, detail: message, ...(pointer === undefined ? {} : { pointer }) } };
}
