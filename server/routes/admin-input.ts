/** What operators send, read strictly. */
import { TidemarkError } from "../../engine/errors.js";

type MemberType = "string" | "boolean" | "array";

export function wholeNumber(parameters: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new TidemarkError("invalid-query", `${name} must be a whole number.`, { pointer: `/${name}` });
}

/** `1,2,3`; undefined for anything else. */
export function idList(text: string): number[] | undefined {
  return /^\d{1,15}(,\d{1,15})*$/.test(text) ? text.split(",").map(Number) : undefined;
}

/** Throws `invalid-query` for anything but an object of these members. */
export function checkMembers(body: unknown, known: Readonly<Record<string, MemberType>>): void {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new TidemarkError("invalid-query", "Send a JSON object.", { pointer: "" });
  }
  for (const [name, value] of Object.entries(body)) {
    const type = Object.hasOwn(known, name) ? known[name] : undefined;
    if ((Array.isArray(value) ? "array" : typeof value) === type) continue;
    const names = Object.keys(known).join(", ") || "none";
    const detail =
      type === undefined
        ? `"${name.slice(0, 40)}" is not read here; known are: ${names}.`
        : `${name} must be ${type === "array" ? "an array" : `a ${type}`}.`;
    throw new TidemarkError("invalid-query", detail, { pointer: `/${name.slice(0, 40)}` });
  }
}
