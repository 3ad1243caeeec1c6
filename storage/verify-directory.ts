import { join, resolve } from "node:path";
import { TidemarkError } from "../engine/errors.js";
import { livingOwner } from "./lock.js";
import type { Structure } from "./pages-check.js";
import { preflight } from "./preflight.js";
import { readInChild } from "./verify-child.js";
import type { Verified } from "./verify.js";

/**
 * The full check of a directory that nobody has open: structure, then every record. Rejects with `invalid-config`
 * when there is no store or a living process has it open, and `storage-damaged` when the structure is.
 */
export async function verifyDirectory(path: string): Promise<{ structure: Structure; verified: Verified }> {
  const directory = resolve(path);
  const owner = await livingOwner(directory);
  if (owner !== undefined) {
    const detail = `Process ${owner.pid} on ${owner.host} has ${directory} open; stop it, or check a backup of it.`;
    throw new TidemarkError("invalid-config", detail);
  }
  const structure = await preflight(join(directory, "data.mdb"));
  if (structure === undefined) {
    throw new TidemarkError("invalid-config", `There is no store in ${directory}; give the right directory.`);
  }
  return { structure, verified: await readInChild(directory, "values") };
}
