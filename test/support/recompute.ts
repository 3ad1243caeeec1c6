import { murmur3x64, type Grain, type Schema } from "../../engine/index.js";
import type { PlainEvent } from "./oracle.js";
import { bucketAt } from "./zoned.js";

interface Cell {
  views: number;
  anonymous: number;
  created: number;
  readonly viewers: Set<string>;
}

/** Lines of `Engine.canonicalRows()` worked out from nothing but the accepted events. */
export function recompute(
  events: readonly PlainEvent[],
  schema: Schema,
  sealedUntil: Readonly<Record<string, number>>,
): string[] {
  const cells = new Map<string, Cell>();
  for (const event of events) {
    for (const address of addresses(event.ts, sealedUntil)) {
      for (const { name, dims } of schema.rollups) {
        const key = dims.map((d) => event[schema.dimensions[d] as "blog" | "author" | "country"] ?? null);
        add(cells, `${address} ${name} ${JSON.stringify(key)}`, event);
      }
    }
  }
  return [...cells].map(([key, cell]) => `${key} ${state(cell)}`).sort();
}

/** The buckets that are stored for an event: its quarter, and what is sealed of the coarser grains. */
function* addresses(ts: number, sealedUntil: Readonly<Record<string, number>>): Generator<string> {
  yield `UTC quarter ${bucketAt("UTC", "quarter", ts).startMs}`;
  for (const [calendar, until] of Object.entries(sealedUntil)) {
    const grains: readonly Grain[] = ["hour", "day", "week", "month", "year"];
    for (const grain of calendar === "UTC" ? grains : grains.slice(1)) {
      const { startMs, endMs } = bucketAt(calendar, grain, ts);
      if (endMs <= until) yield `${calendar} ${grain} ${startMs}`;
    }
  }
}

function add(cells: Map<string, Cell>, key: string, event: PlainEvent): void {
  let cell = cells.get(key);
  if (cell === undefined) {
    cell = { views: 0, anonymous: 0, created: 0, viewers: new Set() };
    cells.set(key, cell);
  }
  if (event.type === "created") cell.created++;
  else {
    cell.views++;
    if (event.viewer === undefined) cell.anonymous++;
    else cell.viewers.add(event.viewer);
  }
}

const MAX_TOKENS = 2048;
const REGISTERS = 1 << 14;

function state({ views, anonymous, created, viewers }: Cell): string {
  const distinct = [...viewers].map(hashOf);
  const tokens = [...new Set(distinct.map(tokenOf))].sort((a, b) => a - b);
  const sketch =
    tokens.length <= MAX_TOKENS ? `tokens:${tokens.map((t) => t.toString(36)).join(",")}` : dense(distinct);
  return `${views} ${anonymous} ${created} ${sketch}`;
}

const hashes = new Map<string, bigint>();

/** The 48 bits of a viewer's hash that an event keeps. */
function hashOf(viewer: string): bigint {
  let hash = hashes.get(viewer);
  if (hash === undefined) hashes.set(viewer, (hash = BigInt.asUintN(48, murmur3x64(viewer))));
  return hash;
}

/** Low 26 bits, then how many zeros follow, counted from 1; 39 where the hash is all zeros above. */
function tokenOf(hash: bigint): number {
  return Number((hash % (1n << 26n)) * 64n) + Math.min(39, 1 + zeros(hash >> 26n));
}

function dense(distinct: readonly bigint[]): string {
  const registers = new Uint8Array(REGISTERS);
  for (const hash of distinct) {
    const index = Number(hash % BigInt(REGISTERS));
    registers[index] = Math.max(registers[index]!, Math.min(51, 1 + zeros(hash >> 14n)));
  }
  return `dense:${Array.from(registers, (r) => r.toString(36).padStart(2, "0")).join("")}`;
}

function zeros(rest: bigint): number {
  if (rest === 0n) return 64;
  let count = 0;
  for (let bits = rest; (bits & 1n) === 0n; bits >>= 1n) count++;
  return count;
}
