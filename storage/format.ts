import { crc32c } from "./crc32c.js";
import { damaged, wrongVersion } from "./errors.js";

/**
 * Version of the whole layout that is written: which databases there are, how keys are formed, what is found where.
 * Version 2 added the databases `segments` and `revisions`, and records of version 2 beside those of version 1.
 */
export const FORMAT_VERSION = 2;
/** The oldest that is read. All of it stays as it is; opening for writing only says that the whole is newer now. */
const OLDEST_VERSION = 1;

const MAGIC = Buffer.from("TIDEMARK", "ascii");
const RECORD_BYTES = MAGIC.length + 8;

/** The one record whose form never changes: `TIDEMARK`, the version, CRC32C. */
export function encodeFormat(version = FORMAT_VERSION): Uint8Array {
  const bytes = Buffer.alloc(RECORD_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(version, MAGIC.length);
  bytes.writeUInt32LE(crc32c(bytes, 0, MAGIC.length + 4), MAGIC.length + 4);
  return bytes;
}

/**
 * The version that the record says. Throws `storage-damaged` when it is no such record, `storage-version` when this
 * Tidemark does not read it.
 */
export function checkFormat(record: Uint8Array): number {
  const bytes = Buffer.from(record);
  const good =
    bytes.length === RECORD_BYTES &&
    bytes.subarray(0, MAGIC.length).equals(MAGIC) &&
    bytes.readUInt32LE(MAGIC.length + 4) === crc32c(bytes, 0, MAGIC.length + 4);
  if (!good) throw damaged("The store's format record", "fails its checksum");
  const version = bytes.readUInt32LE(MAGIC.length);
  if (version < OLDEST_VERSION || version > FORMAT_VERSION) {
    throw wrongVersion("The store", version, FORMAT_VERSION);
  }
  return version;
}
