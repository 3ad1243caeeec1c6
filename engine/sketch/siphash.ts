/**
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): a keyed hash of 64 bits, so that
 * whoever reads a sketch or the raw log without the key can neither test for a viewer nor make viewers collide.
 */
import { TidemarkError } from "../errors.js";
import { hashWord } from "./murmur3.js";
import { HashInput } from "./scratch.js";

/** 128 bits, as SipHash defines its key. */
export const KEY_BYTES = 16;

/** SipHash eats 8 bytes at a time. */
const BLOCK = 8;
const input = new HashInput(BLOCK);

/** The four 64-bit words of SipHash's state as (low, high) halves: v0, v1, v2, v3. */
type State = Int32Array;

const state: State = new Int32Array(8);
/** "somepseudorandomlygeneratedbytes", which the key is mixed with. */
const INITIAL = Int32Array.of(
  0x70736575,
  0x736f6d65,
  0x6e646f6d,
  0x646f7261,
  0x6e657261,
  0x6c796765,
  0x79746573,
  0x74656462,
);

function carry(sum: number, b: number): number {
  return sum >>> 0 < b >>> 0 ? 1 : 0;
}

/** One SipRound (section 2.1 of the paper); the words pass through locals, as a typed array access costs more. */
function sipRounds(v: State, rounds: number): void {
  let aLo = v[0]!;
  let aHi = v[1]!;
  let bLo = v[2]!;
  let bHi = v[3]!;
  let cLo = v[4]!;
  let cHi = v[5]!;
  let dLo = v[6]!;
  let dHi = v[7]!;
  for (let i = 0; i < rounds; i++) {
    aLo = (aLo + bLo) | 0;
    aHi = (aHi + bHi + carry(aLo, bLo)) | 0;
    let old = bLo;
    bLo = ((bLo << 13) | (bHi >>> 19)) ^ aLo;
    bHi = ((bHi << 13) | (old >>> 19)) ^ aHi;
    cLo = (cLo + dLo) | 0;
    cHi = (cHi + dHi + carry(cLo, dLo)) | 0;
    old = dLo;
    dLo = ((dLo << 16) | (dHi >>> 16)) ^ cLo;
    dHi = ((dHi << 16) | (old >>> 16)) ^ cHi;
    // a is turned by 32 bits: its halves change places.
    old = aLo;
    aLo = (aHi + dLo) | 0;
    aHi = (old + dHi + carry(aLo, dLo)) | 0;
    old = dLo;
    dLo = ((dLo << 21) | (dHi >>> 11)) ^ aLo;
    dHi = ((dHi << 21) | (old >>> 11)) ^ aHi;
    cLo = (cLo + bLo) | 0;
    cHi = (cHi + bHi + carry(cLo, bLo)) | 0;
    old = bLo;
    bLo = ((bLo << 17) | (bHi >>> 15)) ^ cLo;
    bHi = ((bHi << 17) | (old >>> 15)) ^ cHi;
    old = cLo;
    cLo = cHi;
    cHi = old;
  }
  v[0] = aLo;
  v[1] = aHi;
  v[2] = bLo;
  v[3] = bHi;
  v[4] = cLo;
  v[5] = cHi;
  v[6] = dLo;
  v[7] = dHi;
}

/** Absorbs one 64-bit word of the message: c = 2 rounds. */
function absorb(v: State, lo: number, hi: number): void {
  v[6] = v[6]! ^ lo;
  v[7] = v[7]! ^ hi;
  sipRounds(v, 2);
  v[0] = v[0]! ^ lo;
  v[1] = v[1]! ^ hi;
}

/** Hashes the first `length` bytes of `input`; the 64-bit result is left in `v[0]` (low) and `v[1]` (high). */
function sipInput(keyed: State, length: number, v: State): void {
  v.set(keyed);
  const words = input.view;
  let at = 0;
  for (; at + BLOCK <= length; at += BLOCK) {
    absorb(v, words.getInt32(at, true), words.getInt32(at + 4, true));
  }
  // The last word holds the 0 to 7 bytes that remain and, on top, the length modulo 256.
  absorb(v, words.getInt32(at, true), words.getInt32(at + 4, true) | (length << 24));
  v[4] = v[4]! ^ 0xff;
  sipRounds(v, 4);
  v[0] = v[0]! ^ v[2]! ^ v[4] ^ v[6]!;
  v[1] = v[1]! ^ v[3]! ^ v[5]! ^ v[7]!;
}

function keyedState(key: Uint8Array): State {
  if (key.length !== KEY_BYTES) {
    throw new TidemarkError(
      "invalid-config",
      `The key of the viewer hash must be ${KEY_BYTES} bytes; this one has ${key.length}.`,
    );
  }
  const words = new DataView(key.buffer, key.byteOffset, KEY_BYTES);
  return INITIAL.map((word, i) => word ^ words.getInt32((i & 3) * 4, true));
}

/** SipHash-2-4 of bytes, or of the UTF-8 form of text, as an unsigned 64-bit integer. */
export function sipHash24(key: Uint8Array, data: Uint8Array | string): bigint {
  const keyed = keyedState(key);
  const length = typeof data === "string" ? input.placeText(data) : input.placeBytes(data, 0, data.length);
  sipInput(keyed, length, state);
  return BigInt.asUintN(64, (BigInt(state[1]!) << 32n) | BigInt(state[0]! >>> 0));
}

/**
 * The hash that a sketch is fed with where an installation has a key: MurmurHash3 x64-128 (first 64 bits) of the
 * 8 little-endian bytes of SipHash-2-4 of the UTF-8 form of the text. Written as `out[outOffset]` (low 32 bits) and
 * `out[outOffset + 1]` (high 32 bits), like `hashText`; `ofBytes` is the same of UTF-8 bytes, like `hashBytes`. The key
 * is copied. Throws `invalid-config` unless the key has 16 bytes.
 */
export function createKeyedHash(key: Uint8Array): KeyedHash {
  const keyed = keyedState(key);
  const hash = (text: string, out: Uint32Array, outOffset: number): void => {
    sipInput(keyed, input.placeText(text), state);
    hashWord(state[0]!, state[1]!, out, outOffset);
  };
  const ofBytes: KeyedHash["ofBytes"] = (bytes, start, end, out, outOffset) => {
    sipInput(keyed, input.placeBytes(bytes, start, end), state);
    hashWord(state[0]!, state[1]!, out, outOffset);
  };
  return Object.assign(hash, { ofBytes });
}

export interface KeyedHash {
  (text: string, out: Uint32Array, outOffset: number): void;
  readonly ofBytes: (
    bytes: Uint8Array,
    start: number,
    end: number,
    out: Uint32Array,
    outOffset: number,
  ) => void;
}
