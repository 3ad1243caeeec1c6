import type { Decoded } from "./body.js";
import type { Schema } from "./schema.js";

/** What decoding depends on beside the body and the clock: the same object for all bodies of an engine. */
export interface DecodeSetup {
  readonly schema: Schema;
  /** 16 bytes, or viewers are hashed without a key. */
  readonly viewerKey: Uint8Array | undefined;
  /** See `ValueTable`. */
  readonly hashSeed: number;
}

/** Decodes bodies elsewhere than in the engine's thread. */
export interface BodyDecoder {
  /**
   * Resolves to what `decodeNdjson` returns, and rejects with what it throws; undefined for a body that had better be
   * decoded where it is. The body is not changed, and not looked at after this returns or resolves.
   */
  decode(body: Uint8Array, now: number, setup: DecodeSetup): Promise<Decoded> | undefined;
}
