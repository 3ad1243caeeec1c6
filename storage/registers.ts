/** Dense registers packed most tightly that a fixed width allows: FORMAT.md, "Cell block". */
import type { ByteReader, ByteWriter } from "./bytes.js";
import { DENSE_REGISTERS, MAX_REGISTER } from "./checks.js";

const NARROW_BITS = 5;
const WIDE_BITS = 6;
/** Greatest register that five bits hold. */
const NARROW_MAX = 31;

/** Bytes of packed registers at least: those of five bits and the byte that says so. */
export const LEAST_PACKED_BYTES = 1 + (DENSE_REGISTERS * NARROW_BITS) / 8;

/** The width in bits, then the registers, first bit lowest. */
export function writeRegisters(writer: ByteWriter, registers: Uint8Array): void {
  let greatest = 0;
  for (let i = 0; i < DENSE_REGISTERS; i++) if (registers[i]! > greatest) greatest = registers[i]!;
  if (greatest > MAX_REGISTER) throw new Error(`BUG: a register of ${greatest}`);
  const width = greatest <= NARROW_MAX ? NARROW_BITS : WIDE_BITS;
  writer.u8(width);
  writer.reserve((DENSE_REGISTERS * width) / 8);
  const { bytes } = writer;
  let at = writer.length;
  let held = 0;
  let bits = 0;
  for (let i = 0; i < DENSE_REGISTERS; i++) {
    held |= registers[i]! << bits;
    bits += width;
    while (bits >= 8) {
      bytes[at++] = held;
      held >>>= 8;
      bits -= 8;
    }
  }
  writer.length = at;
}

export function readRegisters(reader: ByteReader): Uint8Array {
  const width = reader.u8();
  if (width !== NARROW_BITS && width !== WIDE_BITS) throw reader.broken();
  let at = reader.skip((DENSE_REGISTERS * width) / 8);
  const { bytes } = reader;
  const mask = (1 << width) - 1;
  const registers = new Uint8Array(DENSE_REGISTERS);
  let held = 0;
  let bits = 0;
  for (let i = 0; i < DENSE_REGISTERS; i++) {
    if (bits < width) {
      held |= bytes[at++]! << bits;
      bits += 8;
    }
    registers[i] = held & mask;
    held >>>= width;
    bits -= width;
  }
  return registers;
}
