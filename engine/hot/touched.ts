import { CALENDAR_END_MS, CALENDAR_START_MS, DAY_MS, QUARTER_MS } from "../calendar/grain.js";

const FIRST_DAY = Math.floor(CALENDAR_START_MS / DAY_MS) - 2;
const DAYS = Math.ceil(CALENDAR_END_MS / DAY_MS) + 2 - FIRST_DAY;
const LEAVES = 2 ** Math.ceil(Math.log2(DAYS));
const QUARTERS_PER_DAY = DAY_MS / QUARTER_MS;

/**
 * When each quarter-hour was last touched, as numbers that only grow: what was worked out of a range before is still
 * right if nothing in the range was touched since. Days are the leaves of a tree of maxima, so that a range of any
 * length costs some forty comparisons.
 */
export class Touched {
  /** Heap order: node i has the children 2i and 2i + 1; the leaves are the days. */
  readonly #tree = new Float64Array(2 * LEAVES);
  /** Per day: its quarters. */
  readonly #days = new Map<number, Float64Array>();
  #version = 0;
  /** When everything was touched. */
  #allAt = 0;

  /** The number of the last touch. */
  get version(): number {
    return this.#version;
  }

  touch(quarterMs: number): void {
    const version = ++this.#version;
    const day = dayOf(quarterMs);
    let quarters = this.#days.get(day);
    if (quarters === undefined) this.#days.set(day, (quarters = new Float64Array(QUARTERS_PER_DAY)));
    quarters[quarterOf(quarterMs)] = version;
    for (let node = LEAVES + day; node >= 1; node >>= 1) this.#tree[node] = version;
  }

  /** Everything counts as touched. */
  touchAll(): void {
    this.#allAt = ++this.#version;
  }

  /** The greatest number in `[fromMs, toMs)`; 0 where nothing was touched. */
  lastIn(fromMs: number, toMs: number): number {
    if (fromMs >= toMs) return 0;
    const first = dayOf(fromMs);
    const last = dayOf(toMs - 1);
    if (first === last) return Math.max(this.#allAt, this.#inDay(first, fromMs, toMs));
    const edges = Math.max(this.#inDay(first, fromMs, Infinity), this.#inDay(last, -Infinity, toMs));
    return Math.max(this.#allAt, edges, this.#inDays(first + 1, last));
  }

  #inDay(day: number, fromMs: number, toMs: number): number {
    const quarters = this.#days.get(day);
    if (quarters === undefined) return 0;
    const startMs = (day + FIRST_DAY) * DAY_MS;
    const from = Math.max(0, Math.floor((fromMs - startMs) / QUARTER_MS));
    const to = Math.min(QUARTERS_PER_DAY, Math.ceil((toMs - startMs) / QUARTER_MS));
    let last = 0;
    for (let i = from; i < to; i++) last = Math.max(last, quarters[i]!);
    return last;
  }

  /** Of whole days `[from, to)`: the usual walk from both ends upwards. */
  #inDays(from: number, to: number): number {
    let last = 0;
    let left = from + LEAVES;
    let right = to + LEAVES;
    for (; left < right; left >>= 1, right >>= 1) {
      if ((left & 1) === 1) last = Math.max(last, this.#tree[left++]!);
      if ((right & 1) === 1) last = Math.max(last, this.#tree[--right]!);
    }
    return last;
  }
}

/** Events and ranges beyond the calendar count as its first or last day. */
function dayOf(ms: number): number {
  return Math.min(DAYS - 1, Math.max(0, Math.floor(ms / DAY_MS) - FIRST_DAY));
}

function quarterOf(ms: number): number {
  return Math.floor((ms - Math.floor(ms / DAY_MS) * DAY_MS) / QUARTER_MS);
}
