import { createHash, timingSafeEqual } from "node:crypto";

/** Says whether a token is the right one. Without a configured token everybody may do everything. */
export type TokenCheck = (token: string | undefined) => boolean;

/**
 * Digests are compared, not tokens: they have one length, and the time that the comparison takes says nothing
 * about the token.
 */
export function tokenCheck(token: string | undefined): TokenCheck {
  if (token === undefined) return () => true;
  const expected = digest(token);
  return (given) => given !== undefined && timingSafeEqual(digest(given), expected);
}

/** The token of an `Authorization: Bearer` header (RFC 6750), or undefined. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +([^ ]+) *$/i.exec(authorization)?.[1];
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token, "utf8").digest();
}
