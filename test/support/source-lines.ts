/**
 * Stacks with lines of the sources, for compiled programs, as `--enable-source-maps` gives them. But a map is read
 * when a stack is looked at that needs it: Node reads those of all modules at every start, a fifth of what a start takes.
 */
import { existsSync, readFileSync } from "node:fs";
import nodeModule, { SourceMap, syncBuiltinESMExports, type SourceMapPayload } from "node:module";
import { fileURLToPath } from "node:url";

const HOME = new URL("../../", import.meta.url).href;
/** A place in a compiled file, in a line of a stack. */
const PLACE = /file:\/\/[^\s()]*\.js:\d+:\d+/;

const maps = new Map<string, SourceMap | undefined>();

/** Of a compiled file of this project; undefined for every other. */
function mapOf(url: string): SourceMap | undefined {
  if (!url.startsWith(HOME)) return undefined;
  if (!maps.has(url)) maps.set(url, readMap(`${fileURLToPath(url)}.map`));
  return maps.get(url);
}

function readMap(path: string): SourceMap | undefined {
  if (!existsSync(path)) return undefined;
  const map = JSON.parse(readFileSync(path, "utf8")) as SourceMapPayload;
  const sources = map.sources.map((name) => `${map.sourceRoot}${name}`);
  return new SourceMap({ ...map, sources, sourceRoot: "" });
}

/** The same place in the source. */
function inSource(place: string): string {
  const [, url, line, column] = /^(.*):(\d+):(\d+)$/.exec(place)!;
  const entry = mapOf(url!)?.findEntry(Number(line) - 1, Number(column) - 1);
  if (entry === undefined || !("originalSource" in entry)) return place;
  const { originalSource, originalLine, originalColumn, generatedColumn } = entry;
  return `${originalSource}:${originalLine + 1}:${originalColumn + Number(column) - generatedColumn}`;
}

// How tap finds the place of an assertion that failed.
nodeModule.findSourceMap = mapOf;
syncBuiltinESMExports();

Error.prepareStackTrace = (error, sites) => {
  const lines = sites.map(String).map((line) => line.replace(PLACE, inSource));
  return [Error.prototype.toString.call(error), ...lines].join("\n    at ");
};
