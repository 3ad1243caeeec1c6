import { daysFromCivil, isRealDate } from "../calendar/civil.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../calendar/grain.js";

/** "2016-03-14T19:04:05Z" */
const SHORTEST = 20;
const MAX_FRACTION_DIGITS = 9;
const PLUS = 0x2b;
const DASH = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const UPPER_T = 0x54;
const UPPER_Z = 0x5a;

/** As `parseInstant` reads the text, but with upper-case letters only; NaN for any other text. */
export function instantOf(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < SHORTEST || !hasMarks(bytes, start)) return NaN;
  const year = two(bytes, start) * 100 + two(bytes, start + 2);
  const month = two(bytes, start + 5);
  const day = two(bytes, start + 8);
  const hour = two(bytes, start + 11);
  const minute = two(bytes, start + 14);
  const second = two(bytes, start + 17);
  if (!(year >= 0) || !isRealDate(year, month, day)) return NaN;
  if (!(hour <= 23 && minute <= 59 && second <= 59)) return NaN;
  const offsetAt = fractionEnd(bytes, start + 19, end);
  const ms = hour * HOUR_MS + minute * MINUTE_MS + second * 1000 + fractionMs(bytes, start + 19, offsetAt);
  return daysFromCivil(year, month, day) * DAY_MS + ms - offsetMs(bytes, offsetAt, end);
}

function hasMarks(bytes: Uint8Array, start: number): boolean {
  const isDate = bytes[start + 4] === DASH && bytes[start + 7] === DASH && bytes[start + 10] === UPPER_T;
  return isDate && bytes[start + 13] === COLON && bytes[start + 16] === COLON;
}

function fractionEnd(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] !== DOT) return at;
  let next = at + 1;
  while (next < end && isDigit(bytes[next]!)) next++;
  return next;
}

/** The fraction that begins with its dot at `start`, cut to ms. */
function fractionMs(bytes: Uint8Array, start: number, end: number): number {
  if (end === start) return 0;
  const digits = end - start - 1;
  if (digits < 1 || digits > MAX_FRACTION_DIGITS) return NaN;
  let ms = (bytes[start + 1]! - ZERO) * 100;
  if (digits > 1) ms += (bytes[start + 2]! - ZERO) * 10;
  return digits > 2 ? ms + bytes[start + 3]! - ZERO : ms;
}

function offsetMs(bytes: Uint8Array, at: number, end: number): number {
  const sign = bytes[at]!;
  if (sign === UPPER_Z && end === at + 1) return 0;
  if ((sign !== PLUS && sign !== DASH) || end !== at + 6 || bytes[at + 3] !== COLON) return NaN;
  const hours = two(bytes, at + 1);
  const minutes = two(bytes, at + 4);
  if (!(hours <= 23 && minutes <= 59)) return NaN;
  return (hours * HOUR_MS + minutes * MINUTE_MS) * (sign === DASH ? -1 : 1);
}

/** Two digits; NaN where there are others. */
function two(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]!;
  const ones = bytes[at + 1]!;
  return isDigit(tens) && isDigit(ones) ? tens * 10 + ones - ZERO * 11 : NaN;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte < ZERO + 10;
}
