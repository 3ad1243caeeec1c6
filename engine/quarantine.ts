import type { QuarantineTotals } from "./api.js";
import { readable } from "./errors.js";
import { gatherRows, type Rows } from "./gather.js";
import type { Admission } from "./hot/admission.js";
import type { IdWindow } from "./hot/dedupe.js";
import { FLAG_ID, type EventBatch } from "./log.js";
import { QuarantinedIds } from "./quarantine-ids.js";
import type {
  QuarantineChange,
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineReason,
  QuarantineState,
} from "./quarantine-port.js";

export interface QuarantineLimits {
  /** Beyond it the oldest are given up; 0: nothing is taken in. */
  readonly maxQuarantinedEvents: number;
  readonly maxQuarantinedBytes: number;
}

/** A chunk is written anew when some of its events leave it, and given up as a whole: a hundredth, and no more than this. */
const MAX_CHUNK_EVENTS = 1000;
const CHUNKS = 100;

/** Of an event without its values, at most: time, viewer, id, flags, and its number. */
const EVENT_BYTES = 32;
/** Of a value of an event in its column. */
const INDEX_BYTES = 4;
/** UTF-8 of a unit of UTF-16, at most. */
const UNIT_BYTES = 3;

/** Ids go on so far beyond all that are there when nobody knows any more how far they went. */
const LOST_IDS = 2 ** 32;
const NEW: QuarantineState = { next: 1, dropped: 0, expired: 0, released: 0, discarded: 0 };

/** Chunks given up in one transaction: batches of senders wait for it. */
const REMOVED_CHUNKS = 1000;

/** What memory knows of a chunk. */
interface Held {
  /** Undefined when it cannot be read. */
  readonly reason: QuarantineReason | undefined;
  readonly receivedAt: number;
  readonly count: number;
  readonly bytes: number;
}

/** Some events of a chunk. */
export interface ChunkRows {
  readonly chunk: QuarantineChunk;
  readonly rows: readonly number[];
}

/** A part of what is to be given up. */
export interface GivenUp {
  readonly change: QuarantineChange;
  readonly events: number;
}

/**
 * Events that were refused for their time, as they will be once everything under way is written. It decides; whoever asks
 * has the change written, in the order of asking, or drops all that is in memory.
 */
export class Quarantine {
  readonly #port: QuarantinePort;
  readonly #limits: QuarantineLimits;
  /** By name, ascending. */
  readonly #held = new Map<QuarantineId, Held>();
  /** Chunks as they will be, until they are on disk. */
  readonly #pending = new Map<QuarantineId, QuarantineChunk>();
  readonly #ids = new QuarantinedIds((chunk) => this.#held.has(chunk));
  #state: QuarantineState;
  #events = 0;
  #bytes = 0;
  #damaged = 0;
  /** The change in the making. */
  #put = new Map<QuarantineId, QuarantineChunk>();
  #removed = new Set<QuarantineId>();

  /** Reads all that is there. */
  constructor(port: QuarantinePort, limits: QuarantineLimits, now: number) {
    this.#port = port;
    this.#limits = limits;
    for (const name of port.names()) {
      const chunk = readable(() => port.read(name));
      this.#hold(name, chunk === undefined ? unreadable(now) : heldAs(chunk));
      if (chunk !== undefined) this.#ids.addRows(name, chunk.events, chunk.ids.keys());
    }
    this.#state = this.#readState();
  }

  get counts(): QuarantineTotals {
    const { next: _, ...counts } = this.#state;
    return { held: this.#events, bytes: this.#bytes, ...counts, damaged: this.#damaged };
  }

  /**
   * Takes in the refused rows of a batch, but for those whose id is `counted` or waits here already, and lets go of what
   * waits here under the id of an accepted one. Returns what is to be written with the batch; undefined for nothing.
   */
  judged(
    batch: EventBatch,
    { batch: accepted, tooOld, tooFarAhead }: Admission,
    receivedAt: number,
    counted: IdWindow,
  ): QuarantineChange | undefined {
    const take = (reason: QuarantineReason, rows: readonly number[]): void => {
      if (rows.length > 0)
        this.#takeIn(reason, { batch, rows: this.#fresh(batch, rows, counted) }, receivedAt);
    };
    take("too-old", tooOld);
    take("too-far-ahead", tooFarAhead);
    if (!this.#ids.isEmpty) this.#withdraw(accepted);
    return this.#change();
  }

  /** Chunks with events of a reason, ascending. */
  names(reason: QuarantineReason): QuarantineId[] {
    return [...this.#held].filter(([, held]) => held.reason === reason).map(([name]) => name);
  }

  /** A chunk as it will be; undefined when it is gone or cannot be read. */
  chunk(name: QuarantineId): QuarantineChunk | undefined {
    const held = this.#held.get(name);
    if (held?.reason === undefined) return undefined;
    const chunk = this.#pending.get(name) ?? readable(() => this.#port.read(name));
    if (chunk === undefined) this.#lose(name, held);
    return chunk;
  }

  /** Chunks that are on disk and will stay, from the one with this event on, ascending. */
  *durable(from: QuarantineId): Generator<QuarantineChunk> {
    const names = [...this.#held.keys()];
    const first = Math.max(
      0,
      names.findLastIndex((name) => name <= from),
    );
    for (const name of names.slice(first)) {
      const chunk = this.chunk(name);
      const isThere = !this.#pending.has(name) || readable(() => this.#port.read(name)) !== undefined;
      if (chunk !== undefined && isThere) yield chunk;
    }
  }

  /** These events are counted now. */
  released(parts: readonly ChunkRows[]): QuarantineChange | undefined {
    for (const part of parts) this.#count("released", this.#remove(part));
    return this.#change();
  }

  /** These events are given up. */
  discarded(parts: readonly ChunkRows[]): QuarantineChange | undefined {
    for (const part of parts) this.#count("discarded", this.#remove(part));
    return this.#change();
  }

  /** Everything that is held now; `cleared` up to it gives up that and no more. */
  get last(): QuarantineId {
    return this.#state.next - 1;
  }

  /** Some of what came up to an event is given up, what cannot be read too; undefined when nothing is left of it. */
  cleared(last: QuarantineId): GivenUp | undefined {
    return this.#giveUp("discarded", (name) => name <= last);
  }

  /** How many events were received before an instant. */
  countBefore(instant: number): number {
    let count = 0;
    for (const held of this.#held.values()) if (held.receivedAt < instant) count += held.count;
    return count;
  }

  /** Some of what was received before an instant is given up; undefined when nothing is left of it. */
  expired(instant: number): GivenUp | undefined {
    return this.#giveUp("expired", (_, { receivedAt }) => receivedAt < instant);
  }

  /** A change is on disk. */
  written({ put }: QuarantineChange): void {
    for (const chunk of put) {
      if (this.#pending.get(chunk.name) === chunk) this.#pending.delete(chunk.name);
    }
  }

  #takeIn(reason: QuarantineReason, { batch, rows }: Rows, receivedAt: number): void {
    const { maxQuarantinedEvents: max } = this.#limits;
    if (max === 0) return;
    const kept = Array.from(rows).slice(-max);
    const excess = rows.length - kept.length;
    this.#state = { ...this.#state, next: this.#state.next + excess };
    this.#count("dropped", excess);
    const size = Math.min(MAX_CHUNK_EVENTS, Math.ceil(max / CHUNKS));
    for (let at = 0; at < kept.length; at += size) {
      const part = kept.slice(at, at + size);
      const name = this.#state.next;
      const ids = part.map((_, i) => name + i);
      const events = gatherRows([{ batch, rows: part }]);
      this.#state = { ...this.#state, next: name + part.length };
      this.#set({ name, reason, receivedAt, ids, events });
      this.#ids.addRows(name, events, ids.keys());
    }
    this.#makeRoom();
  }

  /** Those rows whose id, if they have one, is neither here nor counted yet. */
  #fresh({ flags, idLo, idHi }: EventBatch, rows: readonly number[], counted: IdWindow): readonly number[] {
    if (idLo === undefined) return rows;
    const seen = new Set<string>();
    return rows.filter((row) => {
      if ((flags[row]! & FLAG_ID) === 0) return true;
      const [lo, hi] = [idLo[row]!, idHi![row]!];
      const id = idKey(lo, hi);
      if (seen.has(id) || counted.has(lo, hi) || this.#ids.find(lo, hi) !== undefined) return false;
      seen.add(id);
      return true;
    });
  }

  #withdraw({ count, flags, idLo, idHi }: EventBatch): void {
    if (idLo === undefined) return;
    let found: Map<QuarantineId, Set<string>> | undefined;
    for (let row = 0; row < count; row++) {
      if ((flags[row]! & FLAG_ID) === 0) continue;
      const name = this.#ids.find(idLo[row]!, idHi![row]!);
      if (name === undefined) continue;
      found ??= new Map<QuarantineId, Set<string>>();
      found.set(name, (found.get(name) ?? new Set<string>()).add(idKey(idLo[row]!, idHi![row]!)));
    }
    for (const [name, ids] of found ?? []) {
      const chunk = this.chunk(name);
      if (chunk !== undefined) this.#count("released", this.#remove({ chunk, rows: rowsWith(chunk, ids) }));
    }
  }

  #giveUp(
    fate: "discarded" | "expired",
    isDue: (name: QuarantineId, held: Held) => boolean,
  ): GivenUp | undefined {
    let events = 0;
    for (const [name, held] of this.#held) {
      if (!isDue(name, held)) continue;
      events += this.#drop(name);
      if (this.#removed.size >= REMOVED_CHUNKS) break;
    }
    this.#count(fate, events);
    const change = this.#change();
    return change === undefined ? undefined : { change, events };
  }

  #makeRoom(): void {
    const { maxQuarantinedEvents, maxQuarantinedBytes } = this.#limits;
    for (const name of this.#held.keys()) {
      if (this.#events <= maxQuarantinedEvents && this.#bytes <= maxQuarantinedBytes) return;
      this.#count("dropped", this.#drop(name));
    }
  }

  /** Takes events out of a chunk; returns how many. */
  #remove({ chunk, rows }: ChunkRows): number {
    const { name, ids, events } = chunk;
    if (rows.length === ids.length) return this.#drop(name);
    this.#ids.removeRows(name, events, rows);
    const gone = new Set(rows);
    const left = Array.from(ids.keys()).filter((row) => !gone.has(row));
    this.#set({
      ...chunk,
      ids: left.map((row) => ids[row]!),
      events: gatherRows([{ batch: events, rows: left }]),
    });
    return rows.length;
  }

  /** Gives up a chunk; returns how many events it had. */
  #drop(name: QuarantineId): number {
    const { count, bytes, reason } = this.#held.get(name)!;
    this.#events -= count;
    this.#bytes -= bytes;
    if (reason === undefined) this.#damaged--;
    this.#held.delete(name);
    this.#pending.delete(name);
    this.#put.delete(name);
    this.#removed.add(name);
    this.#ids.sweep(this.#events);
    return count;
  }

  #set(chunk: QuarantineChunk): void {
    this.#hold(chunk.name, heldAs(chunk));
    this.#pending.set(chunk.name, chunk);
    this.#put.set(chunk.name, chunk);
  }

  #hold(name: QuarantineId, held: Held): void {
    const before = this.#held.get(name);
    this.#events += held.count - (before?.count ?? 0);
    this.#bytes += held.bytes - (before?.bytes ?? 0);
    if (held.reason === undefined) this.#damaged++;
    this.#held.set(name, held);
  }

  /** A chunk that could be read is found not to be readable any more. */
  #lose(name: QuarantineId, { receivedAt }: Held): void {
    this.#hold(name, unreadable(receivedAt));
  }

  #count(fate: Exclude<keyof QuarantineState, "next">, events: number): void {
    if (events > 0) this.#state = { ...this.#state, [fate]: this.#state[fate] + events };
  }

  #change(): QuarantineChange | undefined {
    if (this.#put.size === 0 && this.#removed.size === 0) return undefined;
    const change = { put: [...this.#put.values()], removed: [...this.#removed], state: this.#state };
    this.#put = new Map();
    this.#removed = new Set();
    return change;
  }

  #readState(): QuarantineState {
    const last = [...this.#held.keys()].at(-1) ?? 0;
    let isDamaged = false;
    const state = readable(
      () => this.#port.state(),
      () => (isDamaged = true),
    );
    if (state !== undefined && state.next > last) return state;
    if (state === undefined && !isDamaged && last === 0) return NEW;
    return { ...NEW, next: last + LOST_IDS };
  }
}

function heldAs({ reason, receivedAt, ids, events }: QuarantineChunk): Held {
  let bytes = ids.length * (EVENT_BYTES + events.dims.length * INDEX_BYTES);
  for (const values of events.values) for (const value of values) bytes += value.length * UNIT_BYTES;
  return { reason, receivedAt, count: ids.length, bytes };
}

function unreadable(receivedAt: number): Held {
  return { reason: undefined, receivedAt, count: 0, bytes: 0 };
}

function idKey(lo: number, hi: number): string {
  return `${lo} ${hi}`;
}

function rowsWith({ events }: QuarantineChunk, ids: ReadonlySet<string>): number[] {
  const { flags, idLo, idHi, count } = events;
  const rows: number[] = [];
  for (let row = 0; row < count; row++) {
    if ((flags[row]! & FLAG_ID) !== 0 && ids.has(idKey(idLo![row]!, idHi![row]!))) rows.push(row);
  }
  return rows;
}
