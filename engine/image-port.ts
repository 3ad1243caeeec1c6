/**
 * The ImagePort: where an image of the hot cells is kept, so that a restart need not fold again every event that made
 * them. It only saves time: all of it is in the log, and an image that is missing or cannot be trusted is done without.
 */
import type { Position } from "./log.js";
import type { StoreCommit } from "./store.js";

/** The columns of a `SketchPool` that nothing is borrowed in. */
export interface SketchImage {
  readonly refs: Uint32Array;
  readonly forms: Uint8Array;
  /** The slab of tokens, chunk by chunk, and per class of blocks the first free one. */
  readonly chunks: readonly Uint32Array[];
  readonly free: Uint32Array;
  /** 2^14 registers each. */
  readonly dense: readonly Uint8Array[];
}

/** The columns of a `CellTable`, `count` cells long. */
export interface TableImage {
  readonly arity: number;
  readonly count: number;
  readonly keys: Uint32Array;
  readonly rollups: Uint8Array;
  readonly views: Float64Array;
  readonly anonymous: Float64Array | undefined;
  readonly created: Float64Array | undefined;
  readonly sketches: SketchImage;
}

/** Cells of one quarter-hour that the store did not have. */
export interface DeltaImage {
  readonly quarterMs: number;
  /** The first record that went into it; a bucket that has it has all of the delta. */
  readonly firstPosition: Position;
  /** Every record up to here that touches the quarter is in it, in another delta of the quarter, or in the store. */
  readonly through: Position;
  /** When the first event of it was folded, ms. */
  readonly since: number;
  readonly backfill: boolean;
  readonly table: TableImage;
}

export interface HotImage extends Pick<StoreCommit, "values" | "remembered"> {
  /** `Schema.fingerprint`. */
  readonly schema: string;
  /** Every record up to here is in a delta or in the store: replay goes on after it. */
  readonly position: Position;
  /** Tells the record at `position` from any other that could be there. */
  readonly record: string;
  /** ms; 0 before the first event. */
  readonly watermark: number;
  /** Oldest record up to `position` whose event ids or claims may still be asked for; 0 when there is none. */
  readonly dedupeFrom: Position;
  /** Several of one quarter add up. */
  readonly deltas: readonly DeltaImage[];
}

export interface ImagePort {
  /** Is there memory to keep for the next image's copies? As much as the hot cells take. */
  readonly hasMemory: boolean;
  /** The last image written; undefined when there is none, or it is damaged or of another version. */
  read(): Promise<HotImage | undefined>;
  /** Takes the place of the image before, wholly or not at all; it is on disk when this resolves. May reject. */
  write(image: HotImage): Promise<void>;
  /** Gives the image up. */
  drop(): Promise<void>;
}
