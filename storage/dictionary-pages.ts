/** Dictionaries and remembered ids in pages, so that a commit rewrites only what it changes. */
import type { StoreCommit } from "../engine/store.js";
import type { Environment, Put } from "./environment.js";
import { damaged } from "./errors.js";
import { pageKey, pageOf, REMEMBERED, VALUES } from "./keys.js";
import {
  decodeIds,
  decodeTexts,
  encodeIds,
  encodeTexts,
  PAGE_SUBJECTS,
  PAGE_VALUES,
  type Counts,
} from "./store-codec.js";

/** All values of a dimension, of which there are `count`. */
export function readValues(environment: Environment, dimension: number, count: number): string[] {
  const values: string[] = [];
  for (let page = 0; values.length < count; page++) {
    const size = Math.min(PAGE_VALUES, count - values.length);
    for (const value of readPage(environment, dimension, page, size)) values.push(value);
  }
  return values;
}

/** The remembered ids of a dimension by subject, in `pages` pages. */
export function readRemembered(environment: Environment, dimension: number, pages: number): Uint32Array {
  const start = pageKey(REMEMBERED, dimension, 0);
  const keys = environment.keys(environment.dictionary, start, pageKey(REMEMBERED, dimension + 1, 0));
  if (keys.length !== pages) {
    throw damaged(`Dimension ${dimension}`, `has ${keys.length} of its ${pages} pages of remembered values`);
  }
  const last = keys.at(-1);
  const remembered = new Uint32Array(last === undefined ? 0 : (pageOf(last) + 1) * PAGE_SUBJECTS);
  for (const key of keys) {
    const page = pageOf(key);
    const ids = readIds(environment, dimension, page);
    if (ids === undefined) throw damaged(`Dimension ${dimension}`, "has lost a page of remembered values");
    remembered.set(ids, page * PAGE_SUBJECTS);
  }
  return remembered;
}

/** The writes that append a commit's values; `count` gives the values of a dimension so far. */
export function valuePuts(environment: Environment, { values }: StoreCommit, counts: Counts): Put[] {
  return values.flatMap(({ dimension, values: added }) => {
    const count = counts.values[dimension] ?? 0;
    const first = Math.floor(count / PAGE_VALUES);
    const kept = count % PAGE_VALUES;
    const all = kept === 0 ? added : [...readPage(environment, dimension, first, kept), ...added];
    const puts: Put[] = [];
    for (let i = 0; i < all.length; i += PAGE_VALUES) {
      const key = pageKey(VALUES, dimension, first + i / PAGE_VALUES);
      const value = encodeTexts(key, all.slice(i, i + PAGE_VALUES));
      puts.push({ db: environment.dictionary, key, value });
    }
    return puts;
  });
}

/** The writes that change a commit's remembered ids, and per dimension the number of pages afterwards. */
export function rememberedPuts(
  environment: Environment,
  { remembered }: StoreCommit,
  counts: Counts,
): { puts: Put[]; pages: number[] } {
  const pages = [...counts.rememberedPages];
  const puts: Put[] = [];
  for (const { dimension, subjects, ids } of remembered) {
    const changed = new Map<number, Uint32Array>();
    for (let i = 0; i < subjects.length; i++) {
      const page = Math.floor(subjects[i]! / PAGE_SUBJECTS);
      let held = changed.get(page);
      if (held === undefined) {
        held = readIds(environment, dimension, page);
        if (held === undefined) pages[dimension] = (pages[dimension] ?? 0) + 1;
        held ??= new Uint32Array(PAGE_SUBJECTS);
        changed.set(page, held);
      }
      held[subjects[i]! % PAGE_SUBJECTS] = ids[i]!;
    }
    for (const [page, held] of changed) {
      const key = pageKey(REMEMBERED, dimension, page);
      puts.push({ db: environment.dictionary, key, value: encodeIds(key, held) });
    }
  }
  return { puts, pages: Array.from(pages, (count) => count ?? 0) };
}

function readPage(environment: Environment, dimension: number, page: number, size: number): string[] {
  const key = pageKey(VALUES, dimension, page);
  const what = `Page ${page} of the dictionary of dimension ${dimension}`;
  const bytes = environment.get(environment.dictionary, key);
  if (bytes === undefined) throw damaged(what, "is missing");
  const values = decodeTexts(key, bytes, what);
  if (values.length !== size) throw damaged(what, `has ${values.length} values instead of ${size}`);
  return values;
}

function readIds(environment: Environment, dimension: number, page: number): Uint32Array | undefined {
  const key = pageKey(REMEMBERED, dimension, page);
  const bytes = environment.get(environment.dictionary, key);
  if (bytes === undefined) return undefined;
  return decodeIds(key, bytes, `Page ${page} of what is remembered of dimension ${dimension}`);
}
