/** Castagnoli's polynomial, bits reversed (RFC 3720, appendix B.4). */
const POLYNOMIAL = 0x82f6_3b78;

/** Eight tables of 256 words: table k advances a byte over k further zero bytes ("slicing-by-8"). */
const TABLES = buildTables();

/**
 * CRC32C (RFC 3720, section 12.1) of `bytes[start .. end)`, unsigned. `crc` is the checksum of what came before,
 * so that a value can be checked in parts.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, crc = 0): number {
  const eights = start + ((end - start) & ~7);
  return ~ofBytes(bytes, eights, end, ofEights(bytes, start, eights, ~crc)) >>> 0;
}

// Each loop is a function of its own: compiled within a long loop, what comes after it would be thrown away each time.
function ofEights(bytes: Uint8Array, start: number, end: number, crc: number): number {
  const t = TABLES;
  let c = crc;
  for (let i = start; i < end; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c =
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  return c;
}

function ofBytes(bytes: Uint8Array, start: number, end: number, crc: number): number {
  const t = TABLES;
  let c = crc;
  for (let i = start; i < end; i++) c = t[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return c;
}

function buildTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = (c & 1) === 0 ? c >>> 1 : (c >>> 1) ^ POLYNOMIAL;
    tables[byte] = c;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256]!;
    tables[i] = tables[before & 255]! ^ (before >>> 8);
  }
  return tables;
}
