/**
 * The naive model that the engine is judged by: accepted events as plain objects, every answer by looking at each of
 * them, viewers as exact sets. It shares no code with the engine.
 */
export interface PlainEvent {
  readonly type: "view" | "created";
  readonly ts: number;
  readonly blog: string;
  readonly author?: string;
  readonly country?: string;
  readonly viewer?: string;
  readonly id?: string;
}

export type Dimension = "blog" | "author" | "country";

export interface OracleLimits {
  readonly maxLatenessMs: number;
  readonly maxSkewMs: number;
  readonly dedupeWindowMs: number;
}

export interface Outcome {
  accepted: number;
  duplicate: number;
  late_rejected: number;
  future_rejected: number;
}

/** A batch by what became of its events; duplicates are left out. */
export interface Judged {
  readonly accepted: readonly PlainEvent[];
  readonly tooOld: readonly PlainEvent[];
  readonly tooFarAhead: readonly PlainEvent[];
}

export interface Question {
  /** `[from, to)`, ms. */
  readonly from: number;
  readonly to: number;
  readonly groupBy?: readonly Dimension[];
  /** Label of the time bucket, the first member of each key. */
  readonly timeOf?: (ts: number) => string;
  /** All must hold; null is "no value". */
  readonly filter?: Readonly<Partial<Record<Dimension, readonly (string | null)[]>>>;
}

export class Answer {
  views = 0;
  anonymous = 0;
  created = 0;
  readonly viewers = new Set<string>();
}

export class Oracle {
  /** In log order, authors filled in. */
  readonly accepted: PlainEvent[] = [];
  /** Told of every batch. */
  onJudged: (judged: Judged, now: number) => void = () => undefined;
  readonly #limits: OracleLimits;
  readonly #authors = new Map<string, string>();
  /** Event id → when it was counted. */
  readonly #ids = new Map<string, number>();

  constructor(limits: OracleLimits) {
    this.#limits = limits;
  }

  /** What must become of a batch received at `now`. */
  take(events: readonly PlainEvent[], now: number, backfill = false): Outcome {
    const accepted: PlainEvent[] = [];
    const tooOld: PlainEvent[] = [];
    const tooFarAhead: PlainEvent[] = [];
    for (const event of events) {
      if (!backfill && event.ts < now - this.#limits.maxLatenessMs) tooOld.push(event);
      else if (this.isAhead(event, now)) tooFarAhead.push(event);
      else if (this.countOnce(event, now)) accepted.push(event);
    }
    this.onJudged({ accepted, tooOld, tooFarAhead }, now);
    return {
      accepted: accepted.length,
      duplicate: events.length - accepted.length - tooOld.length - tooFarAhead.length,
      late_rejected: tooOld.length,
      future_rejected: tooFarAhead.length,
    };
  }

  /** Is the event too far ahead of the clock? */
  isAhead(event: PlainEvent, now: number): boolean {
    return event.ts > now + this.#limits.maxSkewMs;
  }

  /** Counts an event, however old it is; false when its id was counted before. */
  countOnce(event: PlainEvent, now: number): boolean {
    if (this.#isDuplicate(event, now)) return false;
    this.#count(event, now);
    return true;
  }

  /** How long ago an id was counted, ms; undefined when it never was. */
  ageOf(id: string, now: number): number | undefined {
    const at = this.#ids.get(id);
    return at === undefined ? undefined : now - at;
  }

  /** Answers by key (JSON of time label and group values); groups without any event are absent. */
  ask(question: Question): Map<string, Answer> {
    const answers = new Map<string, Answer>();
    for (const event of this.accepted) {
      if (event.ts < question.from || event.ts >= question.to || !passes(event, question.filter)) continue;
      const key: (string | null)[] = (question.groupBy ?? []).map((d) => event[d] ?? null);
      if (question.timeOf !== undefined) key.unshift(question.timeOf(event.ts));
      const text = JSON.stringify(key);
      let answer = answers.get(text);
      if (answer === undefined) answers.set(text, (answer = new Answer()));
      add(answer, event);
    }
    return answers;
  }

  #isDuplicate(event: PlainEvent, now: number): boolean {
    const age = event.id === undefined ? undefined : this.ageOf(event.id, now);
    return age !== undefined && age < this.#limits.dedupeWindowMs;
  }

  #count(event: PlainEvent, now: number): void {
    if (event.id !== undefined) this.#ids.set(event.id, now);
    const author = event.author ?? this.#authors.get(event.blog);
    if (author !== undefined) this.#authors.set(event.blog, author);
    this.accepted.push(author === undefined ? event : { ...event, author });
  }
}

function passes(event: PlainEvent, filter: Question["filter"]): boolean {
  return Object.entries(filter ?? {}).every(([d, values]) => values.includes(event[d as Dimension] ?? null));
}

function add(answer: Answer, event: PlainEvent): void {
  if (event.type === "created") answer.created++;
  else {
    answer.views++;
    if (event.viewer === undefined) answer.anonymous++;
    else answer.viewers.add(event.viewer);
  }
}
