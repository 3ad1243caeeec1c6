/** The blocks of a commit as bytes: a few of them here, in slices, many in a thread of its own. */
import type { Grain } from "../engine/calendar/grain.js";
import { Slices, inSlices } from "../engine/sliced.js";
import type { BucketAddress, BucketHead, CellBlock, StoredBucket } from "../engine/store.js";
import { blockChecksum, encodeAllInSlices } from "./block-codec.js";
import type { Encoded, EncodeRequest } from "./block-main.js";
import { flatSize, flattened, type FlatBlock } from "./flat-block.js";
import type { BlockEntry } from "./store-codec.js";
import { isMemoryScarce } from "./scarcity.js";
import { ThreadOnDemand } from "./thread-on-demand.js";
import type { WorkThread } from "./work-thread.js";
import { TURNS } from "./write-queue.js";

/**
 * Grains whose coarse rollups are told as sums of finer ones: most cells are theirs, and few of them are read. Of a day
 * and more, rankings are read whole, for which that would cost ten times as much.
 */
const FINE_GRAINS: ReadonlySet<Grain> = new Set(["quarter", "hour"]);

/** To start the thread takes as long as to encode some ten thousand rows. */
const THREAD_FROM_ROWS = 20_000;
/** Copies of blocks that the thread may have at a time, bytes; what is larger is encoded here, where it needs no copy. */
const MAX_HANDED_OVER_BYTES = 16 * 1024 * 1024;
/** Memory that is kept for the next copies: new memory takes longer to be had than to be written. */
const MAX_SPARE_BYTES = 8 * 1024 * 1024;
const SLACK = 1.25;

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

export class BlockEncoder {
  readonly #thread = new ThreadOnDemand<EncodeRequest, Encoded>("block-main");
  /** What the thread leaves to its collector, and works with, comes to 100 MiB. */
  readonly #hasThread = !isMemoryScarce();
  /** Ascending by size. */
  readonly #spare: ArrayBuffer[] = [];
  #handedOverBytes = 0;
  /** Resolves when all that was handed over is done. */
  #last: Promise<unknown> = Promise.resolve();

  /** Rejects with `Error("BUG: …")` when a block is not what `CellBlock` promises. */
  async encode(buckets: readonly StoredBucket[]): Promise<EncodedBucket[]> {
    const filled = buckets.map(({ address, head, blocks }) => {
      return { address, head, blocks: blocks.filter(({ count }) => count > 0) };
    });
    const units = filled.flatMap(({ address, blocks }): Unit[] =>
      FINE_GRAINS.has(address.grain)
        ? [{ blocks, derives: true }]
        : blocks.map((block) => ({ blocks: [block], derives: false })),
    );
    const all = (await this.#encodeAll(units)).flat();
    let next = 0;
    return filled.map(({ address, head, blocks }) => ({
      address,
      head,
      blocks: blocks.map(({ rollup, count }) => {
        const bytes = all[next++]!;
        const checksum = blockChecksum(bytes, "A new block");
        return { entry: { rollup, rows: count, sizeBytes: bytes.length, checksum }, bytes };
      }),
    }));
  }

  /** Encodes nothing more in the thread. */
  async close(): Promise<void> {
    await this.#thread.close();
  }

  async #encodeAll(units: readonly Unit[]): Promise<(readonly Uint8Array[])[]> {
    const rows = units.reduce((sum, { blocks }) => blocks.reduce((all, { count }) => all + count, sum), 0);
    const here = (): Promise<Uint8Array[][]> => encodeHere(units);
    if (rows < THREAD_FROM_ROWS || !this.#hasThread) return await here();
    return await this.#thread.use((thread) => this.#encodeThere(thread, units), here);
  }

  async #encodeThere(
    thread: WorkThread<EncodeRequest, Encoded>,
    units: readonly Unit[],
  ): Promise<(readonly Uint8Array[])[]> {
    const slices = new Slices(TURNS);
    const encoded: Promise<readonly Uint8Array[]>[] = [];
    for (const { blocks, derives } of units) {
      const sizes = blocks.map(flatSize);
      const size = sizes.reduce((sum, bytes) => sum + bytes, 0);
      if (size > MAX_HANDED_OVER_BYTES) {
        encoded.push(Promise.resolve(await inSlices(encodeAllInSlices(blocks, derives), slices)));
        continue;
      }
      if (this.#handedOverBytes + size > MAX_HANDED_OVER_BYTES) await this.#last;
      this.#handedOverBytes += size;
      const flat: FlatBlock[] = [];
      for (const [i, block] of blocks.entries()) {
        flat.push(await inSlices(flattened(block, this.#bufferOf(sizes[i]!)), slices));
      }
      const asked = this.#ask(thread, { blocks: flat, derives }).finally(
        () => (this.#handedOverBytes -= size),
      );
      this.#last = asked.catch(() => undefined);
      encoded.push(asked);
    }
    return await Promise.all(encoded);
  }

  async #ask(
    thread: WorkThread<EncodeRequest, Encoded>,
    request: EncodeRequest,
  ): Promise<readonly Uint8Array[]> {
    const transfer = request.blocks.map(({ buffer }) => buffer);
    const { bytes, buffers } = await thread.ask(request, transfer);
    this.#keep(buffers);
    return bytes;
  }

  #bufferOf(size: number): ArrayBuffer {
    const at = this.#spare.findIndex(({ byteLength }) => byteLength >= size);
    return at < 0 ? new ArrayBuffer(Math.ceil(size * SLACK)) : this.#spare.splice(at, 1)[0]!;
  }

  #keep(buffers: readonly ArrayBuffer[]): void {
    this.#spare.push(...buffers);
    this.#spare.sort((a, b) => a.byteLength - b.byteLength);
    let bytes = this.#spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (bytes > MAX_SPARE_BYTES) bytes -= this.#spare.pop()!.byteLength;
  }
}

async function encodeHere(units: readonly Unit[]): Promise<Uint8Array[][]> {
  const slices = new Slices(TURNS);
  const encoded: Uint8Array[][] = [];
  for (const { blocks, derives } of units)
    encoded.push(await inSlices(encodeAllInSlices(blocks, derives), slices));
  return encoded;
}
