export function pick<T>(choices: readonly T[], number: number): T {
  return choices[number % choices.length]!;
}

/** Reads a number as mixed-radix digits, each a choice. */
export function digits(number: number): <T>(choices: readonly T[]) => T {
  let rest = number;
  return (choices) => {
    const choice = pick(choices, rest);
    rest = Math.floor(rest / choices.length);
    return choice;
  };
}

export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const order = items.map(
    (item, i) => [Math.imul(i + 1, 0x9e37_79b1) ^ Math.imul(seed + i, 0x85eb_ca6b), item] as const,
  );
  return order.sort(([a], [b]) => a - b).map(([, item]) => item);
}
