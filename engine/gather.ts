import type { EventBatch } from "./log.js";

/** Some rows of a batch. */
export interface Rows {
  readonly batch: EventBatch;
  readonly rows: ArrayLike<number>;
}

/** One batch of rows of several, in their order, whose dictionaries hold only what these use. */
export function gatherRows(parts: readonly Rows[]): EventBatch {
  const count = parts.reduce((sum, { rows }) => sum + rows.length, 0);
  const column = <T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(
    out: T,
    of: (batch: EventBatch) => ArrayLike<number> | undefined,
  ): T => {
    let at = 0;
    for (const { batch, rows } of parts) {
      const from = of(batch);
      for (let i = 0; i < rows.length; i++) out[at++] = from === undefined ? 0 : from[rows[i]!]!;
    }
    return out;
  };
  const dimensions = (parts[0]?.batch.dims ?? []).map((_, d) => gatherDimension(parts, d, count));
  const gathered: EventBatch = {
    count,
    flags: column(new Uint8Array(count), ({ flags }) => flags),
    ts: column(new Float64Array(count), ({ ts }) => ts),
    dims: dimensions.map(({ column }) => column),
    values: dimensions.map(({ values }) => values),
    viewerLo: column(new Uint32Array(count), ({ viewerLo }) => viewerLo),
    viewerHi: column(new Uint16Array(count), ({ viewerHi }) => viewerHi),
  };
  if (parts.every(({ batch }) => batch.idLo === undefined)) return gathered;
  return {
    ...gathered,
    idLo: column(new Uint32Array(count), ({ idLo }) => idLo),
    idHi: column(new Uint32Array(count), ({ idHi }) => idHi),
  };
}

function gatherDimension(
  parts: readonly Rows[],
  dimension: number,
  count: number,
): { readonly column: Uint32Array; readonly values: readonly string[] } {
  const column = new Uint32Array(count);
  const values: string[] = [];
  const indexes = new Map<string, number>();
  let at = 0;
  for (const { batch, rows } of parts) {
    const known = batch.values[dimension]!;
    const from = batch.dims[dimension]!;
    const renumbered = new Uint32Array(known.length + 1);
    for (let i = 0; i < rows.length; i++) {
      const index = from[rows[i]!]!;
      if (index !== 0 && renumbered[index] === 0) {
        const value = known[index - 1]!;
        let next = indexes.get(value);
        if (next === undefined) indexes.set(value, (next = values.push(value)));
        renumbered[index] = next;
      }
      column[at++] = renumbered[index]!;
    }
  }
  return { column, values };
}
