/** The thread that encodes cell blocks: nobody waits for it, so that it works without a pause. */
import { atOnce } from "../engine/sliced.js";
import { answerRequests, stayInBackground } from "./answer-requests.js";
import { encodeAllInSlices } from "./block-codec.js";
import { unflattened, type FlatBlock } from "./flat-block.js";
import type { Answered } from "./work-thread.js";

export interface EncodeRequest {
  readonly blocks: readonly FlatBlock[];
  /** Are they all of a bucket, and may some be told as sums of others? */
  readonly derives: boolean;
}

export interface Encoded {
  readonly bytes: readonly Uint8Array[];
  /** Those of the blocks, to be used again. */
  readonly buffers: readonly ArrayBuffer[];
}

function answer({ blocks, derives }: EncodeRequest): Answered<Encoded> {
  const bytes = atOnce(encodeAllInSlices(blocks.map(unflattened), derives));
  const buffers = blocks.map(({ buffer }) => buffer);
  // Each in a buffer of its own.
  return [{ bytes, buffers }, [...bytes.map(({ buffer }) => buffer as ArrayBuffer), ...buffers]];
}

stayInBackground();
answerRequests(answer);
