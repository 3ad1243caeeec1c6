/**
 * What is looked at before LMDB maps a file: LMDB trusts its pages, and a truncated file or a garbled page ends the
 * process with a signal instead of an error.
 */
import { checkStructure, type Structure } from "./pages-check.js";
import { PageFile } from "./pages-file.js";

/**
 * Rejects with `storage-damaged` when LMDB must not open this file, and with Node's error when it cannot be read. A
 * file that is absent or empty is a new one: undefined.
 */
export async function preflight(path: string): Promise<Structure | undefined> {
  const file = PageFile.open(path);
  if (file === undefined) return undefined;
  try {
    return file.sizeBytes === 0 ? undefined : await checkStructure(file, file.newestMeta());
  } finally {
    file.close();
  }
}
