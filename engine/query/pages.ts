import { TidemarkError } from "../errors.js";
import type { Computed } from "./execute.js";
import { invalidQuery } from "./problem.js";

/** Cells of all snapshots that are held for further pages: some 100 bytes each, more with viewers. */
const MAX_CELLS = 3_000_000;
const MAX_SNAPSHOTS = 100;
/** A snapshot that nobody asked for so long is given up, ms. */
const TTL_MS = 10 * 60_000;

interface Snapshot {
  readonly key: string;
  readonly computed: Computed;
  usedAt: number;
}

export interface NextPage {
  readonly computed: Computed;
  readonly offset: number;
  readonly cursor: (offset: number) => string | null;
}

/** Answers that are given out in pages: what comes in meanwhile changes nothing in them. */
export class Pages {
  /** In order of use. */
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #epoch: string;
  #count = 0;

  /** `epoch`: what tells cursors of this run from those of another. */
  constructor(epoch: string) {
    this.#epoch = epoch;
  }

  /** `key`: the question without its cursor. */
  open(key: string, computed: Computed, now: number): NextPage {
    computed.frame.table.detach();
    const id = `${this.#epoch}.${(++this.#count).toString(36)}`;
    this.#snapshots.set(id, { key, computed, usedAt: now });
    this.#giveUp(now);
    return { computed, offset: 0, cursor: cursorOf(id, computed) };
  }

  /** Throws `cursor-expired`, and `invalid-query` for the cursor of another question. */
  next(key: string, cursor: string, now: number): NextPage {
    const dot = cursor.lastIndexOf(".");
    const id = cursor.slice(0, Math.max(0, dot));
    const offset = Number.parseInt(cursor.slice(dot + 1), 36);
    const snapshot = this.#snapshots.get(id);
    if (snapshot === undefined || !(offset > 0 && offset < snapshot.computed.rows)) {
      throw new TidemarkError(
        "cursor-expired",
        "What this cursor pointed into is no longer held; begin again with cursor: null.",
        { pointer: "/cursor" },
      );
    }
    if (snapshot.key !== key) {
      throw invalidQuery("The cursor belongs to another query: change nothing but the cursor.", "/cursor");
    }
    snapshot.usedAt = now;
    this.#snapshots.delete(id);
    this.#snapshots.set(id, snapshot);
    return { computed: snapshot.computed, offset, cursor: cursorOf(id, snapshot.computed) };
  }

  #giveUp(now: number): void {
    let cells = 0;
    for (const { computed } of this.#snapshots.values()) cells += computed.frame.table.count;
    for (const [id, { computed, usedAt }] of this.#snapshots) {
      const isOld = now - usedAt > TTL_MS;
      if (!isOld && cells <= MAX_CELLS && this.#snapshots.size <= MAX_SNAPSHOTS) break;
      // The one that was just opened stays, whatever its size.
      if (this.#snapshots.size === 1) break;
      this.#snapshots.delete(id);
      cells -= computed.frame.table.count;
    }
  }
}

function cursorOf(id: string, computed: Computed): (offset: number) => string | null {
  return (offset) => (offset < computed.rows ? `${id}.${offset.toString(36)}` : null);
}
