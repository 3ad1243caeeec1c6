import { readFileSync } from "node:fs";

/** Bytes that a disk writes as one. */
const SECTOR_BYTES = 512;
/** Bytes that the system's cache holds, and writes back, as one. */
const PAGE_BYTES = 4096;
const HEADER_BYTES = 32;
const FLAG_DSYNC = 1;

/** Which of the writes that no sync has confirmed are on the disk after the power is back. */
export type Loss = "none" | "all" | "half" | "torn";
export const LOSSES: readonly Loss[] = ["none", "half", "torn"];

export interface Step {
  readonly type: string;
  readonly isSynchronous: boolean;
  readonly file: number;
  readonly seq: number;
  /** Offset, new length, or the step that this one is about. */
  readonly at: number;
  readonly data: Buffer;
}

/** Reads what trace.c wrote. */
export function readTrace(path: string): Step[] {
  const bytes = readFileSync(path);
  const steps: Step[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at + 24));
    const end = at + HEADER_BYTES + length;
    if (end > bytes.length) throw new Error("the trace is cut off");
    steps.push({
      type: String.fromCharCode(bytes[at]!),
      isSynchronous: (bytes[at + 1]! & FLAG_DSYNC) !== 0,
      file: bytes.readInt32LE(at + 4),
      seq: Number(bytes.readBigUInt64LE(at + 8)),
      at: Number(bytes.readBigUInt64LE(at + 16)),
      data: bytes.subarray(at + HEADER_BYTES, end),
    });
    at = end;
  }
  return steps;
}

/** A change of a file, in the order in which they were made. */
interface Change {
  readonly seq: number;
  readonly at: number;
  /** Undefined: the file was cut, or grown, to `at` bytes. */
  readonly data: Buffer | undefined;
  isDurable: boolean;
  /**
   * A sync over it failed: the system may have let go of it, and no later sync makes it durable, unless its page was
   * written to again.
   */
  isDoubtful: boolean;
}

/** One file: the part of its past that is on the disk for certain, and what came after. */
class TracedFile {
  /** A directory was synced since it was created. */
  isNamed = false;
  #certain = Buffer.alloc(0);
  #length = 0;
  #changes: Change[] = [];

  cut(seq: number, length: number): void {
    this.#changes.push({ seq, at: length, data: undefined, isDurable: false, isDoubtful: false });
  }

  /** Page by page: each may reach the disk without the others. */
  write(seq: number, start: number, data: Buffer): void {
    const end = start + data.length;
    for (let at = start; at < end;) {
      const next = Math.min(end, at - (at % PAGE_BYTES) + PAGE_BYTES);
      const part = data.subarray(at - start, next - start);
      this.#changes.push({ seq, at, data: part, isDurable: false, isDoubtful: false });
      at = next;
    }
  }

  /** A sync that began at `seq` has ended, or failed. */
  synced(seq: number, isGood: boolean): void {
    const synced = this.#changes.filter((change) => change.seq <= seq && !change.isDurable);
    if (isGood) this.#reached(synced.filter((change) => !change.isDoubtful));
    else for (const change of synced) change.isDoubtful = true;
  }

  /** The synchronous write `seq` has ended. */
  written(seq: number): void {
    this.#reached(this.#changes.filter((change) => change.seq === seq));
  }

  image(keeps: (sectors: number) => readonly boolean[] | boolean): Buffer {
    let bytes = Buffer.from(this.#certain.subarray(0, this.#length));
    for (const { at, data, isDurable } of this.#changes) {
      const kept = isDurable || keeps(data === undefined ? 1 : sectorsOf(at, data.length));
      bytes = apply(bytes, at, data, kept);
    }
    return bytes;
  }

  #reached(changes: readonly Change[]): void {
    const pages = new Map(changes.map((change) => [pageOf(change), change.seq]));
    for (const change of changes) change.isDurable = true;
    for (const change of this.#changes) {
      if (change.isDoubtful && change.seq < (pages.get(pageOf(change)) ?? 0)) change.isDurable = true;
    }
    this.#settle();
  }

  /** What is certain for good needs no list. */
  #settle(): void {
    let count = 0;
    while (this.#changes[count]?.isDurable === true) count++;
    for (const { at, data } of this.#changes.splice(0, count)) this.#settleOne(at, data);
  }

  #settleOne(at: number, data: Buffer | undefined): void {
    const length = data === undefined ? at : Math.max(this.#length, at + data.length);
    if (length > this.#certain.length) {
      const grown = Buffer.alloc(Math.max(length, this.#certain.length * 2));
      this.#certain.copy(grown, 0, 0, this.#length);
      this.#certain = grown;
    }
    if (length < this.#length) this.#certain.fill(0, length, this.#length);
    data?.copy(this.#certain, at);
    this.#length = length;
  }
}

function pageOf({ at, data }: Change): number {
  return data === undefined ? -1 : Math.floor(at / PAGE_BYTES);
}

function apply(
  bytes: Buffer<ArrayBuffer>,
  at: number,
  data: Buffer | undefined,
  kept: readonly boolean[] | boolean,
): Buffer<ArrayBuffer> {
  if (kept === false) return bytes;
  if (data === undefined) return resized(bytes, at);
  const parts = kept === true ? [[0, data.length] as const] : keptParts(at, data.length, kept);
  let out = bytes;
  for (const [from, to] of parts) {
    out = resized(out, Math.max(out.length, at + to));
    data.copy(out, at + from, from, to);
  }
  return out;
}

function resized(bytes: Buffer<ArrayBuffer>, length: number): Buffer<ArrayBuffer> {
  return length <= bytes.length ? bytes.subarray(0, length) : Buffer.concat([bytes], length);
}

function sectorsOf(at: number, length: number): number {
  return Math.ceil((at + length) / SECTOR_BYTES) - Math.floor(at / SECTOR_BYTES);
}

function keptParts(at: number, length: number, kept: readonly boolean[]): (readonly [number, number])[] {
  const first = Math.floor(at / SECTOR_BYTES) * SECTOR_BYTES - at;
  return kept.flatMap((isKept, i) => {
    const from = Math.max(0, first + i * SECTOR_BYTES);
    const to = Math.min(length, first + (i + 1) * SECTOR_BYTES);
    return isKept ? [[from, to] as const] : [];
  });
}

/** A disk that moves through a trace, and shows what it would hold had the power gone just then. */
export class TracedDisk {
  readonly #steps: readonly Step[];
  readonly #files = new Map<string, TracedFile>();
  /** By new name: files that were renamed, while no directory was synced since. */
  readonly #renamed = new Map<string, TracedFile>();
  /** Descriptor → name, of files and of directories. */
  readonly #names = new Map<number, string>();
  #position = 0;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  /** Makes the first `count` steps happen; only forwards. */
  advance(count: number): void {
    for (; this.#position < count; this.#position++) this.#do(this.#steps[this.#position]!);
  }

  /** The file after a power loss; undefined when not even its name is certain. */
  image(name: string, loss: Loss, random: () => number): Buffer | undefined {
    const renamed = this.#renamed.get(name);
    const hasNewName = renamed !== undefined && (loss === "all" || (loss !== "none" && random() < 0.5));
    const file = hasNewName ? renamed : this.#files.get(name);
    if (file === undefined || (!file.isNamed && !hasNewName && loss === "none")) return undefined;
    return file.image((sectors) => {
      if (loss === "half") return random() < 0.5;
      if (loss === "torn") return Array.from({ length: sectors }, () => random() < 0.5);
      return loss === "all";
    });
  }

  #do({ type, file, seq, at, data }: Step): void {
    if (type === "O") return this.#open(file, data.toString(), at === 1, seq);
    const name = this.#names.get(file);
    const target = this.#files.get(name ?? "");
    if (type === "W") target!.write(seq, at, data);
    else if (type === "T") target!.cut(seq, at);
    else if (type === "D") target!.written(at);
    else if (type === "E" || type === "F") {
      target?.synced(at, type === "E");
      if (type === "E") this.#nameAll(name!);
    } else if (type === "X" && !name!.endsWith("lock.mdb")) throw new Error(`${name} is mapped for writing`);
    else if (type === "R") this.#rename(...(data.toString().split("\0") as [string, string]));
  }

  #rename(from: string, to: string): void {
    this.#renamed.set(to, this.#files.get(from)!);
    this.#files.delete(from);
  }

  #open(descriptor: number, name: string, isCut: boolean, seq: number): void {
    this.#names.set(descriptor, name);
    let file = this.#files.get(name);
    if (file === undefined) this.#files.set(name, (file = new TracedFile()));
    if (isCut) file.cut(seq, 0);
  }

  /** A synced directory holds the names in it for certain. */
  #nameAll(directory: string): void {
    for (const [name, file] of this.#renamed) {
      if (!name.startsWith(`${directory}/`)) continue;
      this.#files.set(name, file);
      this.#renamed.delete(name);
    }
    for (const [name, file] of this.#files) {
      if (name.startsWith(`${directory}/`)) file.isNamed = true;
    }
  }
}
