import { HttpProblem } from "./problem.js";

/** The query parameters of a request, each at most once. Throws `invalid-parameter` for any that is not in `known`. */
export function checkParameters(query: unknown, known: readonly string[]): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(name)) throw unknownParameter(name, known);
    if (typeof value !== "string") throw invalidParameter(name, `Give "${name}" once.`);
    parameters.set(name, value);
  }
  return parameters;
}

/** The parameters of an address, decoded as a form is, which may come several times each. */
export class Parameters {
  readonly #values = new Map<string, string[]>();

  /** Throws `invalid-parameter` for a name that is not in `known`, and for what is not UTF-8. */
  constructor(url: string, known: readonly string[]) {
    const start = url.indexOf("?");
    if (start < 0) return;
    for (const part of url.slice(start + 1).split("&")) {
      if (part === "") continue;
      const equals = part.indexOf("=");
      const name = decode(equals < 0 ? part : part.slice(0, equals), "");
      if (!known.includes(name)) throw unknownParameter(name, known);
      const value = equals < 0 ? "" : decode(part.slice(equals + 1), name);
      const values = this.#values.get(name);
      if (values === undefined) this.#values.set(name, [value]);
      else values.push(value);
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** In the order of the address; empty when it is not given. */
  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** Throws `invalid-parameter` when it is given twice. */
  one(name: string): string | undefined {
    const values = this.all(name);
    if (values.length <= 1) return values[0];
    throw invalidParameter(name, `Give "${name}" once.`);
  }

  /** Throws `invalid-parameter` for anything but one of `values`. */
  oneOf<const T>(name: string, values: Readonly<Record<string, T>>): T | undefined {
    const given = this.one(name);
    if (given === undefined) return undefined;
    if (Object.hasOwn(values, given)) return values[given];
    const known = Object.keys(values).join(", ");
    throw invalidParameter(name, `"${name}" is one of ${known}, not "${given.slice(0, 80)}".`);
  }

  wholeNumber(name: string): number | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw invalidParameter(name, `"${name}" is a whole number, not "${text.slice(0, 80)}".`);
  }

  /** `a,b` → ["a", "b"]; nothing between the commas, or nothing at all, is nothing. */
  list(name: string): readonly string[] | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    return text === "" ? [] : text.split(",").map((item) => item.trim());
  }

  json(name: string): unknown {
    const text = this.one(name);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      throw invalidParameter(name, `"${name}" is JSON, percent-encoded; this cannot be read as such.`);
    }
  }
}

export function invalidParameter(name: string, detail: string): HttpProblem {
  return new HttpProblem("invalid-parameter", detail, {}, pointerTo(name));
}

/** RFC 6901. */
export function pointerTo(name: string): string {
  return `/${name.slice(0, 80).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

function unknownParameter(name: string, known: readonly string[]): HttpProblem {
  const hint = known.length === 0 ? "none is read here" : `here are read: ${known.join(", ")}`;
  return invalidParameter(name, `"${name.slice(0, 80)}" is not a query parameter; ${hint}.`);
}

function decode(text: string, name: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    const what = name === "" ? "A parameter's name" : `"${name}"`;
    throw invalidParameter(name, `${what} is not percent-encoded UTF-8.`);
  }
}
