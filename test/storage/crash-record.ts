import type { LogRecord } from "../../engine/log.js";
import { sizedRecord } from "./samples.js";

/** Appended at once at most. */
export const MOST_AT_ONCE = 7;
/** Older ones are given up now and then. */
export const KEPT_RECORDS = 800;

const APART_MS = 8 * 3_600_000;

/** The record of a position, received eight hours after the one before: no segment holds more than a week of them. */
export function spacedRecord(position: number): LogRecord {
  const sized = sizedRecord(position);
  return { ...sized, receivedAt: 1_750_000_000_000 + position * APART_MS };
}
