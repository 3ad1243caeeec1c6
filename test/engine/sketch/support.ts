import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { sharedPath } from "../../support/env.js";

/** xoshiro128** (Blackman and Vigna): two of its words make a pseudo-random 64-bit hash. */
export class Random {
  readonly #state = new Int32Array(4);

  constructor(seed: number) {
    let mixed = seed | 0;
    for (let i = 0; i < 4; i++) {
      mixed = (mixed + 0x9e3779b9) | 0;
      let word = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[i] = word ^ (word >>> 15);
    }
  }

  /** An unsigned 32-bit integer. */
  next(): number {
    const s = this.#state;
    const times5 = Math.imul(s[1]!, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9);
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result >>> 0;
  }

  hash(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }

  hashes(count: number): bigint[] {
    return Array.from({ length: count }, () => this.hash());
  }
}

/** The register value of a 64-bit hash, spelled out bit by bit: the oracle for all bit twiddling. */
export function slowValue(hash: bigint, log2m: number): number {
  const rest = BigInt.asUintN(64, hash) >> BigInt(log2m);
  if (rest === 0n) return 65 - log2m;
  let value = 1;
  while (((rest >> BigInt(value - 1)) & 1n) === 0n) value++;
  return value;
}

/** The registers of a set of hashes, by the definition. */
export function slowRegisters(hashes: Iterable<bigint>, log2m: number, largest = 255): Uint8Array {
  const registers = new Uint8Array(2 ** log2m);
  for (const hash of hashes) {
    const index = Number(BigInt.asUintN(log2m, hash));
    registers[index] = Math.max(registers[index]!, Math.min(slowValue(hash, log2m), largest));
  }
  return registers;
}

/** The registers that bytes of the storage format hold, read from a string of 0s and 1s. */
export function slowDecode(bytes: Uint8Array): Uint8Array {
  const type = bytes[0]! & 15;
  const log2m = bytes[1]! & 31;
  const regwidth = (bytes[1]! >> 5) + 1;
  const data = bytes.subarray(3);
  const bits = [...data].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const number = (at: number, width: number): number => parseInt(bits.slice(at, at + width), 2);
  const registers = new Uint8Array(2 ** log2m);
  if (type === 2) {
    const hashes = Array.from({ length: data.length / 8 }, (_, i) =>
      BigInt(`0b${bits.slice(64 * i, 64 * i + 64)}`),
    );
    return slowRegisters(hashes, log2m, 2 ** regwidth - 1);
  }
  const step = type === 4 ? regwidth : log2m + regwidth;
  for (let at = 0; at + step <= bits.length; at += step) {
    const index = type === 4 ? at / step : number(at, log2m);
    registers[index] = Math.max(registers[index]!, number(at + step - regwidth, regwidth));
  }
  return registers;
}

/** The estimator of the 2007 paper, as PostgreSQL's `hll_cardinality` computes it for registers of up to 5 bits. */
export function originalEstimate(registers: Uint8Array): number {
  const m = registers.length;
  const alpha = { 16: 0.673, 32: 0.697, 64: 0.709 }[m] ?? 0.7213 / (1 + 1.079 / m);
  let sum = 0;
  let zeros = 0;
  for (const value of registers) {
    sum += 2 ** -value;
    if (value === 0) zeros++;
  }
  const raw = (alpha * m * m) / sum;
  return zeros > 0 && raw < 2.5 * m ? m * Math.log(m / zeros) : raw;
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replace(/^\\x/, ""), "hex"));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export const VECTORS = "vectors/postgresql-hll";

/** The rows of one published vector file, without its header line. */
export function vectorRows(name: string): string[][] {
  const text = gunzipSync(readFileSync(sharedPath(`${VECTORS}/${name}.csv.gz`))).toString();
  return text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(","));
}

/** What a damaged sketch must answer with; returns the sentence. */
export function damage(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === "storage-damaged") return message;
    throw error;
  }
  return "";
}
