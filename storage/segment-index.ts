/** Which segments and gaps a log in LMDB has, and their values in the database. */
import type { LogGap, Position } from "../engine/log.js";
import { TidemarkError } from "../engine/errors.js";
import type { Environment, Put } from "./environment.js";
import { damaged } from "./errors.js";
import type { EncodedSegment } from "./segment-encoder.js";
import {
  BODIES,
  decodeGap,
  decodeHeader,
  encodeGap,
  encodeQuarantined,
  fromOf,
  gapKey,
  GAPS,
  headerKey,
  HEADERS,
  keyRange,
  partsOf,
  quarantineKey,
  readSection,
  type SegmentHeader,
} from "./segment-format.js";
import { SegmentReader } from "./segment-reader.js";

interface Range {
  readonly from: Position;
  readonly to: Position;
}

export class SegmentIndex {
  readonly #environment: Environment;
  /** Ascending, as are the gaps; no two of both have a position in common. */
  readonly #headers: SegmentHeader[] = [];
  readonly #gaps: LogGap[] = [];
  /** Gaps that the database does not know of yet. */
  readonly unsettled = new Set<LogGap>();

  /**
   * Reads the headers of what was compacted, positions `[first, compacted)`, and all gaps. What is in neither is a
   * gap. Throws `storage-version`, or `storage-damaged` when segments overlap.
   */
  constructor(environment: Environment, first: Position, compacted: Position) {
    this.#environment = environment;
    const { segments } = environment;
    const rangeOf = (kind: number): Uint8Array[] => {
      const { start, end } = keyRange(kind);
      return environment.keys(segments, start, end);
    };
    for (const key of rangeOf(GAPS)) this.#load(key, (from, bytes) => this.#loadGap(from, bytes));
    for (const key of rangeOf(HEADERS)) {
      this.#load(key, (from, bytes) => {
        const header = decodeHeader(from, bytes);
        if (header.to > first && header.from < compacted) this.#headers.push(header);
      });
    }
    this.#fill(first, compacted);
  }

  get headers(): readonly SegmentHeader[] {
    return this.#headers;
  }

  get gaps(): readonly LogGap[] {
    return this.#gaps;
  }

  at(position: Position): SegmentHeader | undefined {
    return find(this.#headers, position);
  }

  gapAt(position: Position): LogGap | undefined {
    return find(this.#gaps, position);
  }

  reader(header: SegmentHeader): SegmentReader {
    const { segments } = this.#environment;
    return new SegmentReader(header, (section) =>
      readSection(header, section, (key) => this.#environment.get(segments, key)),
    );
  }

  add(from: Position, { header }: EncodedSegment): void {
    this.#headers.push(decodeHeader(from, header));
  }

  /** The segment was given up. */
  drop(header: SegmentHeader): void {
    const at = this.#headers.indexOf(header);
    if (at >= 0) this.#headers.splice(at, 1);
  }

  /** The segment was found damaged: it is a gap, which `quarantine` is to put into the database. */
  replace(header: SegmentHeader): void {
    const { from, to, least, greatest } = header;
    this.drop(header);
    this.#found({ from, to, fromMs: least, toMs: greatest + 1 });
  }

  addGap(gap: LogGap): void {
    const at = this.#gaps.findIndex(({ from }) => from >= gap.from);
    if (this.#gaps[at]?.from === gap.from) this.#gaps[at] = gap;
    else this.#gaps.splice(at < 0 ? this.#gaps.length : at, 0, gap);
  }

  dropGap(gap: LogGap): void {
    this.#gaps.splice(this.#gaps.indexOf(gap), 1);
    this.unsettled.delete(gap);
  }

  /** The values of a new segment's body. */
  *bodyOf(from: Position, { sections }: EncodedSegment): Generator<Put> {
    const db = this.#environment.segments;
    for (const [section, bytes] of sections.entries()) {
      for (const [key, value] of partsOf(from, section, bytes)) yield { db, key, value };
    }
  }

  /** Without it, its body is nothing. */
  headerOf(from: Position, { header }: EncodedSegment): Put {
    return { db: this.#environment.segments, key: headerKey(from), value: header };
  }

  /** Removes all that the database has of positions `[from, to)` under keys of some kinds. */
  removals({ from, to }: Range, kinds: readonly number[] = [HEADERS, BODIES]): Put[] {
    const db = this.#environment.segments;
    return kinds.flatMap((kind) =>
      this.#keys(kind, from, to).map((key): Put => ({ db, key, value: undefined })),
    );
  }

  /** Removes what was kept of damaged segments that begin before this position. */
  quarantineRemovals(before: Position): Put[] {
    const db = this.#environment.segments;
    return [HEADERS, BODIES].flatMap((kind) => {
      const { start, end } = keyRange(kind, 0, before);
      const keys = this.#environment.keys(db, quarantineKey(start), quarantineKey(end));
      return keys.map((key): Put => ({ db, key, value: undefined }));
    });
  }

  /** Makes a gap of what is there, and keeps what is there for those who want to look at it. */
  quarantine(gap: LogGap): Put[] {
    const db = this.#environment.segments;
    const puts: Put[] = [{ db, key: gapKey(gap.from), value: encodeGap(gap.from, gap) }];
    for (const kind of [HEADERS, BODIES]) {
      for (const key of this.#keys(kind, gap.from, gap.to)) {
        const value = this.#environment.get(db, key);
        const moved = quarantineKey(key);
        puts.push({ db, key, value: undefined });
        if (value !== undefined) puts.push({ db, key: moved, value: encodeQuarantined(moved, value) });
      }
    }
    return puts;
  }

  gapRemoval({ from }: LogGap): Put {
    return { db: this.#environment.segments, key: gapKey(from), value: undefined };
  }

  #found(gap: LogGap): void {
    this.addGap(gap);
    this.unsettled.add(gap);
  }

  #keys(kind: number, from: Position, to: Position): Uint8Array[] {
    const { start, end } = keyRange(kind, from, to);
    return this.#environment.keys(this.#environment.segments, start, end);
  }

  /** What cannot be read is left out, and thereby becomes a gap. */
  #load(key: Uint8Array, load: (from: Position, bytes: Uint8Array) => void): void {
    const bytes = this.#environment.get(this.#environment.segments, key);
    try {
      if (bytes !== undefined) load(fromOf(key), bytes);
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") throw error;
    }
  }

  #loadGap(from: Position, bytes: Uint8Array): void {
    this.#gaps.push({ from, ...decodeGap(from, bytes) });
  }

  #fill(first: Position, compacted: Position): void {
    const known: Range[] = [...this.#headers, ...this.#gaps.filter(({ to }) => to > first)];
    known.sort((a, b) => a.from - b.from);
    let next = first;
    for (const { from, to } of [...known, { from: compacted, to: compacted }]) {
      if (next >= compacted) break;
      const isOverlap = from < next && next > first;
      if (isOverlap) throw damaged("The event log", `has records ${from} to ${next - 1} twice`);
      const end = Math.min(from, compacted);
      if (end > next) this.#found({ from: next, to: end, fromMs: -Infinity, toMs: Infinity });
      next = to;
    }
  }
}

function find<T extends Range>(ranges: readonly T[], position: Position): T | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.to <= position) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low];
  return range !== undefined && range.from <= position ? range : undefined;
}
