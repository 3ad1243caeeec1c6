import { TidemarkError } from "../engine/errors.js";

const RESTORE =
  "Stop Tidemark, keep a copy of the directory, and restore it from a backup (tidemark restore), " +
  "or save what can still be read (tidemark repair).";

/** `what` names the record, as the subject of a sentence: "Log record 17". */
export function damaged(what: string, how: string, cause?: unknown): TidemarkError {
  return new TidemarkError("storage-damaged", `${what} ${how}. ${RESTORE}`, { cause });
}

export function wrongVersion(what: string, found: number, known: number): TidemarkError {
  return new TidemarkError(
    "storage-version",
    `${what} has format version ${found}; this Tidemark reads up to version ${known}. Use the Tidemark that wrote it, or a newer one.`,
  );
}

export function closed(): TidemarkError {
  return new TidemarkError("not-ready", "The storage is closed; open it again.");
}

/** A reader was slower than `trim`. */
export function overtaken(position: number): TidemarkError {
  return new TidemarkError(
    "storage-failed",
    `Log record ${position} was given up while it was still to be read; begin again at the log's first record.`,
  );
}
