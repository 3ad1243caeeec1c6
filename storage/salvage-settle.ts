/** Makes a whole of records that were saved one by one: counts, and stand-ins for what is missing. */
import type { LogRecord } from "../engine/log.js";
import type { Environment, Put } from "./environment.js";
import { damaged } from "./errors.js";
import { HEAD, logKey, pageKey, pageOf, positionOf, REMEMBERED, sumOfKeys, VALUES } from "./keys.js";
import { LmdbLog } from "./lmdb-log.js";
import { encodeRecord } from "./log-codec.js";
import { CALENDARS_KEY, GENERATION_KEY, META_KEY } from "./state.js";
import {
  decodeMeta,
  decodeTexts,
  encodeHead,
  encodeMeta,
  encodeNumber,
  encodeTexts,
  PAGE_VALUES,
  type Counts,
  type MetaRecord,
  type StoredMetaRecord,
} from "./store-codec.js";
import { WriteQueue } from "./write-queue.js";

/** Removed or written in one transaction. */
const BATCH = 1000;
const LAST_KEY = Buffer.alloc(16, 0xff);
const NOTHING: LogRecord = {
  receivedAt: 0,
  events: {
    count: 0,
    flags: new Uint8Array(0),
    ts: new Float64Array(0),
    dims: [],
    values: [],
    viewerLo: new Uint32Array(0),
    viewerHi: new Uint16Array(0),
  },
};

/**
 * Returns what was lost, as sentences. With `isLogInDoubt` the log gets a gap at its end, of which nobody knows what
 * was in it: answers then say that they may be incomplete. Nobody else may use the environment.
 */
export async function settle(environment: Environment, isLogInDoubt: boolean): Promise<string[]> {
  const stored = environment.get(environment.meta, META_KEY);
  const record = stored === undefined ? undefined : decodeMeta(META_KEY, stored);
  const losses =
    record === undefined ? await withoutBuckets(environment) : await withBuckets(environment, record);
  const gaps = await settleLog(environment, record?.meta.position ?? 0, isLogInDoubt);
  const { first } = new LmdbLog(environment, new WriteQueue(environment));
  if (record === undefined && first > 1) {
    throw damaged(
      "The store",
      `has lost its own record, and the log begins at ${first}: buckets cannot be made anew`,
    );
  }
  return [...losses, ...gaps];
}

/** Without the store's record nobody knows what the numbers in buckets stand for. */
async function withoutBuckets(environment: Environment): Promise<string[]> {
  const { buckets, dictionary, revisions, meta } = environment;
  let removed = 0;
  for (const db of [buckets, dictionary, revisions]) {
    const keys = environment.keys(db, Buffer.alloc(1), LAST_KEY);
    removed += keys.length;
    await write(
      environment,
      keys.map((key) => ({ db, key, value: undefined })),
    );
  }
  const keys = [GENERATION_KEY, CALENDARS_KEY];
  await environment.write(keys.map((key) => ({ db: meta, key, value: undefined })));
  if (removed === 0) return [];
  return [
    "The store's own record was lost, and with it all buckets: they are made anew from the raw events that are left.",
  ];
}

async function withBuckets(environment: Environment, { meta, counts }: StoredMetaRecord): Promise<string[]> {
  const buckets = await settleBuckets(environment, meta.position);
  const dictionary = await settleDictionary(environment, counts);
  const revisions = revisionsLeft(environment, counts);
  const { count, headKeys } = buckets;
  const missing = counts.buckets - count;
  const isShort = missing > 0 || (counts.headKeys !== undefined && counts.headKeys !== headKeys);
  const everywhere = { tier: null, fromMs: -Infinity, toMs: Infinity };
  const settled: MetaRecord = {
    meta: isShort ? { ...meta, incomplete: [...meta.incomplete, everywhere] } : meta,
    counts: {
      buckets: count,
      headKeys,
      values: dictionary.values,
      rememberedPages: dictionary.pages,
      revisions,
    },
  };
  const db = environment.meta;
  await environment.write([
    { db, key: META_KEY, value: encodeMeta(META_KEY, settled) },
    { db, key: GENERATION_KEY, value: encodeNumber(GENERATION_KEY, meta.generation) },
  ]);
  const lost = counts.revisions.next - counts.revisions.first - (revisions.next - revisions.first);
  return [
    ...dictionary.losses,
    ...(isShort
      ? [`${missing > 0 ? missing : "Some"} buckets are gone: every answer says that it may be incomplete.`]
      : []),
    ...(buckets.headless > 0
      ? [`${buckets.headless} buckets have lost their head and are to be made anew.`]
      : []),
    ...(lost > 0 ? [`${lost} entries of the list of revisions are gone.`] : []),
  ];
}

/** A bucket of which only blocks are left gets a head that fits none of them, so that it is made anew. */
async function settleBuckets(
  environment: Environment,
  position: number,
): Promise<{ count: number; headKeys: number; headless: number }> {
  const db = environment.buckets;
  const heads = new Set<string>();
  const others = new Set<string>();
  const rollups = new Set<number>();
  for (const key of environment.keys(db, Buffer.alloc(1), LAST_KEY)) {
    const head = Buffer.from(key);
    const isHead = head[3] === HEAD;
    if (!isHead) rollups.add(head[3]!);
    head[3] = HEAD;
    (isHead ? heads : others).add(head.toString("latin1"));
  }
  const headless = [...others].filter((name) => !heads.has(name)).map((name) => Buffer.from(name, "latin1"));
  // All rollups, for whatever is asked of the bucket must be refused until then.
  const blocks = [...rollups].map((rollup) => ({ rollup, rows: 1, sizeBytes: 0, checksum: 0 }));
  const puts = headless.map((key) => ({
    db,
    key,
    value: encodeHead(key, { revision: 0, position, blocks }),
  }));
  await write(environment, puts);
  await settleCalendars(environment, [...heads, ...others]);
  const keys = [...Array.from(heads, (name) => Buffer.from(name, "latin1")), ...headless];
  return { count: keys.length, headKeys: sumOfKeys(keys), headless: headless.length };
}

/** Names of calendars that are lost are made up: their buckets belong to nobody then. */
async function settleCalendars(environment: Environment, names: readonly string[]): Promise<void> {
  const bytes = environment.get(environment.meta, CALENDARS_KEY);
  const known = bytes === undefined ? [] : decodeTexts(CALENDARS_KEY, bytes, "The list of calendars");
  const needed = names.reduce(
    (most, name) => Math.max(most, Buffer.from(name, "latin1").readUInt16BE(0) + 1),
    0,
  );
  if (needed <= known.length) return;
  const all = Array.from({ length: needed }, (_, i) => known[i] ?? `(lost ${i})`);
  const value = encodeTexts(CALENDARS_KEY, all);
  await environment.write([{ db: environment.meta, key: CALENDARS_KEY, value }]);
}

/** Ids must keep their meaning: values that are lost get a name that says so. */
async function settleDictionary(
  environment: Environment,
  counts: Pick<Counts, "values" | "rememberedPages">,
): Promise<{ values: number[]; pages: number[]; losses: string[] }> {
  const values: number[] = [];
  const pages: number[] = [];
  const losses: string[] = [];
  const dimensions = Math.max(counts.values.length, counts.rememberedPages.length);
  for (let dimension = 0; dimension < dimensions; dimension++) {
    const { count, lost } = await settleValues(environment, dimension, counts.values[dimension] ?? 0);
    values.push(count);
    if (lost > 0)
      losses.push(`${lost} values of dimension ${dimension} are gone; they are called "(lost …)".`);
    const left = keysOf(environment, REMEMBERED, dimension).length;
    pages.push(left);
    const gone = (counts.rememberedPages[dimension] ?? 0) - left;
    if (gone > 0) losses.push(`What was remembered of dimension ${dimension} is gone in part.`);
  }
  return { values, pages, losses };
}

async function settleValues(
  environment: Environment,
  dimension: number,
  known: number,
): Promise<{ count: number; lost: number }> {
  const db = environment.dictionary;
  const found = new Map<number, string[]>();
  for (const key of keysOf(environment, VALUES, dimension)) {
    found.set(pageOf(key), decodeTexts(key, environment.get(db, key)!, "A page of a dictionary"));
  }
  const last = Math.max(-1, ...found.keys());
  const count = Math.max(known, last < 0 ? 0 : last * PAGE_VALUES + found.get(last)!.length);
  const puts: Put[] = [];
  let lost = 0;
  for (let page = 0; page * PAGE_VALUES < count; page++) {
    const size = Math.min(PAGE_VALUES, count - page * PAGE_VALUES);
    const texts = found.get(page) ?? [];
    if (texts.length === size) continue;
    lost += Math.max(0, size - texts.length);
    const all = Array.from({ length: size }, (_, i) => texts[i] ?? `(lost ${page * PAGE_VALUES + i})`);
    const key = pageKey(VALUES, dimension, page);
    puts.push({ db, key, value: encodeTexts(key, all) });
  }
  await write(environment, puts);
  return { count, lost };
}

/** Those without a gap up to the newest. */
function revisionsLeft(
  environment: Environment,
  { revisions: { next } }: Pick<Counts, "revisions">,
): Counts["revisions"] {
  const kept = new Set(environment.keys(environment.revisions, Buffer.alloc(1), LAST_KEY).map(positionOf));
  let first = next;
  while (kept.has(first - 1)) first--;
  return { first, next };
}

/** Records that are missing become gaps, up to what the buckets hold at least. */
async function settleLog(environment: Environment, position: number, isInDoubt: boolean): Promise<string[]> {
  const queue = new WriteQueue(environment);
  const open = (): LmdbLog => new LmdbLog(environment, queue, { tolerateHoles: true });
  let log = open();
  const end = isInDoubt ? Math.max(position, log.head + 1) : position;
  if (log.head < end) {
    await environment.write([{ db: environment.log, key: logKey(end), value: encodeRecord(end, NOTHING) }]);
    log = open();
    await log.giveUp(end);
  }
  const old = environment
    .keys(environment.log, logKey(0), logKey(log.tail.first))
    .map((key) => ({ db: environment.log, key, value: undefined }));
  await write(environment, old);
  const there = new Set(environment.keys(environment.log, Buffer.alloc(1), LAST_KEY).map(positionOf));
  const gaps = log.gaps();
  for (let at = log.tail.first; at <= log.head; at++) {
    if (!there.has(at) && !gaps.some(({ from, to }) => at >= from && at < to)) await log.giveUp(at);
  }
  return log.gaps().map(({ from, to }) => `Log records ${from} to ${to - 1} are gone.`);
}

function keysOf(environment: Environment, kind: number, dimension: number): Uint8Array[] {
  return environment.keys(
    environment.dictionary,
    pageKey(kind, dimension, 0),
    pageKey(kind, dimension + 1, 0),
  );
}

async function write(environment: Environment, puts: readonly Put[]): Promise<void> {
  for (let i = 0; i < puts.length; i += BATCH) await environment.write(puts.slice(i, i + BATCH));
}
