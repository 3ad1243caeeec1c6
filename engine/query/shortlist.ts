/**
 * Of `cells` those that can be among the first `limit` by `values`, which are indexed by cell: all that do not come
 * after the limit-th value, ties included. NaN, which stands for null, comes last in either direction. Looks at each
 * value once, and calls nothing.
 */
export function shortlist(
  cells: readonly number[],
  values: Float64Array,
  limit: number,
  descending: boolean,
): readonly number[] {
  if (cells.length <= limit) return cells;
  const sign = descending ? 1 : -1;
  // A heap of the best so far, the worst of them on top.
  const best = new Float64Array(limit).fill(-Infinity);
  for (let i = 0; i < cells.length; i++) {
    const value = sign * values[cells[i]!]!;
    if (value > best[0]!) replaceFirst(best, value);
  }
  const worst = best[0]!;
  if (worst === -Infinity) return cells;
  const list: number[] = [];
  for (let i = 0; i < cells.length; i++) if (sign * values[cells[i]!]! >= worst) list.push(cells[i]!);
  return list;
}

/** The `limit`-th greatest of the first `count` values, of which there are as many at least. */
export function thresholdOf(values: Float64Array, count: number, limit: number): number {
  const best = new Float64Array(limit).fill(-Infinity);
  for (let i = 0; i < count; i++) if (values[i]! > best[0]!) replaceFirst(best, values[i]!);
  return best[0]!;
}

/** Takes the least value out of a heap and puts a greater one in. */
function replaceFirst(heap: Float64Array, value: number): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= value) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = value;
}
