import { GRAINS, type Grain } from "../engine/calendar/grain.js";
import type { BucketAddress } from "../engine/store.js";

/**
 * Which buckets there are: 8 bytes for each, in memory, so that a range that a damaged file ends too early is
 * noticed rather than believed.
 */
export class BucketIndex {
  /** Calendar → per grain the starts, ascending. */
  readonly #starts = new Map<string, Map<Grain, number[]>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has({ calendar, grain, startMs }: BucketAddress): boolean {
    const starts = this.#find(calendar, grain);
    return starts[lowerBound(starts, startMs)] === startMs;
  }

  add({ calendar, grain, startMs }: BucketAddress): void {
    let grains = this.#starts.get(calendar);
    if (grains === undefined) {
      grains = new Map(GRAINS.map((name) => [name, []]));
      this.#starts.set(calendar, grains);
    }
    const starts = grains.get(grain)!;
    const at = lowerBound(starts, startMs);
    if (starts[at] === startMs) return;
    starts.splice(at, 0, startMs);
    this.#size++;
  }

  remove({ calendar, grain, startMs }: BucketAddress): void {
    const starts = this.#starts.get(calendar)?.get(grain);
    if (starts === undefined) return;
    const at = lowerBound(starts, startMs);
    if (starts[at] !== startMs) return;
    starts.splice(at, 1);
    this.#size--;
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    const starts = this.#find(calendar, grain);
    const from = lowerBound(starts, fromMs);
    return Float64Array.from(starts.slice(from, Math.max(from, lowerBound(starts, toMs))));
  }

  addresses(): BucketAddress[] {
    return [...this.#starts].flatMap(([calendar, grains]) =>
      [...grains].flatMap(([grain, starts]) => starts.map((startMs) => ({ calendar, grain, startMs }))),
    );
  }

  #find(calendar: string, grain: Grain): readonly number[] {
    return this.#starts.get(calendar)?.get(grain) ?? [];
  }
}

/** Index of the first element that is not less than `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
