import type { EventBatch } from "../log.js";
import type { Dictionaries } from "./dictionaries.js";
import { OTHER_ID } from "./interner.js";

/** Ids of a logged batch's values: values that no dictionary took in were counted as `(other)`. `ids[d][0]` is none. */
export function knownIds({ values }: EventBatch, dictionaries: Dictionaries): Uint32Array[] {
  return values.map((list, dimension) =>
    Uint32Array.from([0, ...list.map((value) => dictionaries.find(dimension, value) ?? OTHER_ID)]),
  );
}
