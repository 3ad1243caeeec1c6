/**
 * `tidemark.live.v1`: what a client may say, and how it is told that it may not. One JSON object per text frame.
 *
 *     C connection_init {token?}      S connection_ack {epoch, heartbeat_ms, max_subs}
 *     C subscribe id {query}          S snapshot id, then delta id (absolute values), rollover id
 *     C resync id                     S snapshot id
 *     C unsubscribe id                S complete id
 *                                     S error id {problem}: the subscription has ended, or never was
 *                                     S heartbeat {seq, watermark}
 *
 * A delta's `prev` is the position of the message before it; the server leaves no gap: whoever missed something
 * gets a snapshot first.
 */
import type { QueryInput } from "../../engine/api.js";
import { MAX_LIVE_DEPTH, MAX_SUBSCRIPTION_ID_CHARS } from "../limits.js";

export const SUBPROTOCOL = "tidemark.live.v1";

/** Codes of our close frames; those above 4399 follow graphql-transport-ws, which clients know. */
export const CLOSE = {
  goingAway: 1001,
  internal: 1011,
  badMessage: 4400,
  unauthorized: 4401,
  initTimeout: 4408,
  duplicateId: 4409,
  tooMany: 4429,
  stalled: 4508,
} as const;

export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];

/** The client broke the protocol: its socket is closed with this code and reason (at most 123 bytes of ASCII). */
export class ProtocolError extends Error {
  constructor(
    readonly code: CloseCode,
    reason: string,
  ) {
    super(reason);
  }
}

export type ClientMessage =
  | { readonly type: "connection_init"; readonly token: string | undefined }
  | { readonly type: "subscribe"; readonly id: string; readonly query: QueryInput; readonly key: string }
  | { readonly type: "unsubscribe" | "resync"; readonly id: string };

/** Throws `ProtocolError` 4400 for anything else. */
export function parseMessage(text: string): ClientMessage {
  const message = asObject(parseJson(text), "a message");
  switch (message["type"]) {
    case "connection_init": {
      checkMembers(message, ["type", "payload"]);
      const payload = message["payload"] === undefined ? {} : asObject(message["payload"], "payload");
      checkMembers(payload, ["token"]);
      const { token } = payload;
      if (token !== undefined && typeof token !== "string") throw bad("token is a string");
      return { type: "connection_init", token };
    }
    case "subscribe": {
      checkMembers(message, ["type", "id", "payload"]);
      const payload = asObject(message["payload"], "payload");
      checkMembers(payload, ["query"]);
      const query = asObject(payload["query"], "query");
      return { type: "subscribe", id: idOf(message), query: query as never, key: canonicalText(query) };
    }
    case "unsubscribe":
    case "resync":
      checkMembers(message, ["type", "id"]);
      return { type: message["type"], id: idOf(message) };
    default:
      throw bad("type is connection_init, subscribe, unsubscribe or resync");
  }
}

/** Equal for queries that differ only in the order of their members, so that those share one topic. */
export function canonicalText(value: unknown, depth = 0): string {
  if (depth > MAX_LIVE_DEPTH) throw bad("the query is nested too deeply");
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalText(item, depth + 1)).join(",")}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  const members = entries.map(([name, item]) => `${JSON.stringify(name)}:${canonicalText(item, depth + 1)}`);
  return `{${members.join(",")}}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad("a message is one JSON object");
  }
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bad(`${what} is a JSON object`);
  return value as Record<string, unknown>;
}

function checkMembers(object: Record<string, unknown>, known: readonly string[]): void {
  for (const name of Object.keys(object)) {
    if (!known.includes(name)) throw bad(`only ${known.join(", ")} may stand here`);
  }
}

function idOf(message: Record<string, unknown>): string {
  const { id } = message;
  if (typeof id === "string" && id.length > 0 && id.length <= MAX_SUBSCRIPTION_ID_CHARS) return id;
  throw bad(`id is a string of 1 to ${MAX_SUBSCRIPTION_ID_CHARS} characters`);
}

function bad(reason: string): ProtocolError {
  return new ProtocolError(CLOSE.badMessage, reason);
}
