/** The ports of a storage that is opened anew while the engine holds them: they hand on to what is open now. */
import type { Sliced } from "../engine/sliced.js";
import type { Grain } from "../engine/calendar/grain.js";
import type { EventLog, LogClaims, LogEntry, LogGap, LogRecord, LogSizes, Position } from "../engine/log.js";
import type {
  QuarantineChange,
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineState,
} from "../engine/quarantine-port.js";
import type {
  BucketAddress,
  BucketHead,
  BucketStore,
  CellBlock,
  Revision,
  StoreCommit,
  StoredBucket,
  StoreMeta,
  TierSize,
} from "../engine/store.js";

export class LogPort implements EventLog {
  target: EventLog;

  constructor(target: EventLog) {
    this.target = target;
  }

  get head(): Position {
    return this.target.head;
  }

  get first(): Position {
    return this.target.first;
  }

  get completeFrom(): number {
    return this.target.completeFrom;
  }

  append(record: LogRecord, quarantine?: QuarantineChange): Promise<Position> {
    return this.target.append(record, quarantine);
  }

  gaps(): readonly LogGap[] {
    return this.target.gaps();
  }

  read(from: Position): AsyncIterable<LogEntry> {
    return this.target.read(from);
  }

  readRange(fromMs: number, toMs: number): AsyncIterable<LogEntry> {
    return this.target.readRange(fromMs, toMs);
  }

  claims(from: Position): AsyncIterable<LogClaims> {
    return this.target.claims(from);
  }

  compact(before: Position): Promise<void> {
    return this.target.compact(before);
  }

  trim(before: Position): Promise<void> {
    return this.target.trim(before);
  }

  sizes(): LogSizes {
    return this.target.sizes();
  }
}

export class QuarantineHandle implements QuarantinePort {
  target: QuarantinePort;

  constructor(target: QuarantinePort) {
    this.target = target;
  }

  state(): QuarantineState | undefined {
    return this.target.state();
  }

  names(): QuarantineId[] {
    return this.target.names();
  }

  read(name: QuarantineId): QuarantineChunk | undefined {
    return this.target.read(name);
  }

  write(change: QuarantineChange): Promise<void> {
    return this.target.write(change);
  }
}

export class StorePort implements BucketStore {
  target: BucketStore;

  constructor(target: BucketStore) {
    this.target = target;
  }

  meta(): StoreMeta | undefined {
    return this.target.meta();
  }

  generation(): number {
    return this.target.generation();
  }

  values(dimension: number): string[] {
    return this.target.values(dimension);
  }

  remembered(dimension: number): Uint32Array {
    return this.target.remembered(dimension);
  }

  head(address: BucketAddress): BucketHead | undefined {
    return this.target.head(address);
  }

  block(address: BucketAddress, rollup: number): CellBlock | undefined {
    return this.target.block(address, rollup);
  }

  blockInSlices(address: BucketAddress, rollup: number): Sliced<CellBlock | undefined> {
    return this.target.blockInSlices(address, rollup);
  }

  blockWith(address: BucketAddress, rollup: number, key: Uint32Array): CellBlock | undefined {
    return this.target.blockWith(address, rollup, key);
  }

  starts(calendar: string, grain: Grain, fromMs: number, toMs: number): Float64Array {
    return this.target.starts(calendar, grain, fromMs, toMs);
  }

  addresses(): Iterable<BucketAddress> {
    return this.target.addresses();
  }

  check(address: BucketAddress): readonly CellBlock[] {
    return this.target.check(address);
  }

  expect(bucket: StoredBucket): void {
    this.target.expect?.(bucket);
  }

  lastRevision(): number {
    return this.target.lastRevision();
  }

  revisions(after: number, limit: number): Revision[] {
    return this.target.revisions(after, limit);
  }

  sizes(): TierSize[] {
    return this.target.sizes();
  }

  commit(commit: StoreCommit): Promise<void> {
    return this.target.commit(commit);
  }
}
