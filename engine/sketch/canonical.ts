/**
 * The internal byte form of a sketch: lossless, and a pure function of its state. One tag byte (form and log2m), for
 * sketches that were read with other settings three more, then sorted tokens as differences in LEB128, registers as
 * they are, or hashes of 8 bytes in big-endian order.
 */
import { TidemarkError } from "../errors.js";
import { decodeSettings, encodeSettings } from "./codec.js";
import { decodeHashes, encodeHashes } from "./explicit.js";
import { NO_LIMIT } from "./registers.js";
import { isOwn, ownSettings, type SketchSettings } from "./settings.js";
import { isToken, SMALL_LIMIT } from "./token.js";

const LOG2M_MASK = 0x1f;
const FORM_SHIFT = 5;
const FORM_MASK = 0x60;
const FOREIGN_FLAG = 0x80;
const FORM = { tokens: 0, registers: 1, hashes: 2 } as const;

const MAX_TOKEN_BYTES = 5;
const MAX_TOKEN = 0xffff_ffff;

/** What a sketch consists of: exactly one of the three forms. */
export type SketchContent =
  | { readonly form: "tokens"; readonly tokens: Uint32Array }
  | { readonly form: "registers"; readonly registers: Uint8Array; readonly limit: number }
  | { readonly form: "hashes"; readonly hashes: BigInt64Array };

export interface SketchState {
  readonly settings: SketchSettings;
  readonly content: SketchContent;
}

function damaged(detail: string): TidemarkError {
  return new TidemarkError("storage-damaged", `A stored sketch cannot be read: ${detail}`);
}

export function encodeCanonical(state: SketchState): Uint8Array {
  const { settings, content } = state;
  const limit = content.form === "registers" ? content.limit : NO_LIMIT;
  const tag = settings.log2m | (FORM[content.form] << FORM_SHIFT);
  if (isOwn(settings) && limit === NO_LIMIT) return join([tag], encodeContent(content));
  return join([tag | FOREIGN_FLAG, ...encodeSettings(settings), limit], encodeContent(content));
}

function join(head: number[], data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + data.length);
  bytes.set(head);
  bytes.set(data, head.length);
  return bytes;
}

function encodeContent(content: SketchContent): Uint8Array {
  switch (content.form) {
    case "tokens":
      return encodeTokens(content.tokens);
    case "registers":
      return content.registers;
    case "hashes":
      return encodeHashes(content.hashes);
  }
}

function encodeTokens(tokens: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(tokens.length * MAX_TOKEN_BYTES);
  let at = 0;
  let before = 0;
  for (let i = 0; i < tokens.length; i++) {
    let difference = tokens[i]! - before;
    before = tokens[i]!;
    for (; difference > 0x7f; difference = difference >>> 7) bytes[at++] = (difference & 0x7f) | 0x80;
    bytes[at++] = difference;
  }
  return bytes.subarray(0, at);
}

/** Reads what `encodeCanonical` wrote and copies what it keeps. Throws `storage-damaged` for anything else. */
export function decodeCanonical(bytes: Uint8Array): SketchState {
  if (bytes.length === 0) throw damaged("it is empty.");
  const tag = bytes[0]!;
  const isForeign = (tag & FOREIGN_FLAG) !== 0;
  if (isForeign && bytes.length < 4) throw damaged("its settings are cut off.");
  const settings = isForeign ? decodeSettings(bytes[1]!, bytes[2]!) : decodeOwnSettings(tag & LOG2M_MASK);
  if (settings.log2m !== (tag & LOG2M_MASK)) throw damaged("its settings contradict its tag.");
  const limit = isForeign ? bytes[3]! : NO_LIMIT;
  const data = bytes.subarray(isForeign ? 4 : 1);
  return {
    settings,
    content: decodeContent((tag & FORM_MASK) >>> FORM_SHIFT, data, settings.log2m, limit),
  };
}

function decodeOwnSettings(log2m: number): SketchSettings {
  try {
    return ownSettings(log2m);
  } catch (cause) {
    throw new TidemarkError("storage-damaged", `A stored sketch cannot be read: its log2m is ${log2m}.`, {
      cause,
    });
  }
}

function decodeContent(form: number, data: Uint8Array, log2m: number, limit: number): SketchContent {
  switch (form) {
    case FORM.tokens:
      return { form: "tokens", tokens: decodeTokens(data) };
    case FORM.registers:
      return { form: "registers", registers: decodeRegisters(data, log2m, limit), limit };
    case FORM.hashes:
      return { form: "hashes", hashes: decodeHashes(data) };
    default:
      throw damaged(`its form is ${form}, known are 0 to 2.`);
  }
}

function decodeTokens(data: Uint8Array): Uint32Array {
  const tokens: number[] = [];
  let before = 0;
  for (let at = 0; at < data.length;) {
    let difference = 0;
    let scale = 1;
    let byte: number;
    do {
      if (at === data.length || scale > 2 ** 28) throw damaged("a token is cut off or too long.");
      byte = data[at++]!;
      difference += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte > 0x7f);
    // A zero is a token twice, or a longer spelling of a difference.
    if (byte === 0) throw damaged("a token is spelled in more bytes than it needs, or listed twice.");
    before += difference;
    if (before > MAX_TOKEN || !isToken(before)) throw damaged(`${before} is not a token.`);
    tokens.push(before);
  }
  if (tokens.length > SMALL_LIMIT)
    throw damaged(`${tokens.length} tokens; more than ${SMALL_LIMIT} are never kept.`);
  return Uint32Array.from(tokens);
}

function decodeRegisters(data: Uint8Array, log2m: number, limit: number): Uint8Array {
  if (data.length !== 2 ** log2m) throw damaged(`${data.length} registers, where ${2 ** log2m} are due.`);
  for (let i = 0; i < data.length; i++) {
    if (data[i]! > limit) throw damaged(`register ${i} is ${data[i]!}, but they are cut at ${limit}.`);
  }
  return data.slice();
}
