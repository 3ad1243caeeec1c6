import { ByteReader, ByteWriter } from "./bytes.js";
import { crc32c } from "./crc32c.js";
import { damaged, wrongVersion } from "./errors.js";

/** A kind of record: its first byte, an ASCII letter, and its second, the version that is written. */
export interface RecordKind {
  readonly magic: number;
  readonly version: number;
  /** The oldest version that is read; by default the one that is written. */
  readonly oldest?: number;
}

/** Magic, version and CRC32C: what a framed record has besides its content. */
export const FRAME_BYTES = 6;

/** The key of records that are checked without one. */
export const NO_KEY = new Uint8Array(0);

const writer = new ByteWriter();

/**
 * A record: magic, version, content, CRC32C. The checksum covers the key too, so that a good value under a wrong
 * key is found out.
 */
export function frame(kind: RecordKind, key: Uint8Array, write: (writer: ByteWriter) => void): Uint8Array {
  writer.length = 0;
  writer.u8(kind.magic);
  writer.u8(kind.version);
  write(writer);
  writer.u32(crc32c(writer.bytes, 0, writer.length, crc32c(key)));
  return writer.take();
}

/** Checks a record and reads it with `read`, which must read all of it. `what` is told when it is damaged. */
export function unframe<T>(
  kind: RecordKind,
  key: Uint8Array,
  bytes: Uint8Array,
  what: string,
  read: (reader: ByteReader, version: number) => T,
): T {
  const end = bytes.length - 4;
  if (end < 2) throw damaged(what, "is too short");
  const reader = new ByteReader(bytes, what, 2, end);
  if (reader.bytes.readUInt32LE(end) !== crc32c(bytes, 0, end, crc32c(key))) {
    throw damaged(what, "fails its checksum");
  }
  if (bytes[0] !== kind.magic) throw damaged(what, "is another kind of record");
  const version = bytes[1]!;
  if (version > kind.version || version < (kind.oldest ?? kind.version)) {
    throw wrongVersion(what, version, kind.version);
  }
  const result = read(reader, version);
  reader.finish();
  return result;
}
