/**
 * A storage on a small disk that is filled again and again, in a process of its own on a file system of its own:
 *   node --import tsx test/storage/full-worker.ts cycles|killed|reopened DIRECTORY SEED CYCLES
 * It tells what it saw, one JSON value a line. An unhandled rejection ends it, as Node does by default.
 */
import assert from "node:assert/strict";
import { open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TidemarkError } from "../../engine/errors.js";
import { openLmdb, type LmdbStorage } from "../../storage/lmdb.js";
import { checkGeneration, generationCommit, plainRecord, sizedRecord } from "./samples.js";
import { all } from "./support.js";
import { mulberry32 } from "../support/random.js";

const [mode = "", directory = "", seed = "0", cycles = "0"] = process.argv.slice(2);
const FILLER = join(dirname(directory), "filler");
/** While the disk is full, writes that find room in free pages still succeed: so many are tried at most. */
const MOST_TRIES = 400;
/** Records kept between two cycles, so that the disk is not full of them. */
const KEPT = 20;

const random = mulberry32(Number(seed));

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => {
      if (error instanceof TidemarkError) return error.code;
      throw error;
    },
  );
}

/** Takes all that is left on the disk. */
async function fillDisk(): Promise<void> {
  const handle = await open(FILLER, "a");
  for (let size = 64 * 1024; size > 0;) {
    const written = await handle.write(Buffer.alloc(size, 7)).catch(() => ({ bytesWritten: 0 }));
    if (written.bytesWritten < size) size >>>= 1;
  }
  await handle.close();
}

/** What was acknowledged. */
class Acknowledged {
  readonly storage: LmdbStorage;
  head: number;
  generation: number;

  constructor(storage: LmdbStorage) {
    this.storage = storage;
    this.head = storage.log.head;
    this.generation = storage.store.generation();
  }

  /** One write, of a record or of a commit; its code. */
  async write(): Promise<string> {
    const { log, store } = this.storage;
    if (random() < 0.2) {
      const code = await codeOf(store.commit(generationCommit(this.generation + 1)));
      if (code === "none") this.generation++;
      return code;
    }
    const { head } = this;
    const group = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) => head + 1 + i);
    const codes = await Promise.all(
      group.map(async (position) => {
        const code = await codeOf(log.append(sizedRecord(position)));
        if (code === "none") this.head = Math.max(this.head, position);
        return code;
      }),
    );
    return codes.find((code) => code !== "none") ?? "none";
  }

  /** Everything acknowledged can be read, and is what was written. */
  async check(): Promise<void> {
    const { log, store } = this.storage;
    assert.ok(log.head >= this.head, `${log.head} of ${this.head} acknowledged records`);
    assert.ok(checkGeneration(store) >= this.generation);
    const entries = await all(log.read(log.first));
    assert.equal(entries.length, log.head - log.first + 1);
    for (const { position, record } of entries) {
      assert.deepEqual(plainRecord(record), plainRecord(sizedRecord(position)));
    }
  }

  /** What a failed write left unknown is known now. */
  learn(): void {
    this.head = this.storage.log.head;
    this.generation = this.storage.store.generation();
  }
}

/** Somebody else fills the disk between two writes: LMDB itself must not come upon a full one (`Room`). */
async function writeUntilFull(acknowledged: Acknowledged): Promise<string> {
  const before = Math.floor(random() * 40);
  for (let i = 0; i < before; i++) assert.equal(await acknowledged.write(), "none");
  await fillDisk();
  let code = "none";
  for (let i = 0; i < MOST_TRIES && code === "none"; i++) code = await acknowledged.write();
  return code;
}

async function cycle(acknowledged: Acknowledged): Promise<void> {
  const { storage } = acknowledged;
  const code = await writeUntilFull(acknowledged);
  await acknowledged.check();
  const whileFull = await codeOf(storage.recover());
  await acknowledged.check();
  const again = await codeOf(storage.recover());
  await rm(FILLER);
  const afterwards = await codeOf(storage.recover());
  await acknowledged.check();
  acknowledged.learn();
  const append = await acknowledged.write();
  await storage.log.trim(acknowledged.head - KEPT);
  await acknowledged.check();
  say({ code, whileFull, again, afterwards, append });
}

async function killed(acknowledged: Acknowledged): Promise<void> {
  const code = await writeUntilFull(acknowledged);
  const { head, generation } = acknowledged;
  process.stdout.write(`${JSON.stringify({ code, head, generation })}\n`, () =>
    process.kill(process.pid, "SIGKILL"),
  );
  await new Promise(() => undefined);
}

async function reopened(): Promise<void> {
  const whileFull = await codeOf(openLmdb(directory).then((storage) => storage.close()));
  await rm(FILLER);
  const acknowledged = new Acknowledged(await openLmdb(directory));
  await acknowledged.check();
  const { head, generation } = acknowledged;
  const append = await acknowledged.write();
  say({ whileFull, head, generation, append });
  await acknowledged.storage.close();
}

if (mode === "reopened") await reopened();
else {
  const acknowledged = new Acknowledged(await openLmdb(directory));
  if (mode === "killed") await killed(acknowledged);
  for (let i = 0; i < Number(cycles); i++) await cycle(acknowledged);
  await acknowledged.storage.close();
}
