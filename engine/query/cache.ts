import type { Answer, OverlapResult, PeakResult } from "../api.js";
import { Lru } from "./lru.js";

/** What an answer was worked out from: as long as nothing of it changes, the answer stands. */
export interface Basis {
  /** Ranges of event time whose events are in the answer, half-open, ms. */
  readonly ranges: readonly (readonly [fromMs: number, toMs: number])[];
  /** `Touched.version` when it was worked out. */
  readonly version: number;
  /** Up to where buckets were sealed then, ms; undefined where all rows were, so that sealing changes nothing. */
  readonly sealedUntil: number | undefined;
  /** When the clock or the watermark reach this, a row's state changes, ms. */
  readonly steadyUntil: number;
  /** The engine's clock then, ms. */
  readonly at: number;
  /** Undefined unless the clock alone makes it another answer: before and after this, half-open, ms. */
  readonly clock: readonly [fromMs: number, untilMs: number] | undefined;
}

/** How things stand when an answer is asked for again. */
export interface Standing {
  readonly now: number;
  readonly watermarkMs: number;
  readonly sealedUntil: number;
  /** The last touch of a range. */
  lastTouched(fromMs: number, toMs: number): number;
}

interface Kept {
  readonly answer: Answer;
  readonly basis: Basis;
}

/** An open range's answer may say a watermark and a clock that are so old, ms. */
const OPEN_TTL_MS = 5000;

/** Of an entry, of a row and of a value: rough, measured on heaps of rows with short names. */
const ENTRY_BYTES = 2000;
const ROW_BYTES = 300;
const VALUE_BYTES = 60;
/** In an array of numbers. */
const NUMBER_BYTES = 16;

/** Answers by question, the least recently used given up first. An answer that no longer stands is never given. */
export class AnswerCache {
  readonly #maxBytes: number;
  readonly #kept: Lru<Kept>;
  hits = 0;
  misses = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#kept = new Lru(maxBytes);
  }

  get entries(): number {
    return this.#kept.count;
  }

  get sizeBytes(): number {
    return this.#kept.size;
  }

  get(key: string, standing: Standing): Answer | undefined {
    const kept = this.#kept.get(key);
    if (kept !== undefined && stands(kept.basis, standing)) {
      this.hits++;
      return kept.answer;
    }
    this.#kept.delete(key);
    this.misses++;
    return undefined;
  }

  put(key: string, answer: Answer, basis: Basis): void {
    const sizeBytes = sizeOf(answer) + 2 * key.length;
    // One answer that would push out most others is not worth it.
    if (sizeBytes <= this.#maxBytes / 4) this.#kept.set(key, { answer, basis }, sizeBytes);
  }
}

function stands(basis: Basis, standing: Standing): boolean {
  const { now, watermarkMs, sealedUntil } = standing;
  if (basis.clock !== undefined && (now < basis.clock[0] || now >= basis.clock[1])) return false;
  if (basis.sealedUntil !== undefined) {
    if (basis.sealedUntil !== sealedUntil || now - basis.at > OPEN_TTL_MS) return false;
    if (Math.min(now, watermarkMs) >= basis.steadyUntil) return false;
  }
  return basis.ranges.every(([fromMs, toMs]) => standing.lastTouched(fromMs, toMs) <= basis.version);
}

function sizeOf(answer: Answer): number {
  if (!("results" in answer)) return ENTRY_BYTES + valuesOf(answer) * NUMBER_BYTES;
  const { results } = answer;
  const [row] = results;
  if (row === undefined) return ENTRY_BYTES;
  const values = row.dimensions.length + row.metrics.length * (row.compare === undefined ? 1 : 2);
  return ENTRY_BYTES + results.length * (ROW_BYTES + values * VALUE_BYTES);
}

function valuesOf(answer: PeakResult | OverlapResult): number {
  if (!("matrix" in answer)) return Object.keys(answer).length * 3;
  return 2 * answer.matrix.reduce((sum, hours) => sum + hours.length, 0) + 4 * answer.top.length;
}
