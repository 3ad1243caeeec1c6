/** Hashes of bodies, by which the same batch under the same key is known again. */
import type { EventBatch } from "./log.js";
import { hashBytes, hashText } from "./sketch/murmur3.js";

export function eventsDigest(events: readonly unknown[]): string {
  return textDigest(textOf(events));
}

export function batchDigest({
  count,
  flags,
  ts,
  dims,
  values,
  viewerLo,
  viewerHi,
  idLo,
  idHi,
}: EventBatch): string {
  const columns = [flags, ts, ...dims, viewerLo, viewerHi, idLo ?? [], idHi ?? []];
  return textDigest(JSON.stringify([values, ...columns.map((column) => Array.from(column.slice(0, count)))]));
}

export function bytesDigest(bytes: Uint8Array): string {
  const out = new Uint32Array(2);
  hashBytes(bytes, 0, bytes.length, out, 0);
  return hex(out);
}

function textDigest(text: string): string {
  const out = new Uint32Array(2);
  hashText(text, out, 0);
  return hex(out);
}

function hex([lo, hi]: Uint32Array): string {
  return hi!.toString(16).padStart(8, "0") + lo!.toString(16).padStart(8, "0");
}

/** What JSON has no form for makes another text than anything that it has one for. */
function textOf(events: readonly unknown[]): string {
  return JSON.stringify(events, (_, value: unknown) =>
    typeof value === "bigint" ? { bigint: `${value}` } : value,
  );
}
