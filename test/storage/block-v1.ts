/** Writes cell blocks of version 1, which the codec only reads by now: as Tidemark 0.1 wrote them. */
import type { CellBlock } from "../../engine/store.js";
import { ByteWriter } from "../../storage/bytes.js";
import { crc32c } from "../../storage/crc32c.js";

const GROUP_ROWS = 256;
const GROUP_SKETCH_BYTES = 32 * 1024;

export function encodeBlockV1(block: CellBlock): Uint8Array {
  const { rollup, arity, count, keys, tokenStart, dense } = block;
  const starts = groupStarts(block);
  const entry = (number: number): number => 24 + number * (12 + 4 * arity);
  const area = entry(starts.length) + 4;
  const writer = new ByteWriter();
  writer.raw(new Uint8Array(area));
  starts.forEach((from, number) => {
    const start = writer.length;
    writeGroup(writer, block, from, starts[number + 1] ?? count);
    const { bytes } = writer;
    let at = bytes.writeUInt32LE(start - area, entry(number));
    at = bytes.writeUInt32LE(crc32c(bytes, start, writer.length), at);
    at = bytes.writeUInt32LE(from, at);
    for (let i = 0; i < arity; i++) at = bytes.writeUInt32LE(keys[from * arity + i]!, at);
  });
  const { bytes } = writer;
  bytes.set([0x42, 1, rollup, arity]);
  const numbers = [count, tokenStart[count]!, dense.size, starts.length, writer.length - area];
  numbers.forEach((value, i) => bytes.writeUInt32LE(value, 4 + 4 * i));
  bytes.writeUInt32LE(crc32c(bytes, 0, area - 4), area - 4);
  return writer.take();
}

function groupStarts({ count, tokenStart, dense }: CellBlock): number[] {
  const starts: number[] = [];
  let end = 0;
  let sketchBytes = 0;
  for (let row = 0; row < count; row++) {
    if (row === end || sketchBytes > GROUP_SKETCH_BYTES) {
      starts.push(row);
      end = row + GROUP_ROWS;
      sketchBytes = 0;
    }
    sketchBytes += dense.has(row) ? 10_241 : 4 * (tokenStart[row + 1]! - tokenStart[row]!);
  }
  return starts;
}

function writeGroup(writer: ByteWriter, block: CellBlock, from: number, to: number): void {
  const { keys, arity, views, anonymous, created } = block;
  const has = [anonymous, created].map((column) => column.subarray(from, to).some((value) => value !== 0));
  writer.u8((has[0]! ? 1 : 0) | (has[1]! ? 2 : 0));
  for (let row = from; row < to; row++) {
    let same = row > from;
    for (let i = row * arity; i < (row + 1) * arity; i++) {
      const step = same ? keys[i]! - keys[i - arity]! : keys[i]!;
      writer.varint(step);
      same &&= step === 0;
    }
  }
  for (const column of [views, ...[anonymous, created].filter((_, i) => has[i])]) {
    for (let row = from; row < to; row++) writer.varint(column[row]!);
  }
  const sketches = new ByteWriter();
  for (let row = from; row < to; row++) {
    const start = sketches.length;
    const registers = block.dense.get(row);
    if (registers === undefined) {
      writeTokens(sketches, block.tokens.subarray(block.tokenStart[row], block.tokenStart[row + 1]));
    } else writeRegisters(sketches, registers);
    writer.varint((sketches.length - start) * 2 + (registers === undefined ? 0 : 1));
  }
  writer.raw(sketches.take());
}

function writeTokens(writer: ByteWriter, tokens: Uint32Array): void {
  tokens.forEach((token, i) => {
    if (i === 0) {
      writer.u32(token);
      return;
    }
    const step = token - tokens[i - 1]!;
    const more = step < 2 ** 14 ? 0 : step < 2 ** 22 ? 1 : step < 2 ** 30 ? 2 : 3;
    const bytes = [(step << 2) | more, step >>> 6, step >>> 14, step >>> 22, step >>> 30];
    for (const byte of bytes.slice(0, 2 + more)) writer.u8(byte & 0xff);
  });
}

function writeRegisters(writer: ByteWriter, registers: Uint8Array): void {
  const width = registers.some((register) => register > 31) ? 6 : 5;
  writer.u8(width);
  let held = 0;
  let bits = 0;
  for (const register of registers) {
    held |= register << bits;
    for (bits += width; bits >= 8; bits -= 8, held >>>= 8) writer.u8(held & 0xff);
  }
}
