/**
 * MurmurHash3 x64-128 (Austin Appleby, smhasher, public domain), first 64 bits: the hash under every sketch,
 * equal to PostgreSQL's `hll_hash_text`. JavaScript has no fast 64-bit integers, so a 64-bit word is two 32-bit
 * halves here: `…Lo` and `…Hi`.
 */
import { HashInput } from "./scratch.js";

const C1_LO = 0x114253d5;
const C1_HI = 0x87c37b91;
const C2_LO = 0x2745937f;
const C2_HI = 0x4cf5ad43;
const FINAL1_LO = 0xed558ccd;
const FINAL1_HI = 0xff51afd7;
const FINAL2_LO = 0x1a85ec53;
const FINAL2_HI = 0xc4ceb9fe;
const ADD1 = 0x52dce729;
const ADD2 = 0x38495ab5;
const TWO_32 = 0x1_0000_0000;

/** The hash eats 16 bytes at a time. */
const BLOCK = 16;

const input = new HashInput(BLOCK);
const pair = new Uint32Array(2);

/** High half of the product of two unsigned 32-bit integers. */
function mulHigh(a: number, b: number): number {
  const aLo = a & 0xffff;
  const aHi = a >>> 16;
  const bLo = b & 0xffff;
  const bHi = b >>> 16;
  const middle = (Math.imul(aHi, bLo) + (Math.imul(aLo, bLo) >>> 16)) | 0;
  const carried = (Math.imul(aLo, bHi) + (middle & 0xffff)) | 0;
  return (Math.imul(aHi, bHi) + (middle >>> 16) + (carried >>> 16)) | 0;
}

/** High half of a 64-bit product; its low half is `Math.imul(aLo, bLo)`. */
function mul64Hi(aLo: number, aHi: number, bLo: number, bHi: number): number {
  return (mulHigh(aLo, bLo) + Math.imul(aLo, bHi) + Math.imul(aHi, bLo)) | 0;
}

/** 1 when the 32-bit sum `sum = a + b` overflowed. */
function carry(sum: number, b: number): number {
  return sum >>> 0 < b >>> 0 ? 1 : 0;
}

/** The 64-bit finalizer. */
function avalanche(lo: number, hi: number, out: Uint32Array, o: number): void {
  lo ^= hi >>> 1;
  hi = mul64Hi(lo, hi, FINAL1_LO, FINAL1_HI);
  lo = Math.imul(lo, FINAL1_LO) ^ (hi >>> 1);
  hi = mul64Hi(lo, hi, FINAL2_LO, FINAL2_HI);
  lo = Math.imul(lo, FINAL2_LO) ^ (hi >>> 1);
  out[o] = lo;
  out[o + 1] = hi;
}

function finish(
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  length: number,
  out: Uint32Array,
  o: number,
): void {
  aLo ^= length;
  bLo ^= length;
  const cLo = (aLo + bLo) | 0;
  const cHi = (aHi + bHi + carry(cLo, bLo)) | 0;
  const dLo = (bLo + cLo) | 0;
  const dHi = (bHi + cHi + carry(dLo, cLo)) | 0;
  avalanche(dLo, dHi, pair, 0);
  const addLo = pair[0]!;
  const addHi = pair[1]!;
  avalanche(cLo, cHi, out, o);
  const lo = (out[o]! + addLo) | 0;
  out[o] = lo;
  out[o + 1] = (out[o + 1]! + addHi + carry(lo, addLo)) | 0;
}

/** Hashes the first `length` bytes of `input`. A last, incomplete block is mixed in but not stirred. */
function hashInput(length: number, seed: number, out: Uint32Array, o: number): void {
  const words = input.view;
  let aLo = seed | 0;
  let aHi = 0;
  let bLo = seed | 0;
  let bHi = 0;
  for (let at = 0; at < length; at += BLOCK) {
    let lo = words.getInt32(at, true);
    let hi = mul64Hi(lo, words.getInt32(at + 4, true), C1_LO, C1_HI);
    lo = Math.imul(lo, C1_LO);
    let turned = (lo << 31) | (hi >>> 1);
    aHi ^= mul64Hi(turned, (hi << 31) | (lo >>> 1), C2_LO, C2_HI);
    aLo ^= Math.imul(turned, C2_LO);
    lo = words.getInt32(at + 8, true);
    hi = mul64Hi(lo, words.getInt32(at + 12, true), C2_LO, C2_HI);
    lo = Math.imul(lo, C2_LO);
    turned = (hi << 1) | (lo >>> 31);
    hi = mul64Hi(turned, (lo << 1) | (hi >>> 31), C1_LO, C1_HI) ^ bHi;
    lo = Math.imul(turned, C1_LO) ^ bLo;
    if (at + BLOCK <= length) {
      turned = (((aLo << 27) | (aHi >>> 5)) + bLo) | 0;
      aHi = (((aHi << 27) | (aLo >>> 5)) + bHi + carry(turned, bLo)) | 0;
      let five = (turned >>> 0) * 5 + ADD1;
      aHi = (Math.imul(aHi, 5) + ((five / TWO_32) | 0)) | 0;
      aLo = five | 0;
      turned = (((lo << 31) | (hi >>> 1)) + aLo) | 0;
      hi = (((hi << 31) | (lo >>> 1)) + aHi + carry(turned, aLo)) | 0;
      five = (turned >>> 0) * 5 + ADD2;
      hi = (Math.imul(hi, 5) + ((five / TWO_32) | 0)) | 0;
      lo = five | 0;
    }
    bLo = lo;
    bHi = hi;
  }
  finish(aLo, aHi, bLo, bHi, length, out, o);
}

/**
 * MurmurHash3 x64-128, seed 0, of `bytes[start, end)`: the first 64 bits, as `out[outOffset]` (low 32 bits) and
 * `out[outOffset + 1]` (high 32 bits).
 */
export function hashBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint32Array,
  outOffset: number,
): void {
  hashInput(input.placeBytes(bytes, start, end), 0, out, outOffset);
}

/** `hashBytes` of the UTF-8 form of `text`; lone surrogates count as U+FFFD, as in `TextEncoder`. */
export function hashText(text: string, out: Uint32Array, outOffset: number): void {
  hashInput(input.placeText(text), 0, out, outOffset);
}

/** `hashBytes` of the 8 bytes of one little-endian 64-bit word. */
export function hashWord(lo: number, hi: number, out: Uint32Array, outOffset: number): void {
  input.view.setInt32(0, lo, true);
  input.view.setInt32(4, hi, true);
  input.view.setInt32(8, 0, true);
  input.view.setInt32(12, 0, true);
  hashInput(8, 0, out, outOffset);
}

/** The first 64 bits of MurmurHash3 x64-128, unsigned. Text is hashed as UTF-8. `seed` is an unsigned 32-bit integer. */
export function murmur3x64(data: Uint8Array | string, seed = 0): bigint {
  const out = new Uint32Array(2);
  const length = typeof data === "string" ? input.placeText(data) : input.placeBytes(data, 0, data.length);
  hashInput(length, seed, out, 0);
  return (BigInt(out[1]!) << 32n) | BigInt(out[0]!);
}
