import { TidemarkError } from "../errors.js";
import { compareDates, daysFromCivil, isRealDate, type CivilDate } from "./civil.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "./grain.js";
import type { Zone } from "./zone.js";

/** "2016-03-14T19:04:05Z" */
const SHORTEST = 20;
/** "2016-03-14T19:04:05.123456789+05:30" */
const LONGEST = 35;
const MAX_FRACTION_DIGITS = 9;

/** The local dates whose start can be told: those of the calendar, and the end of its last day. */
const FIRST_DATE: CivilDate = { year: 1990, month: 1, day: 1 };
const LAST_DATE: CivilDate = { year: 2038, month: 1, day: 1 };

const COLON = 0x3a;
const DASH = 0x2d;
const DOT = 0x2e;
const PLUS = 0x2b;
/** Upper or lower case, RFC 3339 section 5.6. */
const LETTER_CASE = 0x20;
const LOWER_T = 0x74;
const LOWER_Z = 0x7a;

/**
 * UTC ms of an RFC 3339 `date-time`, or undefined. Strict: a real date, "T" between date and time, an offset "Z" or
 * "±HH:MM" (RFC 3339's "-00:00" is UTC). A fraction has 1–9 digits and is cut to ms. The leap second ":60", which
 * the grammar allows, is refused: the time line in UTC ms has no place for it. Years 0000–9999.
 */
export function parseInstant(text: string): number | undefined {
  if (text.length < SHORTEST || text.length > LONGEST) return undefined;
  const dayNumber = readDate(text);
  const msOfDay = readTime(text);
  const offsetAt = fractionEnd(text);
  const offsetMs = readOffset(text, offsetAt);
  const instant = dayNumber * DAY_MS + msOfDay + readFraction(text, offsetAt) - offsetMs;
  return Number.isNaN(instant) ? undefined : instant;
}

/** The date of a strict "YYYY-MM-DD", or undefined where it is written otherwise or is not in the calendar. */
export function parseLocalDate(text: string): CivilDate | undefined {
  if (text.length !== 10 || Number.isNaN(readDate(text))) return undefined;
  return { year: readDigits(text, 0, 4), month: readDigits(text, 5, 2), day: readDigits(text, 8, 2) };
}

/**
 * UTC ms at which a local date begins; of the next day that exists where the zone skipped it (Apia, 2011-12-30).
 * Throws "invalid-range" for what is no date, and outside 1990-01-01 – 2038-01-01, where zones are not known.
 */
export function localDateStart(zone: Zone, year: number, month: number, day: number): number {
  const date = { year, month, day };
  if (!isRealDate(year, month, day))
    throw new TidemarkError("invalid-range", `${year}-${month}-${day} is not a date of the calendar.`);
  if (compareDates(date, FIRST_DATE) < 0 || compareDates(date, LAST_DATE) > 0)
    throw new TidemarkError("invalid-range", "Dates are served from 1990-01-01 up to the end of 2037-12-31.");
  return zone.dayStart(daysFromCivil(year, month, day));
}

// The readers below give NaN for whatever they do not accept; NaN spoils every sum that it enters.

function readDate(text: string): number {
  if (text.charCodeAt(4) !== DASH || text.charCodeAt(7) !== DASH) return NaN;
  const year = readDigits(text, 0, 4);
  const month = readDigits(text, 5, 2);
  const day = readDigits(text, 8, 2);
  return year >= 0 && isRealDate(year, month, day) ? daysFromCivil(year, month, day) : NaN;
}

function readTime(text: string): number {
  const isTime =
    (text.charCodeAt(10) | LETTER_CASE) === LOWER_T &&
    text.charCodeAt(13) === COLON &&
    text.charCodeAt(16) === COLON;
  const hour = readDigits(text, 11, 2);
  const minute = readDigits(text, 14, 2);
  const second = readDigits(text, 17, 2);
  if (!isTime || hour > 23 || minute > 59 || second > 59) return NaN;
  return hour * HOUR_MS + minute * MINUTE_MS + second * 1000;
}

/** Where the fraction, if there is one, is over. */
function fractionEnd(text: string): number {
  if (text.charCodeAt(19) !== DOT) return 19;
  let at = 20;
  while (isDigit(text.charCodeAt(at))) at++;
  return at;
}

function readFraction(text: string, end: number): number {
  if (end === 19) return 0;
  const digits = end - 20;
  if (digits < 1 || digits > MAX_FRACTION_DIGITS) return NaN;
  return digits >= 3 ? readDigits(text, 20, 3) : readDigits(text, 20, digits) * (digits === 1 ? 100 : 10);
}

function readOffset(text: string, at: number): number {
  const sign = text.charCodeAt(at);
  if ((sign | LETTER_CASE) === LOWER_Z && text.length === at + 1) return 0;
  if ((sign !== PLUS && sign !== DASH) || text.length !== at + 6) return NaN;
  const hours = readDigits(text, at + 1, 2);
  const minutes = readDigits(text, at + 4, 2);
  if (text.charCodeAt(at + 3) !== COLON || hours > 23 || minutes > 59) return NaN;
  return (hours * HOUR_MS + minutes * MINUTE_MS) * (sign === DASH ? -1 : 1);
}

function readDigits(text: string, from: number, count: number): number {
  let value = 0;
  for (let at = from; at < from + count; at++) {
    const code = text.charCodeAt(at);
    if (!isDigit(code)) return NaN;
    value = value * 10 + code - 48;
  }
  return value;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}
