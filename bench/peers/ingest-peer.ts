/** How every peer that takes batches over connections is measured: as bench/http.ts measures Tidemark. */
import type { NetConnectOpts } from "node:net";
import { median, ms, print, quantile } from "../figures.js";
import { Senders, type SendersReport } from "../senders.js";
import type { WorkloadOptions } from "../workload.js";

export interface IngestOptions {
  readonly workload: WorkloadOptions;
  readonly batch: number;
  readonly connections: number;
  readonly runs: number;
}

export interface IngestTarget {
  readonly name: string;
  /** Module that exports the `protocol`. */
  readonly module: string;
  readonly to: NetConnectOpts;
}

/** Events a second, the median of the runs; the first of them, one more than `runs`, is not counted. */
export async function measureIngest(target: IngestTarget, options: IngestOptions): Promise<number> {
  const { runs, batch, workload } = options;
  const senders = await Senders.start({ ...options, module: target.module, to: target.to });
  const batches = Math.floor(workload.events / batch / (runs + 1));
  const reports: SendersReport[] = [];
  for (let run = 0; run <= runs; run++) reports.push(await senders.send(run * batches, (run + 1) * batches));
  await senders.stop();
  const counted = reports.slice(1);
  const rates = counted.map((report) => (batches * batch * 1000) / report.ms).sort((a, b) => a - b);
  const thousands = (rate: number): string => (rate / 1000).toFixed(1);
  const [p50, p99] = [0.5, 0.99].map((share) => median(counted.map(({ times }) => quantile(times, share))));
  print(
    `${target.name}: ${thousands(median(rates))} k events/s (${thousands(rates[0]!)}–${thousands(rates.at(-1)!)}), ` +
      `reply p50 ${ms(p50)}, p99 ${ms(p99)} ms, senders ${median(counted.map((r) => r.cpuMs / r.ms)).toFixed(2)} cores`,
    { [`${target.name} events_per_s`]: median(rates) },
  );
  return median(rates);
}
