import type { BatchClaim, Position } from "../log.js";

/** Bytes of a claim that weigh as much as one event id. */
const BYTES_PER_ENTRY = 16;

/** A hash is remembered for one window and at most this part of a window longer. */
const GENERATIONS = 4;
const INITIAL_SLOTS = 256;

/** The event ids of the last window, as 64-bit hashes, in generations that expire whole. 16 bytes an id. */
export class IdWindow {
  readonly #windowMs: number;
  readonly #seed: number;
  #generations: Generation[] = [];

  /** `seed`: not to be guessed by senders, who could choose ids that collide otherwise. */
  constructor(windowMs: number, seed = 0) {
    this.#windowMs = windowMs;
    this.#seed = seed;
  }

  /** Hashes remembered. */
  get count(): number {
    return this.#generations.reduce((sum, { count }) => sum + count, 0);
  }

  /** Claims a hash; false when it is claimed already. `position`: at or before the record that will carry it. */
  add(lo: number, hi: number, receivedAt: number, position: Position): boolean {
    if (this.has(lo, hi)) return false;
    this.#current(receivedAt, position).add(lo, notFree(lo, hi));
    return true;
  }

  /** Is the hash claimed? */
  has(lo: number, hi: number): boolean {
    const high = notFree(lo, hi);
    for (const generation of this.#generations) if (generation.has(lo, high)) return true;
    return false;
  }

  expire(now: number): void {
    const kept = this.#generations.filter((g) => g.lastMs > now - this.#windowMs);
    if (kept.length < this.#generations.length) this.#generations = kept;
  }

  /** Oldest record that a restart must read again for its ids; 0 for none. */
  get from(): Position {
    return this.#generations[0]?.position ?? 0;
  }

  get sizeBytes(): number {
    return this.#generations.reduce((sum, generation) => sum + generation.sizeBytes, 0);
  }

  #current(receivedAt: number, position: Position): Generation {
    const newest = this.#generations.at(-1);
    if (newest !== undefined && receivedAt - newest.firstMs < this.#windowMs / GENERATIONS) {
      newest.lastMs = Math.max(newest.lastMs, receivedAt);
      return newest;
    }
    const generation = new Generation(receivedAt, position, this.#seed);
    this.#generations.push(generation);
    return generation;
  }
}

/** The high half of a hash as it is kept: (0, 0) marks a free slot. */
function notFree(lo: number, hi: number): number {
  return (lo | hi) === 0 ? 1 : hi;
}

class Generation {
  readonly firstMs: number;
  readonly position: Position;
  lastMs: number;
  readonly #seed: number;
  #slots = new Uint32Array(INITIAL_SLOTS * 2);
  #count = 0;

  constructor(firstMs: number, position: Position, seed: number) {
    this.#seed = seed;
    this.firstMs = firstMs;
    this.lastMs = firstMs;
    this.position = position;
  }

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#slots.byteLength;
  }

  has(lo: number, hi: number): boolean {
    const at = this.#find(lo, hi);
    return (this.#slots[at]! | this.#slots[at + 1]!) !== 0;
  }

  add(lo: number, hi: number): void {
    if (this.#count * 4 >= this.#slots.length) this.#grow();
    const at = this.#find(lo, hi);
    this.#slots[at] = lo;
    this.#slots[at + 1] = hi;
    this.#count++;
  }

  /** Index of the hash, or of the free slot where it belongs. */
  #find(lo: number, hi: number): number {
    const mask = this.#slots.length / 2 - 1;
    let slot = mix(lo, hi, this.#seed) & mask;
    for (;;) {
      const at = slot * 2;
      const heldLo = this.#slots[at]!;
      const heldHi = this.#slots[at + 1]!;
      if ((heldLo === lo && heldHi === hi) || (heldLo | heldHi) === 0) return at;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    for (let at = 0; at < old.length; at += 2) {
      if ((old[at]! | old[at + 1]!) === 0) continue;
      const to = this.#find(old[at]!, old[at + 1]!);
      this.#slots[to] = old[at]!;
      this.#slots[to + 1] = old[at + 1]!;
    }
  }
}

function mix(lo: number, hi: number, seed: number): number {
  let h = Math.imul(lo ^ seed, 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 15) ^ hi, seed | 1);
  return h ^ (h >>> 13);
}

interface KeptClaim {
  readonly bodyHash: string;
  /** Undefined while the batch is being written. */
  readonly reply: string | undefined;
  readonly position: Position;
  readonly receivedAt: number;
}

/** The idempotency keys of the last window with their first replies. */
export class ClaimWindow {
  readonly #windowMs: number;
  /** In order of receipt. */
  readonly #claims = new Map<string, KeptClaim>();
  #weight = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** What is remembered, in the measure of event ids. */
  get weight(): number {
    return this.#weight;
  }

  find(key: string): KeptClaim | undefined {
    return this.#claims.get(key);
  }

  /** The batch is on its way to the log. */
  begin(key: string, bodyHash: string, receivedAt: number): void {
    this.#set(key, { bodyHash, reply: undefined, position: 0, receivedAt });
  }

  /** The batch is not in the log: the key is free again. */
  abandon(key: string): void {
    this.#delete(key);
  }

  /** The batch is in the log at `position`. */
  keep(claim: BatchClaim, receivedAt: number, position: Position): void {
    this.#set(claim.key, { bodyHash: claim.bodyHash, reply: claim.reply, position, receivedAt });
  }

  expire(now: number): void {
    for (const [key, { receivedAt, reply }] of this.#claims) {
      if (receivedAt > now - this.#windowMs) return;
      if (reply !== undefined) this.#delete(key);
    }
  }

  get from(): Position {
    for (const { position } of this.#claims.values()) if (position > 0) return position;
    return 0;
  }

  #set(key: string, claim: KeptClaim): void {
    this.#delete(key);
    this.#claims.set(key, claim);
    this.#weight += weightOf(key, claim);
  }

  #delete(key: string): void {
    const claim = this.#claims.get(key);
    if (claim === undefined) return;
    this.#claims.delete(key);
    this.#weight -= weightOf(key, claim);
  }
}

function weightOf(key: string, { reply }: KeptClaim): number {
  return 1 + Math.ceil((2 * (key.length + (reply?.length ?? 0))) / BYTES_PER_ENTRY);
}
