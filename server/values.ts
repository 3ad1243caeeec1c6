/** Parsers of configuration values: each returns the value, or throws a sentence that ends the sentence "X must be …". */
import { parseOrigin } from "./origin.js";
import { MIN_TOKEN_CHARS } from "./limits.js";

export class BadValue extends Error {}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A hundred years: beyond it a duration is a slip of the keyboard. */
const MAX_DURATION_MS = 36_525 * 86_400_000;

/** `90s`, `5m`, `2h`, `30d` → ms. A bare number is refused: of what? */
export function duration(text: string): number {
  const [, digits = "", unit = ""] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Number(digits) * (UNIT_MS[unit] ?? Number.NaN);
  if (ms <= MAX_DURATION_MS) return ms;
  throw new BadValue("a duration like 90s, 5m, 2h or 30d");
}

export function positiveDuration(text: string): number {
  const ms = duration(text);
  if (ms > 0) return ms;
  throw new BadValue("a duration above zero, like 20ms or 1s");
}

export function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new BadValue("a whole number from 0 (any free port) to 65535");
}

export function count(text: string): number {
  if (/^[1-9]\d{0,12}$/.test(text)) return Number(text);
  throw new BadValue("a whole number of at least 1");
}

/** As `count`, or 0 for none. */
export function countOrNone(text: string): number {
  if (/^(0|[1-9]\d{0,12})$/.test(text)) return Number(text);
  throw new BadValue("a whole number, 0 for none");
}

export function nonEmpty(text: string): string {
  if (text.trim() !== "" && !text.includes("\0")) return text;
  throw new BadValue("a text that is not empty");
}

export function host(text: string): string {
  if (/^[0-9A-Za-z:.-]{1,253}$/.test(text)) return text;
  throw new BadValue("a host name or an address without port, like 127.0.0.1 or ::1");
}

/** `a,b` → ["a", "b"]. */
export function list(text: string): readonly string[] {
  const items = text.split(",").map((item) => item.trim());
  if (items.every((item) => item !== "")) return items;
  throw new BadValue("a list with commas between its items and no empty one");
}

export function origins(text: string): readonly string[] {
  const items = list(text).map((item) => parseOrigin(item)?.origin);
  if (items.every((item) => item !== undefined)) return items;
  throw new BadValue("a list of origins like https://stats.example.org, without a path");
}

/** 16 bytes as 32 hexadecimal digits. */
export function key16(text: string): Uint8Array {
  if (/^[0-9a-f]{32}$/i.test(text)) return Uint8Array.from(Buffer.from(text, "hex"));
  throw new BadValue("32 hexadecimal digits, as `openssl rand -hex 16` prints them");
}

const PLACEHOLDER =
  /change.?me|placeholder|example|secret|password|passwort|your.?token|token.?here|replace|insert|dummy|xxxx|1234567|abcdefg|qwerty/i;
const MIN_DISTINCT_CHARS = 8;

/** What an `Authorization: Bearer` header can carry (RFC 6750), long, and not copied from a manual. */
export function token(text: string): string {
  const isLong = text.length >= MIN_TOKEN_CHARS && /^[A-Za-z0-9._~+/-]+=*$/.test(text);
  if (!isLong) {
    throw new BadValue(
      `at least ${MIN_TOKEN_CHARS} of the characters A–Z a–z 0–9 . _ ~ + / -, as \`openssl rand -hex 32\` prints them`,
    );
  }
  if (PLACEHOLDER.test(text) || new Set(text).size < MIN_DISTINCT_CHARS) {
    throw new BadValue("random, not a placeholder; take what `openssl rand -hex 32` prints");
  }
  return text;
}

export const LOG_LEVELS = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function logLevel(text: string): LogLevel {
  if ((LOG_LEVELS as readonly string[]).includes(text)) return text as LogLevel;
  throw new BadValue(`one of ${LOG_LEVELS.join(", ")}`);
}
