/** The image of the hot cells as a file of its own: what is written anew every few seconds has no place in LMDB. */
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { HotImage, ImagePort } from "../engine/image-port.js";
import { TidemarkError } from "../engine/errors.js";
import { Slices, inSlices } from "../engine/sliced.js";
import { decodeImage, encodeImage } from "./image-codec.js";
import { freeBytes } from "./room.js";
import { syncPath } from "./sync.js";
import { TURNS } from "./write-queue.js";
import { isMemoryScarce } from "./scarcity.js";

const FILE = "tidemark.image";
/** Of pieces that one call writes. */
const PIECES_AT_ONCE = 512;
/** An image is written only where the disk has room for so many of them. */
const PLENTY = 4;

export class ImageFile implements ImagePort {
  readonly hasMemory = !isMemoryScarce();
  readonly #directory: string;
  readonly #path: string;
  /** Under which name an image is written. */
  readonly #part: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#path = join(directory, FILE);
    this.#part = `${this.#path}.part`;
  }

  async read(): Promise<HotImage | undefined> {
    await rm(this.#part, { force: true });
    try {
      return decodeImage(await bytesOf(this.#path));
    } catch {
      // Whatever is wrong with it, the log has all of it.
      await rm(this.#path, { force: true }).catch(() => undefined);
      return undefined;
    }
  }

  async write(image: HotImage): Promise<void> {
    const pieces = await inSlices(encodeImage(image), new Slices(TURNS));
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    if (freeBytes(this.#directory) < size * PLENTY) {
      throw new TidemarkError("storage-full", `The disk of ${this.#directory} has no room for an image.`);
    }
    try {
      await writeAll(this.#part, pieces);
      await rename(this.#part, this.#path);
      await syncPath(this.#directory);
    } catch (error) {
      await rm(this.#part, { force: true });
      throw error;
    }
  }

  async drop(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

async function writeAll(path: string, pieces: readonly Uint8Array[]): Promise<void> {
  const handle = await open(path, "w", 0o600);
  try {
    for (let from = 0; from < pieces.length; from += PIECES_AT_ONCE) {
      await writeFully(handle, pieces.slice(from, from + PIECES_AT_ONCE));
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** One call may write a part. */
async function writeFully(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let left = pieces.filter(({ length }) => length > 0);
  while (left.length > 0) {
    let { bytesWritten } = await handle.writev(left);
    while (left.length > 0 && bytesWritten >= left[0]!.length) {
      bytesWritten -= left[0]!.length;
      left = left.slice(1);
    }
    if (bytesWritten > 0) left = [left[0]!.subarray(bytesWritten), ...left.slice(1)];
  }
}

/** In a buffer of their own, whose beginning they are. */
async function bytesOf(path: string): Promise<Uint8Array> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const { bytesRead } = await handle.read(bytes, at, size - at, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } finally {
    await handle.close();
  }
}
