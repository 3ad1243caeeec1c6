/**
 * Ingest over HTTP, the whole way: a real server process on LMDB takes W1 as NDJSON in batches of 1,000 events over
 * eight connections, each reply meaning that the batch is on the disk and counted; the next is sent when the reply is
 * there. Why: this is what a sender gets, and what the event loop looks like meanwhile is what everybody else gets. The
 * cost should grow with the events alone.
 *
 * The events' times go on as in W1, 104,000 events to the hour: at 400,000 events a second a quarter ends every 65 ms,
 * hours, days and a week end within the runs, and all that is sealed while events come in. They lie some days back
 * (the server takes up to 30): buckets are sealed by the greatest time seen, not by the clock, so that it makes no
 * difference. Requests are made before; server and sender share the two cores all the same, and each one's share of them
 * is printed. Pauses are those of the server's event loop as it sees them itself: bench/loop-sampler.js says how.
 *
 * A second part is a hundred times as dense: a quarter of 2.6 million events ends every 6.5 s, which is still a hundred
 * times as fast as life. What is written then is a hundredth of the cells for as many events.
 *
 * Then the peers take the same events in the same run, where they are installed; bench/peers/ says what they leave out.
 *
 *   TIDEMARK_BENCH_EVENTS=1000000   of each run (that is the default), of which there are one more than are counted
 *   TIDEMARK_BENCH_PROFILE=/tmp/x   see bench/server-process.ts
 */
import { held, mebibytes, median, ms, print, quantile, row, rowText } from "./figures.js";
import { duckDbPeer } from "./peers/duckdb.js";
import { postgresIngestPeer } from "./peers/postgres-ingest.js";
import { redisPeer } from "./peers/redis.js";
import { Senders, type SendersReport } from "./senders.js";
import { ServerProcess, type ServerReport } from "./server-process.js";
import type { WorkloadOptions } from "./workload.js";

const EVENTS = Number(process.env["TIDEMARK_BENCH_EVENTS"] ?? 1_000_000);
const RUNS = 5;
const BATCH = 1000;
const CONNECTIONS = 8;
/** W1 as it is, and as it would be on a hundred times as busy a site: then as many cells take a hundred times the events. */
const EVENTS_PER_HOUR = [5_000_000 / 48, 500_000_000 / 48];
/** Of each run of a peer that is an order of magnitude slower. */
const PEER_EVENTS = Math.min(EVENTS, 60_000);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BAR_EVENTS_PER_S = 400_000;
const BAR_PAUSE_MS = 20;

interface Run {
  readonly sent: SendersReport;
  readonly server: ServerReport;
}

/** The first run is not counted: code is compiled, tables grow. */
const ALL_EVENTS = EVENTS * (RUNS + 1);
const START_MS = sundayBefore(Date.now() - spanOf(ALL_EVENTS));

function spanOf(events: number, perHour: number = EVENTS_PER_HOUR[0]!): number {
  return (events / perHour) * HOUR_MS;
}

function workloadOf(events: number, perHour: number = EVENTS_PER_HOUR[0]!): WorkloadOptions {
  return { events, startMs: START_MS, spanMs: spanOf(events, perHour) };
}

/** Wherever in the week this runs, the same buckets end at the same places. 1970 began on a Thursday. */
function sundayBefore(ms: number): number {
  const day = Math.floor(ms / DAY_MS);
  return (day - ((day + 4) % 7)) * DAY_MS;
}

async function runAll(perHour: number): Promise<Run[]> {
  const server = await ServerProcess.start();
  const senders = await Senders.start({
    module: new URL("http-protocol.js", import.meta.url).href,
    to: { port: server.port, host: "127.0.0.1" },
    workload: workloadOf(ALL_EVENTS, perHour),
    batch: BATCH,
    connections: CONNECTIONS,
  });
  const runs: Run[] = [];
  const batches = EVENTS / BATCH;
  for (let run = 0; run <= RUNS; run++) {
    server.begin();
    const sent = await senders.send(run * batches, (run + 1) * batches);
    runs.push({ sent, server: await server.end() });
    process.stderr.write(`  ${Math.round(EVENTS / (sent.ms / 1000)).toLocaleString("en")} events/s\n`);
  }
  await senders.stop();
  await server.stop();
  return runs.slice(1);
}

/** Events a second. */
function printIngest(runs: readonly Run[], perHour: number): number {
  const rates = runs.map(({ sent }) => EVENTS / (sent.ms / 1000)).sort((a, b) => a - b);
  const rate = median(rates);
  const per = (cost: (run: Run) => number): number => median(runs.map(cost));
  print(
    `${RUNS} runs of ${EVENTS.toLocaleString("en")} events, ${CONNECTIONS} connections, batches of ${BATCH}, durable; medians`,
  );
  print(
    `${thousands(rate)} events/s (${thousands(rates[0]!)}–${thousands(rates.at(-1)!)})  ` +
      `(bar ≥ ${thousands(BAR_EVENTS_PER_S)}: ${held(rate >= BAR_EVENTS_PER_S)})`,
    { [`events_per_s at ${thousands(perHour)}/h`]: rate },
  );
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => per(({ sent }) => quantile(sent.times, share)));
  print(`reply: p50 ${ms(p50)}, p99 ${ms(p99)}, max ${ms(max)} ms`, {
    [`reply_p50_ms at ${thousands(perHour)}/h`]: p50!,
    [`reply_p99_ms at ${thousands(perHour)}/h`]: p99!,
  });
  print(
    `cores: server ${per(({ sent, server }) => server.cpuMs / sent.ms).toFixed(2)}, ` +
      `senders ${per(({ sent }) => sent.cpuMs / sent.ms).toFixed(2)}; ` +
      `collecting garbage ${(per(({ sent, server }) => server.collectedMs / sent.ms) * 100).toFixed(0)} % of the time; ` +
      `server's memory ${mebibytes(Math.max(...runs.map(({ server }) => server.rss)))}; ` +
      `${runs.reduce((sum, { sent }) => sum + sent.refused, 0)} requests refused at first`,
    { [`server_cores at ${thousands(perHour)}/h`]: per(({ sent, server }) => server.cpuMs / sent.ms) },
  );
  return rate;
}

/** Over all runs: which of them has the end of a day is chance. */
function printPauses(runs: readonly Run[], perHour: number): void {
  const pauses = Float64Array.from(runs.flatMap(({ server }) => server.pauses)).sort();
  const p999 = quantile(pauses, 0.999);
  const cells = (quantileOf: typeof quantile): string[] =>
    [0.5, 0.99, 0.999, 1].map((share) => ms(quantileOf(pauses, share)));
  row("event loop, ms", "p50", "p99", "p99.9", "max");
  print(rowText("pauses, each up to 1 ms too long", cells(quantile)), {
    [`pause_p99_ms at ${thousands(perHour)}/h`]: quantile(pauses, 0.99),
    [`pause_p999_ms at ${thousands(perHour)}/h`]: p999,
    [`pause_max_ms at ${thousands(perHour)}/h`]: quantile(pauses, 1),
  });
  row("what a moment waits", ...cells(quantileByMoment));
  print(
    `p99.9 of ${pauses.length.toLocaleString("en")} pauses (bar ≤ ${BAR_PAUSE_MS} ms: ${held(p999 <= BAR_PAUSE_MS)})`,
  );
}

/**
 * What is waited for at a moment taken at random, which long pauses have more of: a share of all time lies within the
 * last `x` ms of a pause. `pauses` ascend.
 */
function quantileByMoment(pauses: Float64Array, share: number): number {
  const all = pauses.reduce((sum, pause) => sum + pause, 0);
  let below = 0;
  for (let i = 0; i < pauses.length; i++) {
    const longer = pauses.length - i;
    const step = pauses[i]! - (pauses[i - 1] ?? 0);
    if (below + step * longer >= share * all) return (pauses[i - 1] ?? 0) + (share * all - below) / longer;
    below += step * longer;
  }
  return pauses.at(-1) ?? Number.NaN;
}

function thousands(value: number): string {
  return `${(value / 1000).toFixed(0)} k`;
}

/** Peers take the first hours of the same events: their tables are smaller than ours in the end. */
async function printPeers(rate: number): Promise<void> {
  const workload = workloadOf(PEER_EVENTS * (RUNS + 1));
  const options = { workload, batch: BATCH, connections: CONNECTIONS, runs: RUNS };
  const redis = await redisPeer(options);
  const postgres = await postgresIngestPeer(options);
  const duckDb = await duckDbPeer(workloadOf(EVENTS), RUNS);
  const rows: [string, number | undefined, number | undefined][] = [
    ["PostgreSQL + hll", postgres, 3],
    ["Redis, appendfsync everysec", redis?.get("everysec"), 5],
    ["Redis, appendfsync always", redis?.get("always"), undefined],
    ["DuckDB, batch only", duckDb, undefined],
  ];
  for (const [name, peer, bar] of rows) {
    if (peer === undefined) continue;
    const ratio = rate / peer;
    const verdict = bar === undefined ? "" : `  (bar ≥ ${bar}: ${held(ratio >= bar)})`;
    print(`Tidemark beside ${name.padEnd(30)}${ratio.toFixed(1).padStart(6)} times${verdict}`, {
      [`beside ${name}`]: ratio,
    });
  }
}

const rates: number[] = [];
for (const perHour of EVENTS_PER_HOUR) {
  print(`${thousands(perHour)} events to the hour of their own time:`);
  const runs = await runAll(perHour);
  rates.push(printIngest(runs, perHour));
  printPauses(runs, perHour);
}
await printPeers(rates[0]!);
