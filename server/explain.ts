/** What `GET /errors/<code>` says: every code that an answer can carry, in plain words. */
import type { RejectionCode } from "../engine/api.js";
import { ERROR_CODES } from "../engine/errors.js";
import { HTTP_CODES } from "./problem.js";

const REJECTIONS: Record<RejectionCode, string> = {
  "invalid-json":
    "The line is not one JSON value. Each line of NDJSON is one event, without a comma behind it.",
  "invalid-utf8": "The line has bytes that are not UTF-8. Nothing is replaced or guessed.",
  "not-an-object": 'An event is a JSON object, like {"type":"view","blog":"hello"}.',
  "unknown-field": "The event has a member that is not declared. Declare it as a dimension, or leave it out.",
  "invalid-type": 'The "type" of an event is "view" or "created".',
  "invalid-timestamp":
    "The time is whole milliseconds since 1970, or RFC 3339 with an offset, like 2026-11-23T14:03:11Z. " +
    "A time without an offset is refused, because every guess of a zone is wrong somewhere.",
  "missing-value": "The event lacks a value that every event must have.",
  "invalid-value": "A value has the wrong kind: names, viewers and ids are strings of valid Unicode.",
  "value-too-long": "A value is longer than is kept. Nothing is cut off; shorten it before it is sent.",
  "too-old": "The event is older than the allowed lateness. Send history with ?backfill=1.",
  "too-far-ahead": "The event lies too far in the future. Look at the clock of the sender.",
};

/** Plain text for a code, or undefined when there is no such code. */
export function explain(code: string): string | undefined {
  const known = Object.hasOwn(ERROR_CODES, code)
    ? ERROR_CODES[code as keyof typeof ERROR_CODES]
    : Object.hasOwn(HTTP_CODES, code)
      ? HTTP_CODES[code as keyof typeof HTTP_CODES]
      : undefined;
  const rejection = Object.hasOwn(REJECTIONS, code) ? REJECTIONS[code as RejectionCode] : undefined;
  if (known === undefined && rejection === undefined) return undefined;
  const lines = [code, ""];
  if (known !== undefined) lines.push(`As the status of a request (${known.status}): ${known.title}.`);
  if (rejection !== undefined) lines.push(`As the reason why one event was not counted: ${rejection}`);
  lines.push("", 'The "detail" of the answer says what was wrong in this case, and what to do.', "");
  return lines.join("\n");
}
