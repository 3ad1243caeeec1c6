/** The little of JSON that nearly all events are made of. What these readers do not know is left to JSON.parse. */
import { characterEnd } from "./utf8.js";

export const LINE_FEED = 0x0a;
export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN = 0x7b;
export const CLOSE = 0x7d;

const TAB = 0x09;
const RETURN = 0x0d;
const SPACE = 0x20;
const BACKSLASH = 0x5c;
const ZERO = 0x30;

/** Digits whose number a float holds exactly, whatever they are. */
const MAX_DIGITS = 15;
/** Of a time in ms, from 2001 to 2286. */
const MS_DIGITS = 13;

/** By byte: does it end the plain part of a string (a quote, an escape, a control character, a byte beyond ASCII)? */
const ENDS_PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < SPACE || byte === QUOTE || byte === BACKSLASH || byte >= 0x80 ? 1 : 0,
);

/** JSON's white space, but for the line feed, which ends the line. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  let byte = bytes[at]!;
  while (byte === SPACE || byte === TAB || byte === RETURN) byte = bytes[++at]!;
  return at;
}

/** Where the string that begins at `at`, after its quote, has its closing one; −1 for one with escapes or no string. */
export function stringEnd(bytes: Uint8Array, at: number): number {
  for (;;) {
    while (at < bytes.length && ENDS_PLAIN[bytes[at]!] === 0) at++;
    const byte = bytes[at]!;
    if (byte === QUOTE) return at;
    if (!(byte >= 0x80)) return -1;
    at = characterEnd(bytes, at);
    if (at < 0) return -1;
  }
}

/** Where the digits that begin at `at` end: of a whole number that `numberAt` reads; −1 for any other. */
export function digitsEnd(bytes: Uint8Array, at: number): number {
  const start = at;
  while (isDigit(bytes[at]!)) at++;
  // A leading zero is an error, and a number that small no time.
  return at === start || at - start > MAX_DIGITS || bytes[start] === ZERO ? -1 : at;
}

export function numberAt(bytes: Uint8Array, start: number, end: number): number {
  if (end - start === MS_DIGITS) {
    const millions = sixDigits(bytes, start + 1) + (bytes[start]! - ZERO) * 1_000_000;
    return millions * 1_000_000 + sixDigits(bytes, start + 7);
  }
  let value = 0;
  for (let at = start; at < end; at++) value = value * 10 + bytes[at]! - ZERO;
  return value;
}

/** Six products that wait for nothing, instead of a chain of them. */
function sixDigits(bytes: Uint8Array, at: number): number {
  const high = bytes[at]! * 100 + bytes[at + 1]! * 10 + bytes[at + 2]! - ZERO * 111;
  const low = bytes[at + 3]! * 100 + bytes[at + 4]! * 10 + bytes[at + 5]! - ZERO * 111;
  return high * 1000 + low;
}

export function isNull(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x6e && bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte < ZERO + 10;
}
