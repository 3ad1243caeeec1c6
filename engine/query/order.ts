export type Compare = (a: number, b: number) => number;

/**
 * Order by Unicode code points, which is that of the UTF-8 bytes. UTF-16 differs where a surrogate meets a unit
 * above the surrogates: the surrogate stands for the greater code point.
 */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codePointRank(x) - codePointRank(y);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Null comes last in either direction. */
export function compareNames(a: string | null, b: string | null, descending: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return descending ? compareText(b, a) : compareText(a, b);
}

/** NaN, which stands for null, comes last in either direction. */
export function compareNumbers(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return descending ? b - a : a - b;
}

/** The first `limit` of `items` in the order of `compare`, sorted; in n log limit. */
export function firstInOrder(items: readonly number[], limit: number, compare: Compare): number[] {
  if (items.length <= limit) return [...items].sort(compare);
  // A heap of the best so far, the worst of them on top.
  const heap = items.slice(0, limit);
  for (let i = (limit >> 1) - 1; i >= 0; i--) sink(heap, i, compare);
  for (let i = limit; i < items.length; i++) {
    if (compare(items[i]!, heap[0]!) >= 0) continue;
    heap[0] = items[i]!;
    sink(heap, 0, compare);
  }
  return heap.sort(compare);
}

function sink(heap: number[], at: number, compare: Compare): void {
  const item = heap[at]!;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && compare(heap[child + 1]!, heap[child]!) > 0) child++;
    if (compare(heap[child]!, item) <= 0) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = item;
}
