/** The bytes of refused events: FORMAT.md, "Quarantine". */
import type {
  QuarantineChunk,
  QuarantineId,
  QuarantineReason,
  QuarantineState,
} from "../engine/quarantine-port.js";
import { frame, unframe, type RecordKind } from "./frame.js";
import { logKey } from "./keys.js";
import { decodeRecord, encodeRecord } from "./log-codec.js";

const CHUNK: RecordKind = { magic: 0x58, version: 1 };
const STATE: RecordKind = { magic: 0x59, version: 1 };

/** By the number that stands for them. */
const REASONS: readonly QuarantineReason[] = ["too-old", "too-far-ahead"];

/** Before all chunks, for their names count from 1. */
export const STATE_KEY = logKey(0);

export function encodeChunk({ name, reason, receivedAt, ids, events }: QuarantineChunk): Uint8Array {
  const record = encodeRecord(name, { receivedAt, events });
  return frame(CHUNK, logKey(name), (writer) => {
    writer.u8(REASONS.indexOf(reason));
    writer.varint(ids.length);
    let before = name - 1;
    for (const id of ids) {
      writer.varint(id - before - 1);
      before = id;
    }
    writer.varint(record.length);
    writer.raw(record);
  });
}

/** Throws `storage-damaged` or `storage-version`. */
export function decodeChunk(name: QuarantineId, bytes: Uint8Array): QuarantineChunk {
  return unframe(CHUNK, logKey(name), bytes, `Refused event ${name}`, (reader) => {
    const reason = REASONS[reader.u8()];
    if (reason === undefined) throw reader.broken();
    const ids: QuarantineId[] = [];
    let before = name - 1;
    for (let left = reader.count(1); left > 0; left--) ids.push((before += reader.varint() + 1));
    const size = reader.count(1);
    const at = reader.skip(size);
    const { receivedAt, events } = decodeRecord(name, reader.bytes.subarray(at, at + size));
    if (events.count !== ids.length) throw reader.broken();
    return { name, reason, receivedAt, ids, events };
  });
}

export function encodeState({ next, dropped, expired, released, discarded }: QuarantineState): Uint8Array {
  return frame(STATE, STATE_KEY, (writer) => {
    for (const count of [next, dropped, expired, released, discarded]) writer.varint(count);
  });
}

/** Throws `storage-damaged` or `storage-version`. */
export function decodeState(bytes: Uint8Array): QuarantineState {
  return unframe(STATE, STATE_KEY, bytes, "What became of refused events", (reader) => ({
    next: reader.varint(),
    dropped: reader.varint(),
    expired: reader.varint(),
    released: reader.varint(),
    discarded: reader.varint(),
  }));
}
