import type { LogRecord } from "../../engine/log.js";
import { record } from "./samples.js";

/** Records of very different sizes, which are known from the position. */
export function sizedRecord(position: number): LogRecord {
  return record(position, position % 11 === 0 ? 3000 : 1 + (position % 40));
}
