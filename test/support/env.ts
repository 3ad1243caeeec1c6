import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SHARED = new URL("../../../shared/", import.meta.url);

/** In CI every skip is a failure: the switch is set by `.ci/run`. */
export const requireAll = process.env["TIDEMARK_REQUIRE_ALL"] === "1";

/** Path of a file or folder beside the project, under `../shared/`. */
export function sharedPath(relative: string): string {
  return fileURLToPath(new URL(relative, SHARED));
}

/** tap options that skip a test, with its reason, where shared material is missing; in CI it fails instead. */
export function needsShared(relative: string): { skip: string | false } {
  const path = sharedPath(relative);
  return needs(existsSync(path), `${path} is not on this machine`);
}

/** Skips with `reason` unless `available`; where everything is required, throws instead. */
export function needs(available: boolean, reason: string): { skip: string | false } {
  if (available) return { skip: false };
  if (requireAll) throw new Error(`required here (TIDEMARK_REQUIRE_ALL=1): ${reason}`);
  return { skip: reason };
}
