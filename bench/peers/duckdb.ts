/**
 * DuckDB beside Tidemark: the same events as one NDJSON file are loaded into a table, and grouped by hour and day of the
 * same six rollups, with both cores.
 *
 * What differs, to its favour: nothing can be asked before all is loaded, and the next event means grouping again; it is
 * one file instead of requests; nothing is on a disk in the end; counts of viewers are estimates that cannot be united,
 * of fewer registers (`approx_count_distinct`).
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { median, print } from "../figures.js";
import { generate, toNdjson, type WorkloadOptions } from "../workload.js";

/** As much of `@duckdb/node-api` as is used. */
interface DuckDb {
  readonly DuckDBInstance: { create(path: string): Promise<{ connect(): Promise<Connection> }> };
}
interface Connection {
  run(sql: string): Promise<unknown>;
}

const ROLLUPS = ["", "blog", "author", "country", "blog, country", "author, country"];
const COLUMNS =
  "{type: 'VARCHAR', ts: 'BIGINT', blog: 'VARCHAR', author: 'VARCHAR', country: 'VARCHAR', viewer: 'VARCHAR'}";

/** Events a second. Undefined where it is not installed. */
export async function duckDbPeer(workload: WorkloadOptions, runs: number): Promise<number | undefined> {
  const duckDb = await load();
  if (duckDb === undefined) {
    print("DuckDB is not in $TIDEMARK_PEERS: no peer (bench/peers/install.sh).");
    return undefined;
  }
  const folder = mkdtempSync(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-duckdb-"));
  try {
    const file = join(folder, "events.ndjson");
    writeFileSync(file, Buffer.concat(toNdjson(generate(workload), 1000)));
    const rates: number[] = [];
    for (let run = 0; run <= runs; run++) rates.push((workload.events * 1000) / (await time(duckDb, file)));
    const counted = rates.slice(1).sort((a, b) => a - b);
    const thousands = (rate: number): string => (rate / 1000).toFixed(0);
    print(
      `DuckDB, load and group: ${thousands(median(counted))} k events/s ` +
        `(${thousands(counted[0]!)}–${thousands(counted.at(-1)!)}), batch only`,
      { "DuckDB events_per_s": median(counted) },
    );
    return median(counted);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function load(): Promise<DuckDb | undefined> {
  const folder = process.env["TIDEMARK_PEERS"];
  if (folder === undefined) return undefined;
  const path = resolve(folder, "node_modules/@duckdb/node-api/lib/index.js");
  return existsSync(path) ? ((await import(pathToFileURL(path).href)) as DuckDb) : undefined;
}

/** Milliseconds. */
async function time({ DuckDBInstance }: DuckDb, file: string): Promise<number> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const begun = performance.now();
  await connection.run(
    `create table events as from read_json('${file}', format = 'newline_delimited', columns = ${COLUMNS})`,
  );
  for (const [i, dimensions] of ROLLUPS.entries()) {
    for (const [grain, lengthMs] of [
      ["hour", 3_600_000],
      ["day", 86_400_000],
    ] as const) {
      const keys = dimensions === "" ? "" : `${dimensions}, `;
      await connection.run(
        `create table r${i}_${grain} as select ${keys}ts // ${lengthMs} as period, count(*) as views, ` +
          "approx_count_distinct(viewer) as viewers from events group by all",
      );
    }
  }
  return performance.now() - begun;
}
