/**
 * A process of its own, to be killed, to hold a lock, or to run into a full disk:
 *   node --import tsx test/storage/child.ts hold|write|fill <directory>
 * It tells what it does line by line. An unhandled rejection ends it, as Node does by default.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { TidemarkError } from "../../engine/errors.js";
import type { Storage } from "../../engine/store.js";
import { openLmdb } from "../../storage/lmdb.js";
import {
  block,
  bucket,
  checkGeneration,
  commit,
  generationCommit,
  hour,
  record,
  sizedRecord,
} from "./samples.js";

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

/** Appends and commits without end; says what was acknowledged. */
async function write({ log, store }: Storage): Promise<void> {
  let position = log.head;
  let generation = store.generation();
  for (;;) {
    const group = Array.from({ length: 1 + (position % 7) }, () => ++position);
    const appends = group.map(async (expected) => {
      const given = await log.append(sizedRecord(expected));
      if (given !== expected) throw new Error(`${given} instead of ${expected}`);
      say(`a ${given}`);
    });
    if (position % 3 === 0) {
      await store.commit(generationCommit(++generation));
      say(`c ${generation}`);
    }
    await Promise.all(appends);
  }
}

/** On a small disk: a commit that does not fit, then as many records as fit, then room again. */
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
  await codeOf(writeFile(filler, Buffer.alloc(64 * 1024 * 1024)));
  const second = await openLmdb(directory);
  say(JSON.stringify({ isHeadKept: second.log.head >= head, generation: checkGeneration(second.store) }));
  await second.log.trim(head);
  say(JSON.stringify({ append: await codeOf(second.log.append(record(1, 5000))) }));
  await second.close();
}

const storage = await openLmdb(directory);
if (mode === "hold") await hold(storage);
else if (mode === "write") await write(storage);
else await fill(storage);
