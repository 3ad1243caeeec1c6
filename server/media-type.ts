import { TidemarkError } from "../engine/errors.js";

/** `type/subtype` and then parameters; nothing else may follow (CVE-2026-3419 was trailing garbage). */
const MEDIA_TYPE =
  /^([a-z0-9.+-]+\/[a-z0-9.+-]+)((?:[ \t]*;[ \t]*[a-z0-9-]+=(?:[a-z0-9._-]+|"[a-z0-9._-]+"))*)[ \t]*;?$/;

/**
 * The media type of a body, lower case and without parameters, when it is one of `allowed` in UTF-8.
 * Throws `unsupported-media-type` otherwise, also for any parameter but `charset=utf-8`, and when the header is missing:
 * a browser sends such a body to a foreign site without asking it first.
 */
export function checkMediaType(header: string | undefined, allowed: readonly string[]): string {
  const match = header === undefined ? null : MEDIA_TYPE.exec(header.toLowerCase());
  const [, essence = "", parameters = ""] = match ?? [];
  if (!allowed.includes(essence)) {
    const got = header === undefined ? "no Content-Type header" : `"${header.slice(0, 80)}"`;
    throw unsupported(`Send the body as ${allowed.join(" or ")}; the request has ${got}.`, allowed);
  }
  const charsets = parameters
    .split(";")
    .map((parameter) => parameter.trim().replaceAll('"', ""))
    .filter((parameter) => parameter !== "");
  if (charsets.length > 1 || (charsets.length === 1 && charsets[0] !== "charset=utf-8")) {
    throw unsupported(
      `Leave out the parameters of the Content-Type header: only charset=utf-8 is read.`,
      allowed,
    );
  }
  return essence;
}

/** Whether the body is compressed. One layer of gzip is read; everything else is `unsupported-media-type`. */
export function isGzip(contentEncoding: string | undefined): boolean {
  const encoding = contentEncoding?.trim().toLowerCase() ?? "identity";
  if (encoding === "identity" || encoding === "") return false;
  if (encoding === "gzip" || encoding === "x-gzip") return true;
  throw new TidemarkError(
    "unsupported-media-type",
    `Compress the body once with gzip, or not at all; "${encoding.slice(0, 80)}" is not read.`,
    { extra: { accept_encoding: "gzip" } },
  );
}

function unsupported(detail: string, allowed: readonly string[]): TidemarkError {
  return new TidemarkError("unsupported-media-type", detail, { extra: { accept: allowed } });
}
