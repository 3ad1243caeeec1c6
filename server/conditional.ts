/** Answers that caches may hold: bytes with a strong `ETag`, and 304 to whoever has them (RFC 9110, RFC 9111). */
import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Freshness } from "../engine/api.js";

/** What is served for one object: the same bytes each time, so that a strong validator holds. */
export class Representation {
  readonly bytes: Buffer;
  readonly mediaType: string;
  #etag: string | undefined;

  constructor(text: string, mediaType = JSON_TYPE) {
    this.bytes = Buffer.from(text);
    this.mediaType = mediaType;
  }

  /** Strong; worked out when it is first asked for. */
  get etag(): string {
    this.#etag ??= `"${createHash("sha256").update(this.bytes).digest("base64url").slice(0, ETAG_CHARS)}"`;
    return this.#etag;
  }
}

const JSON_TYPE = "application/json; charset=utf-8";

/** Kept by browsers only, never by a proxy that others use: who may read it is for this server to say. */
export const CACHE_CONTROL = {
  /** May change with the next event: asked for again each time, which costs a 304 while it has not. */
  revalidate: "private, no-cache",
  /** Changes by a late event only. */
  minute: "private, max-age=60",
  /** Older than events are taken: changes by an import only. */
  day: "private, max-age=86400, immutable",
  never: "no-store",
} as const;

/** Browsers keep what one token could read from whoever comes next with another. */
const VARY = "Authorization";

/** 132 bits of the digest. */
const ETAG_CHARS = 22;

/** What a proxy that compresses puts at the end of a tag (Apache, Caddy). */
const ENCODING_SUFFIX = /-(?:gzip|br|zstd|deflate)$/;

/**
 * The bytes of answers. An engine that has an answer in its cache gives the same object again; its bytes are kept for
 * as long as it is, so that it is written out once.
 */
export class Representations {
  readonly #known = new WeakMap<object, Representation>();

  of(answer: object): Representation {
    const known = this.#known.get(answer);
    if (known !== undefined) return known;
    const made = new Representation(JSON.stringify(answer));
    this.#known.set(answer, made);
    return made;
  }
}

/** `isFixed`: the range does not move with the clock. Without freshness an answer is good for this moment only. */
export function cacheControlFor(freshness: Freshness | undefined, isFixed: boolean): string {
  if (freshness === undefined) return CACHE_CONTROL.never;
  if (freshness.state === "open") return CACHE_CONTROL.revalidate;
  return freshness.state === "settled" && isFixed ? CACHE_CONTROL.day : CACHE_CONTROL.minute;
}

/** 200 with the bytes, or 304 when the client has them already. */
export function sendConditional(
  request: FastifyRequest,
  reply: FastifyReply,
  representation: Representation,
  cacheControl: string,
): FastifyReply {
  const { bytes, mediaType } = representation;
  void reply.headers({ "cache-control": cacheControl, "cross-origin-resource-policy": "same-origin" });
  if (cacheControl === CACHE_CONTROL.never) return reply.type(mediaType).send(bytes);
  const { etag } = representation;
  void reply.headers({ etag, vary: VARY });
  if (hasTag(request.raw.headers["if-none-match"], etag)) return reply.code(304).send();
  return reply.type(mediaType).send(bytes);
}

/**
 * Whether `If-None-Match` names the tag, by weak comparison (RFC 9110, section 13.1.2): a proxy that compresses our
 * bytes makes the tag weak (nginx) or marks it, and sends it back to us so.
 */
function hasTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === "*") return true;
  const tag = etag.slice(1, -1);
  for (const [, given] of header.matchAll(/(?:W\/)?"([^"]*)"/g)) {
    if (given!.replace(ENCODING_SUFFIX, "") === tag) return true;
  }
  return false;
}
