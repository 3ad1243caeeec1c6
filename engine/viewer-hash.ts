import { TidemarkError } from "./errors.js";
import type { TextHash } from "./event.js";
import { hashText } from "./sketch/murmur3.js";
import { createKeyedHash } from "./sketch/siphash.js";

const VIEWER_KEY_BYTES = 16;

/** How viewers are hashed: under a key of 16 bytes, or without. Throws `invalid-config`. */
export function viewerHash(key: Uint8Array | undefined): TextHash {
  if (key === undefined) return hashText;
  if (key.length === VIEWER_KEY_BYTES) return createKeyedHash(key);
  throw new TidemarkError("invalid-config", `viewerKey must have ${VIEWER_KEY_BYTES} bytes.`);
}
