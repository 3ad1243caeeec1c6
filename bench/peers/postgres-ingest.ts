/**
 * PostgreSQL 15 with hll 2.17 beside Tidemark, as its experts would count: each batch of 1,000 events is one call of a
 * function, one transaction, that groups the events by hour and day of the same six rollups and adds them to tables of
 * views and sketches (`hll_add_agg`, then `insert … on conflict do update`). Durable: `fsync` and `synchronous_commit`
 * are on. A row that all batches add to (the total's) would be locked until each one's commit is on the disk; so each
 * connection has rows of its own, which a reader has to add up. Rows are touched in the order of their keys, the plans
 * are kept, checkpoints are rare. The protocol is spoken over a Unix socket with bytes made before.
 *
 * What differs, to its favour: blogs, authors and countries are numbers (no names to look up or check); there are UTC
 * hours and days alone (no quarters, weeks, months, raw events); its sketches have as many registers.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { print } from "../figures.js";
import type { Protocol } from "../connection.js";
import type { Workload } from "../workload.js";
import { DAY_MS, HOUR_MS } from "./cells.js";
import { measureIngest, type IngestOptions } from "./ingest-peer.js";
import { isInstalled, PostgresServer } from "./postgres-server.js";

const SETTINGS = [
  "fsync=on",
  "synchronous_commit=on",
  "shared_buffers=2GB",
  "work_mem=64MB",
  "wal_buffers=64MB",
  "wal_compression=lz4",
  "max_wal_size=16GB",
  "checkpoint_timeout=30min",
  "jit=off",
  // An aggregate of hll keeps 128 KiB for each group: a hash of a thousand groups takes five times as long as a sort.
  "enable_hashagg=off",
];

const ROLLUPS: readonly (readonly string[])[] = [
  [],
  ["blog"],
  ["author"],
  ["country"],
  ["blog", "country"],
  ["author", "country"],
];
const GRAINS = [
  ["hour", HOUR_MS],
  ["day", DAY_MS],
] as const;

function sqlOf(
  dimensions: readonly string[],
  grain: string,
  lengthMs: number,
): { table: string; add: string } {
  const name = [...(dimensions.length === 0 ? ["total"] : dimensions), grain].join("_");
  const columns = ["slot", "period", ...dimensions].join(", ");
  const declared = dimensions.map((dimension) => `${dimension} int, `).join("");
  const grouped = ["period", ...dimensions].join(", ");
  return {
    table: `
      create table ${name} (slot int, period int, ${declared}views bigint, viewers hll(14), primary key (${columns}))
        with (fillfactor = 70);
      alter table ${name} alter viewers set storage external;`,
    add: `
      insert into ${name} as t (${columns}, views, viewers)
        select own, ts / ${lengthMs} as ${grouped}, count(*), hll_add_agg(hash, 14) from events group by ${grouped} order by ${grouped}
        on conflict (${columns}) do update set views = t.views + excluded.views, viewers = t.viewers || excluded.viewers;`,
  };
}

/** Events are unnested, and viewers hashed, once. */
function schema(): string {
  const parts = ROLLUPS.flatMap((dimensions) =>
    GRAINS.map(([grain, lengthMs]) => sqlOf(dimensions, grain, lengthMs)),
  );
  const adds = parts.map(({ add }) =>
    add.replace(
      "from events",
      "from unnest(ts, blog, author, country, hashes) as events (ts, blog, author, country, hash)",
    ),
  );
  return `
    create extension hll;
    ${parts.map(({ table }) => table).join("")}
    create function ingest(ts bigint[], blog int[], author int[], country int[], viewer text[]) returns void
      language plpgsql as $$
      #variable_conflict use_column
      declare
        own int := current_setting('bench.slot')::int;
        hashes hll_hashval[] := array(select hll_hash_text(v) from unnest(viewer) v);
      begin ${adds.join("")} end $$;`;
}

const READY = 0x5a;
const ERROR = 0x45;

export const protocol: Protocol = {
  *requests(workload, size) {
    for (let from = 0; from < workload.count; from += size) yield queryOf(workload, from, from + size);
  },
  reader() {
    let rest: Buffer = Buffer.alloc(0);
    return (part) => {
      rest = rest.length === 0 ? part : Buffer.concat([rest, part]);
      let isReady = false;
      while (rest.length >= 5 && rest.length > rest.readUInt32BE(1)) {
        const end = 1 + rest.readUInt32BE(1);
        if (rest[0] === ERROR) throw new Error(rest.toString("utf8", 5, end));
        isReady = rest[0] === READY;
        rest = rest.subarray(end);
      }
      return isReady ? "done" : "more";
    };
  },
  /** Protocol 3.0. */
  greeting(connection) {
    const words = ["user", "postgres", "database", "postgres", "options", `-c bench.slot=${connection}`, ""];
    const text = Buffer.from(words.map((word) => `${word}\0`).join(""));
    const head = Buffer.alloc(8);
    head.writeUInt32BE(8 + text.length, 0);
    head.writeUInt32BE(3 << 16, 4);
    return Buffer.concat([head, text]);
  },
};

function queryOf({ ts, blog, author, country, viewer }: Workload, from: number, to: number): Buffer {
  const list = (column: ArrayLike<number>, prefix = ""): string =>
    `'{${Array.from(column, (value) => `${prefix}${value}`).join(",")}}'`;
  const columns = [ts, blog, author, country].map((column) => list(column.subarray(from, to)));
  const sql = Buffer.from(`select ingest(${columns.join(",")},${list(viewer.subarray(from, to), "u")})\0`);
  const head = Buffer.from("Q\0\0\0\0");
  head.writeUInt32BE(4 + sql.length, 1);
  return Buffer.concat([head, sql]);
}

/** Events a second. Undefined where it is not installed. */
export async function postgresIngestPeer(options: IngestOptions): Promise<number | undefined> {
  if (!isInstalled()) {
    print("PostgreSQL 15 with hll is not installed, or this is not root: no peer (bench/peers/install.sh).");
    return undefined;
  }
  const folder = mkdtempSync(join(process.env["TIDEMARK_BENCH_DIR"] ?? tmpdir(), "tidemark-postgres-"));
  const server = new PostgresServer(join(folder, "server"), SETTINGS);
  try {
    // What mkdtemp makes only its owner can enter, and PostgreSQL is not run by root.
    chmodSync(folder, 0o755);
    server.create();
    server.run(schema());
    const target = { name: "PostgreSQL + hll", module: import.meta.url, to: { path: server.socketPath } };
    return await measureIngest(target, options);
  } finally {
    server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
