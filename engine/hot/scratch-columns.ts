/**
 * Columns to put a block together in, which nobody keeps: memory that the system has yet to provide, and garbage that is
 * told to the collector, cost more than the work done in it.
 */

import type { CellBlock } from "../store.js";

/** Scratch of more than so many bytes is let go. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;
/** Those that are worked on at the same time are few: sealing, upkeep, a query. */
const MAX_SPARE = 3;
/** Room for somewhat larger blocks than the one that it is made for. */
const SLACK = 1.25;

export type ScratchColumns = Pick<
  CellBlock,
  "keys" | "views" | "anonymous" | "created" | "tokenStart" | "tokens"
>;

const spare: ScratchColumns[] = [];

/** At least so long, and full of what others have left there. */
export function takeScratch(rows: number, keys: number, tokens: number): ScratchColumns {
  const known = spare.pop();
  if (known === undefined || known.views.length < rows) return newScratch(rows, keys, tokens);
  const { views, anonymous, created, tokenStart } = known;
  // Of one shape with the others, as `cellBlock` says; a spread would give another.
  return {
    keys: atLeast(known.keys, keys),
    views,
    anonymous,
    created,
    tokenStart,
    tokens: atLeast(known.tokens, tokens),
  };
}

export function giveScratchBack(columns: ScratchColumns): void {
  const { keys, views, tokens } = columns;
  const bytes = keys.byteLength + 4 * views.byteLength + tokens.byteLength;
  if (bytes <= MAX_KEPT_BYTES && spare.length < MAX_SPARE) spare.push(columns);
}

function atLeast(column: Uint32Array, length: number): Uint32Array {
  return column.length < length ? new Uint32Array(Math.ceil(length * SLACK)) : column;
}

function newScratch(rows: number, keys: number, tokens: number): ScratchColumns {
  const length = Math.ceil(rows * SLACK);
  return {
    keys: new Uint32Array(Math.ceil(keys * SLACK)),
    views: new Float64Array(length),
    anonymous: new Float64Array(length),
    created: new Float64Array(length),
    tokenStart: new Uint32Array(length + 1),
    tokens: new Uint32Array(Math.ceil(tokens * SLACK)),
  };
}
