/** Settings of V8's collector for the process of a server; a program that embeds the engine has its own. */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { isMemoryScarce } from "../storage/scarcity.js";

/**
 * Allocated between two full collections, bytes. V8 collects once what came up comes to as much as its heap holds, buffers
 * outside of it included. Here the heap is small (20 MiB) and nearly all lies outside, so that it collected six times a
 * second under load, for a fifth of all CPU time. From 64 MiB on V8 collects whatever this says.
 */
const ROOM_BYTES = 64 * 1024 * 1024;
/** How often the heap is looked at, ms: it grows with the keys that are known, in hours. */
const LOOK_MS = 10_000;

/** Once for a process. Where memory is scarce V8 decides. */
export function giveCollectorRoom(): void {
  if (isMemoryScarce()) return;
  // V8 forgets the code of functions that are not called for some collections: sealing's would be compiled again and again.
  setFlagsFromString("--no-flush-bytecode");
  const look = (): void =>
    setFlagsFromString(`--heap-growing-percent=${growingPercent(getHeapStatistics().used_heap_size)}`);
  look();
  setInterval(look, LOOK_MS).unref();
}

/** By how much a heap of so many bytes may grow until it is collected; 0: V8 decides. */
export function growingPercent(heapBytes: number): number {
  return heapBytes < ROOM_BYTES ? Math.ceil((ROOM_BYTES / heapBytes) * 100) : 0;
}
