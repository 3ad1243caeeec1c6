import { ColumnCopies } from "./column-copies.js";
import type { HotImage, ImagePort } from "../image-port.js";
import { batchDigest } from "../body-digest.js";
import type { EventLog, Position } from "../log.js";
import { Slices, type Turns } from "../sliced.js";
import type { Buckets } from "./buckets.js";
import type { Watermark } from "./watermark.js";

/** An image of so few cells takes a few milliseconds. */
const ALWAYS_WORTH_CELLS = 50_000;
/** And one of more must save the folding of an event for so many cells. */
const CELLS_OF_EVENT = 2;

export interface ImagesOptions extends Turns {
  readonly port: ImagePort | undefined;
  readonly log: EventLog;
  readonly buckets: Buckets;
  readonly watermark: Watermark;
  readonly maxReplayEvents: number;
  /** Oldest record whose ids or claims must be read again after a restart. */
  readonly dedupeFrom: () => Position;
}

/**
 * Has an image of the hot cells written whenever a restart would have to fold too many events again. It costs a few
 * hundredths of writing them down in buckets, and those need not be written before their time.
 */
export class Images {
  readonly #options: ImagesOptions;
  readonly #copies = new ColumnCopies();
  #running: Promise<void> | undefined;
  /** Events folded when the last one was made, written or not. */
  #madeAt = 0;
  /** Of the image that there is; 0 for none. */
  #position: Position = 0;
  #lastError: Error | undefined;

  constructor(options: ImagesOptions) {
    this.#options = options;
  }

  /** The last failure to write one; undefined after a success. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Asked after every batch. */
  isDue(): boolean {
    const { port, buckets, maxReplayEvents } = this.#options;
    if (port === undefined) return false;
    // One that could not be written is not tried again at once.
    const events = Math.min(buckets.events - this.#madeAt, buckets.unsavedEvents);
    // To write and read a cell takes half as long as to fold an event: of far more cells than events it would save nothing.
    return (
      events > maxReplayEvents && buckets.hotCells <= Math.max(CELLS_OF_EVENT * events, ALWAYS_WORTH_CELLS)
    );
  }

  /** Is there one that a restart would have no use for? */
  isUseless(): boolean {
    return this.#position > 0 && this.#options.buckets.savedPosition >= this.#position;
  }

  /** Writes one, or gives up the one that there is. Never rejects: `lastError`. */
  async renew(): Promise<void> {
    this.#running ??= this.#renew().finally(() => (this.#running = undefined));
    await this.#running;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** The image to begin with, when it is of this very log and says more than the buckets do; if not, it is given up. */
  async read(): Promise<HotImage | undefined> {
    const image = await this.#options.port?.read();
    if (image === undefined) return undefined;
    this.#position = image.position;
    if (await this.#isUsable(image)) return image;
    await this.#drop().catch((error: unknown) => (this.#lastError = error as Error));
    return undefined;
  }

  async #isUsable(image: HotImage): Promise<boolean> {
    const { log, buckets } = this.#options;
    const { position, schema, record } = image;
    if (schema !== buckets.schema.fingerprint || !buckets.dictionaries.canTakeOver(image)) return false;
    if (position <= buckets.savedPosition || position > log.head) return false;
    return record === (await this.#recordAt(position));
  }

  async #drop(): Promise<void> {
    await this.#options.port!.drop();
    this.#position = 0;
    if (this.#options.buckets.hotCells < ALWAYS_WORTH_CELLS) this.#copies.clear();
  }

  async #renew(): Promise<void> {
    const { port, buckets } = this.#options;
    try {
      if (this.isUseless()) await this.#drop();
      if (!this.isDue()) return;
      const { events } = buckets;
      const image = await this.#make();
      if (image === undefined) return;
      this.#madeAt = events;
      await port!.write(image);
      this.#position = image.position;
      buckets.imaged(events);
      this.#lastError = undefined;
    } catch (error) {
      this.#lastError = error as Error;
    } finally {
      this.#copies.takeBack();
      if (port?.hasMemory !== true) this.#copies.clear();
    }
  }

  /** Undefined when a commit began or ended meanwhile, which moves deltas: the next batch tries again. */
  async #make(): Promise<HotImage | undefined> {
    const { buckets, watermark, dedupeFrom, nextTurn } = this.#options;
    // This is asked for in the middle of a batch: with many cells the two together are a long pause.
    if (buckets.hotCells > ALWAYS_WORTH_CELLS) await nextTurn();
    const { position } = buckets;
    const deltas = await buckets.deltaImages(new Slices(this.#options), this.#copies.copy);
    if (deltas === undefined) return undefined;
    const image = {
      schema: buckets.schema.fingerprint,
      position,
      watermark: watermark.reached,
      dedupeFrom: dedupeFrom(),
      deltas,
      ...buckets.dictionaries.unsaved(),
    };
    const record = await this.#recordAt(position);
    return record === undefined ? undefined : { ...image, record };
  }

  async #recordAt(position: Position): Promise<string | undefined> {
    for await (const entry of this.#options.log.read(position)) {
      if (entry.position !== position) return undefined;
      const { receivedAt, events } = entry.record;
      return `${receivedAt} ${batchDigest(events)}`;
    }
    return undefined;
  }
}
