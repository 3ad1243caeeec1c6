/** The image of the hot cells without files. */
import type { HotImage, ImagePort } from "../engine/image-port.js";
import { atOnce } from "../engine/sliced.js";
import { decodeImage, encodeImage } from "./image-codec.js";

/** One opening of a disk that holds an image. */
export interface ImageSession {
  readonly disk: { image: Uint8Array | undefined };
  /** Does the work later, after all that was asked for before. */
  later<T>(work: (disk: ImageSession["disk"]) => T): Promise<T>;
}

/** Kept as bytes: whoever reads an image goes on with its columns. */
export class MemoryImage implements ImagePort {
  readonly hasMemory = true;
  readonly #session: ImageSession;

  constructor(session: ImageSession) {
    this.#session = session;
  }

  read(): Promise<HotImage | undefined> {
    const { image } = this.#session.disk;
    return Promise.resolve(image && decodeImage(image.slice()));
  }

  async write(image: HotImage): Promise<void> {
    const bytes = new Uint8Array(Buffer.concat(atOnce(encodeImage(image))));
    await this.#session.later((disk) => {
      disk.image = bytes;
    });
  }

  async drop(): Promise<void> {
    await this.#session.later((disk) => {
      disk.image = undefined;
    });
  }
}
