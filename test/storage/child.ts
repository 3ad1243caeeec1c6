/**
 * A process of its own, to be killed, to hold a lock, or to run into a full disk:
 *   node --import tsx test/storage/child.ts hold|write|fill|refuse <directory>
 * It tells what it does line by line. An unhandled rejection ends it, as Node does by default.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createEngine } from "../../engine/engine.js";
import { TidemarkError } from "../../engine/errors.js";
import type { Storage } from "../../engine/store.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import type { SegmentLimits } from "../../storage/segment-plan.js";
import { KEPT_RECORDS, MOST_AT_ONCE, spacedRecord } from "./crash-record.js";
import { block, bucket, checkGeneration, commit, generationCommit, hour, record } from "./samples.js";

const [mode, directory] = process.argv.slice(2) as [string, string];

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof TidemarkError ? error.code : String(error)),
  );
}

/** Keeps the directory open; each line on its input is one append. */
async function hold(storage: Storage): Promise<void> {
  say("open");
  for await (const _ of createInterface({ input: process.stdin })) {
    say(await codeOf(storage.log.append(record(1))));
  }
}

/** Records that compactions leave in the tail. */
const TAIL_RECORDS = 60;
/** So small that nearly every compaction packs some. */
const SEGMENTS: SegmentLimits = { events: 400, records: 50, bytes: 1024 * 1024, spanMs: 7 * 86_400_000 };

/** Appends, commits, packs, gives up and copies without end; says what was acknowledged. */
async function write(storage: LmdbStorage): Promise<void> {
  const { log, store } = storage;
  let position = log.head;
  let generation = store.generation();
  for (let round = 0; ; round++) {
    const group = Array.from({ length: 1 + (position % MOST_AT_ONCE) }, () => ++position);
    const work = group.map(async (expected) => {
      const given = await log.append(spacedRecord(expected));
      if (given !== expected) throw new Error(`${given} instead of ${expected}`);
      say(`a ${given}`);
    });
    if (round % 9 === 0) work.push(log.compact(position - TAIL_RECORDS));
    if (round % 23 === 0) work.push(log.trim(position - KEPT_RECORDS));
    if (round % 40 === 7) work.push(backUp(storage, position));
    if (position % 3 === 0) {
      await store.commit(generationCommit(++generation));
      say(`c ${generation}`);
    }
    await Promise.all(work);
  }
}

/** A copy beside the store; said when it is done, with what was acknowledged before. */
async function backUp(storage: LmdbStorage, number: number): Promise<void> {
  const { head } = storage.log;
  const path = `${directory}-backup-${number}`;
  await storage.backup(path);
  say(`b ${path} ${head}`);
}

/** On a small disk: a commit that does not fit, then as many records as fit. See full.test.ts for more. */
async function fill(first: Storage): Promise<void> {
  await first.store.commit(generationCommit(1));
  const filler = join(directory, "..", "filler");
  await codeOf(writeFile(filler, Buffer.alloc(64 * 1024 * 1024)));
  const large = block(
    1,
    Array.from({ length: 400_000 }, (_, i) => [i]),
    1e6,
  );
  const commitCode = await codeOf(first.store.commit(commit(2, { buckets: [bucket(hour(5), [large])] })));
  const bigHead = first.store.head(hour(5)) ?? "none";
  say(JSON.stringify({ commitCode, bigHead, generation: checkGeneration(first.store) }));
  await rm(filler);
  const again = await codeOf(first.store.commit(generationCommit(2)));
  say(JSON.stringify({ again, generation: checkGeneration(first.store) }));

  let acknowledged = 0;
  let code = "none";
  while (code === "none") {
    const appends = Array.from({ length: 4 }, async () => {
      await first.log.append(record(1, 5000));
      acknowledged++;
    });
    code = (await Promise.all(appends.map(codeOf))).at(-1)!;
  }
  const after = await codeOf(first.log.append(record(1)));
  const { head } = first.log;
  let read = 0;
  for await (const { position } of first.log.read(1)) if (position === read + 1) read++;
  say(JSON.stringify({ code, after, isHeadAcknowledged: head === acknowledged, isAllRead: read === head }));

  await first.close();
  const second = await openLmdb(directory);
  say(JSON.stringify({ isHeadKept: second.log.head >= head, generation: checkGeneration(second.store) }));
  await second.close();
}

/** Batches of which a part is refused, and replays, without end; says which batch was acknowledged. */
async function refuse(storage: Storage): Promise<void> {
  const engine = await createEngine({ storage });
  const old = Date.now() - 40 * 86_400_000;
  for (let i = await nextBatch(storage); ; i++) {
    const refused = { type: "view", ts: old, blog: `refused ${i}` };
    await engine.ingest([{ type: "view", blog: `accepted ${i}` }, refused, refused]);
    say(String(i));
    if (i % 7 === 3) await engine.replayQuarantine();
  }
}

/** The number after that of the last batch in the log. */
async function nextBatch({ log }: Storage): Promise<number> {
  let last = 0;
  for await (const { record } of log.read(log.first)) {
    const accepted = record.events.values[0]!.find((blog) => blog.startsWith("accepted "));
    if (accepted !== undefined) last = Number(accepted.slice("accepted ".length));
  }
  return last + 1;
}

const storage = await openLmdb(directory, mode === "write" ? { segments: SEGMENTS } : {});
if (mode === "hold") await hold(storage);
else if (mode === "write") await write(storage);
else if (mode === "refuse") await refuse(storage);
else await fill(storage);
