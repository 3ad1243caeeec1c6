import fc from "fast-check";
import { createMemoryDisk, openMemory } from "../../storage/memory.js";
import type { Disk } from "./faulty-disk.js";
import { KINDS, type History } from "./history.js";

/** So small that a short life fills several segments. */
const SEGMENTS = { events: 8, records: 3, bytes: 1_000_000, spanMs: 7 * 86_400_000 };

export function memoryDisk(): Disk {
  const disk = createMemoryDisk(SEGMENTS);
  return { open: () => openMemory(disk), diesAlone: true };
}

export const histories: fc.Arbitrary<History> = fc.record({
  setup: fc.nat(0x7fff_ffff),
  commands: fc.array(
    fc.record({
      kind: fc.nat(KINDS - 1),
      choice: fc.nat(0xff_ffff),
      events: fc.array(fc.nat(0x7fff_ffff), { minLength: 1, maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 8 },
  ),
});
