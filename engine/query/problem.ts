import { TidemarkError } from "../errors.js";

/** `pointer`: RFC 6901, into the query. */
export function invalidQuery(detail: string, pointer: string): TidemarkError {
  return new TidemarkError("invalid-query", detail, { pointer });
}

export function invalidRange(detail: string, pointer = "/date_range"): TidemarkError {
  return new TidemarkError("invalid-range", detail, { pointer });
}

/** A list for a sentence: "a", "a and b", "a, b and c". */
export function listed(items: readonly string[], conjunction: "and" | "or" = "and"): string {
  if (items.length < 2) return items.join("");
  return `${items.slice(0, -1).join(", ")} ${conjunction} ${items.at(-1)}`;
}

/** As JSON; undefined for what has none: functions, big integers, cycles, and lists within lists without end. */
export function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** What somebody else wrote, short and safe to show. */
export function quoted(value: unknown): string {
  const text = typeof value === "string" ? value : (jsonOf(value) ?? typeof value);
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
