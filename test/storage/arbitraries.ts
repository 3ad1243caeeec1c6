import fc from "fast-check";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER, type EventBatch, type LogRecord } from "../../engine/log.js";
import type { CellBlock } from "../../engine/store.js";
import { randomWords } from "../support/random.js";

const whole = (max: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc.integer({ min: 0, max: Math.min(max, 200) }),
    fc.maxSafeNat().map((n) => n % (max + 1)),
  );

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom("", "\u0000", "é".repeat(500), "🧪", "__proto__"),
);

/** Batches as the engine makes them, and stranger ones; columns may be longer than the batch. */
export const anyRecord: fc.Arbitrary<LogRecord> = fc
  .record({
    count: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(300, 1000)),
    slack: fc.integer({ min: 0, max: 3 }),
    seed: word,
    values: fc.array(fc.uniqueArray(text, { maxLength: 12 }), { maxLength: 4 }),
    many: fc.constantFrom(0, 0, 0, 255, 256),
    sameFlags: fc.boolean(),
    ids: fc.boolean(),
    spread: fc.constantFrom(1, 1000, 86_400_000, 2 ** 50),
    receivedAt: whole(2 ** 45),
    claim: fc.option(fc.record({ key: text, bodyHash: text, reply: text }), { nil: undefined }),
  })
  .map(({ count, slack, seed, values, many, sameFlags, ids, spread, receivedAt, claim }) => {
    const random = generator(seed);
    const lists = many === 0 ? values : [...values, Array.from({ length: many }, (_, i) => `v${i}`)];
    const column = (most: () => number): number[] => Array.from({ length: count + slack }, most);
    const mask = FLAG_CREATED | FLAG_VIEWER | (ids ? FLAG_ID : 0);
    const one = random(8) & mask;
    const flags = Uint8Array.from(column(() => (sameFlags ? one : random(8) & mask)));
    const where = (flag: number, most: number): number[] =>
      Array.from(flags, (f) => ((f & flag) === 0 ? 0 : random(most)));
    const events: EventBatch = {
      count,
      flags,
      ts: Float64Array.from(column(() => random(spread) - Math.floor(spread / 4))),
      dims: lists.map((list) => Uint32Array.from(column(() => random(list.length + 1)))),
      values: lists,
      viewerLo: Uint32Array.from(where(FLAG_VIEWER, 2 ** 32)),
      viewerHi: Uint16Array.from(where(FLAG_VIEWER, 2 ** 16)),
      ...(ids
        ? {
            idLo: Uint32Array.from(where(FLAG_ID, 2 ** 32)),
            idHi: Uint32Array.from(where(FLAG_ID, 2 ** 32)),
          }
        : {}),
    };
    return claim === undefined ? { receivedAt, events } : { receivedAt, events, claim };
  });

/** Valid blocks of any shape: no rows, no key, several groups, huge counts, tokens and registers mixed. */
export const anyBlock: fc.Arbitrary<CellBlock> = fc
  .record({
    rollup: fc.integer({ min: 0, max: 31 }),
    arity: fc.integer({ min: 0, max: 3 }),
    rows: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(255, 256, 257, 600)),
    seed: word,
    keyStep: fc.constantFrom(1, 3, 100_000),
    most: fc.constantFrom(1, 200, Number.MAX_SAFE_INTEGER),
    tokens: fc.constantFrom(0, 1, 12, 300),
    denseOf: fc.constantFrom(0, 0, 1, 50),
    greatest: fc.constantFrom(0, 31, 32, 51),
  })
  .map(({ rollup, arity, rows, seed, keyStep, most, tokens, denseOf, greatest }) => {
    const random = generator(seed);
    const count = arity === 0 ? Math.min(rows, 1) : rows;
    const counter = (): Float64Array => Float64Array.from({ length: count }, () => random(most));
    const tokenStart = new Uint32Array(count + 1);
    const all: number[] = [];
    const dense = new Map<number, Uint8Array>();
    const registers = Uint8Array.from({ length: 16_384 }, () => random(greatest + 1));
    for (let row = 0; row < count; row++) {
      if (denseOf > 0 && random(denseOf) === 0) {
        dense.set(
          row,
          registers.map((register, i) => (i === row ? greatest : register)),
        );
      } else {
        const set = new Set(Array.from({ length: random(tokens + 1) }, () => 1 + random(2 ** 32 - 1)));
        all.push(...[...set].sort((a, b) => a - b));
      }
      tokenStart[row + 1] = all.length;
    }
    return {
      rollup,
      arity,
      count,
      keys: ascendingKeys(count, arity, keyStep, random),
      views: counter(),
      anonymous: random(2) === 0 ? new Float64Array(count) : counter(),
      created: random(2) === 0 ? new Float64Array(count) : counter(),
      tokenStart,
      tokens: Uint32Array.from(all),
      dense,
    };
  });

function ascendingKeys(
  count: number,
  arity: number,
  step: number,
  random: (below: number) => number,
): Uint32Array {
  const keys = new Uint32Array(count * arity);
  if (arity === 0) return keys;
  const key = Array.from({ length: arity }, () => random(3));
  for (let row = 0; row < count; row++) {
    keys.set(key, row * arity);
    const moved = random(arity);
    key[moved]! += 1 + random(step);
    for (let i = moved + 1; i < arity; i++) key[i] = random(step * 2);
  }
  return keys;
}

/** Numbers below a bound from a seed. */
function generator(seed: number): (below: number) => number {
  const next = randomWords(seed);
  return (below) => Math.floor(((next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53) * below);
}
