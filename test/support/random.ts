/** Whole numbers below 2^32 from a seed: mulberry32, good enough for samples. */
export function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** The same as numbers in [0, 1). */
export function mulberry32(seed: number): () => number {
  const next = randomWords(seed);
  return () => next() / 2 ** 32;
}
