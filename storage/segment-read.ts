/** Reads a log in LMDB, in the order of positions, while it may change. */
import {
  claimsOf,
  timesOf,
  type LogClaims,
  type LogEntry,
  type LogRecord,
  type Position,
} from "../engine/log.js";
import { TidemarkError } from "../engine/errors.js";
import type { Environment } from "./environment.js";
import { damaged, overtaken } from "./errors.js";
import { logKey } from "./keys.js";
import { decodeRecord } from "./log-codec.js";
import type { SegmentHeader } from "./segment-format.js";
import type { SegmentIndex } from "./segment-index.js";
import type { SegmentReader } from "./segment-reader.js";
import { Slices } from "../engine/sliced.js";
import { TURNS } from "./write-queue.js";
import type { TailIndex } from "./segment-tail.js";

/** What readers need of the log. */
export interface LogSource {
  readonly environment: Environment;
  readonly segments: SegmentIndex;
  readonly tail: TailIndex;
  /** Records before this position may be gone. */
  readonly trimmed: Position;
  /** Makes a gap of a segment that was found damaged. */
  quarantine(header: SegmentHeader): Promise<void>;
}

/** Event times `[fromMs, toMs)`. */
export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Times {
  readonly least: number;
  readonly greatest: number;
}

/** What is read of segments and of the tail. */
interface View<T extends { readonly position: Position }> {
  /** An `undefined` among them is a place for a pause. */
  ofBlock(reader: SegmentReader, block: number): Generator<T | undefined>;
  ofRecord(position: Position, record: LogRecord): T;
  isWanted(item: T): boolean;
}

/** Entries of positions `[from, head]`; with a range only those that have an event in it. */
export function readEntries(
  source: LogSource,
  from: Position,
  head: Position,
  range?: TimeRange,
): AsyncGenerator<LogEntry> {
  const view: View<LogEntry> = {
    ofBlock: (reader, block) => reader.entries(block),
    ofRecord: (position, record) => ({ position, record }),
    isWanted: ({ record }) => range === undefined || overlaps(timesOf(record.events), range),
  };
  return walk(source, from, head, range, view);
}

export function readClaims(source: LogSource, from: Position, head: Position): AsyncGenerator<LogClaims> {
  const view: View<LogClaims> = {
    ofBlock: (reader, block) => reader.claims(block),
    ofRecord: claimsOf,
    isWanted: () => true,
  };
  return walk(source, from, head, undefined, view);
}

async function* walk<T extends { readonly position: Position }>(
  source: LogSource,
  from: Position,
  head: Position,
  range: TimeRange | undefined,
  view: View<T>,
): AsyncGenerator<T> {
  const slices = new Slices(TURNS);
  const { segments } = source;
  let position = from;
  while (position <= head) {
    if (position < source.trimmed) throw overtaken(position);
    const gap = segments.gapAt(position);
    const header = segments.at(position);
    if (gap !== undefined) {
      position = gap.to;
    } else if (header === undefined) {
      const item = tailItem(source, position++, range, view);
      if (item !== undefined) yield item;
      if (slices.isOver()) await slices.pause();
    } else if (range !== undefined && !overlaps(header, range)) {
      position = header.to;
    } else {
      try {
        for (const item of itemsOf(segments.reader(header), position, range, view)) {
          if (item !== undefined && item.position > head) return;
          if (item !== undefined && view.isWanted(item)) yield item;
          if (item !== undefined) position = item.position + 1;
          if (slices.isOver()) await slices.pause();
        }
        position = header.to;
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") throw error;
        if (position < source.trimmed) throw overtaken(position);
        // What was damaged is a gap from now on, for this reader too.
        await source.quarantine(header);
      }
    }
  }
}

/** Undefined when the record is not wanted. */
function tailItem<T extends { readonly position: Position }>(
  { environment, tail }: LogSource,
  position: Position,
  range: TimeRange | undefined,
  view: View<T>,
): T | undefined {
  const known = tail.has(position) ? tail.at(position) : undefined;
  if (range !== undefined && known !== undefined && !mayOverlap(known, range)) return undefined;
  const bytes = environment.get(environment.log, logKey(position));
  if (bytes === undefined) throw damaged(`Log record ${position}`, "is missing");
  const record = decodeRecord(position, bytes);
  if (known !== undefined) tail.learn(position, record);
  const item = view.ofRecord(position, record);
  return view.isWanted(item) ? item : undefined;
}

/** From `position` on; blocks that cannot be wanted are not read. */
function* itemsOf<T extends { readonly position: Position }>(
  reader: SegmentReader,
  position: Position,
  range: TimeRange | undefined,
  view: View<T>,
): Generator<T | undefined> {
  let first = reader.header.from;
  for (const [number, block] of reader.header.blocks.entries()) {
    const end = first + block.records;
    const isWanted = end > position && (range === undefined || overlaps(block, range));
    first = end;
    if (!isWanted) continue;
    for (const item of view.ofBlock(reader, number)) {
      if (item === undefined || item.position >= position) yield item;
    }
  }
}

function overlaps({ least, greatest }: Times, { fromMs, toMs }: TimeRange): boolean {
  return least < toMs && greatest >= fromMs;
}

/** Times that nobody knows may overlap anything. */
function mayOverlap(times: Times, range: TimeRange): boolean {
  return Number.isNaN(times.least) || overlaps(times, range);
}
