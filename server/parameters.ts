import { HttpProblem } from "./problem.js";

/** The query parameters of a request, each at most once. Throws `invalid-parameter` for any that is not in `known`. */
export function checkParameters(query: unknown, known: readonly string[]): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(name)) {
      const hint = known.length === 0 ? "none is read here" : `here are read: ${known.join(", ")}`;
      throw new HttpProblem("invalid-parameter", `"${name.slice(0, 80)}" is not a query parameter; ${hint}.`);
    }
    if (typeof value !== "string") throw new HttpProblem("invalid-parameter", `Give "${name}" once.`);
    parameters.set(name, value);
  }
  return parameters;
}
