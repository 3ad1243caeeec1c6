import { TidemarkError } from "../errors.js";
import { ABBREVIATIONS, linkNames } from "./links.js";
import { scanTransitions, type OffsetTable } from "./transitions.js";
import { TableZone, type Zone } from "./zone.js";

/** The longest IANA name has 32 characters; of a longer text only so much is compared and quoted. */
const MAX_NAME_LENGTH = 40;

/** "+05:30", "UTC+3". Newer runtimes take some of these for zones; the tz database has no such names. */
const FIXED_OFFSET = /^(?:utc|gmt)?\s*[+\-−]\s*\d{1,2}(?::?\d{2})?$/i;

/** The zone that everybody needs is not worth 6,500 questions. */
const UTC_TABLE: OffsetTable = { starts: Float64Array.of(-Infinity, Infinity), offsets: Float64Array.of(0) };

const zones = new Map<string, Zone>();
const tables = new Map<string, OffsetTable>();
let spellings: ReadonlyMap<string, string> | undefined;
let supported: readonly string[] | undefined;

/** The zones to offer to a user: those that Intl lists, and "UTC". `getZone` serves all of them and their links. */
export function supportedZones(): readonly string[] {
  supported ??= [...new Set([...Intl.supportedValuesOf("timeZone"), "UTC"])].sort();
  return supported;
}

/**
 * The zone of an IANA name, in any case; links (Asia/Calcutta, US/Eastern) are served under their own name. The
 * first call for a zone reads its table off Intl (some 7 ms), later ones find it ready. Throws "invalid-timezone"
 * with a sentence that says what to write instead, and that name as `extra.nearest` where there is one.
 */
export function getZone(name: string): Zone {
  return zones.get(name) ?? findZone(name);
}

function findZone(name: string): Zone {
  const spelling = canonicalSpelling(name);
  if (spelling === undefined) throw unknownZone(name);
  let zone = zones.get(spelling);
  if (zone !== undefined) return zone;
  const target = resolve(spelling);
  if (target === undefined) throw unknownZone(name);
  zone = new TableZone(spelling, tableOf(target));
  zones.set(spelling, zone);
  return zone;
}

/** Links share the table of their target. */
function tableOf(target: string): OffsetTable {
  const table = tables.get(target) ?? (target === "UTC" ? UTC_TABLE : scanTransitions(target));
  tables.set(target, table);
  return table;
}

/**
 * Intl alone is no judge of names: it takes "IST", "BST" (for Dhaka) and "SystemV/PST8", which are not IANA's. A link
 * that is newer than our list has a "/", and goes by the name of its target.
 */
function canonicalSpelling(name: string): string | undefined {
  if (name.length > MAX_NAME_LENGTH) return undefined;
  const known = knownNames().get(name.toLowerCase());
  if (known !== undefined || !name.includes("/")) return known;
  return knownNames().get(resolve(name)?.toLowerCase() ?? "");
}

/** The zone that Intl makes of a name, or undefined where it takes none. */
function resolve(name: string): string | undefined {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: name }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function knownNames(): ReadonlyMap<string, string> {
  spellings ??= new Map([...supportedZones(), ...linkNames()].map((name) => [name.toLowerCase(), name]));
  return spellings;
}

function unknownZone(name: string): TidemarkError {
  const text = name.slice(0, MAX_NAME_LENGTH);
  const quoted = `'${text.replace(/[^ -~]/g, "?")}${text === name ? "" : "…"}'`;
  if (FIXED_OFFSET.test(text))
    return new TidemarkError(
      "invalid-timezone",
      `${quoted} is a fixed offset, which knows no change of clocks; give an IANA zone such as Asia/Kolkata or UTC.`,
    );
  const nearest = suggestion(text);
  if (nearest === undefined)
    return new TidemarkError(
      "invalid-timezone",
      `${quoted} is not an IANA name; give one such as Europe/Paris, America/New_York or UTC.`,
    );
  const detail = `${quoted} is not an IANA name; did you mean ${nearest}?`;
  return new TidemarkError("invalid-timezone", detail, { extra: { nearest } });
}

function suggestion(text: string): string | undefined {
  const wanted = text.trim().toLowerCase().replace(/\s+/g, "_");
  const meant = ABBREVIATIONS[wanted.toUpperCase()] ?? cityNames().get(wanted);
  return meant ?? nearestName(wanted);
}

/** "kolkata" → Asia/Kolkata. Where two areas have a city of that name, the one listed first. */
function cityNames(): Map<string, string> {
  const cities = new Map<string, string>();
  for (const [lower, name] of knownNames()) {
    const city = lower.slice(lower.lastIndexOf("/") + 1);
    if (!cities.has(city)) cities.set(city, name);
  }
  return cities;
}

/** The name with the fewest changed letters, if at most a quarter of them are. */
function nearestName(wanted: string): string | undefined {
  let nearest: string | undefined;
  let fewest = Math.floor(wanted.length / 4) + 1;
  for (const [lower, name] of knownNames()) {
    for (const candidate of [lower, lower.slice(lower.lastIndexOf("/") + 1)]) {
      if (Math.abs(candidate.length - wanted.length) >= fewest) continue;
      const distance = editDistance(wanted, candidate);
      if (distance >= fewest) continue;
      fewest = distance;
      nearest = name;
    }
  }
  return nearest;
}

/** Levenshtein's, by the row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = row[j]! + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
