import { open } from "node:fs/promises";
import { dirname } from "node:path";

/** Puts a file's content, or the names in a directory, on disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The names in a directory and in those around it, up to `top`: LMDB syncs only what is in its files. */
export async function syncUp(directory: string, top: string): Promise<void> {
  for (let path = directory; ; path = dirname(path)) {
    await syncPath(path);
    if (path === top || path === dirname(path)) return;
  }
}
