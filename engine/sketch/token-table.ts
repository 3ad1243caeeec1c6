/**
 * A set of tokens as a bare `Uint32Array`: open addressing with linear probing, a power of two of slots, 0 for an
 * empty slot (no token is 0). Tokens carry hash bits already, so a slot is taken from their low ones.
 */
import { TOKEN_RANK_BITS } from "./token.js";

const FIRST_SLOTS = 4;

/** How full a table may get, in quarters, before it is doubled; at least one slot always stays empty. */
const MAX_QUARTERS = 3;

/** Adds a token where there is room; false when it was there. */
export function insertToken(table: Uint32Array, token: number): boolean {
  const mask = table.length - 1;
  let slot = (token >>> TOKEN_RANK_BITS) & mask;
  for (;;) {
    const found = table[slot]!;
    if (found === token) return false;
    if (found === 0) {
      table[slot] = token;
      return true;
    }
    slot = (slot + 1) & mask;
  }
}

export function newTokenTable(): Uint32Array {
  return new Uint32Array(FIRST_SLOTS);
}

/** The same table, or one of twice the slots when `count` tokens are more than it should hold. */
export function roomyTable(table: Uint32Array, count: number): Uint32Array {
  if (count * 4 <= table.length * MAX_QUARTERS) return table;
  const larger = new Uint32Array(table.length * 2);
  for (let slot = 0; slot < table.length; slot++) {
    if (table[slot] !== 0) insertToken(larger, table[slot]!);
  }
  return larger;
}

/** The `count` tokens of a table, ascending. */
export function sortedTable(table: Uint32Array, count: number): Uint32Array {
  const tokens = new Uint32Array(count);
  let next = 0;
  for (let slot = 0; slot < table.length; slot++) {
    if (table[slot] !== 0) tokens[next++] = table[slot]!;
  }
  return tokens.sort();
}
