/** Lists of texts, deflated: FORMAT.md, "Segment". */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { ByteReader, ByteWriter } from "./bytes.js";
import { malformed } from "./segment-model.js";

/** Bytes of texts that are deflated together: a step of 1 to 3 ms. */
const CHUNK_BYTES = 32 * 1024;
/** A text has less than this, and a chunk ends with the text that fills it. */
const MAX_CHUNK_BYTES = 2 ** 30;
const DEFLATE = { level: 6 };

/** Chunks of texts, each as its size, its deflated size (0: it is as it was), and itself; then a 0. */
export function* writeTexts(writer: ByteWriter, texts: Iterable<string>): Generator<undefined> {
  const chunk = new ByteWriter();
  for (const text of texts) {
    chunk.text(text);
    if (chunk.length < CHUNK_BYTES) continue;
    writeChunk(writer, chunk.take());
    yield;
  }
  if (chunk.length > 0) writeChunk(writer, chunk.take());
  writer.varint(0);
}

function writeChunk(writer: ByteWriter, chunk: Uint8Array): void {
  const packed = deflateRawSync(chunk, DEFLATE);
  const isSmaller = packed.length < chunk.length;
  writer.varint(chunk.length);
  writer.varint(isSmaller ? packed.length : 0);
  writer.raw(isSmaller ? packed : chunk);
}

/** Reads what `writeTexts` wrote. */
export function* readTexts(reader: ByteReader): Generator<undefined, string[]> {
  const texts: string[] = [];
  for (let size = reader.varint(); size > 0; size = reader.varint()) {
    if (size > MAX_CHUNK_BYTES) throw malformed();
    const packed = reader.varint();
    const at = reader.skip(packed === 0 ? size : packed);
    const bytes = reader.bytes.subarray(at, reader.at);
    const chunk = new ByteReader(packed === 0 ? bytes : inflate(bytes, size), reader.what);
    while (chunk.remaining > 0) texts.push(chunk.text());
    yield;
  }
  return texts;
}

function inflate(packed: Uint8Array, size: number): Uint8Array {
  let chunk: Uint8Array;
  try {
    chunk = inflateRawSync(packed, { maxOutputLength: size });
  } catch {
    throw malformed();
  }
  if (chunk.length !== size) throw malformed();
  return chunk;
}
