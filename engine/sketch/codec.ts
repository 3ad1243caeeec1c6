/**
 * The HLL storage specification, version 1 (aggregateknowledge/hll-storage-spec), which PostgreSQL's `hll`, java-hll
 * and js-hll read and write: `1T PP CC data…` with the type T, P = (regwidth − 1) · 32 + log2m, C = cut-offs.
 */
import { TidemarkError } from "../errors.js";
import { BitReader, BitWriter } from "./bits.js";
import { decodeHashes, encodeHashes } from "./explicit.js";
import { AUTOMATIC, MAX_LOG2M, MIN_LOG2M, type SketchSettings } from "./settings.js";

const VERSION = 1;
const HEADER_BYTES = 3;

const TYPE = { undefined: 0, empty: 1, explicit: 2, sparse: 3, full: 4 } as const;

const SPARSE_FLAG = 0x40;
const CUTOFF_MASK = 0x3f;
const CUTOFF_AUTOMATIC = 63;
/** Cut-off codes 1 to 31 mean up to 2^(code − 1) hashes. */
const MAX_CUTOFF_CODE = 31;

/** What the bytes of a sketch hold: its hashes (EXPLICIT), its registers (SPARSE and FULL) or neither (EMPTY). */
export interface DecodedSketch {
  readonly settings: SketchSettings;
  readonly hashes: BigInt64Array | null;
  readonly registers: Uint8Array | null;
}

function damaged(detail: string): TidemarkError {
  return new TidemarkError("storage-damaged", `These bytes are not a readable HyperLogLog sketch: ${detail}`);
}

function decodeCutoff(code: number): number {
  if (code === CUTOFF_AUTOMATIC) return AUTOMATIC;
  if (code > MAX_CUTOFF_CODE) throw damaged(`the cut-off code is ${code}, known are 0 to 31 and 63.`);
  return code === 0 ? 0 : 2 ** (code - 1);
}

function encodeCutoff(explicitThreshold: number): number {
  if (explicitThreshold === AUTOMATIC) return CUTOFF_AUTOMATIC;
  return explicitThreshold === 0 ? 0 : Math.log2(explicitThreshold) + 1;
}

/** Reads bytes 1 and 2 of the header, the parameters and cut-offs. Throws `storage-damaged`. */
export function decodeSettings(parameters: number, cutoffs: number): SketchSettings {
  const log2m = parameters & 0x1f;
  if (log2m < MIN_LOG2M || log2m > MAX_LOG2M) {
    throw damaged(`log2m is ${log2m}, read are ${MIN_LOG2M} to ${MAX_LOG2M}.`);
  }
  if ((cutoffs & 0x80) !== 0) throw damaged("the top bit of the cut-off byte is set.");
  return {
    log2m,
    regwidth: (parameters >>> 5) + 1,
    explicitThreshold: decodeCutoff(cutoffs & CUTOFF_MASK),
    sparse: (cutoffs & SPARSE_FLAG) !== 0,
  };
}

/** Bytes 1 and 2 of the header. */
export function encodeSettings(settings: SketchSettings): [parameters: number, cutoffs: number] {
  return [
    ((settings.regwidth - 1) << 5) | settings.log2m,
    (settings.sparse ? SPARSE_FLAG : 0) | encodeCutoff(settings.explicitThreshold),
  ];
}

function headed(type: number, settings: SketchSettings, dataBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + dataBytes);
  const [parameters, cutoffs] = encodeSettings(settings);
  bytes[0] = (VERSION << 4) | type;
  bytes[1] = parameters;
  bytes[2] = cutoffs;
  return bytes;
}

export function encodeEmpty(settings: SketchSettings): Uint8Array {
  return headed(TYPE.empty, settings, 0);
}

/** `hashes` ascending. */
export function encodeExplicit(settings: SketchSettings, hashes: BigInt64Array): Uint8Array {
  const data = encodeHashes(hashes);
  const bytes = headed(TYPE.explicit, settings, data.length);
  bytes.set(data, HEADER_BYTES);
  return bytes;
}

/**
 * SPARSE where it is allowed and smaller than FULL, otherwise FULL. Values that need more than `regwidth` bits are
 * written as the largest that fits. `maxSparse` replaces the rule: SPARSE up to so many filled registers, as after
 * PostgreSQL's `hll_set_max_sparse`.
 */
export function encodeRegisters(
  settings: SketchSettings,
  registers: Uint8Array,
  maxSparse?: number,
): Uint8Array {
  const { log2m, regwidth } = settings;
  let filled = 0;
  for (let i = 0; i < registers.length; i++) if (registers[i] !== 0) filled++;
  const sparseBits = filled * (log2m + regwidth);
  const fullBits = registers.length * regwidth;
  const smaller = maxSparse === undefined ? sparseBits < fullBits : filled <= maxSparse;
  return settings.sparse && smaller
    ? encodeSparse(settings, registers, Math.ceil(sparseBits / 8))
    : encodeFull(settings, registers, fullBits / 8);
}

function encodeSparse(settings: SketchSettings, registers: Uint8Array, dataBytes: number): Uint8Array {
  const { log2m, regwidth } = settings;
  const largest = 2 ** regwidth - 1;
  const bytes = headed(TYPE.sparse, settings, dataBytes);
  const bits = new BitWriter(bytes, HEADER_BYTES);
  for (let i = 0; i < registers.length; i++) {
    if (registers[i] === 0) continue;
    bits.write(i, log2m);
    bits.write(Math.min(registers[i]!, largest), regwidth);
  }
  bits.finish();
  return bytes;
}

function encodeFull(settings: SketchSettings, registers: Uint8Array, dataBytes: number): Uint8Array {
  const largest = 2 ** settings.regwidth - 1;
  const bytes = headed(TYPE.full, settings, dataBytes);
  const bits = new BitWriter(bytes, HEADER_BYTES);
  for (let i = 0; i < registers.length; i++) bits.write(Math.min(registers[i]!, largest), settings.regwidth);
  return bytes;
}

/** Reads a sketch of any type but UNDEFINED, which is no set. Throws `storage-damaged` with what is wrong. */
export function decodeSketch(bytes: Uint8Array): DecodedSketch {
  if (bytes.length < HEADER_BYTES) {
    throw damaged(`${bytes.length} bytes are fewer than the ${HEADER_BYTES} of a header.`);
  }
  if (bytes[0]! >>> 4 !== VERSION)
    throw damaged(`the format version is ${bytes[0]! >>> 4}, known is ${VERSION}.`);
  const settings = decodeSettings(bytes[1]!, bytes[2]!);
  const type = bytes[0]! & 0x0f;
  switch (type) {
    case TYPE.undefined:
      throw damaged("its type is UNDEFINED, which stands for no set at all.");
    case TYPE.empty:
      if (bytes.length !== HEADER_BYTES) throw damaged("data follow the header of an EMPTY sketch.");
      return { settings, hashes: null, registers: null };
    case TYPE.explicit:
      return { settings, hashes: decodeHashes(bytes.subarray(HEADER_BYTES)), registers: null };
    case TYPE.sparse:
      return { settings, hashes: null, registers: decodeSparse(bytes, settings) };
    case TYPE.full:
      return { settings, hashes: null, registers: decodeFull(bytes, settings) };
    default:
      throw damaged(`its type is ${type}, known are 0 to 4.`);
  }
}

function decodeSparse(bytes: Uint8Array, settings: SketchSettings): Uint8Array {
  const { log2m, regwidth } = settings;
  const registers = new Uint8Array(2 ** log2m);
  const bits = new BitReader(bytes, HEADER_BYTES);
  let before = -1;
  while (bits.remainingBits >= log2m + regwidth) {
    // Where a word is shorter than a byte, a word of zeros may be padding.
    const isLast = bits.remainingBits < 8;
    const index = bits.read(log2m);
    const value = bits.read(regwidth);
    if (isLast && index === 0 && value === 0) break;
    if (value === 0) throw damaged(`register ${index} is listed with the value 0.`);
    if (index <= before) throw damaged(`register ${index} is listed after register ${before}.`);
    registers[index] = value;
    before = index;
  }
  if (bits.remainingBits >= 8)
    throw damaged(`${bits.remainingBits} bits of padding; fewer than 8 are allowed.`);
  if (bits.read(bits.remainingBits) !== 0) throw damaged("the padding is not zero.");
  return registers;
}

function decodeFull(bytes: Uint8Array, settings: SketchSettings): Uint8Array {
  const { log2m, regwidth } = settings;
  const registers = new Uint8Array(2 ** log2m);
  const dataBytes = bytes.length - HEADER_BYTES;
  if (dataBytes * 8 !== registers.length * regwidth) {
    throw damaged(`${dataBytes} bytes of registers, where ${(registers.length * regwidth) / 8} are due.`);
  }
  const bits = new BitReader(bytes, HEADER_BYTES);
  for (let i = 0; i < registers.length; i++) registers[i] = bits.read(regwidth);
  return registers;
}
