import { GRAINS } from "../engine/calendar/grain.js";
import type { BucketAddress } from "../engine/store.js";
import { BucketIndex } from "./bucket-index.js";
import type { Environment } from "./environment.js";
import { damaged } from "./errors.js";
import { bucketKey, HEAD, headRange, metaKey, startOf, sumOfKeys } from "./keys.js";
import { decodeHead, decodeMeta, decodeNumber, decodeTexts } from "./store-codec.js";
import { NO_REVISIONS, type Counts, type HeadRecord, type StoredMetaRecord } from "./store-codec.js";

export const META_KEY = metaKey("meta");
export const GENERATION_KEY = metaKey("generation");
export const CALENDARS_KEY = metaKey("calendars");

/** What is known in memory of the store at one generation. */
export interface StoreState {
  readonly generation: number;
  /** Names by the number that stands for them in keys. */
  readonly calendars: readonly string[];
  readonly counts: Counts;
  readonly index: BucketIndex;
}

const EMPTY_COUNTS: Counts = {
  buckets: 0,
  headKeys: 0,
  values: [],
  rememberedPages: [],
  revisions: NO_REVISIONS,
};

/** Throws `storage-damaged` when buckets are missing. */
export function loadState(environment: Environment): StoreState {
  const generation = readGeneration(environment);
  const record = readMeta(environment, generation);
  const names = environment.get(environment.meta, CALENDARS_KEY);
  const calendars = names === undefined ? [] : decodeTexts(CALENDARS_KEY, names, "The list of calendars");
  const counts = record?.counts ?? EMPTY_COUNTS;
  const index = new BucketIndex();
  const heads = [...storedHeads(environment, calendars)];
  for (const { address } of heads) index.add(address);
  const headKeys = sumOfKeys(heads.map(({ key }) => key));
  if (index.size !== counts.buckets) {
    throw damaged("The store", `has ${index.size} of its ${counts.buckets} buckets`);
  }
  if (counts.headKeys !== undefined && counts.headKeys !== headKeys) {
    throw damaged("The store", "has a bucket in the place of another one");
  }
  return { generation, calendars, counts: { ...counts, headKeys }, index };
}

/** 0 before the first commit. */
export function readGeneration(environment: Environment): number {
  const bytes = environment.get(environment.meta, GENERATION_KEY);
  return bytes === undefined ? 0 : decodeNumber(GENERATION_KEY, bytes, "The store's generation");
}

export function readMeta(environment: Environment, generation: number): StoredMetaRecord | undefined {
  const bytes = environment.get(environment.meta, META_KEY);
  if (bytes === undefined && generation === 0) return undefined;
  const record = bytes === undefined ? undefined : decodeMeta(META_KEY, bytes);
  if (record?.meta.generation !== generation) {
    throw damaged("The store's meta record", `is not that of generation ${generation}`);
  }
  return record;
}

/** The head of a bucket that the index knows. */
export function readHead(environment: Environment, state: StoreState, address: BucketAddress): HeadRecord {
  const key = bucketKey(state.calendars.indexOf(address.calendar), address.grain, HEAD, address.startMs);
  const bytes = environment.get(environment.buckets, key);
  const what = `The head of ${describe(address)}`;
  if (bytes === undefined) throw damaged(what, "is missing");
  return decodeHead(key, bytes, what);
}

export function describe({ calendar, grain, startMs }: BucketAddress): string {
  return `the ${grain} ${startMs} of ${calendar}`;
}

function* storedHeads(
  environment: Environment,
  calendars: readonly string[],
): Generator<{ key: Uint8Array; address: BucketAddress }> {
  for (const [number, calendar] of calendars.entries()) {
    for (const grain of GRAINS) {
      const { start, end } = headRange(number, grain);
      for (const key of environment.keys(environment.buckets, start, end)) {
        yield { key, address: { calendar, grain, startMs: startOf(key) } };
      }
    }
  }
}
