/** Every limit of the server, in one place, each with its reason. Times in ms, sizes in bytes. */

/** One body of events, as sent and again when unpacked: about 100,000 events, parsed in well under a second. */
export const MAX_EVENTS_BODY_BYTES = 16 * 1024 * 1024;

/** One query, or a batch of them: a filter of 10,000 values, the most it may have, has 200 KB. */
export const MAX_QUERY_BODY_BYTES = 256 * 1024;

/** Bodies being received or worked on, all together. Beyond it new ones are refused before they are read. */
export const MAX_BODIES_IN_FLIGHT_BYTES = 256 * 1024 * 1024;

/** Request line and headers. Twice what browsers behind proxies send; 2,000 tiny headers do not fit. */
export const MAX_HEADER_BYTES = 8 * 1024;

/** Header lines of one request. One through two proxies has about 40. */
export const MAX_HEADERS = 128;

/** `Idempotency-Key`: the draft sets no limit; UUIDs and ULIDs have 26–36 characters. */
export const MAX_IDEMPOTENCY_KEY_CHARS = 255;

/** From the first byte of a request to the last of its headers. Slow headers are an attack, not a slow line. */
export const HEADERS_TIMEOUT_MS = 10_000;

/** From the first byte of a request to the last of its body: the largest body at 2.2 Mbit/s. */
export const REQUEST_TIMEOUT_MS = 60_000;

/** How often the two above are checked. */
export const TIMEOUT_CHECK_MS = 5_000;

/** An idle connection is kept a little longer than load balancers keep theirs (60 s), so that they close first. */
export const KEEP_ALIVE_TIMEOUT_MS = 72_000;

/**
 * A refused body is thrown away for so long before the connection is closed: who is still sending would lose
 * our answer to a connection reset (RFC 9112, section 9.6).
 */
export const LINGER_MS = 2_000;

/** A refused body of at most this declared size is read to its end, and the connection kept. */
export const MAX_DISCARD_BYTES = 64 * 1024;

/** Requests under way at a close get so long to finish; then their connections are cut. */
export const DRAIN_MS = 5_000;

/** Everything, from the first signal to the end of the process. */
export const SHUTDOWN_MS = 10_000;

/** A token is at least this long: 32 characters of hexadecimal are 128 bits. */
export const MIN_TOKEN_CHARS = 32;

/**
 * One message of a live client. Messages are small, but a query may carry a list of blogs to filter by; this holds
 * two hundred of them, and 32 fragments of it cost no memory worth an attack.
 */
export const MAX_LIVE_MESSAGE_BYTES = 16 * 1024;

/** Frames that one message may be split into. */
export const MAX_LIVE_FRAGMENTS = 32;

/** Open WebSockets. Measured: one process serves 10,000 at 5 updates a second. */
export const MAX_LIVE_SOCKETS = 10_000;

/** Subscriptions on one socket: a full dashboard has about ten. */
export const MAX_SUBSCRIPTIONS_PER_SOCKET = 32;

/** Different live queries in all: each is brought up to date after every batch, whoever looks at it. */
export const MAX_LIVE_TOPICS = 1_000;

/** Characters of a subscription's id: it is repeated in every message. */
export const MAX_SUBSCRIPTION_ID_CHARS = 64;

/** Levels of nesting in a live message; filters alone may have 34. */
export const MAX_LIVE_DEPTH = 40;

/** Messages and pings that a socket may send at once: all its subscriptions, and as much again to leave them. */
export const LIVE_MESSAGE_BURST = 80;

/** Messages and pings a second after that: a person clicking fast makes five. */
export const LIVE_MESSAGES_PER_S = 20;

/** From the handshake to `connection_init`: a socket without a token holds memory no longer than this. */
export const LIVE_INIT_TIMEOUT_MS = 5_000;

/** Heartbeat and ping; a socket that answers none until the next one is gone. Proxies cut idle ones at 30–60 s. */
export const LIVE_HEARTBEAT_MS = 15_000;

/** Unsent bytes of a socket beyond which its subscriptions are marked stale instead of being written to. */
export const LIVE_HIGH_WATER_BYTES = 256 * 1024;

/** Unsent bytes at or below which a stale subscription gets a snapshot. */
export const LIVE_LOW_WATER_BYTES = 64 * 1024;

/** A socket that has not come back from the high to the low mark for so long is closed. */
export const LIVE_STALL_MS = 30_000;

/** One snapshot; with the high mark this bounds what a socket that never reads can hold. */
export const MAX_LIVE_FRAME_BYTES = 1024 * 1024;

/** A snapshot is given to everybody who asks for it within this time: a thousand reconnect at once. */
export const LIVE_SNAPSHOT_REUSE_MS = 100;

/** From our close frame to the end of the connection, when the other side does not answer it. */
export const LIVE_CLOSE_GRACE_MS = 1_000;

/** Seconds to wait, told with each refusal that will pass by itself. */
export const RETRY_AFTER_S = {
  overloaded: 1,
  "idempotency-in-flight": 1,
  "not-ready": 5,
  "storage-failed": 5,
  "storage-full": 60,
} as const;
