/**
 * PostgreSQL 15 with hll 2.17 beside Tidemark: hourly and daily rollup tables as one would build them by hand, with
 * sketches of the same precision (2^14 registers), primary keys, rows lying in the order of the keys, an index for
 * the top ten, 2 GiB of shared buffers, everything read into them before. One client, `pgbench` with prepared
 * statements over a Unix socket, so that each figure includes a round trip of some 0.03 to 0.05 ms, which is printed.
 *
 * What differs, to its favour: it has UTC hours and days alone (no quarters, months, zones, late events or error
 * bounds); its rows of today are complete already; hourly rows are of the last 30 days only.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ms, print, quantile } from "../figures.js";
import type { History } from "../history.js";
import { BIN, isInstalled, PostgresServer } from "./postgres-server.js";
import { DAY_MS, HOUR_MS, rollups } from "./rollups.js";

const SETTINGS = [
  "fsync=off",
  "synchronous_commit=off",
  "shared_buffers=2GB",
  "work_mem=256MB",
  "maintenance_work_mem=1GB",
  "max_wal_size=8GB",
  "random_page_cost=1.1",
  "jit=off",
];
/** Of transactions of each kind; the first third is not counted. */
const SECONDS = 5;

export interface PeerFigure {
  readonly p50: number;
  readonly p99: number;
}

const TABLES = `
  create extension hll;
  create table blog_hour (blog int, hour int, views bigint, viewers hll(14), primary key (blog, hour));
  create table blog_day (blog int, day int, month int, views bigint, viewers hll(14), primary key (blog, day));
  create table country_day (country int, day int, month int, views bigint, viewers hll(14), primary key (country, day));
  create table total_day (day int primary key, month int, views bigint, viewers hll(14));
`;
/** Registers hardly shrink: it would only cost time to try. */
const FINISH = `
  create index on blog_day (day, views desc);
  cluster blog_hour using blog_hour_pkey;
  cluster blog_day using blog_day_pkey;
  cluster country_day using country_day_pkey;
  vacuum analyze;
`;
const STORAGE = ["blog_hour", "blog_day", "country_day", "total_day"]
  .map((table) => `alter table ${table} alter viewers set storage external;`)
  .join("\n");

/** By the question's words. Undefined where it is not installed. */
export async function postgresPeer(
  directory: string,
  history: History,
): Promise<ReadonlyMap<string, PeerFigure> | undefined> {
  if (!isInstalled()) {
    print("PostgreSQL 15 with hll is not installed, or this is not root: no peer.");
    return undefined;
  }
  const server = new PostgresServer(join(directory, "postgres"), SETTINGS);
  try {
    await load(server, history);
    server.run(
      "create extension if not exists pg_prewarm; select pg_prewarm(c.oid) from pg_class c where relkind in ('r', 'i', 't')",
    );
    const figures = new Map(
      [...queriesOf(history)].map(([what, script]) => [what, timesOf(server, script)] as const),
    );
    const empty = figures.get("nothing")!;
    print(`PostgreSQL: a round trip that asks for nothing takes ${ms(empty.p50)} ms`);
    return figures;
  } finally {
    server.stop();
  }
}

function queriesOf({ workload }: History): Map<string, string> {
  const endMs = workload.startMs + workload.spanMs;
  const hour = Math.floor(endMs / HOUR_MS);
  const day = Math.floor(endMs / DAY_MS);
  const month = monthOf(endMs);
  // The same blogs, by another order.
  const blog = `\\set blog random(0, ${Math.min(1000, (workload.blogs ?? 0) / 10) - 1})\n`;
  const estimate = "hll_cardinality(hll_union_agg(viewers))";
  return new Map([
    ["nothing", "select 1;"],
    [
      "current hour of a blog",
      `${blog}select views, hll_cardinality(viewers) from blog_hour where blog = :blog and hour = ${hour};`,
    ],
    [
      "last 24 h hourly of a blog",
      `${blog}select hour, views, hll_cardinality(viewers) from blog_hour where blog = :blog and hour > ${hour - 24} order by hour;`,
    ],
    [
      "7-day uniques of a blog",
      `${blog}select sum(views), ${estimate} from blog_day where blog = :blog and day > ${day - 7};`,
    ],
    ["7-day uniques, total", `select sum(views), ${estimate} from total_day where day > ${day - 7};`],
    [
      "90 days daily, total",
      `select day, views, hll_cardinality(viewers) from total_day where day > ${day - 90} order by day;`,
    ],
    [
      "90 days daily of a blog",
      `${blog}select day, views, hll_cardinality(viewers) from blog_day where blog = :blog and day > ${day - 90} order by day;`,
    ],
    [
      "6 months monthly, total",
      `select month, sum(views), ${estimate} from total_day where month > ${month - 6} group by month order by month;`,
    ],
    [
      "6 months monthly of a blog",
      `${blog}select month, sum(views), ${estimate} from blog_day where blog = :blog and month > ${month - 6} group by month order by month;`,
    ],
    [
      "top 10 blogs of a day",
      `\\set day random(${day - 14}, ${day - 1})\nselect blog, views, hll_cardinality(viewers) from blog_day where day = :day order by views desc limit 10;`,
    ],
    [
      "countries over 30 days",
      `\\set day random(${day - 6}, ${day - 1})\nselect country, sum(views), ${estimate} from country_day where day > :day - 30 and day <= :day group by country order by 2 desc;`,
    ],
  ]);
}

function monthOf(ms: number): number {
  const date = new Date(ms);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** The folder is kept, and used again for the same workload. */
async function load(server: PostgresServer, history: History): Promise<void> {
  const marker = join(server.folder, "loaded.json");
  const parameters = JSON.stringify(history.workload);
  if (existsSync(marker) && readFileSync(marker, "utf8") === parameters) return server.start();
  server.create();
  const begun = performance.now();
  server.run(TABLES + STORAGE);
  await copyAll(server, history);
  server.run(FINISH);
  process.stderr.write(`  PostgreSQL loaded in ${Math.round((performance.now() - begun) / 1000)} s\n`);
  writeFileSync(marker, parameters);
}

/** Milliseconds of the transactions of a `pgbench` script. */
function timesOf(server: PostgresServer, script: string): PeerFigure {
  const work = mkdtempSync(join(tmpdir(), "tidemark-pgbench-"));
  try {
    const file = join(work, "script.sql");
    writeFileSync(file, script);
    const options = ["-n", "-M", "prepared", "-c", "1", "-T", String(SECONDS), "-l", "--log-prefix=log"];
    execFileSync(`${BIN}/pgbench`, [...server.connection(), ...options, "-f", file, "postgres"], {
      cwd: work,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const log = execFileSync("sh", ["-c", "cat log.*"], {
      cwd: work,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    const times = log
      .trimEnd()
      .split("\n")
      .map((line) => Number(line.split(" ")[2]) / 1000);
    const counted = Float64Array.from(times.slice(Math.floor(times.length / 3))).sort();
    return { p50: quantile(counted, 0.5), p99: quantile(counted, 0.99) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One `psql` for each table, all at once. */
async function copyAll(server: PostgresServer, history: History): Promise<void> {
  const copies = new Map<string, ReturnType<typeof spawn>>();
  const lines = new Map<string, string[]>();
  const flush = async (table: string): Promise<void> => {
    let copy = copies.get(table);
    if (copy === undefined) {
      const sql = `copy ${table} from stdin`;
      copy = spawn(`${BIN}/psql`, [...server.connection(), "-Xq", "-v", "ON_ERROR_STOP=1", "-c", sql], {
        stdio: ["pipe", "inherit", "inherit"],
      });
      copies.set(table, copy);
    }
    const text = lines.get(table)!.join("");
    lines.set(table, []);
    if (!copy.stdin!.write(text)) await once(copy.stdin!, "drain");
  };
  for (const { table, startMs, key, views, sketch } of rollups(history)) {
    const period = Math.floor(startMs / (table === "blog_hour" ? HOUR_MS : DAY_MS));
    const columns = [
      ...(table === "total_day" ? [] : [key]),
      period,
      ...(table === "blog_hour" ? [] : [monthOf(startMs)]),
      views,
      `\\\\x${Buffer.from(sketch).toString("hex")}`,
    ];
    const rows = lines.get(table) ?? [];
    lines.set(table, rows);
    if (rows.push(`${columns.join("\t")}\n`) >= 1000) await flush(table);
  }
  for (const table of lines.keys()) await flush(table);
  for (const [table, copy] of copies) {
    copy.stdin!.end();
    const [code] = (await once(copy, "exit")) as [number];
    if (code !== 0) throw new Error(`copy into ${table} ended with ${code}`);
  }
}
