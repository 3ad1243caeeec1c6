import type { Answer, Freshness } from "../api.js";
import { CALENDAR_START_MS } from "../calendar/index.js";
import type { Buckets } from "../hot/buckets.js";
import { UTC_CALENDAR } from "../store.js";
import { AnswerCache, type Basis, type Standing } from "./cache.js";
import type { Plan } from "./plan.js";
import type { Moment } from "./types.js";

/** What an answer depends on. */
export interface Origin {
  /** What is in it. */
  readonly plans: readonly Plan[];
  /** Of these the state of buckets is told, too. */
  readonly told: readonly Plan[];
  /** Is everything before the plans' ranges in it as well? */
  readonly past?: boolean;
  /** The clock alone makes it another answer before and after this, half-open, ms. */
  readonly clock?: readonly [fromMs: number, untilMs: number];
}

export interface KeeperGround {
  readonly buckets: Buckets;
  /** Older events are refused, ms. */
  readonly maxLatenessMs: number;
  /** What tells this run of the engine from another one. */
  readonly epoch: string;
}

/** Keeps answers for as long as they stand, and says how long that may be. */
export class Keeper {
  readonly cache: AnswerCache;
  readonly #ground: KeeperGround;
  readonly #freshness = new WeakMap<Answer, Freshness>();
  #answers = 0;

  constructor(ground: KeeperGround, maxBytes: number) {
    this.#ground = ground;
    this.cache = new AnswerCache(maxBytes);
  }

  get(place: string, moment: Moment): Answer | undefined {
    return this.cache.get(place, this.#standing(moment));
  }

  put(place: string, answer: Answer, origin: Origin, moment: Moment): void {
    this.cache.put(place, answer, this.#basis(origin, moment));
    this.#freshness.set(answer, this.#freshnessOf(origin, moment));
  }

  /** Undefined for what was never put here. */
  freshness(answer: Answer): Freshness | undefined {
    return this.#freshness.get(answer);
  }

  /** `copy` says the same as `answer`, which is kept. */
  noteCopy(copy: Answer, answer: Answer): void {
    this.#freshness.set(copy, this.#freshness.get(answer)!);
  }

  #standing({ now, watermarkMs }: Moment): Standing {
    const { buckets } = this.#ground;
    return {
      now,
      watermarkMs,
      sealedUntil: buckets.sealedUntil(UTC_CALENDAR),
      lastTouched: (fromMs, toMs) => buckets.lastTouched(fromMs, toMs),
    };
  }

  #basis({ plans, told, past = false, clock }: Origin, { now, watermarkMs }: Moment): Basis {
    const { buckets } = this.#ground;
    const sealedUntil = buckets.sealedUntil(UTC_CALENDAR);
    const reached = Math.min(now, watermarkMs);
    const ranges = plans.map(
      ({ edges, whole }) => [past ? CALENDAR_START_MS : Math.min(edges[0]!, whole[0]!), whole[1]!] as const,
    );
    const isSealed = told.every(({ toMs }) => toMs <= Math.min(reached, sealedUntil));
    const borders = told.map(({ edges }) => edges.find((edge) => edge > reached) ?? Infinity);
    return {
      ranges,
      version: buckets.touched.version,
      sealedUntil: isSealed ? undefined : sealedUntil,
      steadyUntil: Math.min(...borders),
      at: now,
      clock,
    };
  }

  /** What moves with the clock is never settled. */
  #freshnessOf({ plans, clock }: Origin, { now, watermarkMs }: Moment): Freshness {
    const { buckets, maxLatenessMs, epoch } = this.#ground;
    const toMs = Math.max(...plans.map((plan) => plan.toMs));
    const isSealed = toMs <= Math.min(now, watermarkMs, buckets.sealedUntil(UTC_CALENDAR));
    const isSettled = toMs <= now - maxLatenessMs && clock === undefined;
    const state = !isSealed ? "open" : isSettled ? "settled" : "sealed";
    return { version: `${epoch}.${(++this.#answers).toString(36)}`, state };
  }
}
