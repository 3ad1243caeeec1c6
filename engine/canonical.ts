import type { CanonicalRow } from "./api.js";
import type { Dictionaries } from "./hot/dictionaries.js";
import type { Schema } from "./schema.js";
import type { BucketAddress, BucketStore, CellBlock } from "./store.js";

/**
 * The stored state line by line, in an order and a spelling that depend on the events alone: buckets by calendar,
 * grain and start; rollups by name; cells by key, spelled out; counts; the sketch's tokens or registers.
 */
export function* canonicalRows(
  schema: Schema,
  store: BucketStore,
  dictionaries: Dictionaries,
  calendars: ReadonlySet<string>,
): Generator<CanonicalRow, void, void> {
  for (const address of [...store.addresses()].sort(compareAddresses)) {
    // Buckets of a home zone that was given up are no longer kept up; they are made anew if it comes back.
    if (calendars.has(address.calendar)) yield* canonicalBucket(schema, store, dictionaries, address);
  }
}

/** The same of one bucket. */
export function* canonicalBucket(
  schema: Schema,
  store: BucketStore,
  dictionaries: Dictionaries,
  address: BucketAddress,
): Generator<CanonicalRow, void, void> {
  const { calendar, grain, startMs } = address;
  for (const rollup of schema.rollups.toSorted((a, b) => compareText(a.name, b.name))) {
    const block = store.block(address, rollup.id);
    if (block === undefined) continue;
    const rows = Array.from({ length: block.count }, (_, row) => {
      const key = rollup.dims.map((d, i) => dictionaries.nameOf(d, block.keys[row * block.arity + i]!));
      return `${JSON.stringify(key)} ${counts(block, row)} ${sketch(block, row)}`;
    });
    for (const row of rows.sort(compareText)) yield `${calendar} ${grain} ${startMs} ${rollup.name} ${row}`;
  }
}

function counts(block: CellBlock, row: number): string {
  return `${block.views[row]} ${block.anonymous[row]} ${block.created[row]}`;
}

function sketch(block: CellBlock, row: number): string {
  const registers = block.dense.get(row);
  if (registers !== undefined)
    return `dense:${Array.from(registers, (r) => r.toString(36).padStart(2, "0")).join("")}`;
  const tokens = block.tokens.subarray(block.tokenStart[row], block.tokenStart[row + 1]);
  return `tokens:${Array.from(tokens, (token) => token.toString(36)).join(",")}`;
}

function compareAddresses(a: BucketAddress, b: BucketAddress): number {
  return compareText(a.calendar, b.calendar) || compareText(a.grain, b.grain) || a.startMs - b.startMs;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
