import { fileURLToPath } from "node:url";

/** Whether this runs from sources: one file by itself. `npm test` compiles first. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const FLAG = IS_SOURCE ? "tsx" : new URL("source-lines.js", import.meta.url).href;

export interface NodeProgram {
  /** Flags for Node. */
  readonly flags: readonly string[];
  readonly path: string;
}

/** A program of this project, compiled or not as this process is; `name` is without its ending, relative to `base`. */
export function programAt(name: string, base: string): NodeProgram {
  const path = fileURLToPath(new URL(`${name}.${IS_SOURCE ? "ts" : "js"}`, base));
  return { flags: ["--import", FLAG], path };
}

/** The arguments for Node that start it. */
export function argsAt(name: string, base: string): string[] {
  const { flags, path } = programAt(name, base);
  return [...flags, path];
}
