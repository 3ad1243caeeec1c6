/** Dense registers: FORMAT.md, "Registers". */
import type { ByteReader } from "./bytes.js";
import { DENSE_REGISTERS, MAX_REGISTER } from "./checks.js";

const NARROW_BITS = 5;
const WIDE_BITS = 6;

/** Bytes of registers of a fixed width at least: those of five bits and the byte that says so. */
export const LEAST_PACKED_BYTES = 1 + (DENSE_REGISTERS * NARROW_BITS) / 8;

/**
 * rANS (Duda, arXiv 1311.2540) with the registers' own histogram as the frequencies: their sum is 2^14 already, so
 * nothing is rounded, and the size is the entropy. Two coders take turns, so that neither waits for the other.
 */
const SCALE_BITS = 14;
const SCALE = 1 << SCALE_BITS;
/** A state lies in [2^15, 2^31): two bytes go out or come in at a time. */
const LEAST_STATE = 2 ** 15;
/** Largest value, one count, two states. */
export const LEAST_CODED_BYTES = 1 + 1 + 8;
/** 6 bits a register and 64 counts of three bytes. */
export const MAX_CODED_BYTES = 1 + 3 * (MAX_REGISTER + 1) + 8 + (DENSE_REGISTERS * WIDE_BITS) / 8 + 8;

const counts = new Uint32Array(MAX_REGISTER + 1);
const below = new Uint32Array(MAX_REGISTER + 1);
const valueOf = new Uint8Array(SCALE);
const backwards = new Uint8Array(MAX_CODED_BYTES);

/** Writes to `out` from `start` on, where there are `MAX_CODED_BYTES`; returns where it ended. */
export function encodeRegisters(registers: Uint8Array, out: Uint8Array, start: number): number {
  const greatest = countRegisters(registers);
  let at = start;
  out[at++] = greatest;
  for (let value = 0; value <= greatest; value++) {
    let rest = counts[value]!;
    for (; rest >= 0x80; rest >>>= 7) out[at++] = rest | 0x80;
    out[at++] = rest;
  }
  // Local names: a module's own are looked up at every use.
  const [freqs, sums, stack] = [counts, below, backwards];
  let state = LEAST_STATE;
  let other = LEAST_STATE;
  let from = stack.length;
  for (let i = DENSE_REGISTERS - 1; i >= 0; i--) {
    const value = registers[i]!;
    const count = freqs[value]!;
    let x = other;
    if (x >= count * 2 ** (31 - SCALE_BITS)) {
      stack[--from] = x >>> 8;
      stack[--from] = x;
      x >>>= 16;
    }
    const quotient = (x / count) | 0;
    other = state;
    state = (quotient << SCALE_BITS) + x - Math.imul(quotient, count) + sums[value]!;
  }
  for (const last of [state, other]) for (let shift = 0; shift < 32; shift += 8) out[at++] = last >>> shift;
  out.set(stack.subarray(from), at);
  return at + stack.length - from;
}

/** Reads what `encodeRegisters` wrote, exactly up to the reader's end. */
export function decodeRegisters(reader: ByteReader): Uint8Array {
  readCounts(reader);
  let even = reader.u32();
  let odd = reader.u32();
  const { bytes, end } = reader;
  let { at } = reader;
  const registers = new Uint8Array(DENSE_REGISTERS);
  // Local names: a module's own are looked up at every use.
  const [values, freqs, sums] = [valueOf, counts, below];
  for (let i = 0; i < DENSE_REGISTERS; i += 2) {
    let value = values[even & (SCALE - 1)]!;
    registers[i] = value;
    even = Math.imul(freqs[value]!, even >>> SCALE_BITS) + (even & (SCALE - 1)) - sums[value]!;
    if (even < LEAST_STATE && at < end) {
      even = (even << 16) | bytes[at]! | (bytes[at + 1]! << 8);
      at += 2;
    }
    value = values[odd & (SCALE - 1)]!;
    registers[i + 1] = value;
    odd = Math.imul(freqs[value]!, odd >>> SCALE_BITS) + (odd & (SCALE - 1)) - sums[value]!;
    if (odd < LEAST_STATE && at < end) {
      odd = (odd << 16) | bytes[at]! | (bytes[at + 1]! << 8);
      at += 2;
    }
  }
  if (at !== end || even !== LEAST_STATE || odd !== LEAST_STATE) throw reader.broken();
  return registers;
}

function countRegisters(registers: Uint8Array): number {
  counts.fill(0);
  let greatest = 0;
  for (let i = 0; i < DENSE_REGISTERS; i++) {
    const value = registers[i]!;
    if (value > MAX_REGISTER) throw new Error(`BUG: a register of ${value}`);
    counts[value]!++;
    if (value > greatest) greatest = value;
  }
  for (let value = 1; value <= greatest; value++) below[value] = below[value - 1]! + counts[value - 1]!;
  return greatest;
}

/** Reads the histogram, and spreads the values over the slots of the scale. */
function readCounts(reader: ByteReader): void {
  const greatest = reader.u8();
  if (greatest > MAX_REGISTER) throw reader.broken();
  let sum = 0;
  for (let value = 0; value <= greatest; value++) {
    const count = reader.varint();
    if (count > SCALE - sum) throw reader.broken();
    counts[value] = count;
    below[value] = sum;
    valueOf.fill(value, sum, sum + count);
    sum += count;
  }
  if (sum !== SCALE) throw reader.broken();
}

/** Version 1: the width in bits, then the registers, first bit lowest. */
export function readPackedRegisters(reader: ByteReader): Uint8Array {
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
