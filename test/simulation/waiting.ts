import { murmur3x64, type QuarantineReport } from "../../engine/index.js";
import { FLAG_CREATED, FLAG_ID, FLAG_VIEWER } from "../../engine/log.js";
import type {
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineReason,
  QuarantineState,
} from "../../engine/quarantine-port.js";
import type { Judged, PlainEvent } from "../support/oracle.js";
import { equal } from "./check.js";

const DIMENSIONS = ["blog", "author", "country"] as const;
const NEW: QuarantineState = { next: 1, dropped: 0, expired: 0, released: 0, discarded: 0 };
/** Longer than any trouble in which an order of the operator may be in doubt. */
const MARGIN_MS = 15 * 60_000;

/** An event that was refused. */
export interface Refused {
  readonly event: PlainEvent;
  readonly reason: QuarantineReason;
  readonly receivedAt: number;
  /** All that the disk tells of it. */
  readonly text: string;
  /** Once it was seen on the disk. */
  id?: QuarantineId;
  /** It was taken in, and there was room for it ever since. */
  isSure: boolean;
}

export interface WaitingOptions {
  readonly max: number;
  readonly rawMs: number;
  /** The latest that the clock ever showed. */
  readonly peak: () => number;
  /** Was the id counted within the window before `now`? Undefined when that is not certain. */
  readonly isCounted: (id: string, now: number) => boolean | undefined;
}

/**
 * The naive model of the quarantine: every refused event, until it is known to be gone. When what is too old goes, the
 * engine's timers decide, so that the model does not know of each event whether it is still there, but when it must be.
 */
export class Waiting {
  readonly #options: WaitingOptions;
  #events: Refused[] = [];
  /** What the disk must tell of all that ever was, but for so many events of which it is not certain. */
  #known = { ...NEW };
  #unsure = 0;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  /** What became of a batch, in the order of the log. */
  judged({ tooOld, tooFarAhead, accepted }: Judged, now: number): void {
    for (const event of tooOld) this.#refuse(event, "too-old", now);
    for (const event of tooFarAhead) this.#refuse(event, "too-far-ahead", now);
    for (const { id } of accepted) if (id !== undefined) this.#withdraw(id);
  }

  /** Holds the disk against what was refused; nothing may be under way whose fate is not known. */
  check(port: QuarantinePort): void {
    const kept: Refused[] = [];
    // From the newest on: of events that look alike the oldest are given up first.
    for (const { id, text } of rowsOf(port).reverse()) {
      let refused = this.#events.pop();
      for (; refused !== undefined && !isSame(refused, id, text); refused = this.#events.pop())
        this.#isGone(refused);
      if (refused === undefined) throw new Error(`${id} is in quarantine, but nobody sent it: ${text}`);
      kept.push(Object.assign(refused, { id, isSure: true }));
    }
    for (const refused of this.#events) this.#isGone(refused);
    this.#events = kept.reverse();
    if (kept.length > this.#options.max) throw new Error(`${kept.length} events are in quarantine`);
    this.#checkCounts(port.state() ?? NEW);
  }

  /** Those of which it is certain what becomes of them when they are counted, or given up, now; all of them? */
  certain(now: number): { readonly events: readonly Refused[]; readonly isAll: boolean } {
    const isCertain = (refused: Refused): boolean => {
      const { id } = refused.event;
      const isLasting = !this.#isExpirable(refused, MARGIN_MS);
      return isLasting && (id === undefined || this.#options.isCounted(id, now) !== undefined);
    };
    const events = this.#events.filter(isCertain);
    return { events, isAll: events.length === this.#events.length };
  }

  /** These are known to be gone. */
  remove(gone: ReadonlySet<Refused>, fate: "released" | "discarded"): void {
    this.#events = this.#events.filter((refused) => !gone.has(refused));
    this.#known[fate] += gone.size;
  }

  #refuse(event: PlainEvent, reason: QuarantineReason, receivedAt: number): void {
    const isNew = this.#isNew(event.id, receivedAt);
    if (isNew === false) return;
    this.#events.push({
      event,
      reason,
      receivedAt,
      text: textOf(event, reason, receivedAt),
      isSure: isNew === true,
    });
    if (isNew === true) this.#known.next++;
    else this.#unsure++;
    // One event of an id is there, and nobody knows which.
    if (isNew === undefined) this.#doubt(this.#events.filter(({ event: { id } }) => id === event.id));
    this.#doubt(this.#events.slice(0, Math.max(0, this.#events.length - this.#options.max)));
  }

  #doubt(events: readonly Refused[]): void {
    for (const refused of events) {
      if (refused.isSure) this.#unsure++;
      refused.isSure = false;
    }
  }

  /** An id is there once, and not when it is counted. */
  #isNew(id: string | undefined, now: number): boolean | undefined {
    if (id === undefined) return true;
    const isCounted = this.#options.isCounted(id, now);
    const twins = this.#events.filter(({ event }) => event.id === id);
    if (isCounted === true || twins.some((twin) => twin.isSure && !this.#isExpirable(twin))) return false;
    return twins.length > 0 || isCounted === undefined ? undefined : true;
  }

  #withdraw(id: string): void {
    for (const refused of this.#events.filter(({ event }) => event.id === id)) {
      this.#events.splice(this.#events.indexOf(refused), 1);
      if (!refused.isSure) continue;
      if (this.#isExpirable(refused)) this.#unsure++;
      else this.#known.released++;
    }
  }

  #isGone(refused: Refused): void {
    if (!refused.isSure) return;
    if (!this.#isExpirable(refused)) throw new Error(`missing in quarantine: ${refused.id} ${refused.text}`);
    this.#known.expired++;
  }

  #isExpirable({ receivedAt }: Refused, marginMs = 0): boolean {
    return receivedAt < this.#options.peak() - this.#options.rawMs + marginMs;
  }

  #checkCounts(state: QuarantineState): void {
    for (const [name, known] of Object.entries(this.#known)) {
      const count = state[name as keyof QuarantineState];
      if (count < known || count > known + this.#unsure) {
        throw new Error(
          `${name} of the quarantine: found ${count}, wanted ${known} and ${this.#unsure} more at most`,
        );
      }
    }
    this.#known = { ...state };
    this.#unsure = 0;
  }
}

/** Of all that was ever taken in it is known what became of it. */
export function checkConserved(port: QuarantinePort): void {
  const { next, dropped, expired, released, discarded } = port.state() ?? NEW;
  const held = chunksOf(port).reduce((sum, { ids }) => sum + ids.length, 0);
  equal(held + dropped + expired + released + discarded, next - 1, "events that were ever in quarantine");
}

/** The engine tells what is on the disk. */
export function checkListed(port: QuarantinePort, { events, next, ...totals }: QuarantineReport): void {
  const ids = chunksOf(port).flatMap((chunk) => chunk.ids);
  equal([events.map(({ id }) => id), next], [ids, null], "events that the engine says are in quarantine");
  const { next: _, ...fates } = port.state() ?? NEW;
  const { bytes: __, ...counts } = totals;
  equal(counts, { held: ids.length, ...fates, damaged: 0 }, "counts of the quarantine");
}

/** Nothing is there that came before an instant. */
export function checkExpired(port: QuarantinePort, beforeMs: number): void {
  const old = chunksOf(port).filter(({ receivedAt }) => receivedAt < beforeMs);
  equal(
    old.map(({ name }) => name),
    [],
    "events in quarantine that are too old for it",
  );
}

/** Which of them are on the disk? */
export function heldOf(port: QuarantinePort, events: readonly Refused[]): ReadonlySet<Refused> {
  const ids = new Set(chunksOf(port).flatMap((chunk) => chunk.ids));
  return new Set(events.filter(({ id }) => ids.has(id!)));
}

function chunksOf(port: QuarantinePort): QuarantineChunk[] {
  return port.names().map((name) => port.read(name)!);
}

function rowsOf(port: QuarantinePort): { readonly id: QuarantineId; readonly text: string }[] {
  return chunksOf(port).flatMap((chunk) => chunk.ids.map((id, row) => ({ id, text: rowText(chunk, row) })));
}

function isSame(refused: Refused, id: QuarantineId, text: string): boolean {
  return refused.text === text && (refused.id ?? id) === id;
}

function textOf(event: PlainEvent, reason: QuarantineReason, receivedAt: number): string {
  const { type, ts, viewer, id } = event;
  const hash = id === undefined ? null : String(murmur3x64(id));
  const dims = DIMENSIONS.map((name) => event[name] ?? null);
  return JSON.stringify([reason, receivedAt, type, ts, type === "view" && viewer !== undefined, hash, dims]);
}

function rowText({ reason, receivedAt, events }: QuarantineChunk, row: number): string {
  const { flags, ts, dims, values, idLo, idHi } = events;
  const [isCreated, hasViewer, hasId] = [FLAG_CREATED, FLAG_VIEWER, FLAG_ID].map(
    (flag) => (flags[row]! & flag) !== 0,
  );
  const type = isCreated ? "created" : "view";
  const hash = hasId ? String((BigInt(idHi![row]!) << 32n) | BigInt(idLo![row]!)) : null;
  const texts = dims.map((column, d) => (column[row] === 0 ? null : values[d]![column[row]! - 1]));
  return JSON.stringify([reason, receivedAt, type, ts[row], hasViewer, hash, texts]);
}
