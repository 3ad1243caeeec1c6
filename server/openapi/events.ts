/** Schemas of events and of the reply to them. */
import { MAX_BATCH_EVENTS, MAX_ID_BYTES } from "../../engine/limits.js";
import type { Schema } from "../../engine/schema.js";
import {
  array,
  choice,
  closed,
  flag,
  instant,
  nullable,
  object,
  oneOf,
  ref,
  text,
  whole,
  type JsonSchema,
} from "./json-schema.js";

export function eventSchemas(schema: Schema): Record<string, JsonSchema> {
  const value = { type: "string", minLength: 1, maxLength: MAX_ID_BYTES };
  const subject = schema.dimensions[schema.subject]!;
  return {
    Event: closed(
      {
        type: choice(["view", "created"]),
        ts: {
          description: "Milliseconds since 1970, or RFC 3339 with an offset; now by default.",
          oneOf: [{ type: "integer" }, instant()],
        },
        ...Object.fromEntries(
          schema.dimensions.map((name) => [name, name === subject ? value : nullable(value)]),
        ),
        [schema.identity]: {
          ...nullable(value),
          description: "Whose view it is. Hashed at the door, never kept.",
        },
        id: { ...nullable(value), description: "A second event of the same id is not counted." },
      },
      ["type", subject],
    ),
    Events: oneOf(ref("Event"), array(ref("Event"), { maxItems: MAX_BATCH_EVENTS })),
    IngestReply: object({
      accepted: whole("Counted, the late ones included."),
      duplicate: whole("Not counted again: their id was seen before."),
      late_accepted: whole("Of the accepted: those whose bucket was sealed already."),
      late_rejected: whole(),
      future_rejected: whole(),
      invalid: whole(),
      errors: array(
        object({
          index: whole("Of the event in the array, or of the line, from 0."),
          type: text("`/errors/<reason>`"),
          detail: text(),
        }),
        { description: "The first 100; the counts are complete." },
      ),
      watermark: nullable(instant()),
      position: nullable(whole("Place of the batch in the event log.")),
      durable: flag("It is on disk."),
    }),
  };
}
