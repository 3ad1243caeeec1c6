/** The blocks of a commit as bytes: a few of them here, in slices, many in a thread of its own. */
import type { Grain } from "../engine/calendar/grain.js";
import { countRows } from "../engine/hot/seal.js";
import { Slices, inSlices } from "../engine/sliced.js";
import type { BucketAddress, BucketHead, CellBlock, StoredBucket } from "../engine/store.js";
import { blockChecksum, encodeAllInSlices } from "./block-codec.js";
import type { Encoded, EncodeRequest } from "./block-main.js";
import { flatSize, flattened, type FlatBlock } from "./flat-block.js";
import type { BlockEntry } from "./store-codec.js";
import { SpareBuffers } from "../engine/spare-buffers.js";
import { ThreadOnDemand } from "./thread-on-demand.js";
import { WorkThread } from "./work-thread.js";
import { TURNS } from "./write-queue.js";

/**
 * Grains whose coarse rollups are told as sums of finer ones: most cells are theirs, and few of them are read. Of a day
 * and more, rankings are read whole, for which that would cost ten times as much.
 */
const FINE_GRAINS: ReadonlySet<Grain> = new Set(["quarter", "hour"]);

/** To start the thread takes as long as to encode some ten thousand rows. */
const THREAD_FROM_ROWS = 20_000;
/** The same for a thread that runs already: to hand over and back takes as long as to encode so many. */
const RUNNING_THREAD_FROM_ROWS = 1000;
/** Copies of blocks that the thread may have at a time, bytes; what is larger is encoded here, where it needs no copy. */
const MAX_HANDED_OVER_BYTES = 64 * 1024 * 1024;
const MAX_SPARE_BYTES = 8 * 1024 * 1024;

export interface EncodedBucket {
  readonly address: BucketAddress;
  readonly head: BucketHead;
  readonly blocks: readonly { readonly entry: BlockEntry; readonly bytes: Uint8Array }[];
}

/** What is encoded together. */
interface Unit {
  readonly blocks: readonly CellBlock[];
  /** Are they all of a bucket, and may some be told as sums of others? */
  readonly derives: boolean;
}

/** Of each block of a bucket that has rows. */
type Bytes = readonly Uint8Array[];

export class BlockEncoder {
  /** What it leaves to its collector, and works with, comes to 100 MiB. */
  readonly #thread = new ThreadOnDemand(() => new WorkThread<EncodeRequest, Encoded>("block-main"), {
    needsMemory: true,
  });
  readonly #spare = new SpareBuffers(MAX_SPARE_BYTES, unfilled);
  /** By a bucket's blocks: what was begun before its commit. */
  readonly #ahead = new WeakMap<readonly CellBlock[], Promise<Bytes>>();
  readonly #slices = new Slices(TURNS);
  /** Resolves when what was asked for before is copied, or encoded here. */
  #turn: Promise<unknown> = Promise.resolve();
  #handedOverBytes = 0;
  /** Resolves when all that was handed over is done. */
  #last: Promise<unknown> = Promise.resolve();

  /** Begins with a bucket of the next commit, if the thread would encode it: its other buckets are still to be made. */
  begin(bucket: StoredBucket): void {
    if (!this.#isForThread(bucket.blocks)) return;
    const encoded = this.#encode(bucket, true);
    encoded.catch(() => undefined);
    this.#ahead.set(bucket.blocks, encoded);
  }

  /** Rejects with `Error("BUG: …")` when a block is not what `CellBlock` promises. */
  async encode(buckets: readonly StoredBucket[]): Promise<EncodedBucket[]> {
    const others = buckets.filter(({ blocks }) => !this.#ahead.has(blocks));
    const inThread = this.#isForThread(others.flatMap(({ blocks }) => blocks));
    const bytes = await Promise.all(
      buckets.map((bucket) => this.#ahead.get(bucket.blocks) ?? this.#encode(bucket, inThread)),
    );
    return buckets.map((bucket, i) => encodedBucket(bucket, bytes[i]!));
  }

  /** Encodes nothing more in the thread. */
  async close(): Promise<void> {
    await this.#thread.close();
  }

  #isForThread(blocks: readonly CellBlock[]): boolean {
    const { isOff, isRunning } = this.#thread;
    return !isOff && countRows(blocks) >= (isRunning ? RUNNING_THREAD_FROM_ROWS : THREAD_FROM_ROWS);
  }

  async #encode(bucket: StoredBucket, inThread: boolean): Promise<Bytes> {
    const units = unitsOf(bucket);
    const here = (): Promise<Bytes> => this.#inTurn(() => encodeHere(units, this.#slices));
    if (!inThread) return await here();
    return await this.#thread.use((thread) => this.#encodeThere(thread, units), here);
  }

  async #encodeThere(thread: WorkThread<EncodeRequest, Encoded>, units: readonly Unit[]): Promise<Bytes> {
    const encoded: Promise<Bytes>[] = [];
    await this.#inTurn(async () => {
      for (const unit of units) await this.#handOver(thread, unit, encoded);
    });
    return (await Promise.all(encoded)).flat();
  }

  /** Work of one bucket after the other, so that what they hold together is bounded. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Resolves when the unit's copy is on its way; `encoded` then has what will come of it. */
  async #handOver(
    thread: WorkThread<EncodeRequest, Encoded>,
    unit: Unit,
    encoded: Promise<Bytes>[],
  ): Promise<void> {
    const { blocks, derives } = unit;
    const sizes = blocks.map(flatSize);
    const size = sizes.reduce((sum, bytes) => sum + bytes, 0);
    if (size > MAX_HANDED_OVER_BYTES) {
      encoded.push(Promise.resolve(await encodeHere([unit], this.#slices)));
      return;
    }
    if (this.#handedOverBytes + size > MAX_HANDED_OVER_BYTES) await this.#last;
    this.#handedOverBytes += size;
    const flat: FlatBlock[] = [];
    for (const [i, block] of blocks.entries()) {
      flat.push(await inSlices(flattened(block, this.#spare.take(sizes[i]!)), this.#slices));
    }
    const asked = this.#ask(thread, { blocks: flat, derives }).finally(() => (this.#handedOverBytes -= size));
    this.#last = asked.catch(() => undefined);
    encoded.push(asked);
  }

  async #ask(thread: WorkThread<EncodeRequest, Encoded>, request: EncodeRequest): Promise<Bytes> {
    const transfer = request.blocks.map(({ buffer }) => buffer);
    const { bytes, buffers } = await thread.ask(request, transfer);
    this.#spare.keep(...buffers);
    return bytes;
  }
}

/** Zeros in 20 MiB take 18 ms in one turn. */
function unfilled(size: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(size).buffer;
}

function unitsOf({ address, blocks }: StoredBucket): Unit[] {
  const filled = blocks.filter(({ count }) => count > 0);
  if (FINE_GRAINS.has(address.grain)) return [{ blocks: filled, derives: true }];
  return filled.map((block) => ({ blocks: [block], derives: false }));
}

function encodedBucket({ address, head, blocks }: StoredBucket, all: Bytes): EncodedBucket {
  const filled = blocks.filter(({ count }) => count > 0);
  return {
    address,
    head,
    blocks: filled.map(({ rollup, count }, i) => {
      const bytes = all[i]!;
      const checksum = blockChecksum(bytes, "A new block");
      return { entry: { rollup, rows: count, sizeBytes: bytes.length, checksum }, bytes };
    }),
  };
}

async function encodeHere(units: readonly Unit[], slices: Slices): Promise<Bytes> {
  const encoded: Uint8Array[] = [];
  for (const { blocks, derives } of units) {
    encoded.push(...(await inSlices(encodeAllInSlices(blocks, derives), slices)));
  }
  return encoded;
}
