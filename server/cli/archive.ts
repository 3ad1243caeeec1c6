import { utcIso } from "../../engine/calendar/index.js";
import type { EventBatch } from "../../engine/log.js";
import { FLAG_CREATED } from "../../engine/log.js";
import type { ArchiveChunk } from "../../engine/upkeep/archive.js";
import { readArchive } from "../../storage/archive.js";
import { EXIT, say, textOf, type Command } from "./command.js";

const NAMES = ["(none)", "(other)"];

export const archive: Command = {
  name: "archive",
  summary: "print a file of the cold archive, one line of JSON for each event or cell",
  details: "Viewers are printed as hashes (raw events), or as how many tokens a small sketch has (cells).",
  options: { file: { type: "string", value: "FILE", help: "a file that retention wrote", isRequired: true } },
  async run(args) {
    for (const line of linesOf(await readArchive(textOf(args, "file")))) say(JSON.stringify(line));
    return EXIT.ok;
  },
};

function* linesOf(chunk: ArchiveChunk): Generator<object> {
  if (chunk.kind === "buckets") yield* cellsOf(chunk);
  else for (const { position, record } of chunk.entries) yield* eventsOf(position, record.events);
}

function* eventsOf(
  position: number,
  { count, flags, ts, dims, values, viewerLo, viewerHi }: EventBatch,
): Generator<object> {
  for (let row = 0; row < count; row++) {
    yield {
      position,
      type: (flags[row]! & FLAG_CREATED) === 0 ? "view" : "created",
      ts: utcIso(ts[row]!),
      values: dims.map((column, d) => values[d]![column[row]! - 1] ?? null),
      viewer: viewerHi[row]!.toString(16).padStart(4, "0") + viewerLo[row]!.toString(16).padStart(8, "0"),
    };
  }
}

function* cellsOf({
  buckets,
  rollups,
  dims,
  values,
}: Extract<ArchiveChunk, { kind: "buckets" }>): Generator<object> {
  for (const { address, head, blocks } of buckets) {
    const { calendar, grain, startMs } = address;
    for (const { rollup, arity, count, keys, views, anonymous, created, tokenStart, dense } of blocks) {
      const nameOf = (id: number, i: number): string | null =>
        id === 0 ? null : (NAMES[id] ?? values[dims[rollup]![i]!]![id - NAMES.length]!);
      for (let row = 0; row < count; row++) {
        yield {
          calendar,
          grain,
          start: utcIso(startMs),
          revision: head.revision,
          rollup: rollups[rollup],
          key: Array.from(keys.subarray(row * arity, (row + 1) * arity), nameOf),
          views: views[row],
          views_anonymous: anonymous[row],
          blogs_created: created[row],
          tokens: dense.has(row) ? null : tokenStart[row + 1]! - tokenStart[row]!,
        };
      }
    }
  }
}
