import { existsSync, readFileSync } from "node:fs";

/** The version in package.json: one folder up from the sources, two from the compiled files. */
export const VERSION = readVersion();

function readVersion(): string {
  for (const place of ["../package.json", "../../package.json"]) {
    const url = new URL(place, import.meta.url);
    if (existsSync(url)) return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
  }
  throw new Error("BUG: package.json is not where the package was installed");
}
