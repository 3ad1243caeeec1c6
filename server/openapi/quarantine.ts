/** Schemas and operations of the quarantine. */
import {
  array,
  choice,
  closed,
  instant,
  nullable,
  object,
  ref,
  text,
  whole,
  type JsonSchema,
} from "./json-schema.js";
import {
  PROBLEMS,
  jsonBody,
  jsonResponse,
  parameter,
  problems,
  type Operation,
  type Paths,
} from "./operation.js";

/** How many refused events are kept, and what became of the others. */
export function totals(): Record<string, JsonSchema> {
  return {
    held: whole("Events in quarantine."),
    bytes: whole("Of these, at most."),
    dropped: whole("The oldest, given up because there was no room for newer ones."),
    expired: whole("Given up with the raw events of their time."),
    released: whole("Counted after all: by a replay, or sent again under the same id and accepted."),
    discarded: whole("Given up by the operator."),
    damaged: whole("Stored values that cannot be read."),
  };
}

export function quarantineSchemas(): Record<string, JsonSchema> {
  const id = whole("Counts from 1 over the whole store.");
  return {
    QuarantinedEvent: object({
      id,
      reason: choice(["too-old", "too-far-ahead"]),
      received_at: instant(),
      event: {
        type: "object",
        additionalProperties: text(),
        description: "Its type, its time, and the dimensions that it has.",
      },
      viewer_hash: nullable(text("12 hexadecimal digits.")),
      id_hash: nullable(text("16 hexadecimal digits.")),
    }),
    QuarantineReport: object({
      events: array(ref("QuarantinedEvent")),
      next: nullable(whole("`after` of the next page.")),
      ...totals(),
    }),
    QuarantineSelection: closed({ ids: { ...array(id), description: "All when it is left out." } }, []),
    ReplayReport: object({
      accepted: whole("Counted now."),
      duplicate: whole("Counted before, under the same id."),
      late_accepted: whole("Of the accepted: those whose bucket was sealed already."),
      kept: whole("Still too far ahead of the clock."),
      missing: whole("Of the ids: those that are not, or no longer, in quarantine."),
      position: nullable(whole("Of the last of them, in the event log.")),
    }),
    DiscardReport: object({ discarded: whole(), missing: whole("As in ReplayReport.") }),
  };
}

export function quarantinePaths(): Paths {
  const refusals = problems(...PROBLEMS.guarded, "invalid-parameter", "invalid-query");
  const writes = ["storage-failed", "storage-full", "overloaded"] as const;
  const tags = ["Operation"];
  const listed: Operation = {
    operationId: "quarantine",
    tags,
    summary: "Events that were refused for their time, oldest first",
    parameters: [
      parameter("after", "query", "Only events whose id is greater.", { schema: whole() }),
      parameter("limit", "query", "At most so many.", { schema: { ...whole(), default: 100 } }),
    ],
    responses: { "200": jsonResponse("A page.", ref("QuarantineReport")), ...refusals },
  };
  const discarded: Operation = {
    operationId: "quarantine_discard",
    tags,
    summary: "Give up events in quarantine",
    parameters: [
      parameter("ids", "query", "Which, with commas between; all when it is left out.", {
        schema: text(),
        example: "1,2,5",
      }),
    ],
    responses: {
      "200": jsonResponse("How many went.", ref("DiscardReport")),
      ...problems(...PROBLEMS.guarded, "invalid-parameter", "invalid-query", ...writes),
    },
  };
  const replayed: Operation = {
    operationId: "quarantine_replay",
    tags,
    summary: "Count events in quarantine after all",
    description:
      "Those that were too old as a backfill; those still too far ahead of the clock stay. Each is counted once: it leaves the quarantine in the transaction that counts it.",
    requestBody: jsonBody(ref("QuarantineSelection"), { all: {}, some: { ids: [1, 2, 5] } }),
    responses: {
      "200": jsonResponse("What became of them.", ref("ReplayReport")),
      ...problems(...PROBLEMS.guarded, ...PROBLEMS.body, "invalid-query", ...writes),
    },
  };
  return {
    "/v1/admin/quarantine": { get: listed, delete: discarded },
    "/v1/admin/quarantine/replay": { post: replayed },
  };
}
