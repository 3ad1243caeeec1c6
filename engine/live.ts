import { parseInstant } from "./calendar/parse.js";
import type { LiveMessage, QueryInput, QueryResult } from "./api.js";
import type { Position } from "./log.js";

export interface LiveSource {
  /** Answers the query as of now. */
  answer(): QueryResult;
  /** Everything up to this record is counted. */
  position(): Position;
  now(): number;
}

/** One live query: what was said last, and what is to be said next. */
export class LiveView {
  readonly #source: LiveSource;
  /** A preset such as the current hour moves on when its range ends; a range of given dates stays. */
  readonly #moves: boolean;
  #endsAt = Number.NEGATIVE_INFINITY;
  #range: readonly [string, string] = ["", ""];
  #seq: Position = 0;
  /** The last metrics of each row, as text, by its dimensions. */
  #said = new Map<string, string>();

  constructor(source: LiveSource, query: QueryInput) {
    this.#source = source;
    this.#moves = typeof query.date_range === "string";
  }

  /** Has the range ended, so that there is something to say without an event? */
  hasEnded(): boolean {
    return this.#source.now() >= this.#endsAt;
  }

  snapshot(): LiveMessage {
    const payload = this.#source.answer();
    this.#range = payload.meta.range;
    this.#endsAt = this.#moves ? parseInstant(this.#range[1])! : Number.POSITIVE_INFINITY;
    this.#seq = payload.meta.seq;
    this.#said = new Map(
      payload.results.map((row) => [JSON.stringify(row.dimensions), JSON.stringify(row.metrics)]),
    );
    return { type: "snapshot", seq: payload.meta.seq, payload };
  }

  /** The messages that bring a reader of the last one up to date; none when nothing changed. */
  changes(): LiveMessage[] {
    if (!this.hasEnded()) return this.#delta();
    const closed = this.#range[0];
    const snapshot = this.snapshot();
    const payload = { closed, opened: this.#range[0], state: "provisional" } as const;
    return [{ type: "rollover", seq: snapshot.seq, payload }, snapshot];
  }

  #delta(): LiveMessage[] {
    if (this.#source.position() === this.#seq) return [];
    const { results, meta } = this.#source.answer();
    const changed = results.filter((row) => {
      const key = JSON.stringify(row.dimensions);
      const metrics = JSON.stringify(row.metrics);
      if (this.#said.get(key) === metrics) return false;
      this.#said.set(key, metrics);
      return true;
    });
    if (changed.length === 0) return [];
    const prev = this.#seq;
    this.#seq = meta.seq;
    const set = changed.map((row) => [row.dimensions, row.metrics] as const);
    return [{ type: "delta", seq: meta.seq, prev, payload: { set } }];
  }
}
