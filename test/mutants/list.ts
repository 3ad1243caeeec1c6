/**
 * Bugs to plant, one at a time: the suite must find each. `before` is there exactly once in its file, so that the list
 * cannot fall behind the code; `npm run mutants` plants them, mutants.test.ts only looks for the places.
 */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly before: string;
  readonly after: string;
  /** What it would do to a user. */
  readonly why: string;
  /** Which of the commands below must fail. */
  readonly caughtBy: keyof typeof COMMANDS;
}

/** A program, with its arguments; small runs of what `npm test` runs in full. */
export const COMMANDS = {
  simulate: { args: ["test/simulation/simulate.ts", "--seeds", "600", "--quick"], env: {} },
  promises: { args: ["test/simulation/faults.test.ts"], env: {} },
  retention: { args: ["test/simulation/retention.test.ts"], env: {} },
  power: { args: ["test/power-loss/power-loss.test.ts"], env: { TIDEMARK_IMAGES: "120" } },
  appends: { args: ["test/storage/failed-append.test.ts"], env: {} },
  upkeep: { args: ["test/engine/upkeep.test.ts"], env: { TIDEMARK_RUNS: "30" } },
  damage: { args: ["test/storage/damage.test.ts"], env: {} },
  lmdb: { args: ["test/storage/lmdb.test.ts"], env: {} },
  quarantine: { args: ["test/engine/quarantine.test.ts"], env: {} },
  refused: { args: ["test/storage/quarantine.test.ts"], env: {} },
} as const;

export const MUTANTS: readonly Mutant[] = [
  {
    name: "acknowledge before flush",
    file: "storage/write-queue.ts",
    before: "if (puts.length > 0) await this.#environment.write(puts);",
    after: "if (puts.length > 0) this.#environment.write(puts).catch(() => undefined);",
    why: "a reply says durable while the batch is only in memory",
    caughtBy: "power",
  },
  {
    name: "overlapping sync",
    file: "storage/environment.ts",
    before: "    overlappingSync: false,\n",
    after: "    overlappingSync: true,\n",
    why: "after a power loss LMDB trusts pages that never reached the disk",
    caughtBy: "power",
  },
  {
    name: "skip the claim",
    file: "engine/batch-writer.ts",
    before: "...(claim === undefined ? {} : { claim }),",
    after: "",
    why: "after a crash a retry with the same key counts twice",
    caughtBy: "simulate",
  },
  {
    name: "skip the id claims",
    file: "engine/recovery.ts",
    before:
      "for (let i = 0; i < idLo.length; i++) ingestor.ids.add(idLo[i]!, idHi[i]!, receivedAt, position);",
    after: "",
    why: "after a crash an event with the same id counts twice",
    caughtBy: "simulate",
  },
  {
    name: "forget where claims begin",
    file: "engine/core.ts",
    before: "return froms.length === 0 ? 0 : Math.min(...froms);",
    after: "return froms.length === 0 ? 0 : Math.max(...froms);",
    why: "after a restart the older of the window's keys and ids are unknown",
    caughtBy: "simulate",
  },
  {
    name: "drop late",
    file: "engine/hot/seal.ts",
    before: "if (startMs < reach || zone.endOf(grain, startMs) > before) continue;",
    after: "if (startMs < reach || zone.endOf(grain, startMs) <= before) continue;",
    why: "late events never reach the sealed buckets above their quarter",
    caughtBy: "simulate",
  },
  {
    name: "refuse the late silently",
    file: "engine/hot/admission.ts",
    before: "if (ts < oldest) tooOld.push(row);",
    after: "if (ts < oldest) continue;",
    why: "events too old disappear without being counted",
    caughtBy: "simulate",
  },
  {
    name: "seal twice",
    file: "engine/hot/buckets.ts",
    before: "      changes.written();\n",
    after: "      changes.written();\n      this.#giveBack(deltas);\n",
    why: "what was written is written again with the next commit",
    caughtBy: "simulate",
  },
  {
    name: "merge the delta twice",
    file: "engine/hot/seal.ts",
    before: "const blocks = yield* mergeByRollupInSlices([...known, ...added]);",
    after: "const blocks = yield* mergeByRollupInSlices([...known, ...added, ...added]);",
    why: "late views count double",
    caughtBy: "simulate",
  },
  {
    name: "forget the delta of a failed commit",
    file: "engine/hot/buckets.ts",
    before: "    const active = new Map(deltas);\n",
    after: "    const active = new Map<number, Delta>();\n",
    why: "a commit that fails takes what it should have written out of every answer",
    caughtBy: "promises",
  },
  {
    name: "wrong position in head",
    file: "engine/hot/seal.ts",
    before: "this.#add({ address, head: { revision, position }, blocks, change });",
    after: "this.#add({ address, head: { revision, position: position - 1 }, blocks, change });",
    why: "replay folds a record into a bucket that has it already",
    caughtBy: "simulate",
  },
  {
    name: "replay from one too far",
    file: "engine/recovery.ts",
    before: "for await (const entry of log.read(stored + 1)) {",
    after: "for await (const entry of log.read(stored + 2)) {",
    why: "after a restart one batch is missing",
    caughtBy: "simulate",
  },
  {
    name: "replay what is stored",
    file: "engine/ingest.ts",
    before: "replay && buckets.isStored(quarterMs, position)",
    after: "replay && position < 0 && buckets.isStored(quarterMs, position)",
    why: "after a restart some batches count twice",
    caughtBy: "simulate",
  },
  {
    name: "forget authors on replay",
    file: "engine/ingest.ts",
    before: "    confirmRemembered(events, ids, buckets.schema, buckets.dictionaries);\n",
    after: "",
    why: "after a restart the authors of blogs are unknown",
    caughtBy: "simulate",
  },
  {
    name: "forget the revision",
    file: "engine/hot/seal.ts",
    before: "const revision = (head?.revision ?? 0) + (revises ? 1 : 0);",
    after: "const revision = head?.revision ?? 0;",
    why: "a changed bucket keeps its ETag: clients show old numbers for ever",
    caughtBy: "upkeep",
  },
  {
    name: "swallow an I/O error",
    file: "engine/batch-writer.ts",
    before: "throw health.fail(error);",
    after: "return 1;",
    why: "a batch that could not be written is acknowledged",
    caughtBy: "simulate",
  },
  {
    name: "go on after a failed write",
    file: "engine/health.ts",
    before: "if (this.#failure !== undefined) throw this.#failure;",
    after: "",
    why: "batches are taken while nobody knows what is on disk",
    caughtBy: "promises",
  },
  {
    name: "vouch too early",
    file: "engine/ingest.ts",
    before: "const before = admission.duplicate > 0 ? this.#writer.underWay : [];",
    after: "const before: Promise<unknown>[] = [];",
    why: "duplicate is said of an event that may still be lost",
    caughtBy: "promises",
  },
  {
    name: "ignore the checksum of records",
    file: "storage/frame.ts",
    before: "if (reader.bytes.readUInt32LE(end) !== crc32c(bytes, 0, end, crc32c(key))) {",
    after: "if (end < 0) {",
    why: "a flipped bit is a wrong number, or a wrong blog",
    caughtBy: "damage",
  },
  {
    name: "lose a torn tail",
    file: "storage/lmdb-log.ts",
    before: "      this.#failure ??= { error };\n",
    after: "",
    why: "after a failed append later ones leave a hole in the log",
    caughtBy: "appends",
  },
  {
    name: "retention drops too much",
    file: "engine/upkeep/retainer.ts",
    before: "const due = ground.now() - retention[grain];",
    after: "const due = ground.now() - retention[grain] / 2;",
    why: "buckets go in half of their time",
    caughtBy: "upkeep",
  },
  {
    name: "retention drops unproven",
    file: "engine/upkeep/retainer.ts",
    before: "    if (blocked !== null) return { ...expiry, blocked };\n",
    after: "",
    why: "the last true copy goes, although the coarser one is wrong",
    caughtBy: "retention",
  },
  {
    name: "trim what replay needs",
    file: "engine/upkeep/retainer.ts",
    before: "const end = Math.min(buckets.savedPosition + 1, needed > 0 ? needed : Infinity);",
    after: "const end = Infinity;",
    why: "raw events go before their buckets are written, and keys before their window ends",
    caughtBy: "retention",
  },
  {
    name: "reconcile says equal always",
    file: "engine/upkeep/compare.ts",
    before: "if (!isSameRow(left!, l, right!, r)) {",
    after: "if (l < 0) {",
    why: "a wrong bucket is called proven",
    caughtBy: "upkeep",
  },
  {
    name: "forget the fence",
    file: "storage/environment.ts",
    before: "    if (!isOurs) throw this.#fenced();\n",
    after: "",
    why: "a process that lost its directory to another goes on and acknowledges what is not written",
    caughtBy: "lmdb",
  },
  {
    name: "forget the lock",
    file: "storage/lock.ts",
    before: "if (holder !== undefined && (await isAlive(holder, owner))) {",
    after: "if (holder === undefined && owner.pid < 0) {",
    why: "two processes write one store",
    caughtBy: "lmdb",
  },
  {
    name: "count refused events again",
    file: "engine/ingest.ts",
    before: "const change = quarantine.released(without(parts, admission.tooFarAhead));",
    after: "const change = quarantine.released(without(parts, admission.tooFarAhead).slice(1));",
    why: "a replayed event stays in quarantine, and the next replay counts it again",
    caughtBy: "quarantine",
  },
  {
    name: "write what was refused apart",
    file: "storage/lmdb-log.ts",
    before:
      "const puts = quarantine === undefined ? [put] : [put, ...quarantinePuts(this.environment, quarantine)];",
    after:
      "const puts = [put]; if (quarantine !== undefined) setTimeout(() => void this.writeAside(quarantinePuts(this.environment, quarantine)), 5);",
    why: "when the process dies between the two, a batch is there without what was refused of it",
    caughtBy: "refused",
  },
  {
    name: "forget ids in quarantine",
    file: "engine/quarantine.ts",
    before: "if (!this.#ids.isEmpty) this.#withdraw(accepted);",
    after: "",
    why: "an event that came again in time is counted once more by a later replay",
    caughtBy: "quarantine",
  },
  {
    name: "drop refused events in silence",
    file: "engine/quarantine.ts",
    before: '      this.#count("dropped", this.#drop(name));',
    after: "      this.#drop(name);",
    why: "nobody learns that refused events were given up for want of room",
    caughtBy: "quarantine",
  },
];
