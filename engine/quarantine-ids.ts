import { FLAG_ID, type EventBatch } from "./log.js";
import type { QuarantineId } from "./quarantine-port.js";

interface Entry {
  readonly hi: number;
  /** Name of the chunk that it lies in. */
  readonly chunk: QuarantineId;
  readonly next: Entry | undefined;
}

/** Stale entries below this number are not worth a walk over all. */
const LEAST_STALE = 1000;

/**
 * Which chunk holds the event with an id. A chunk that is given up leaves its entries behind, since its events are not
 * read for it: they count no more, and are removed now and then.
 */
export class QuarantinedIds {
  readonly #isHeld: (chunk: QuarantineId) => boolean;
  /** By the low half, as a signed number: looking up makes no object. */
  readonly #entries = new Map<number, Entry>();
  #count = 0;

  constructor(isHeld: (chunk: QuarantineId) => boolean) {
    this.#isHeld = isHeld;
  }

  /** Whether there may be any. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  find(lo: number, hi: number): QuarantineId | undefined {
    for (let entry = this.#entries.get(lo | 0); entry !== undefined; entry = entry.next) {
      if (entry.hi === hi && this.#isHeld(entry.chunk)) return entry.chunk;
    }
    return undefined;
  }

  add(lo: number, hi: number, chunk: QuarantineId): void {
    this.#entries.set(lo | 0, { hi, chunk, next: this.#entries.get(lo | 0) });
    this.#count++;
  }

  /** Of a chunk's events, those of the given rows. */
  addRows(chunk: QuarantineId, { flags, idLo, idHi }: EventBatch, rows: Iterable<number>): void {
    if (idLo === undefined) return;
    for (const row of rows) if ((flags[row]! & FLAG_ID) !== 0) this.add(idLo[row]!, idHi![row]!, chunk);
  }

  removeRows(chunk: QuarantineId, { flags, idLo, idHi }: EventBatch, rows: Iterable<number>): void {
    if (idLo === undefined) return;
    for (const row of rows) {
      if ((flags[row]! & FLAG_ID) === 0) continue;
      this.#keep(idLo[row]! | 0, (entry) => entry.hi !== idHi![row]! || entry.chunk !== chunk);
    }
  }

  /** Removes what chunks left behind that are no longer held, once it is more than the `live` events. */
  sweep(live: number): void {
    if (live > 0 && this.#count <= 2 * live + LEAST_STALE) return;
    for (const lo of this.#entries.keys()) this.#keep(lo, ({ chunk }) => this.#isHeld(chunk));
  }

  #keep(lo: number, isKept: (entry: Entry) => boolean): void {
    let kept: Entry | undefined;
    for (let entry = this.#entries.get(lo); entry !== undefined; entry = entry.next) {
      if (isKept(entry)) kept = { ...entry, next: kept };
      else this.#count--;
    }
    if (kept === undefined) this.#entries.delete(lo);
    else this.#entries.set(lo, kept);
  }
}
