import { copyAnew, type CopyColumn } from "./column-copies.js";
import { QUARTER_MS, type Grain } from "../calendar/grain.js";
import type { Zone } from "../calendar/zone.js";
import type { DeltaImage, HotImage } from "../image-port.js";
import type { Position } from "../log.js";
import type { Schema } from "../schema.js";
import { inSlices, type Slices } from "../sliced.js";
import {
  UTC_CALENDAR,
  addressName,
  tierName,
  type BucketAddress,
  type BucketHead,
  type BucketStore,
  type CellBlock,
  type Incomplete,
  type Revision,
  type StoredBucket,
} from "../store.js";
import { CellTable } from "./cell-table.js";
import { Deltas, type Delta, type DeltasByQuarter } from "./deltas.js";
import type { Dictionaries } from "./dictionaries.js";
import { Touched } from "./touched.js";
import { reachOfNew, type Reach } from "./reach.js";
import { sealBuckets } from "./seal.js";

/** Grains whose heads tell what is stored, finest first; each bucket lies inside one of the next. */
const NESTED = ["quarter", "hour", "day", "month", "year"] as const;

/** What a commit is bringing to the store. */
interface Writing {
  /** Of the last record that its deltas have. */
  readonly position: Position;
  readonly generation: number;
  readonly sealedUntil: Readonly<Record<string, number>>;
  readonly reach: Reach;
  readonly incomplete: readonly Incomplete[];
  /** Does it change stored buckets otherwise than by the deltas? */
  readonly amends: boolean;
}

/** What a commit does to stored buckets besides writing deltas. */
export interface Amendments {
  /** The tiers' new reach, where it moves on. */
  readonly reach?: Reach;
  readonly removed?: readonly BucketAddress[];
  /** Buckets that take the place of what is stored, and the revisions that tell of it. */
  readonly replaced?: readonly StoredBucket[];
  readonly revisions?: readonly Omit<Revision, "seq">[];
  readonly incomplete?: readonly Incomplete[];
}

export interface CommitRequest {
  /** Which quarters to write. */
  readonly include: (quarterMs: number, since: number) => boolean;
  /** Buckets that end at or before this instant become sealed. */
  readonly sealUntil: number;
  readonly watermark: number;
  readonly dedupeFrom: Position;
  readonly now: number;
  readonly amendments?: Amendments;
  readonly slices: Slices;
}

/**
 * The state of all buckets: what the store has, plus the deltas that it does not have yet. Every event lands in
 * the delta of its quarter-hour, be the quarter open, past or long sealed; a commit merges deltas into the store.
 */
export class Buckets {
  readonly schema: Schema;
  /** UTC first, then the home zones. */
  readonly calendars: readonly Zone[];
  readonly dictionaries: Dictionaries;
  /** Which quarters' numbers changed, and when. */
  readonly touched = new Touched();
  /** Into which quarters commits wrote, and when. */
  readonly #written = new Touched();
  readonly #store: BucketStore;
  readonly #deltas: Deltas;
  #writing: Writing | undefined;
  #sealedUntil: Readonly<Record<string, number>>;
  #reach: Reach;
  #incomplete: readonly Incomplete[];
  #position: Position;
  #layout = 0;
  /** Events folded since the start, and of those the ones that the last image has. */
  #events = 0;
  #imaged = 0;
  /** By quarter: the last record that the image at the start had of it. */
  readonly #imagedThrough = new Map<number, Position>();

  constructor(schema: Schema, calendars: readonly Zone[], store: BucketStore, dictionaries: Dictionaries) {
    this.schema = schema;
    this.calendars = calendars;
    this.#store = store;
    this.dictionaries = dictionaries;
    this.#deltas = new Deltas(schema.maxArity);
    const meta = store.meta();
    this.#sealedUntil = meta?.sealedUntil ?? {};
    this.#reach = meta?.reach ?? {};
    this.#incomplete = meta?.incomplete ?? [];
    this.#position = meta?.position ?? 0;
  }

  /** Everything up to this record is counted. */
  get position(): Position {
    return this.#position;
  }

  /** Everything up to this record is in the store. */
  get savedPosition(): Position {
    return this.#store.meta()?.position ?? 0;
  }

  /** When something in `[fromMs, toMs)` was last touched: see `Touched`. */
  lastTouched(fromMs: number, toMs: number): number {
    this.#settle();
    return this.touched.lastIn(fromMs, toMs);
  }

  /** When a commit last wrote into `[fromMs, toMs)`. */
  lastWritten(fromMs: number, toMs: number): number {
    this.#settle();
    return this.#written.lastIn(fromMs, toMs);
  }

  /** The delta of a quarter, for events of the record at `position`. */
  tableOf(quarterMs: number, position: Position, now: number, backfill: boolean): CellTable {
    this.touched.touch(quarterMs);
    const origin = { firstPosition: position, eventsBefore: this.#events, since: now };
    return this.#deltas.tableOf(quarterMs, backfill, origin);
  }

  /** The record at `position`, of so many events, is folded. */
  folded(position: Position, events: number): void {
    this.#position = position;
    this.#events += events;
  }

  /**
   * Is the record's part in this quarter in the store already? Asked during replay. The finest bucket that is kept
   * for so old a quarter tells: what is older than the quarters' reach is always written together. A record that the
   * image at the start had counts as stored.
   */
  isStored(quarterMs: number, position: Position): boolean {
    if (position <= (this.#imagedThrough.get(quarterMs) ?? 0)) return true;
    const utc = this.calendars[0]!;
    for (const grain of NESTED) {
      const startMs = utc.startOf(grain, quarterMs);
      if (startMs < this.reachOf(UTC_CALENDAR, grain)) continue;
      const head = this.#store.head({ calendar: UTC_CALENDAR, grain, startMs });
      return head !== undefined && head.position >= position;
    }
    return false;
  }

  /** Every folded record up to this one that touches the quarter is in the store, as far as memory knows. */
  storedThrough(quarterMs: number): Position {
    this.#settle();
    const delta = this.#deltas.oldestOf(quarterMs);
    return delta === undefined ? this.#position : delta.firstPosition - 1;
  }

  /** Events that a restart would have to fold again, at most. */
  get unsavedEvents(): number {
    this.#settle();
    return this.#events - Math.max(this.#imaged, this.#deltas.eventsBefore ?? this.#events);
  }

  /** Events folded since the start. */
  get events(): number {
    return this.#events;
  }

  /** An image is on disk that has the events folded up to then. */
  imaged(events: number): void {
    this.#imaged = events;
  }

  /** Copies of all deltas, as of now or later. Undefined when a commit begins or ends meanwhile. */
  async deltaImages(slices: Slices, copy: CopyColumn = copyAnew): Promise<DeltaImage[] | undefined> {
    this.#settle();
    const writing = this.#writing;
    const images: DeltaImage[] = [];
    const beingWritten = this.#deltas.writing.size;
    const deltas = [...this.#deltas.writing, ...this.#deltas.active];
    for (const [i, [quarterMs, { table, firstPosition, since, backfill }]] of deltas.entries()) {
      const through = i < beingWritten ? writing!.position : this.#position;
      images.push({ quarterMs, firstPosition, through, since, backfill, table: table.image(copy) });
      if (!slices.isOver(table.count)) continue;
      await slices.pause();
      this.#settle();
      if (this.#writing !== writing) return undefined;
    }
    return images;
  }

  /** Begins with the deltas of an image that the store does not have. Before anything is folded. */
  takeOver({ position, deltas }: HotImage): void {
    this.#position = position;
    for (const { quarterMs, firstPosition, through, since, backfill, table } of deltas) {
      if (this.isStored(quarterMs, firstPosition)) continue;
      this.#imagedThrough.set(quarterMs, through);
      this.touched.touch(quarterMs);
      const delta = { table: CellTable.ofImage(table), backfill, firstPosition, eventsBefore: 0, since };
      this.#deltas.add(quarterMs, delta);
    }
  }

  /** Buckets of the tier that begin before this instant are not kept; −Infinity where all are. */
  reachOf(calendar: string, grain: Grain): number {
    this.#settle();
    return this.#reach[tierName(calendar, grain)] ?? Number.NEGATIVE_INFINITY;
  }

  /** Tells of it from now on, and in the store with the next commit. */
  noteIncomplete(missing: Incomplete): void {
    const isSame = ({ tier, fromMs, toMs }: Incomplete): boolean =>
      tier === missing.tier && fromMs === missing.fromMs && toMs === missing.toMs;
    if (this.#incomplete.some(isSame)) return;
    this.#incomplete = [...this.#incomplete, missing];
    this.touched.touchAll();
  }

  /** Grows whenever other buckets than before are sealed or kept: then other ones make up a range. */
  get layout(): number {
    this.#settle();
    return this.#layout;
  }

  /** Where damage took something that could not be made anew. */
  get incomplete(): readonly Incomplete[] {
    this.#settle();
    return this.#incomplete;
  }

  /** Buckets of the calendar that end at or before this instant are sealed; −Infinity for none. */
  sealedUntil(calendar: string): number {
    this.#settle();
    return this.#sealedUntil[calendar] ?? Number.NEGATIVE_INFINITY;
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.#store.head(address);
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.#store.block(address, rollup);
  }

  blockWith(address: BucketAddress, rollup: number, key: Uint32Array): CellBlock | undefined {
    return this.#store.blockWith(address, rollup, key);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.#store.starts(calendar, grain, fromMs, toMs);
  }

  /** The cells that the store does not have, for quarters that begin in `[fromMs, toMs)`. */
  deltas(fromMs: number, toMs: number): Generator<readonly [quarterMs: number, table: CellTable]> {
    this.#settle();
    return this.#deltas.within(fromMs, toMs);
  }

  get hotBuckets(): number {
    return this.#deltas.size;
  }

  get hotCells(): number {
    this.#settle();
    return this.#deltas.cells;
  }

  /** Is there a delta in memory, not on its way to the store, that meets the condition? */
  hasDelta(condition: (quarterMs: number, since: number) => boolean): boolean {
    for (const [quarterMs, { since }] of this.#deltas.active) if (condition(quarterMs, since)) return true;
    return false;
  }

  /** Writes the deltas asked for and seals what is due, in one transaction. Rejects with the store's error. */
  async commit(request: CommitRequest): Promise<void> {
    if (this.#writing !== undefined) throw new Error("BUG: two commits at once");
    const { amendments = {}, dedupeFrom, watermark } = request;
    const reach = this.#nextReach(amendments);
    const deltas = this.#take(request, reach);
    const sealedUntil = this.#nextSealedUntil(request.sealUntil);
    const incomplete = amendments.incomplete ?? this.#incomplete;
    const generation = this.#store.generation() + 1;
    const amends = request.amendments !== undefined;
    const position = this.#position;
    this.#writing = { position, generation, sealedUntil, reach, incomplete, amends };
    const meta = {
      schema: this.schema.fingerprint,
      generation,
      position: this.#replayFrom(position),
      watermark,
      sealedUntil,
      dedupeFrom,
      reach,
      incomplete,
    };
    const changes = this.dictionaries.changes();
    try {
      const { buckets, revisions } = await this.#prepare(deltas, position, request, reach);
      const { values, remembered } = changes;
      const removed = amendments.removed ?? [];
      await this.#store.commit({ meta, buckets, values, remembered, removed, revisions });
      changes.written();
      this.#settle();
    } catch (error) {
      changes.notWritten();
      this.#writing = undefined;
      this.#deltas.giveBack();
      throw error;
    }
  }

  /**
   * A read may see a commit before its promise is resolved: from that moment on its deltas count as stored.
   * Called before every read, so that nothing is counted twice and nothing is missing.
   */
  #settle(): void {
    const writing = this.#writing;
    if (writing === undefined || this.#store.generation() < writing.generation) return;
    this.#writing = undefined;
    for (const quarterMs of this.#deltas.writing.keys()) this.#written.touch(quarterMs);
    this.#deltas.written();
    if (!isSame(this.#sealedUntil, writing.sealedUntil) || !isSame(this.#reach, writing.reach))
      this.#layout++;
    this.#sealedUntil = writing.sealedUntil;
    this.#reach = writing.reach;
    this.#incomplete = writing.incomplete;
    if (!writing.amends) return;
    this.touched.touchAll();
    this.#written.touchAll();
  }

  /** Quarters older than their reach are taken all or none: their place in the log is kept by coarser buckets. */
  #take(request: CommitRequest, reach: Reach): DeltasByQuarter {
    const oldest = reach[tierName(UTC_CALENDAR, "quarter")] ?? Number.NEGATIVE_INFINITY;
    const isDue = (quarterMs: number, { since }: Delta): boolean =>
      request.include(quarterMs, since) || quarterMs + QUARTER_MS <= request.sealUntil;
    const takesOld = [...this.#deltas.active].some(
      ([quarterMs, delta]) => quarterMs < oldest && isDue(quarterMs, delta),
    );
    return this.#deltas.take((quarterMs, delta) =>
      quarterMs < oldest ? takesOld || request.amendments?.reach !== undefined : isDue(quarterMs, delta),
    );
  }

  async #prepare(
    deltas: DeltasByQuarter,
    position: Position,
    { sealUntil, now, amendments, slices }: CommitRequest,
    reach: Reach,
  ): Promise<{ buckets: StoredBucket[]; revisions: Revision[] }> {
    const buckets = new Map(amendments?.replaced?.map((bucket) => [addressName(bucket.address), bucket]));
    const changes: Omit<Revision, "seq">[] = [...(amendments?.revisions ?? [])];
    const { schema, calendars } = this;
    const store = this.#store;
    const sealedUntil = this.#sealedUntil;
    const sealing = sealBuckets({
      schema,
      store,
      calendars,
      deltas,
      position,
      sealedUntil,
      sealUntil,
      reach,
      replaced: amendments?.replaced ?? [],
    });
    for (const { address, head, blocks, change } of await inSlices(sealing, slices)) {
      buckets.set(addressName(address), { address, head, blocks });
      if (change !== undefined) changes.push({ at: now, address, ...head, ...change });
    }
    const last = store.lastRevision();
    return {
      buckets: [...buckets.values()],
      revisions: changes.map((change, i) => ({ seq: last + 1 + i, ...change })),
    };
  }

  #nextReach({ reach }: Amendments): Reach {
    const known = { ...this.#reach, ...reach };
    const added = this.calendars.filter(({ name }) => this.#sealedUntil[name] === undefined);
    return { ...known, ...reachOfNew(added, known) };
  }

  #nextSealedUntil(sealUntil: number): Record<string, number> {
    const next: Record<string, number> = {};
    for (const { name } of this.calendars) {
      next[name] = Math.max(this.#sealedUntil[name] ?? Number.NEGATIVE_INFINITY, sealUntil);
    }
    return next;
  }

  /** Replay may begin after this record: all deltas that stay in memory began later. */
  #replayFrom(position: Position): Position {
    let from = position;
    for (const { firstPosition } of this.#deltas.active.values()) from = Math.min(from, firstPosition - 1);
    return from;
  }
}

function isSame(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): boolean {
  const names = Object.keys(b);
  return names.length === Object.keys(a).length && names.every((name) => a[name] === b[name]);
}
